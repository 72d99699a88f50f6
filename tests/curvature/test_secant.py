"""Sharpness at a radius: against brute force over all directions, dense Hessians and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import LOSS, dense_hessian, mlp

from eostui.curvature.secant import sharpness_at_radius

pytestmark = pytest.mark.usefixtures("one_thread")

#: A search that ends where rounding does.
TO_THE_END = {"tolerance": 1e-13, "steps": 400, "refinements": 400}


def quotient(loss, centre, radius, direction):
    """⟨v, ∇L(m + δv) − ∇L(m − δv)⟩/(2δ), from the loss alone."""
    v = direction / direction.norm()
    ends = [torch.func.grad(loss)(centre + sign * radius * v) for sign in (1, -1)]
    return float(v @ (ends[0] - ends[1])) / (2 * radius)


def brute_force(loss, centre, radius, count):
    """The largest quotient over a grid on half the circle or the sphere, and where it is."""
    if len(centre) == 2:
        angles = torch.linspace(0, math.pi, count, dtype=torch.float64)
        grid = torch.stack([angles.cos(), angles.sin()], 1)
    else:  # a spiral that spreads its points evenly
        number = torch.arange(count, dtype=torch.float64)
        height, turn = 1 - number / count, number * math.pi * (3 - 5**0.5)
        across = (1 - height**2).clamp(min=0).sqrt()
        grid = torch.stack([across * turn.cos(), across * turn.sin(), height], 1)
    gradient = torch.func.vmap(torch.func.grad(loss))
    apart = gradient(centre + radius * grid) - gradient(centre - radius * grid)
    values = (grid * apart).sum(1) / (2 * radius)
    return float(values.max()), grid[values.argmax()]


def two_layer_scalar(theta):
    return (1 - theta[0] * theta[1]) ** 2 / 2


def valley(theta):
    return 3 * (theta[1] - theta[0] ** 2) ** 2 + torch.cos(2 * theta[0]) / 2


def three_weights(theta):
    """A tanh network of two units on a few points, with one weight shared."""
    x = torch.linspace(-2, 2, 7, dtype=theta.dtype)
    out = theta[1] * torch.tanh(theta[0] * x) + theta[2] * torch.tanh(theta[1] * x + theta[2])
    return ((out - torch.sin(2 * x)) ** 2).mean() / 2


SMOOTH = [
    (two_layer_scalar, (1.5, 0.4)),
    (two_layer_scalar, (0.3, -2.0)),
    (valley, (0.2, -0.3)),
    (three_weights, (1.3, -0.7, 0.9)),
    (three_weights, (-0.4, 2.0, 0.3)),
]


@pytest.mark.parametrize("radius", [0.03, 0.3, 1.0])
@pytest.mark.parametrize(("loss", "at"), SMOOTH)
def test_equal_to_brute_force_in_two_and_three_dimensions(loss, at, radius):
    """At radii at which it is far from S, from three starts that know nothing of it."""
    centre = torch.tensor(at, dtype=torch.float64)
    starts = torch.eye(len(at), dtype=torch.float64)
    found = sharpness_at_radius(
        loss, centre, radius, [*starts, torch.ones_like(centre)], **TO_THE_END
    )
    highest, there = brute_force(loss, centre, radius, 100_000)
    # a grid comes as near as half its spacing, so to the square of that
    assert found.value >= highest - 1e-12 * abs(highest)
    assert found.value == pytest.approx(highest, rel=1e-8 if len(at) == 2 else 1e-4)
    assert abs(float(found.direction @ there)) == pytest.approx(
        1, abs=1e-8 if len(at) == 2 else 1e-3
    )
    assert found.value == pytest.approx(quotient(loss, centre, radius, found.direction), rel=1e-10)
    assert found.residual < 1e-5


@pytest.mark.parametrize("radius", [0.05, 0.5])
def test_on_kinks_it_is_found_too(radius):
    """A ReLU network of three weights, whose gradient jumps, at the accuracy that a run asks for."""

    def loss(theta):
        x = torch.linspace(-2, 2, 41, dtype=theta.dtype)
        hidden = (theta[0] * x + theta[1]).clamp(min=0)
        return ((theta[2] * hidden - x.abs()) ** 2).mean() / 2

    centre = torch.tensor([0.8, 0.1, 1.1], dtype=torch.float64)
    starts = [*torch.eye(3, dtype=torch.float64), torch.ones_like(centre)]
    found = sharpness_at_radius(loss, centre, radius, starts)
    highest, _ = brute_force(loss, centre, radius, 100_000)
    assert found.value == pytest.approx(highest, rel=2e-3)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus"])
@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
def test_on_smooth_networks_it_comes_to_the_sharpness(small_case, activation, loss):
    """S_δ − S falls with δ², by the dense Hessian; so the limit is S to a part in 10⁷."""
    case = small_case("mlp", activation=activation, loss=loss, dtype="float64")

    def plain(theta):
        return LOSS[loss](mlp(theta, case.inputs, [4, 4], 3, activation)[0], case.targets)

    values, vectors = torch.linalg.eigh(dense_hessian(plain, case.theta))
    sharpness = float(values[-1])
    off = []
    for radius in (4e-2, 2e-2, 1e-2):
        found = sharpness_at_radius(
            case.problem.loss, case.theta, radius, [torch.ones_like(case.theta)], **TO_THE_END
        )
        off.append(found.value - sharpness)
        assert abs(float(found.direction @ vectors[:, -1])) > 0.99
    assert off[0] / off[1] == pytest.approx(4, rel=0.1)
    assert off[1] / off[2] == pytest.approx(4, rel=0.1)
    assert (4 * off[2] - off[1]) / 3 == pytest.approx(0, abs=1e-6 * sharpness)


@pytest.mark.parametrize("radius", [1e-3, 1.0, 50.0])
def test_of_a_quadratic_it_is_the_largest_eigenvalue_not_the_most_negative(radius):
    curvatures = torch.tensor([1.0, -10.0, 0.5, 0.0], dtype=torch.float64)

    def loss(theta):
        return (curvatures * theta**2).sum() / 2

    start = torch.tensor([0.1, 1.0, 1.0, 1.0], dtype=torch.float64)
    found = sharpness_at_radius(loss, torch.ones(4).double(), radius, [start], **TO_THE_END)
    assert found.value == pytest.approx(1.0, rel=1e-6)


def test_never_below_the_quotient_along_a_start(small_case):
    """So S_δ of a step, at its middle and half its length, is no less than its path curvature κ."""
    case = small_case("mlp", activation="relu", dtype="float64")
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        step = torch.randn(len(case.theta), generator=generator, dtype=torch.float64)
        radius = float(step.norm()) / 2
        change = [
            torch.func.grad(case.problem.loss)(case.theta + sign * step / 2) for sign in (1, -1)
        ]
        met = float(step @ (change[0] - change[1]) / (step @ step))
        found = sharpness_at_radius(case.problem.loss, case.theta, radius, [step], steps=2)
        assert found.value >= met * (1 - 1e-12)


def test_in_chunks_it_is_the_same(small_case):
    values = []
    for chunk_size in (0, 3):
        case = small_case("mlp", activation="relu", dtype="float64", chunk_size=chunk_size)
        start = torch.ones_like(case.theta)
        values.append(sharpness_at_radius(case.problem.loss, case.theta, 0.1, [start]).value)
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_in_float32_it_is_that_of_the_points_as_they_are_rounded(small_case):
    """At a radius of a few hundred roundings it is good to a per cent; at one of a few there is none."""
    wanted = small_case("mlp", activation="tanh", dtype="float64")
    case = small_case("mlp", activation="tanh", dtype="float32")
    start = torch.ones_like(wanted.theta)
    exact = sharpness_at_radius(wanted.problem.loss, wanted.theta, 1e-4, [start], **TO_THE_END)
    found = sharpness_at_radius(case.problem.loss, case.theta, 1e-4, [start])
    assert found.value == pytest.approx(exact.value, rel=0.01)
    assert sharpness_at_radius(case.problem.loss, case.theta, 1e-7, [start]) is None


def test_where_there_is_nothing_to_tell():
    theta = torch.ones(3, dtype=torch.float64)
    flat = sharpness_at_radius(lambda at: at.sum(), theta, 0.1, [theta])
    assert (flat.value, flat.residual) == (0.0, 0.0)
    assert sharpness_at_radius(lambda at: (at**200).sum(), 100 * theta, 90.0, [theta]) is None
    assert bool(flat.direction.isfinite().all())
