"""Nesterov's momentum: its step is torch's, and its threshold (2 + 2μ)/((1 + 2μ)η) − λ is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_runs import EXACT, train

from eostui.config import RunConfig
from eostui.dynamics.gradient_descent import GradientDescent
from eostui.dynamics.nesterov import Nesterov
from eostui.problems import Problem
from eostui.stability import NESTEROV

pytestmark = pytest.mark.usefixtures("one_thread")

etas, decays, momenta = st.floats(0.01, 2.0), st.floats(0.0, 0.3), st.floats(0.0, 0.98)


def config(**values):
    return RunConfig.build({**EXACT, "dynamics": "nesterov", **values}, "test")


def quadratic(*curvatures):
    s = torch.tensor(curvatures, dtype=torch.float64)
    return Problem(torch.ones_like(s), lambda at: 0.5 * (s * at * at).sum(), "½ Σ s θ²")


def spectral_radius(s, eta, decay, momentum):
    """Of (θ_t, x_t) → (θ_{t+1}, x_{t+1}) on one direction, from the two equations as they stand."""
    kept = 1 - eta * (s + decay)
    step = np.array([[(1 + momentum) * kept, -momentum], [kept, 0.0]])
    return np.abs(np.linalg.eigvals(step)).max()


@given(etas, decays, momenta)
def test_the_threshold_is_where_the_spectral_radius_is_one(eta, decay, momentum):
    threshold = NESTEROV.threshold({"eta": eta, "weight_decay": decay, "momentum": momentum})
    step = 1e-3 / eta
    assert spectral_radius(threshold - step, eta, decay, momentum) < 1
    assert spectral_radius(threshold + step, eta, decay, momentum) > 1
    for share in np.linspace(1e-3, 1 - 1e-3, 20):  # no other boundary comes first
        curvature = share * (threshold + decay) - decay
        assert spectral_radius(curvature, eta, decay, momentum) < 1


def moved(problem, controls, steps, kind=Nesterov):
    dynamics, theta = kind(config(), problem), problem.initial
    thetas = [theta]
    for _ in range(steps):
        leaf = theta.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(problem.loss(leaf), leaf)
        theta = dynamics.step(theta, gradient, controls)
        thetas.append(theta)
    return torch.stack(thetas), dynamics


@pytest.mark.parametrize("momentum", [0.0, 0.6, 0.95])
def test_the_step_is_torchs(momentum):
    """Also the first, from rest, and with coupled decay."""
    problem, eta, decay = quadratic(3.0, 8.0, 0.1), 0.1, 0.4
    found, _ = moved(problem, {"eta": eta, "weight_decay": decay, "momentum": momentum}, 30)
    theta = problem.initial.clone().requires_grad_()
    optimizer = torch.optim.SGD(
        [theta], lr=eta, momentum=momentum, nesterov=momentum > 0, weight_decay=decay
    )
    for row in found:
        torch.testing.assert_close(row, theta.detach(), rtol=1e-12, atol=1e-15)
        optimizer.zero_grad()
        problem.loss(theta).backward()
        optimizer.step()


def test_without_momentum_it_is_gradient_descent_to_the_bit():
    controls = {"eta": 0.13, "weight_decay": 0.2, "momentum": 0.0}
    problem = quadratic(3.0, 8.0, 0.1)
    assert torch.equal(
        moved(problem, controls, 20)[0], moved(problem, controls, 20, GradientDescent)[0]
    )


def test_its_state_is_all_that_the_next_step_needs():
    controls = {"eta": 0.1, "weight_decay": 0.01, "momentum": 0.9}
    problem = quadratic(3.0, 8.0)
    thetas, dynamics = moved(problem, controls, 10)
    other = Nesterov(config(), problem)
    other.restore(dynamics.state())
    gradient = torch.tensor([3.0, 8.0], dtype=torch.float64) * thetas[-1]
    assert torch.equal(*(each.step(thetas[-1], gradient, controls) for each in (dynamics, other)))


@pytest.mark.parametrize(("momentum", "decay"), [(0.5, 0.2), (0.9, 0.0)])
@pytest.mark.parametrize(("share", "status"), [(0.995, "finished"), (1.005, "diverged")])
def test_real_runs_grow_just_above_the_threshold_and_die_out_just_below(
    tmp_path, momentum, decay, share, status
):
    """By the engine's own loop; the rows are θ, where the gradients are taken."""
    eta = 0.1
    own = config(
        eta=eta, weight_decay=decay, momentum=momentum, steps=3000, cadence=10**6,
        test_cadence=10**6,
    )  # fmt: skip
    threshold = (2 + 2 * momentum) / ((1 + 2 * momentum) * eta) - decay
    s = share * threshold
    run, found = train(tmp_path, own, quadratic(s, 1e-3 * threshold))
    assert found == status
    assert run.steps["stability_threshold"][0] == pytest.approx(threshold, rel=1e-15)
    assert run.measured["sharpness"][0] == pytest.approx(s, rel=1e-9)
    kept, behind, theta = 1 - eta * (s + decay), 1.0, 1.0
    for recorded in run.steps["theta_1"][:200]:
        assert recorded == pytest.approx(theta, rel=1e-9)
        before, behind = behind, kept * theta
        theta = behind + momentum * (behind - before)
    # ‖∇L‖ doesn't follow from its steps, so rest is never called converged
    assert "converged" not in {e.payload["to"] for e in run.events if e.kind == "phase"}
    run.close()
