"""Point: ∇L, Hv and D³L[v, v, ·] against dense derivatives, finite differences and curvlinops."""

from __future__ import annotations

import pytest
import torch
from conftest import ACTIVATIONS, LOSSES, NETWORKS
from oracles import LOSS, cnn, dense_hessian, dense_third, gradient, mlp, mlp_module, unit

from eostui.curvature.point import Point, plain_gradient
from eostui.errors import InputError

EVERY = [
    (network, activation, loss)
    for network in NETWORKS
    for activation in ACTIVATIONS
    for loss in LOSSES
]


def forward(case):
    """The plain network of a case: θ ↦ (outputs, quantities whose signs say where its kinks are)."""
    config = case.config
    if config.network == "mlp":
        return lambda theta: mlp(
            theta, case.inputs, [config.width] * config.depth, 3, config.activation
        )
    return lambda theta: cnn(theta, case.inputs, config.channels, 3, config.activation)


def plain_loss(case):
    """The loss of a case, from the independent implementation."""
    network = forward(case)
    return lambda theta: LOSS[case.config.loss](network(theta)[0], case.targets)


def pattern(case, theta):
    """The linear piece on which θ lies, for ReLU and max-pooling."""
    return [kink > 0 for kink in forward(case)(theta)[1]]


def relative(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(("network", "activation", "loss"), EVERY)
def test_derivatives_equal_the_dense_ones_of_an_independent_network(
    small_case, network, activation, loss
):
    """L, ∇L, Hv and D³L[v, v, ·] agree to rounding with torch.func on a network written by hand."""
    case = small_case(network, activation=activation, loss=loss)
    plain, theta = plain_loss(case), case.theta
    point, vector = Point(case.problem.loss, theta), unit(len(theta), 5)
    hessian = dense_hessian(plain, theta)

    assert float(point.loss) == pytest.approx(float(plain(theta)), rel=1e-13)
    assert relative(point.gradient, gradient(plain, theta)) < 1e-12
    assert relative(point.hessian_product(vector), hessian @ vector) < 1e-11
    product, third = point.curvature_gradient(vector)
    assert relative(product, hessian @ vector) < 1e-11
    assert relative(third, dense_third(plain, theta, vector)) < 1e-9


@pytest.mark.parametrize("chunk_size", [0, 3])
@pytest.mark.parametrize(("network", "activation", "loss"), EVERY)
def test_products_with_the_jacobian_are_those_of_the_dense_one(
    small_case, network, activation, loss, chunk_size
):
    """f, J v, Jᵀ w and each sample's loss against torch.func on a network written by hand."""
    case = small_case(network, activation=activation, loss=loss, chunk_size=chunk_size)
    plain, theta = forward(case), case.theta
    point, vector = Point(case.problem.loss, theta), unit(len(theta), 5)
    outputs = plain(theta)[0]
    jacobian = torch.func.jacrev(lambda at: plain(at)[0])(theta)
    cotangent = unit(outputs.numel(), 6).view_as(outputs)
    before = point.hessian_product(vector)

    assert relative(point.outputs(), outputs) < 1e-12
    assert relative(point.output_product(vector), jacobian @ vector) < 1e-11
    wanted = torch.einsum("nc,ncp->p", cotangent, jacobian)
    kept = cotangent.clone()
    assert relative(point.output_pullback(cotangent), wanted) < 1e-11
    assert torch.equal(cotangent, kept)
    alone = [LOSS[loss](outputs[n : n + 1], case.targets[n : n + 1]) for n in range(len(outputs))]
    assert relative(point.sample_losses(), torch.stack(alone)) < 1e-12
    assert float(point.sample_losses().mean()) == pytest.approx(float(point.loss), rel=1e-12)
    # what came in between changes nothing of what a run measures
    assert torch.equal(point.hessian_product(vector), before)


def test_a_loss_of_theta_alone_has_no_outputs():
    """Each says so in a sentence; a released point has nothing left."""
    point = Point(lambda at: at.square().sum(), torch.ones(3).double())
    for ask in (
        point.outputs,
        point.sample_losses,
        point.output_slopes,
        lambda: point.output_product(torch.ones(3).double()),
        lambda: point.output_pullback(torch.ones(3).double()),
    ):
        with pytest.raises(InputError, match=r"θ alone: make it with Problem\.from_module"):
            ask()
    point.release()
    with pytest.raises(RuntimeError, match="released"):
        point.outputs()


@pytest.mark.parametrize(("network", "activation", "loss"), EVERY)
def test_third_derivative_is_the_finite_difference_of_hessian_products(
    small_case, network, activation, loss
):
    """D³L[v, v, ·] is (H(θ + εv)v − H(θ − εv)v)/2ε; no kink may lie in between."""
    case = small_case(network, activation=activation, loss=loss)
    vector = unit(len(case.theta), 6)
    epsilon = 1e-5
    up, down = case.theta + epsilon * vector, case.theta - epsilon * vector
    if activation == "relu" or network == "cnn":
        assert all(
            torch.equal(a, b) for a, b in zip(pattern(case, up), pattern(case, down), strict=True)
        ), "a kink lies between the two points: choose another seed"
    difference = (
        Point(case.problem.loss, up).hessian_product(vector)
        - Point(case.problem.loss, down).hessian_product(vector)
    ) / (2 * epsilon)
    _, third = Point(case.problem.loss, case.theta).curvature_gradient(vector)
    assert relative(third, difference) < 1e-7


def test_deeper_networks_without_biases_and_with_two_convolutions(small_case):
    """The same derivatives hold for other shapes: no hidden layer, four of them, two convolutions."""
    for network, values in (("mlp", {"depth": 0}), ("mlp", {"depth": 4}), ("cnn", {})):
        case = small_case(network, activation="tanh", channels=(2, 3), **values)
        plain, vector = plain_loss(case), unit(len(case.theta), 7)
        product, third = Point(case.problem.loss, case.theta).curvature_gradient(vector)
        assert relative(product, dense_hessian(plain, case.theta) @ vector) < 1e-11
        wanted = dense_third(plain, case.theta, vector)
        assert float((third - wanted).norm()) < 1e-9 * max(1.0, float(wanted.norm()))


def test_one_point_serves_many_products_in_any_order(small_case):
    """The kept graph survives products and third derivatives: every answer is repeated exactly."""
    case = small_case("mlp", activation="gelu")
    point, vector = Point(case.problem.loss, case.theta), unit(len(case.theta), 8)
    first = point.hessian_product(vector)
    third = point.curvature_gradient(vector)[1]
    assert torch.equal(point.hessian_product(vector), first)
    assert torch.equal(point.curvature_gradient(vector)[1], third)


def test_hessian_is_symmetric_and_linear(small_case):
    """⟨v, Hw⟩ = ⟨w, Hv⟩ and H(av + w) = aHv + Hw."""
    case = small_case("cnn", activation="elu", loss="cross-entropy")
    point = Point(case.problem.loss, case.theta)
    v, w = unit(len(case.theta), 1), unit(len(case.theta), 2)
    hv, hw = point.hessian_product(v), point.hessian_product(w)
    assert float(v @ hw) == pytest.approx(float(w @ hv), rel=1e-11)
    assert relative(point.hessian_product(3 * v + w), 3 * hv + hw) < 1e-13


@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
def test_products_agree_with_those_of_curvlinops(small_case, loss):
    """Hv and Gv. curvlinops averages squared errors over outputs too: ours is C/2 times its own."""
    from curvlinops import GGNLinearOperator, HessianLinearOperator
    from torch import nn

    case = small_case("mlp", activation="tanh", loss=loss)
    module = mlp_module(case.theta, [5, 4, 4, 3], "tanh")
    its_loss, targets, scale = nn.MSELoss(), case.targets, case.targets.shape[1] / 2
    if loss == "cross-entropy":
        its_loss, targets, scale = nn.CrossEntropyLoss(), case.targets.argmax(1), 1.0
    point, vector = Point(case.problem.loss, case.theta), unit(len(case.theta), 9)
    for operator, product in (
        (HessianLinearOperator, point.hessian_product),
        (GGNLinearOperator, point.gauss_newton_product),
    ):
        theirs = operator(module, its_loss, list(module.parameters()), [(case.inputs, targets)])
        assert relative(product(vector), scale * (theirs @ vector).detach()) < 1e-12


def test_quadratic_loss_has_its_matrix_as_hessian_and_no_third_derivative():
    """For L = ½θᵀAθ + bᵀθ: ∇L = Aθ + b, Hv = Av, D³L = 0."""
    matrix = torch.tensor([[3.0, 1.0, 0.0], [1.0, -2.0, 0.5], [0.0, 0.5, 1.0]]).double()
    shift, theta = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([0.3, -0.2, 0.9]).double()
    point = Point(lambda at: 0.5 * at @ matrix @ at + shift @ at, theta)
    vector = torch.tensor([1.0, -1.0, 2.0]).double()
    product, third = point.curvature_gradient(vector)
    torch.testing.assert_close(point.gradient, matrix @ theta + shift, rtol=1e-14, atol=0)
    torch.testing.assert_close(point.hessian_product(vector), matrix @ vector, rtol=1e-14, atol=0)
    torch.testing.assert_close(product, matrix @ vector, rtol=1e-14, atol=0)
    assert not product.requires_grad
    assert torch.equal(third, torch.zeros(3).double())


def test_linear_loss_has_neither_hessian_nor_third_derivative():
    """For L = bᵀθ: ∇L = b, Hv = 0, D³L = 0."""
    slope = torch.tensor([1.0, -2.0]).double()
    point = Point(lambda at: slope @ at, torch.tensor([5.0, 6.0]).double())
    vector = torch.tensor([1.0, 1.0]).double()
    assert torch.equal(point.gradient, slope)
    assert torch.equal(point.hessian_product(vector), torch.zeros(2).double())
    product, third = point.curvature_gradient(vector)
    assert torch.equal(product, torch.zeros(2).double())
    assert torch.equal(third, torch.zeros(2).double())


def test_parameters_that_the_loss_ignores_have_zero_derivatives():
    """A coordinate that doesn't enter the loss gets zeros, not an error."""
    theta = torch.tensor([2.0, 7.0]).double()
    point = Point(lambda at: at[0] ** 4, theta)
    ones = torch.ones(2).double()
    product, third = point.curvature_gradient(ones)
    assert point.gradient.tolist() == [32.0, 0.0]
    assert product.tolist() == [48.0, 0.0]
    assert third.tolist() == [48.0, 0.0]


def test_plain_gradient_equals_the_points_and_keeps_no_graph(small_case):
    """An unmeasured step moves as a measured one: same loss and gradient, bit for bit, detached."""
    case = small_case("cnn", activation="relu")
    loss, slope = plain_gradient(case.problem.loss, case.theta)
    point = Point(case.problem.loss, case.theta)
    assert torch.equal(loss, point.loss)
    assert torch.equal(slope, point.gradient)
    assert not loss.requires_grad
    assert not slope.requires_grad
    assert not case.theta.requires_grad


def test_a_released_point_never_answers_with_wrong_numbers(small_case):
    """After release only θ, L and ∇L can be read: a Hessian product must not pretend to be zero."""
    case = small_case("mlp", activation="tanh")
    point = Point(case.problem.loss, case.theta)
    vector = unit(len(case.theta), 4)
    point.release()
    assert relative(point.gradient, gradient(plain_loss(case), case.theta)) < 1e-12
    with pytest.raises(RuntimeError):
        point.hessian_product(vector)
    with pytest.raises(RuntimeError):
        point.curvature_gradient(vector)
