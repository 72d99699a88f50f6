"""AdamW and RMSProp: torch's steps, thresholds of the preconditioned Hessian, its spectrum and drives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from engines import small
from hypothesis import given
from hypothesis import strategies as st
from toy_runs import EXACT, build, train

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.dynamics import DYNAMICS
from eostui.dynamics.adamw import AdamW
from eostui.dynamics.path import path_curvature
from eostui.dynamics.rmsprop import RMSProp
from eostui.errors import InputError
from eostui.probes import probes_of
from eostui.probes.probe_set import ProbeSet
from eostui.problems import Problem
from eostui.stability import ADAMW, RMSPROP

pytestmark = pytest.mark.usefixtures("one_thread")


def config(name, **values):
    return RunConfig.build({**EXACT, "dynamics": name, **values}, "test")


def quadratic(hessian, start):
    matrix = torch.as_tensor(hessian, dtype=torch.float64)
    at = torch.as_tensor(start, dtype=torch.float64)
    return Problem(at, lambda theta: 0.5 * theta @ matrix @ theta, "½ θᵀHθ")


def rosenbrock():
    def loss(theta):
        return (1 - theta[0]) ** 2 + 10 * (theta[1] - theta[0] ** 2) ** 2 + 0 * theta[2]

    return Problem(torch.tensor([-0.7, 0.4, 0.1], dtype=torch.float64), loss, "f(θ)")


def gradient_at(problem, theta):
    leaf = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(problem.loss(leaf), leaf)
    return gradient


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("beta1", "beta2", "decay"), [(0.9, 0.999, 0.0), (0.9, 0.99, 0.3), (0.0, 0.9, 0.1), (0.5, 0.0, 0.0)]
)  # fmt: skip
def test_adamws_step_is_torchs(beta1, beta2, decay, dtype):
    """From the first one on; a parameter whose gradient is 0 moves by decay alone."""
    problem, eta, epsilon = rosenbrock(), 0.01, 1e-6
    own = config("adamw", beta2=beta2, epsilon=epsilon)
    dynamics, theta = AdamW(own, problem), problem.initial.to(dtype)
    torchs = theta.clone().requires_grad_()
    optimizer = torch.optim.AdamW(
        [torchs], lr=eta, betas=(beta1, beta2), eps=epsilon, weight_decay=decay
    )
    exact, steps = (1e-11, 60) if dtype is torch.float64 else (1e-5, 8)  # signs are what moves it
    for _ in range(steps):
        optimizer.zero_grad()
        problem.loss(torchs).backward()
        optimizer.step()
        controls = {"eta": eta, "weight_decay": decay, "beta1": beta1}
        theta = dynamics.step(theta, gradient_at(problem, theta), controls)
        assert theta.dtype is dtype
        torch.testing.assert_close(theta, torchs.detach(), rtol=exact, atol=exact)


@pytest.mark.parametrize(("beta2", "decay"), [(0.99, 0.0), (0.9, 0.3)])
def test_rmsprops_step_is_torchs_after_decay_of_its_own(beta2, decay):
    problem, eta = rosenbrock(), 0.01
    dynamics, theta = RMSProp(config("rmsprop", beta2=beta2), problem), problem.initial
    torchs = theta.clone().requires_grad_()
    optimizer = torch.optim.RMSprop([torchs], lr=eta, alpha=beta2)
    for _ in range(60):
        optimizer.zero_grad()
        problem.loss(torchs).backward()
        with torch.no_grad():
            torchs.mul_(1 - eta * decay)
        optimizer.step()
        gradient = gradient_at(problem, theta)
        theta = dynamics.step(theta, gradient, {"eta": eta, "weight_decay": decay})
        torch.testing.assert_close(theta, torchs.detach(), rtol=1e-11, atol=1e-12)


@given(st.floats(0.001, 1.0), st.floats(0.0, 0.5), st.floats(0.0, 0.98))
def test_adamws_threshold_is_where_the_spectral_radius_is_one(eta, decay, beta):
    """Of (θ_t, m_t) → (θ_{t+1}, m_{t+1}) on a direction of P^{-1/2}HP^{-1/2}, from its equations."""
    threshold = ADAMW.threshold({"eta": eta, "weight_decay": decay, "beta1": beta})

    def radius(s):
        kept = 1 - eta * decay
        step = [[kept - eta * (1 - beta) * s, -eta * beta], [(1 - beta) * s, beta]]
        return np.abs(np.linalg.eigvals(np.array(step))).max()

    assert radius(threshold * (1 - 1e-4)) < 1 < radius(threshold * (1 + 1e-4))
    assert all(radius(share * threshold) < 1 for share in np.linspace(1e-2, 0.99, 15))


HESSIAN = [[3.0, 1.0, 0.2], [1.0, 2.0, -0.4], [0.2, -0.4, 0.7]]
SECOND = np.array([4.0, 0.25, 1.0])


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize(("name", "beta"), [("adamw", 0.9), ("adamw", 0.0), ("rmsprop", 0.0)])
def test_with_a_frozen_preconditioner_steps_grow_just_above_the_threshold_alone(name, beta, decay):
    """The threshold is of P⁻¹H, by SciPy: η is put 0.2 % below what makes it critical, and above."""
    start = np.array([1.0, -2.0, 0.5]) * 1e-9  # so small that v stays as it is
    problem = quadratic(HESSIAN, start)
    own = config(name, beta2=1 - 2**-53, epsilon=1e-12)
    critical = scipy.linalg.eigh(HESSIAN, np.diag(np.sqrt(SECOND) + 1e-12), eigvals_only=True)[-1]
    stability = DYNAMICS[name].stability
    at_one = {"eta": 1.0, "weight_decay": 0.0, "beta1": beta}
    # threshold(η) = critical, where it is (c/η − λc/2), c its value at η = 1
    c = float(stability.threshold(at_one))
    eta = c / (critical + decay * c / 2)
    largest = {}
    for share in (0.998, 1.002):
        controls = {"eta": eta * share, "weight_decay": decay, "beta1": beta}
        dynamics, theta = DYNAMICS[name](own, problem), problem.initial
        second, log = torch.tensor(SECOND), torch.tensor(-math.inf, dtype=torch.float64)
        kept = [second] if name == "rmsprop" else [torch.zeros_like(second), second, log, log]
        dynamics.restore({f"carried_{number}": each for number, each in enumerate(kept)})
        for _ in range(6000):
            theta = dynamics.step(theta, gradient_at(problem, theta), controls)
            if theta.norm() > 1e-7:
                break
        assert dynamics.preconditioner() == pytest.approx(np.sqrt(SECOND), rel=1e-9)
        largest[share] = float(theta.norm())
    assert largest[0.998] < 1e-9
    assert largest[1.002] > 1e-8
    assert float(stability.threshold({"eta": eta, "weight_decay": decay, "beta1": beta})) == (
        pytest.approx(critical, rel=1e-12)
    )


def test_what_is_measured_is_of_the_preconditioned_hessian():
    """S, the drives and κ by a dense float64 oracle in the coordinates P^{1/2}θ."""
    own = config(
        "adamw", samples=40, width=4, depth=1, activation="tanh", eta=0.01, weight_decay=0.1,
        eigenvalues=3,
    )  # fmt: skip
    problem = build(own)
    dynamics, controls = AdamW(own, problem), AdamW.stability.at_start(own)
    theta = problem.initial
    gradient = gradient_at(problem, theta)
    for _ in range(4):
        before, gradient_before, theta = theta, gradient, dynamics.step(theta, gradient, controls)
        gradient = gradient_at(problem, theta)
    metric = dynamics.preconditioner()
    hessian = torch.autograd.functional.hessian(problem.loss, theta)
    scaled = hessian / torch.outer(metric.sqrt(), metric.sqrt())
    values, vectors = np.linalg.eigh(scaled.numpy())
    probes = ProbeSet(own, problem, probes_of(own), ADAMW, dynamics.operator)
    moment, point = probes.moment(0, controls), Point(problem.loss, theta)
    moment.scale = metric.rsqrt()
    found = {}
    for reading in probes.measure(probes.due(moment), point, moment):
        found |= reading.values
    for name, value in zip(("sharpness", "eig_2", "eig_3"), values[::-1], strict=False):
        assert found[name] == pytest.approx(value, rel=1e-8)

    def quadratic_form(phi):  # S with u and P held, in the coordinates of which all is said
        at = (phi / metric.sqrt()).detach().requires_grad_()
        h = torch.autograd.functional.hessian(problem.loss, at)
        w = torch.from_numpy(vectors[:, -1].copy()) / metric.sqrt()
        return float(w @ h @ w)

    phi = theta * metric.sqrt()
    # along −∇L in these coordinates βα is the rate at which S rises
    for along, name, sign in ((gradient / metric.sqrt(), "beta_alpha", -1), (phi, "g", 1)):
        h = 1e-5 / float(along.norm())
        slope = (quadratic_form(phi + h * along) - quadratic_form(phi - h * along)) / (2 * h)
        assert sign * found[name] == pytest.approx(slope, rel=1e-4)
    assert found["grad_norm"] == pytest.approx(float(gradient.norm()), rel=1e-12)
    assert found["gradient_u"] <= 1
    step = theta - before
    kappa = path_curvature(gradient, gradient_before, step, metric)
    moved = step * metric.sqrt()
    changed = (gradient - gradient_before) / metric.sqrt()
    assert float(kappa) == pytest.approx(float(changed @ moved / (moved @ moved)), rel=1e-9)


def test_a_run_records_its_thresholds_and_says_whose_sharpness_it_has(tmp_path):
    own = small(dynamics="adamw", eta=0.003, weight_decay=0.1, beta1=0.8, steps=30)
    run, status = train(tmp_path, own)
    assert status == "finished"
    assert run.steps["stability_threshold"][0] == pytest.approx((2 / 0.003 - 0.1) * 9)
    assert run.steps["stability_undecayed"][0] == pytest.approx(2 / 0.003 * 9)
    assert (run.steps["beta1"] == 0.8).all()
    told = {column.name: column.description for column in run.exported()}
    assert all(
        "P^-½HP^-½" in told[name] for name in ("sharpness", "eig_2", "beta", "path_curvature")
    )
    assert not any("P^" in told[name] for name in ("loss", "grad_norm", "theta_norm"))
    assert np.isfinite(run.steps["path_curvature"][:-1]).all()
    run.close()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"beta1": 1.0}, "`beta1`"),
        ({"beta2": -0.1}, "`beta2`"),
        ({"epsilon": 0.0}, "`epsilon`"),
        ({"weight_decay": 2.0, "eta": 0.6}, "flip the sign"),
        ({"controls": [{"step": 3, "momentum": 0.5}]}, "has only `eta`, `weight_decay`, `beta1`"),
        ({"controls": [{"step": 3, "beta1": 1.5}]}, "`beta1`"),
    ],
)  # fmt: skip
def test_what_it_cannot_be_given_is_a_sentence(values, said):
    with pytest.raises(InputError, match=said):
        config("adamw", **values)


@pytest.mark.parametrize("probe", ["radius", "weyl"])
def test_a_probe_that_compares_s_with_the_hessian_is_refused(probe):
    own = small(dynamics="adamw", probes=(probe,))
    with pytest.raises(InputError, match="with the dynamics adamw S is that of P"):
        probes_of(own)[-1](own, build(own))


def test_settings_that_act_are_those_of_the_dynamics():
    assert {"beta1", "beta2", "epsilon"} <= config("adamw").acting().keys()
    assert {"beta2", "epsilon"} <= config("rmsprop").acting().keys()
    assert "beta1" not in config("rmsprop").acting()
    assert not {"beta1", "beta2", "epsilon"} & config("gradient-descent").acting().keys()
    assert RMSPROP.threshold({"eta": 0.1, "weight_decay": 0.5}) == 19.5
