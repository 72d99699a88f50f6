"""Taylor coefficients of plain networks against dense torch.func, autograd and finite differences."""

from __future__ import annotations

import gc
from itertools import pairwise
from typing import get_args

import pytest
import torch
from conftest import ACTIVATIONS, LOSSES
from oracles import unit
from torch import nn

from eostui.curvature.activations import ACTIVATIONS as CLOSED_FORMS
from eostui.curvature.graph import GraphDerivatives
from eostui.curvature.point import Point, plain_gradient
from eostui.curvature.taylor import chain_of
from eostui.problems import Problem
from eostui.problems.batch import Convolutions, parts_of
from eostui.problems.losses import LOSSES as PROBLEM_LOSSES

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "elu": nn.ELU, "softplus": nn.Softplus}


def drawn(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def problem_of(module, loss, inputs, *, targets=None, chunk_size=0, seed=0, convolutions="native"):
    """A problem with weights drawn here, larger than PyTorch's, so that nothing is nearly linear."""
    module = module.to(inputs.dtype)
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(0.6 * drawn(*parameter.shape, seed=100 * seed + number))
        outputs = module(inputs)
    if targets is None:
        classes = torch.arange(outputs.numel() // outputs.shape[1]) % outputs.shape[1]
        one_hot = torch.eye(outputs.shape[1])[classes].to(inputs)
        targets = one_hot.view(len(outputs), *outputs.shape[2:], -1).movedim(-1, 1)
    return Problem.from_module(
        module,
        PROBLEM_LOSSES[loss].function,
        inputs,
        targets,
        convention="as in the tests",
        chunk_size=chunk_size,
        convolutions=convolutions,
    )


def is_chain(problem):
    """Whether every part of the loss is differentiated layer by layer."""
    found = {chain_of(part.supervised) is not None for part in parts_of(problem.loss)}
    assert len(found) == 1
    return found.pop()


def close(found, wanted, scale, tolerance=1e-8):
    """Compare by norms; `scale` keeps a share that is zero from being compared with itself."""
    assert float((found - wanted).norm()) <= tolerance * (float(wanted.norm()) + scale)


def dense_gauss_newton(problem, vector):
    """JᵀH_out J v from a dense Jacobian and a dense Hessian of the loss in the outputs."""
    part, theta = problem.loss, problem.initial
    jacobian = torch.func.jacrev(lambda at: part.outputs(at).flatten())(theta)
    outputs = part.outputs(theta)
    inner = torch.func.hessian(lambda f: part.output_loss(f.view_as(outputs)))(outputs.flatten())
    return jacobian.T @ (inner @ (jacobian @ vector))


def check_against_dense(problem):
    """L, ∇L, Hv, D³L[v, v, ·] and Gv against dense torch.func, and against a kept graph."""
    theta, loss = problem.initial, problem.loss
    point, graph = Point(loss, theta), GraphDerivatives(loss, theta)
    vector = unit(len(theta), 11)
    hessian = torch.func.hessian(loss)
    dense = hessian(theta)
    scale = 1e-3 * float(dense.norm())
    third = torch.func.jacrev(lambda at: vector @ hessian(at) @ vector)(theta)

    assert float(point.loss) == pytest.approx(float(loss(theta)), rel=1e-12)
    close(point.gradient, torch.func.grad(loss)(theta), scale)
    close(point.hessian_product(vector), dense @ vector, scale)
    product, found = point.curvature_gradient(vector)
    close(product, dense @ vector, scale)
    close(found, third, scale)
    close(point.gauss_newton_product(vector), dense_gauss_newton(problem, vector), scale)

    close(point.gradient, graph.gradient.detach(), scale)
    close(point.hessian_product(vector), graph.hessian_product(vector), scale)
    close(found, graph.curvature_gradient(vector)[1], scale)
    close(point.gauss_newton_product(vector), graph.gauss_newton_product(vector), scale)


def mlp(kind, depth, bias=True, width=4):
    sizes = [3, *[width] * depth]
    layers = [nn.Flatten()]
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after, bias=bias), kind()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 3, bias=bias))


def strided(kind):
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        kind(),
        nn.Conv2d(3, 2, (2, 1), padding=(1, 0), bias=False),
        kind(),
        nn.Flatten(),
        nn.Linear(24, 3),
    )


def dilated_in_groups(kind):
    return nn.Sequential(
        nn.Conv2d(2, 4, 2, dilation=(2, 1), padding=1),
        kind(),
        nn.Conv2d(4, 2, 3, groups=2, stride=(2, 1)),
        kind(),
        nn.Flatten(),
        nn.Linear(16, 3, bias=False),
    )


def pooled_odd(kind):
    return nn.Sequential(
        nn.Conv2d(2, 2, 3, padding=1),
        kind(),
        nn.MaxPool2d(2),
        nn.Conv2d(2, 2, 2, padding=1),
        kind(),
        nn.Flatten(),
        nn.Linear(18, 3),
    )


def pooled_to_the_ceiling(kind):
    return nn.Sequential(
        nn.Conv2d(2, 3, 2),
        kind(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(12, 3),
    )


def pooled_with_overlap(kind):
    return nn.Sequential(
        nn.Conv2d(2, 2, 3, padding=1),
        kind(),
        nn.MaxPool2d((3, 2), stride=(2, 1), padding=1),
        kind(),
        nn.MaxPool2d(2, stride=1, dilation=2),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def pooled_twice_before_and_after(kind):
    return nn.Sequential(
        nn.MaxPool2d(2, stride=1),
        nn.Conv2d(2, 3, 2),
        kind(),
        kind(),
        nn.MaxPool2d(2, stride=1),
        nn.MaxPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 3),
    )


def convolutions_alone(kind):
    """Outputs of shape (N, C, height, width), with an activation at their end."""
    return nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), kind(), nn.Conv2d(3, 3, 1), kind())


CNNS = (
    strided,
    dilated_in_groups,
    pooled_odd,
    pooled_to_the_ceiling,
    pooled_with_overlap,
    pooled_twice_before_and_after,
    convolutions_alone,
)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_equals_dense_derivatives(activation, loss, depth, bias):
    """Every derivative of an MLP, for all activations, losses and depths, to 1e-8."""
    problem = problem_of(mlp(KINDS[activation], depth, bias), loss, drawn(5, 3, seed=1))
    assert is_chain(problem)
    check_against_dense(problem)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("network", CNNS, ids=lambda network: network.__name__)
@pytest.mark.parametrize("convolutions", get_args(Convolutions))
def test_cnn_equals_dense_derivatives(convolutions, network, activation, loss):
    """Stride, padding, dilation, groups and pooling of every kind, after every activation."""
    problem = problem_of(
        network(KINDS[activation]),
        loss,
        drawn(2, 2, 5, 5, seed=2),
        convolutions=convolutions,
    )
    assert is_chain(problem)
    check_against_dense(problem)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_at_either_end_is_differentiated_too(activation, loss):
    """σ before the first parameters and σ as the output."""
    kind = KINDS[activation]
    module = nn.Sequential(kind(), nn.Linear(3, 4), kind(), nn.Linear(4, 3), kind())
    problem = problem_of(module, loss, drawn(4, 3, seed=3))
    assert is_chain(problem)
    check_against_dense(problem)


@pytest.mark.parametrize("loss", LOSSES)
def test_deep_linear_network(loss):
    """Without activations the outputs are a polynomial in θ whose derivatives aren't zero."""
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 4, bias=False), nn.Linear(4, 3))
    problem = problem_of(module, loss, drawn(4, 3, seed=4))
    assert is_chain(problem)
    check_against_dense(problem)


@pytest.mark.parametrize("activation", [a for a in ACTIVATIONS if a not in ("relu", "elu")])
@pytest.mark.parametrize(
    ("network", "convolutions"),
    [(lambda kind: mlp(kind, 2), "native"), *((strided, how) for how in get_args(Convolutions))],
    ids=["mlp", *get_args(Convolutions)],
)
@pytest.mark.parametrize("loss", LOSSES)
def test_third_derivative_is_the_finite_difference_of_products(
    network, convolutions, loss, activation
):
    """D³L[v, v, ·] is (H(θ + εv)v − H(θ − εv)v)/2ε for smooth activations."""
    module = network(KINDS[activation])
    inputs = drawn(3, 2, 5, 5, seed=5) if network is strided else drawn(5, 3, seed=5)
    problem = problem_of(module, loss, inputs, convolutions=convolutions)
    theta, epsilon = problem.initial, 1e-4
    vector = unit(len(theta), 12)
    ahead, behind = (
        Point(problem.loss, theta + sign * epsilon * vector).hessian_product(vector)
        for sign in (1, -1)
    )
    _, third = Point(problem.loss, theta).curvature_gradient(vector)
    close(third, (ahead - behind) / (2 * epsilon), 0.0, tolerance=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_dead_units_move_nothing(loss):
    """ReLUs that no sample wakes: their weights have zero derivatives, the others the dense ones."""
    module = mlp(nn.ReLU, 1)
    problem = problem_of(module, loss, drawn(5, 3, seed=6))
    problem.initial[12:14] = -100.0  # the biases of the first two hidden units
    check_against_dense(problem)
    point, vector = Point(problem.loss, problem.initial), unit(len(problem.initial), 13)
    for found in (point.gradient, *point.curvature_gradient(vector)):
        assert not found[:6].any()
        assert not found[12:14].any()
        assert found[6:12].any()
    problem.initial[12:16] = -100.0  # all of them: the last bias alone is left
    check_against_dense(problem)
    everything = Point(problem.loss, problem.initial).hessian_product(vector)
    assert not everything[:-3].any()
    assert everything[-3:].any()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", [lambda kind: mlp(kind, 1), pooled_odd], ids=["mlp", "cnn"])
def test_a_batch_of_one(network, loss):
    """N = 1."""
    inputs = drawn(1, 2, 5, 5, seed=7) if network is pooled_odd else drawn(1, 3, seed=7)
    problem = problem_of(network(nn.Tanh), loss, inputs)
    assert is_chain(problem)
    check_against_dense(problem)


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
@pytest.mark.parametrize("chunk_size", [0, 2])
def test_cross_entropy_with_targets_that_are_no_distribution(activation, chunk_size):
    """Rows that sum to 1, 0, 3, 0.4 and below 0: δ = (p Σy − y)/N needs the sum of each."""
    targets = torch.tensor([[0.2, 0.5, 0.3], [0, 0, 0], [1, 1, 1], [0.4, 0, 0], [-1, 0.5, 0.1]])
    problem, whole = (
        problem_of(
            mlp(KINDS[activation], 2),
            "cross-entropy",
            drawn(5, 3, seed=8),
            targets=targets.double(),
            chunk_size=size,
        )
        for size in (chunk_size, 0)
    )
    check_against_dense(whole)
    vector = unit(len(whole.initial), 14)
    found, wanted = (Point(p.loss, p.initial).curvature_gradient(vector) for p in (problem, whole))
    close(found[0], wanted[0], 0.0, 1e-12)
    close(found[1], wanted[1], 0.0, 1e-12)


def test_targets_of_squared_error_may_be_any_numbers():
    """Regression on large, negative and fractional targets."""
    problem = problem_of(
        mlp(nn.Softplus, 2), "mse", drawn(5, 3, seed=9), targets=20 * drawn(5, 3, seed=10)
    )
    check_against_dense(problem)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("chunk_size", [1, 3])
def test_chunks_add_up_to_the_whole(activation, loss, chunk_size):
    """Chunks of 1, and of 3 with a last one of 1, of seven samples: all derivatives equal the whole's."""
    inputs = drawn(7, 2, 5, 5, seed=11)
    whole, chunked = (
        problem_of(pooled_odd(KINDS[activation]), loss, inputs, chunk_size=size)
        for size in (0, chunk_size)
    )
    assert is_chain(chunked)
    assert len(parts_of(chunked.loss)) == -(-7 // chunk_size)
    vector = unit(len(whole.initial), 15)
    one, many = (Point(problem.loss, problem.initial) for problem in (whole, chunked))
    assert float(many.loss) == pytest.approx(float(one.loss), rel=1e-13)
    close(many.gradient, one.gradient, 0.0, 1e-12)
    close(many.hessian_product(vector), one.hessian_product(vector), 0.0, 1e-12)
    close(many.gauss_newton_product(vector), one.gauss_newton_product(vector), 0.0, 1e-12)
    close(many.curvature_gradient(vector)[1], one.curvature_gradient(vector)[1], 1e-9, 1e-12)


def test_channels_last_inputs_give_the_same_numbers():
    """Images stored channels last, in place activations: the layout is no matter."""
    for module in (
        pooled_odd(lambda: nn.ReLU(inplace=True)),
        pooled_with_overlap(nn.GELU),
        strided(lambda: nn.ELU(inplace=True)),
    ):
        inputs = drawn(3, 2, 5, 5, seed=12).contiguous(memory_format=torch.channels_last)
        problem = problem_of(module, "cross-entropy", inputs)
        assert is_chain(problem)
        check_against_dense(problem)


# --- what is no chain ------------------------------------------------------------------------------


class Scaled(nn.Linear):
    """A Linear of the user's own, with twice the outputs."""

    def forward(self, x):
        return 2 * super().forward(x)


class SmoothPool(nn.MaxPool2d):
    """A pooling of the user's own."""

    def forward(self, x):
        return super().forward(x) - 0.5 * super().forward(-x)


class FirstHalf(nn.Flatten):
    """A flattening of the user's own that drops half of the features."""

    def forward(self, x):
        flat = super().forward(x)
        return flat[:, : flat.shape[1] // 2]


class Residual(nn.Sequential):
    """A Sequential of the user's own, with a shortcut."""

    def forward(self, x):
        return x + super().forward(x)


class FirstOnly(nn.MaxPool2d):
    """The largest elements without their places, from a pooling that returns both."""

    def forward(self, x):
        return super().forward(x)[0]


def used_twice():
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh())


def tied():
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = one.weight
    return nn.Sequential(one, nn.Tanh(), other)


def hooked():
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda _module, _inputs, output: 3 * output)
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(3, 3))


def hooked_as_a_whole():
    module = mlp(nn.Tanh, 1)
    module.register_forward_hook(lambda _module, _inputs, output: output.square())
    return module


def with_a_parameter_of_its_own():
    """An unused parameter of the Sequential itself, which comes first in θ."""
    module = mlp(nn.Tanh, 1)
    module.register_parameter("temperature", nn.Parameter(torch.ones(2)))
    return module


def spectrally_normalised():
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 4)), nn.Tanh(), nn.Linear(4, 3)).eval()


def parametrised():
    layer = nn.Linear(3, 3)
    nn.utils.parametrize.register_parametrization(layer, "weight", nn.Tanh())
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(3, 3))


def with_method_replaced():
    layer = nn.Linear(3, 3)
    layer.forward = lambda x: 2 * nn.functional.linear(x, layer.weight, layer.bias)
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(3, 3))


def convolution(**options):
    return nn.Sequential(nn.Conv2d(2, 2, 3, **options), nn.Tanh(), nn.Flatten(), nn.Linear(50, 3))


def pooling(pool, features=8):
    return nn.Sequential(nn.Conv2d(2, 2, 2), nn.Tanh(), pool, nn.Flatten(), nn.Linear(features, 3))


IMAGES = (3, 2, 5, 5)
NOT_CHAINS = {
    "padding by name": (lambda: convolution(padding="same"), IMAGES),
    "reflected padding": (lambda: convolution(padding=1, padding_mode="reflect"), IMAGES),
    "circular padding": (lambda: convolution(padding=1, padding_mode="circular"), IMAGES),
    "GELU by tanh": (lambda: mlp(lambda: nn.GELU(approximate="tanh"), 1), (4, 3)),
    "ELU with alpha 2": (lambda: mlp(lambda: nn.ELU(alpha=2.0), 1), (4, 3)),
    "Softplus with beta 2": (lambda: mlp(lambda: nn.Softplus(beta=2), 1), (4, 3)),
    "Softplus with threshold 1": (lambda: mlp(lambda: nn.Softplus(threshold=1), 1), (4, 3)),
    "unknown activation": (lambda: mlp(nn.SiLU, 1), (4, 3)),
    "nested": (lambda: nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Tanh())), (4, 3)),
    "used twice": (used_twice, (4, 3)),
    "Linear on rows of rows": (
        lambda: nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)),
        (5, 4, 3),
    ),
    "flattened from the middle": (
        lambda: nn.Sequential(nn.Flatten(2), nn.Flatten(1), nn.Linear(50, 3)),
        IMAGES,
    ),
    "dropout at rest": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3)).eval(),
        (4, 3),
    ),
    "places of the largest": (lambda: pooling(FirstOnly(2, return_indices=True)), IMAGES),
    "subclass of Linear": (
        lambda: nn.Sequential(Scaled(3, 4), nn.Tanh(), nn.Linear(4, 3)),
        (4, 3),
    ),
    "parametrised weights": (parametrised, (4, 3)),
    "not a Sequential": (lambda: nn.Linear(3, 3), (4, 3)),
    "Conv1d": (
        lambda: nn.Sequential(nn.Conv1d(2, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6, 3)),
        (4, 2, 5),
    ),
    "subclass of MaxPool2d": (lambda: pooling(SmoothPool(2)), IMAGES),
    "subclass of Flatten": (
        lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.Tanh(), FirstHalf(), nn.Linear(9, 3)),
        IMAGES,
    ),
    "subclass of Sequential": (
        lambda: Residual(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)),
        (4, 3),
    ),
    "weights shared by two layers": (tied, (4, 3)),
    "hook on a layer": (hooked, (4, 3)),
    "hook on the whole": (hooked_as_a_whole, (4, 3)),
    "parameter of its own": (with_a_parameter_of_its_own, (4, 3)),
    "spectral norm": (spectrally_normalised, (4, 3)),
    "forward replaced": (with_method_replaced, (4, 3)),
}


@pytest.mark.parametrize("name", NOT_CHAINS)
def test_anything_but_known_layers_in_a_row_is_differentiated_automatically(name):
    """No chain is made of it, and the numbers are those of the module as PyTorch runs it."""
    make, shape = NOT_CHAINS[name]
    problem = problem_of(make(), "cross-entropy", drawn(*shape, seed=13))
    assert not is_chain(problem)
    check_against_dense(problem)


def test_a_loss_of_the_users_own_is_differentiated_automatically():
    """Only the two losses of the package have closed forms."""
    problem = Problem.from_module(
        mlp(nn.Tanh, 1).double(),
        lambda outputs, targets: (outputs - targets).pow(4).mean(),
        drawn(4, 3, seed=14),
        drawn(4, 3, seed=15),
        convention="fourth power",
    )
    assert not is_chain(problem)
    check_against_dense(problem)


# --- points ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [0, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("network", [lambda kind: mlp(kind, 2), pooled_odd], ids=["mlp", "cnn"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_plain_gradient_is_the_points_to_the_bit(network, loss, dtype, chunk_size):
    """Whether a step is measured or not it moves the same; in chunks too."""
    shape = (7, 2, 5, 5) if network is pooled_odd else (7, 3)
    inputs = drawn(*shape, seed=16, dtype=dtype)
    problem = problem_of(network(nn.GELU), loss, inputs, chunk_size=chunk_size)
    assert is_chain(problem)
    value, gradient = plain_gradient(problem.loss, problem.initial)
    point = Point(problem.loss, problem.initial)
    point.hessian_product(torch.ones_like(problem.initial))
    assert torch.equal(value, point.loss)
    assert torch.equal(gradient, point.gradient)
    assert not gradient.requires_grad


@pytest.mark.parametrize("chunk_size", [0, 3])
def test_a_released_point_refuses_every_product(chunk_size):
    """After release() each derivative raises; loss and gradient stay."""
    problem = problem_of(mlp(nn.Tanh, 1), "mse", drawn(7, 3, seed=17), chunk_size=chunk_size)
    point, vector = Point(problem.loss, problem.initial), torch.ones_like(problem.initial)
    before = point.gradient.clone()
    point.release()
    for derivative in (
        point.hessian_product,
        point.curvature_gradient,
        point.gauss_newton_product,
    ):
        with pytest.raises(RuntimeError, match="released"):
            derivative(vector)
    assert torch.equal(point.gradient, before)


def test_products_in_any_order_repeat_themselves():
    """The nodes keep coefficients between calls: none may leak into the next product."""
    problem = problem_of(pooled_odd(nn.GELU), "cross-entropy", drawn(3, 2, 5, 5, seed=18))
    point = Point(problem.loss, problem.initial)
    v, w = unit(len(point.theta), 16), unit(len(point.theta), 17)
    gradient = point.gradient.clone()
    hv, (_, third) = point.hessian_product(v), point.curvature_gradient(v)
    gv = point.gauss_newton_product(v)
    point.curvature_gradient(w)
    point.gauss_newton_product(w)
    assert torch.equal(point.gauss_newton_product(v), gv)
    point.hessian_product(w)
    again, third_again = point.curvature_gradient(v)
    assert torch.equal(point.hessian_product(v), hv)
    assert torch.equal(again, hv)
    assert torch.equal(third_again, third)
    assert torch.equal(point.gradient, gradient)


def test_single_precision_loses_no_more_than_rounding():
    """In float32 every derivative agrees with float64 to a few hundred roundings."""
    inputs = drawn(5, 2, 5, 5, seed=19)
    found, wanted = (
        Point(problem.loss, problem.initial)
        for problem in (
            problem_of(pooled_odd(nn.Tanh), "cross-entropy", inputs.to(dtype))
            for dtype in (torch.float32, torch.float64)
        )
    )
    vector = unit(len(wanted.theta), 18)
    close(found.gradient.double(), wanted.gradient, 0.0, 2e-5)
    for one, other in zip(
        found.curvature_gradient(vector.float()), wanted.curvature_gradient(vector), strict=True
    ):
        close(one.double(), other, 0.0, 2e-5)


# --- activations -----------------------------------------------------------------------------------


def derivatives_by_autograd(module, z):
    """σ, σ′, σ″, σ‴ at each element, by three backward passes."""
    z = z.clone().requires_grad_()
    found = [module(z)]
    for _ in range(3):
        if not found[-1].requires_grad:
            found.append(torch.zeros_like(z))
            continue
        (slope,) = torch.autograd.grad(
            found[-1].sum(), z, create_graph=True, materialize_grads=True
        )
        found.append(slope)
    return [value.detach() for value in found]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_closed_forms_of_an_activation_are_its_derivatives(activation, dtype):
    """σ to σ‴ on a grid from −40 to 40, and at tiny values, against autograd in float64."""
    kind = KINDS[activation]
    tiny = torch.tensor([1e-30, 1e-8, 1e-3])
    grid = torch.cat([torch.linspace(-40, 40, 1602), tiny, -tiny, torch.tensor([40.0, -40.0])])
    z = grid.to(dtype)
    forms = CLOSED_FORMS[kind]
    value = forms.value(z)
    found = [value, forms.slope(z, value)]
    found += [
        torch.zeros_like(z) if form is None else form(z, value)
        for form in (forms.bend, forms.twist)
    ]
    rounding = 16 * torch.finfo(dtype).eps
    # beyond its threshold, 20, PyTorch's softplus is the identity: off by e⁻²⁰
    allowed = rounding + (3e-9 if activation == "softplus" else 0.0)
    for order, (one, other) in enumerate(
        zip(found, derivatives_by_autograd(kind(), z.double()), strict=True)
    ):
        assert one.dtype == dtype
        assert one.isfinite().all(), order
        error = (one.double() - other).abs()
        assert (error <= allowed * (1 + other.abs())).all(), (order, float(error.max()))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_called_monotone_only_if_they_are(activation):
    """What never falls may change places with max-pooling; GELU does fall."""
    forms = CLOSED_FORMS[KINDS[activation]]
    values = forms.value(torch.linspace(-40, 40, 4001, dtype=torch.float64))
    rising = bool((values.diff() >= -1e-8).all())
    assert rising == forms.monotone
    assert forms.monotone == (activation != "gelu")


@pytest.mark.parametrize(
    ("dtype", "allowed"), [(torch.float32, 1e-5), (torch.float64, 1e-8)], ids=["float32", "float64"]
)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_far_tails_leave_accurate_derivatives_of_the_network(activation, dtype, allowed):
    """Pre-activations in the hundreds: ∇L, Hv, D³L are finite and those of autograd in float64."""
    inputs = 300 * drawn(4, 3, seed=20)
    problem, exact = (
        problem_of(mlp(KINDS[activation], 2), "mse", inputs.to(kind))
        for kind in (dtype, torch.float64)
    )
    vector = unit(len(problem.initial), 19)
    point = Point(problem.loss, problem.initial)
    graph = GraphDerivatives(exact.loss, exact.initial)
    for one, other in zip(
        (point.gradient, *point.curvature_gradient(vector.to(dtype))),
        (graph.gradient.detach(), *graph.curvature_gradient(vector)),
        strict=True,
    ):
        assert one.isfinite().all()
        close(one.double(), other, 1e-9, allowed)


@pytest.mark.parametrize(
    "module",
    [
        mlp(nn.Tanh, 2, width=5),
        nn.Sequential(
            nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 3)
        ),
    ],
    ids=["mlp", "cnn"],
)
def test_nothing_of_a_direction_is_kept(module):
    """The memory of coefficients is free once a derivative is there: no more lives on than before."""
    samples = 97
    inputs = drawn(samples, 3) if isinstance(module[0], nn.Flatten) else drawn(samples, 1, 3, 3)
    problem = problem_of(module, "mse", inputs)
    assert is_chain(problem)
    point, vector = Point(problem.loss, problem.initial), unit(len(problem.initial), 5)

    def alive():
        gc.collect()
        found = (each for each in gc.get_objects() if type(each) is torch.Tensor)
        return sum(each.shape[:1] == (samples,) for each in found)

    point.hessian_product(vector)  # makes what all share
    before = alive()
    for derivative in (
        point.hessian_product,
        point.third_derivative,
        point.curvature_gradient,
        point.gauss_newton_product,
        point.output_product,
    ):
        derivative(vector)
        assert alive() == before
