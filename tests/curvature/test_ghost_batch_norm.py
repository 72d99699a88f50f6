"""GhostBatchNorm: PyTorch's BatchNorm on each group, with its running statistics."""

from __future__ import annotations

import pytest
import torch
from oracles import unit
from torch import Tensor, nn

from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.problems import GhostBatchNorm, Problem
from eostui.problems.batch import batch_loss, function_of_theta, parts_of, supervised_parts
from eostui.problems.losses import cross_entropy
from eostui.problems.running_statistics import running_statistics

#: Samples, in groups of 4: two whole ones and a remainder of 3.
N, GROUP = 11, 4
SHAPES = {"vectors": (N, 5), "images": (N, 5, 3, 2)}


class Around(nn.Module):
    """A norm between polynomials in θ, so that it and what it normalises move with θ."""

    def __init__(self, norm: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.randn(shape[1:]))
        self.square = nn.Parameter(torch.randn(shape[1:]))
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear * x + self.square * x * x).pow(2).flatten(1)[:, :5]


class GroupByGroup(nn.Module):
    """PyTorch's own layer, called on one group after another."""

    def __init__(self, norm: nn.Module, size: int) -> None:
        super().__init__()
        self.norm, self.size = norm, size

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.norm(group) for group in x.split(self.size or len(x))])


def pair(
    shape: tuple[int, ...], size: int, affine: bool, **tracking: object
) -> tuple[nn.Module, ...]:
    """Two modules in float64 that should be one function, PyTorch's second."""
    torch.manual_seed(4)
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    theirs = GroupByGroup(kind(5, affine=affine, **tracking), size)  # type: ignore[arg-type]
    modules = [
        Around(norm, shape).double() for norm in (GhostBatchNorm(5, size, affine=affine), theirs)
    ]
    parameters = torch.randn(sum(p.numel() for p in modules[0].parameters()), dtype=torch.float64)
    for module in modules:
        nn.utils.vector_to_parameters(parameters, module.parameters())
    return tuple(modules)


def batch(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    targets = torch.nn.functional.one_hot(torch.arange(N) % 5, 5).double()
    return torch.randn(shape, dtype=torch.float64), targets


@pytest.mark.parametrize("size", [GROUP, 0, N, N + 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_each_group_is_pytorchs_batch_norm_through_the_second_derivative(shape, size):
    """L, ∇L and Hv are those of PyTorch's layer group by group; D³L[v, v, ·] is what Hv does."""
    x, y = batch(SHAPES[shape])
    ours, theirs = pair(SHAPES[shape], size, affine=True, track_running_stats=False)
    problem = Problem.from_module(ours, cross_entropy, x, y, convention="test")
    theta, v, step = problem.initial, unit(len(problem.initial), 3), 1e-5
    expected = batch_loss(function_of_theta(theirs), cross_entropy, x, y, 0)
    leaf = theta.clone().requires_grad_()
    loss = expected(leaf)
    (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
    (product,) = torch.autograd.grad(gradient, leaf, v)
    point = Point(problem.loss, theta)
    torch.testing.assert_close(point.loss, loss.detach(), rtol=1e-13, atol=0)
    torch.testing.assert_close(point.gradient, gradient.detach(), rtol=1e-10, atol=1e-13)
    found, third = point.curvature_gradient(v)
    torch.testing.assert_close(found, product, rtol=1e-9, atol=1e-12)
    up, down = (Point(problem.loss, theta + s * v).hessian_product(v) for s in (step, -step))
    difference = (up - down) / (2 * step)
    assert (third - difference).norm() < 1e-7 * difference.norm()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("size", [GROUP, 0])
@pytest.mark.parametrize("shape", SHAPES)
def test_running_statistics_are_pytorchs(shape, size, affine):
    """After one pass of the groups, with `momentum=None`: the buffers, and the outputs in eval mode."""
    x, y = batch(SHAPES[shape])
    ours, theirs = pair(SHAPES[shape], size, affine, momentum=None)
    problem = Problem.from_module(ours, cross_entropy, x, y, convention="test", test=(x[:3], y[:3]))
    found = running_statistics(supervised_parts(problem.loss), problem.initial)
    theirs(x)
    buffers = dict(theirs.norm.norm.named_buffers())
    assert found.keys() == {f"norm.{name}" for name in buffers}
    for name, expected in buffers.items():
        torch.testing.assert_close(found[f"norm.{name}"], expected, rtol=1e-12, atol=1e-14)

    theirs.eval().requires_grad_(False)
    assert problem.test is not None
    expected = float(cross_entropy(theirs(x[:3]), y[:3]))
    assert problem.test(problem.initial).loss == pytest.approx(expected, rel=1e-12)
    copied = problem.module(problem.initial).eval()
    torch.testing.assert_close(copied(x), theirs(x), rtol=1e-12, atol=1e-12)
    fresh = GhostBatchNorm(5, size).double()  # the problem's own module is as it was
    assert all(torch.equal(a, b) for a, b in zip(fresh.buffers(), ours.norm.buffers(), strict=True))


def test_a_layer_that_is_the_module_itself_has_statistics_too():
    x, y = batch(SHAPES["vectors"])
    layer = GhostBatchNorm(5, GROUP).double()
    problem = Problem.from_module(layer, cross_entropy, x, y, convention="test", test=(x, y))
    theirs = nn.BatchNorm1d(5, momentum=None).double()
    for group in x.split(GROUP):
        theirs(group)
    copied = problem.module(problem.initial)
    torch.testing.assert_close(copied.state_dict(), theirs.state_dict())
    expected = float(cross_entropy(theirs.eval()(x).detach(), y))
    assert problem.test is not None
    assert problem.test(problem.initial).loss == pytest.approx(expected, rel=1e-12)


def test_chunks_of_whole_groups_are_the_whole_batch():
    """L, ∇L, Hv, ∇S and the statistics; the remainder is in the last chunk."""
    x, y = batch(SHAPES["images"])
    module, _ = pair(SHAPES["images"], GROUP, affine=True)
    whole, chunked = (
        Problem.from_module(
            module, cross_entropy, x, y, convention="test", test=(x, y), chunk_size=size
        )
        for size in (0, GROUP)
    )
    assert [len(part.supervised.inputs) for part in parts_of(chunked.loss)] == [4, 4, 3]
    theta, v = whole.initial, unit(len(whole.initial), 3)
    points = [Point(problem.loss, theta) for problem in (whole, chunked)]
    torch.testing.assert_close(points[0].loss, points[1].loss, rtol=1e-13, atol=0)
    torch.testing.assert_close(points[0].gradient, points[1].gradient, rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(*(p.curvature_gradient(v) for p in points), rtol=1e-9, atol=1e-12)
    statistics = [running_statistics(supervised_parts(p.loss), theta) for p in (whole, chunked)]
    torch.testing.assert_close(*statistics, rtol=1e-12, atol=1e-14)
    assert whole.test(theta).loss == pytest.approx(chunked.test(theta).loss, rel=1e-12)


@pytest.mark.parametrize(
    ("size", "chunk", "sentence"),
    [
        (4, 3, r"`chunk_size` is 3, but groups of 4 .* such as 4, or 0"),
        (4, 10, r"multiple of that, such as 8, or 0"),
        (0, 4, r"normalises all samples together: set it to 0"),
    ],
)
def test_chunks_that_would_cut_a_group_are_a_sentence(size, chunk, sentence):
    x, y = batch(SHAPES["vectors"])
    module = nn.Sequential(nn.Linear(5, 5), GhostBatchNorm(5, size)).double()
    with pytest.raises(InputError, match=sentence):
        Problem.from_module(module, cross_entropy, x, y, convention="test", chunk_size=chunk)


def test_another_coupling_beside_it_is_refused_still():
    class Centred(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(0)

    x, y = batch(SHAPES["vectors"])
    module = nn.Sequential(nn.Linear(5, 5), GhostBatchNorm(5, 4), Centred()).double()
    for settings in ({"chunk_size": 4}, {"test": (x, y)}):
        with pytest.raises(InputError, match="depend on the other samples"):
            Problem.from_module(module, cross_entropy, x, y, convention="test", **settings)
