"""Layers through the third derivative: against finite differences, refused where PyTorch is wrong."""

from __future__ import annotations

import pytest
import torch
from oracles import unit
from torch import nn
from torch.nn import functional

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.problems import ElementaryBatchNorm, ElementaryLayerNorm, Problem, build_problem
from eostui.problems.batch import function_of_theta
from eostui.problems.losses import half_squared_error

VECTORS, IMAGES, SEQUENCES = (5, 6), (5, 4, 6, 6), (5, 3, 6)


class Around(nn.Module):
    """A layer behind an elementwise polynomial in x, so that what it normalises moves with θ."""

    def __init__(self, layer: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.randn(shape[1:]))
        self.square = nn.Parameter(torch.randn(shape[1:]))
        self.inner = nn.ModuleDict({"layer": layer})  # nested, as in users' own modules

    def forward(self, x):
        out = self.inner["layer"](self.linear * x + self.square * x * x)
        return out[0] if isinstance(out, tuple) else out


class SelfAttention(nn.MultiheadAttention):
    def __init__(self, need_weights: bool) -> None:
        super().__init__(6, 2, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x):
        return super().forward(x, x, x, need_weights=self.need_weights)[0]


class Functional(nn.Module):
    def forward(self, x):
        return functional.layer_norm(x, x.shape[-1:])


def around(make, shape):
    """The module, its inputs, targets and θ in float64."""
    torch.manual_seed(2)
    module = Around(make(), shape).double()
    x = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        y = torch.randn_like(module(x))
    return module, x, y


def quartic(outputs, targets):
    """A loss with a third derivative of its own, for layers that are linear piece by piece."""
    return (outputs - targets).pow(4).sum() / len(outputs)


def errors(loss, theta):
    """Relative errors of Hv and D³L[v, v, ·] against central differences of ∇L and Hv."""
    v, step = unit(len(theta), 3), 1e-5
    point, up, down = (Point(loss, theta + d * v) for d in (step * 0, step, -step))
    product, third = point.curvature_gradient(v)
    second = (up.gradient - down.gradient) / (2 * step)
    difference = (up.hessian_product(v) - down.hessian_product(v)) / (2 * step)
    return (
        float((product - second).norm() / second.norm()),
        float((third - difference).norm() / difference.norm()),
    )


RIGHT = {
    "ElementaryLayerNorm": (lambda: ElementaryLayerNorm(6), VECTORS),
    "ElementaryLayerNorm of images": (lambda: ElementaryLayerNorm((4, 6, 6)), IMAGES),
    "ElementaryBatchNorm": (lambda: ElementaryBatchNorm(6), VECTORS),
    "ElementaryBatchNorm of images": (lambda: ElementaryBatchNorm(4), IMAGES),
    "BatchNorm1d, eval": (lambda: nn.BatchNorm1d(6).eval(), VECTORS),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), IMAGES),
    "RMSNorm": (lambda: nn.RMSNorm(6), VECTORS),
    "Softmax": (lambda: nn.Softmax(1), VECTORS),
    "Conv2d": (lambda: nn.Conv2d(4, 3, 3), IMAGES),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 3, 3), IMAGES),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), IMAGES),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), IMAGES),
    "attention with weights": (lambda: SelfAttention(True), SEQUENCES),
    "LSTM": (lambda: nn.LSTM(6, 3, batch_first=True), SEQUENCES),
    "GRU": (lambda: nn.GRU(6, 3, batch_first=True), SEQUENCES),
    **{
        kind.__name__: (kind, VECTORS)
        for kind in (nn.ReLU, nn.Tanh, nn.GELU, nn.ELU, nn.Softplus, nn.SiLU, nn.Mish, nn.Sigmoid)
    },
}


@pytest.mark.parametrize("layer", RIGHT)
def test_a_layer_that_is_let_through_has_right_derivatives(layer):
    """Hv and D³L[v, v, ·] are the central differences of ∇L and Hv."""
    module, x, y = around(*RIGHT[layer])
    problem = Problem.from_module(module, quartic, x, y, convention="test")
    second, third = errors(problem.loss, problem.initial)
    assert second < 1e-7
    assert third < 1e-7


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (ElementaryLayerNorm(6), nn.LayerNorm(6), VECTORS),
        (ElementaryLayerNorm((6, 6), eps=0.1), nn.LayerNorm((6, 6), eps=0.1), IMAGES),
        (ElementaryLayerNorm(6, bias=False), nn.LayerNorm(6, bias=False), SEQUENCES),
        (
            ElementaryLayerNorm(6, elementwise_affine=False),
            nn.LayerNorm(6, elementwise_affine=False),
            VECTORS,
        ),
        (ElementaryBatchNorm(6), nn.BatchNorm1d(6, track_running_stats=False), VECTORS),
        (ElementaryBatchNorm(4), nn.BatchNorm2d(4, track_running_stats=False), IMAGES),
        (
            ElementaryBatchNorm(4, eps=0.1, affine=False),
            nn.BatchNorm2d(4, eps=0.1, affine=False, track_running_stats=False),
            IMAGES,
        ),
    ],
)
def test_the_elementary_norms_are_torchs_functions_with_the_same_parameters(ours, theirs, shape):
    """Same state_dict, same outputs, same gradient in the input."""
    ours, theirs = ours.double(), theirs.double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(shape, dtype=torch.float64)
    found, wanted = ours(x), theirs(x)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    slopes = [torch.autograd.grad((out * weight).sum(), x)[0] for out in (found, wanted)]
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-12)


WRONG = {
    "LayerNorm": (lambda: nn.LayerNorm(6), VECTORS, "ElementaryLayerNorm"),
    "functional layer_norm": (Functional, VECTORS, "ElementaryLayerNorm"),
    "BatchNorm1d": (
        lambda: nn.BatchNorm1d(6, track_running_stats=False),
        VECTORS,
        "ElementaryBatchNorm",
    ),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4), IMAGES, "GroupNorm"),
    "weight_norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)),
        VECTORS,
        "written out",
    ),
}


@pytest.mark.parametrize("layer", WRONG)
def test_what_torch_gets_wrong_is_refused_and_still_wrong(layer):
    """The refusal names the layer and a replacement; without it ∇S would be wrong, or an error.

    Should PyTorch mend one of them, the second half fails and the refusal can go.
    """
    make, shape, instead = WRONG[layer]
    module, x, y = around(make, shape)
    with pytest.raises(InputError, match=instead) as error:
        Problem.from_module(module, half_squared_error, x, y, convention="test")
    if layer in ("LayerNorm", "BatchNorm1d", "InstanceNorm2d"):
        assert f"`inner.layer`, {layer}" in str(error.value)

    outputs = function_of_theta(module)
    theta = nn.utils.parameters_to_vector(module.parameters()).detach()
    try:
        _, third = errors(lambda at: half_squared_error(outputs(at, x), y), theta)
    except RuntimeError as raised:
        third, sentence = float("inf"), str(raised)
        assert "does not support 3rd" in sentence
    assert third > 1e-3


def test_other_modules_that_cannot_be_measured_are_refused():
    """Random numbers, changing buffers, and operations without a second derivative: a sentence each."""

    class Moving(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return x

    for make, shape, sentence in (
        (lambda: nn.Dropout(0.5), VECTORS, "draws random numbers"),
        (nn.RReLU, VECTORS, "draws random numbers"),
        (Moving, VECTORS, "changes its buffer `inner.layer.calls`"),
        (lambda: SelfAttention(False), SEQUENCES, "can't differentiate the problem three times"),
        (nn.Hardsigmoid, VECTORS, "can't differentiate the problem three times"),
    ):
        module, x, y = around(make, shape)
        with pytest.raises(InputError, match=sentence):
            Problem.from_module(module, half_squared_error, x, y, convention="test")
    module, x, y = around(lambda: nn.Dropout(0.5), VECTORS)
    assert Problem.from_module(module.eval(), half_squared_error, x, y, convention="test")


def test_trying_a_module_leaves_the_random_numbers_as_they_were():
    """The draws after from_module are those that would have come without it."""
    module, x, y = around(nn.Tanh, VECTORS)
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    Problem.from_module(module, half_squared_error, x, y, convention="test", chunk_size=2)
    assert torch.equal(torch.rand(3), wanted)


def test_a_loss_without_a_module_is_tried_too(tmp_path):
    """A user's function that calls layer_norm itself is refused with its file and name."""
    file = tmp_path / "own.py"
    file.write_text(
        "import torch\nfrom eostui.problems import Problem\n\n\n"
        "def normed(device, dtype):\n"
        "    loss = lambda at: torch.nn.functional.layer_norm(at, (4,)).pow(3)[:2].sum()\n"
        "    return Problem(torch.arange(4.0, dtype=dtype), loss, 'c')\n\n\n"
        "def noisy(device, dtype):\n"
        "    return Problem(torch.ones(4, dtype=dtype), lambda at: (at * torch.rand(4)).sum(), 'c')\n"
    )
    for name, sentence in (("normed", "fused layer_norm"), ("noisy", "draws random numbers")):
        config = RunConfig.build({"problem": f"{file}:{name}", "dtype": "float64"}, "test")
        with pytest.raises(InputError, match=sentence) as error:
            build_problem(config, torch.device("cpu"), tmp_path, print)
        assert f"{file}:{name}" in str(error.value)
