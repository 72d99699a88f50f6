"""D⁴L[u, u, u, u]: against automatic differentiation, closed forms, and where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import LOSS, dense_fourth, dense_hessian, dense_third, mlp

from eostui import presets
from eostui.config import RunConfig
from eostui.curvature import quartic
from eostui.curvature.point import Point, plain_gradient
from eostui.curvature.quartic import quartic_along
from eostui.problems import build_problem

pytestmark = pytest.mark.usefixtures("one_thread")


def sharpest(loss, theta):
    """u and ∇S from the dense Hessian, in float64."""
    u = torch.linalg.eigh(dense_hessian(loss, theta))[1][:, -1]
    return torch.stack([u, dense_third(loss, theta, u)])


def measured(problem, theta, axes):
    """What the package finds there, by its own Hessian product."""
    product = Point(problem.loss, theta).hessian_product(axes[0].to(theta))
    return quartic_along(problem.loss, theta, axes, product.to(axes))


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus"])
@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
@pytest.mark.parametrize("chunk_size", [0, 3])
def test_against_four_nested_derivatives(small_case, activation, loss, chunk_size):
    case = small_case("mlp", activation=activation, loss=loss, chunk_size=chunk_size)

    def plain(theta):
        return LOSS[loss](mlp(theta, case.inputs, [4, 4], 3, activation)[0], case.targets)

    axes = sharpest(plain, case.theta)
    wanted = float(dense_fourth(plain, case.theta, axes[0]))
    assert measured(case.problem, case.theta, axes) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("share", [0.25, 0.5, 2.0])
def test_the_distance_doesnt_matter(small_case, monkeypatch, share):
    case = small_case("mlp", activation="tanh")

    def plain(theta):
        return LOSS["mse"](mlp(theta, case.inputs, [4, 4], 3, "tanh")[0], case.targets)

    axes = sharpest(plain, case.theta)
    usual = measured(case.problem, case.theta, axes)
    monkeypatch.setattr(quartic, "REACH", share * quartic.REACH)
    assert measured(case.problem, case.theta, axes) == pytest.approx(usual, rel=2e-3)


def toy(name, **arguments):
    config = RunConfig.build(
        {"problem": name, "problem_arguments": arguments, "eta": 0.01, "dtype": "float64"}, "test"
    )
    return build_problem(config, torch.device("cpu"), Path(), lambda _: None)


@pytest.mark.parametrize("start", [(1.5, 0.4), (0.3, -2.0)])
def test_of_a_quartic_polynomial_it_is_the_closed_form(start):
    """½(1 − xy)²: its part of fourth order along u is ½(u₁u₂)² s⁴, so D⁴ = 12(u₁u₂)²."""
    problem = toy("two-layer-scalar")
    theta = torch.tensor(start, dtype=torch.float64)
    axes = sharpest(lambda at: (1 - at[0] * at[1]) ** 2 / 2, theta)
    wanted = 12 * float(axes[0][0] * axes[0][1]) ** 2
    assert measured(problem, theta, axes) == pytest.approx(wanted, rel=1e-6)


def test_a_cubic_has_none_and_neither_has_a_quadratic():
    """Of what rounding leaves, the map sees less than the last places of S at x = ε."""
    problem = toy("cubic-normal-form", a=0.01, b=1.3, eta_star=0.5, x_star=0.0, s_star=0.0)
    theta = torch.tensor([0.05, 0.2], dtype=torch.float64)
    axes = sharpest(lambda at: (4 + 1.3 * at[1]) * at[0] ** 2 / 2 - 0.01 * at[1], theta)
    reach = quartic.REACH * 4 / float(axes[1].norm())
    assert abs(measured(problem, theta, axes)) * reach**2 < 1e-13
    flat = torch.stack([axes[0], torch.zeros_like(axes[0])])
    assert quartic_along(lambda at: 2 * at @ at, theta, flat, 4 * axes[0]) == 0.0


def descended(name, steps, **changes):
    """A shipped preset's problem on fewer samples, and θ after some steps."""
    config = presets.load(name).config.changed(changes)
    problem = build_problem(config, torch.device("cpu"), Path(), lambda _: None)
    theta = problem.initial
    for _ in range(steps):
        theta = theta - config.eta * plain_gradient(problem.loss, theta)[1]
    return problem, theta


def power_axes(problem, theta):
    """u by power iteration and ∇S, in float64."""
    point = Point(problem.loss, theta)
    u = torch.ones_like(theta) / len(theta) ** 0.5
    for _ in range(300):
        u = point.hessian_product(u) + 0.5 * u  # the most negative eigenvalues are small
        u = u / u.norm()
    return torch.stack([u, point.curvature_gradient(u)[1]]).double()


def test_kinks_have_none():
    """On a ReLU network differences at neighbouring distances contradict each other."""
    problem, theta = descended("digits-mlp", 47)
    axes = power_axes(problem, theta)
    assert measured(problem, theta, axes) == 0.0


def test_float32_is_good_enough():
    """The same θ and u as in float64, to a per cent."""
    changes = {"samples": 300, "width": 50}
    problem, theta = descended("digits-mlp-tanh", 300, **changes)
    axes = power_axes(problem, theta)
    exact = measured(problem, theta, axes)
    single, _ = descended("digits-mlp-tanh", 0, **changes, dtype="float32")
    assert exact != 0
    assert measured(single, theta.float(), axes) == pytest.approx(exact, rel=0.01)
    assert np.isfinite(exact)
