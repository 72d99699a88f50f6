"""Heavy-ball momentum: its step, and the threshold (2 + 2μ)/η − λ against oracles and real runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_runs import EXACT, train

from eostui.config import RunConfig
from eostui.dynamics import DYNAMICS, dynamics_of
from eostui.dynamics.gradient_descent import GradientDescent
from eostui.dynamics.heavy_ball import HeavyBall
from eostui.errors import InputError
from eostui.problems import Problem
from eostui.runs.analysis.phase_signals import signal_columns, summarize
from eostui.stability import HEAVY_BALL, STABILITY

pytestmark = pytest.mark.usefixtures("one_thread")

etas, decays, momenta = st.floats(0.01, 2.0), st.floats(0.0, 0.3), st.floats(0.0, 0.98)


def config(**values):
    return RunConfig.build({**EXACT, "dynamics": "heavy-ball", **values}, "test")


def quadratic(*curvatures, decayed=None):
    """½ Σ s_i θ_i² from θ = (1, …, 1)."""
    s = torch.tensor(curvatures, dtype=torch.float64)
    mask = None if decayed is None else torch.tensor(decayed, dtype=torch.float64)
    return Problem(
        torch.ones_like(s), lambda at: 0.5 * (s * at * at).sum(), "½ Σ s θ²", decayed=mask
    )


def spectral_radius(s, eta, decay, momentum):
    """Of the iteration (θ_t, θ_{t−1}) → (θ_{t+1}, θ_t) on one direction of curvature s."""
    step = np.array([[1 + momentum - eta * (s + decay), -momentum], [1.0, 0.0]])
    return np.abs(np.linalg.eigvals(step)).max()


def test_the_table_and_the_thresholds_have_the_same_names():
    assert {name: dynamics.stability for name, dynamics in DYNAMICS.items()} == STABILITY
    assert all(dynamics.name == name for name, dynamics in DYNAMICS.items())


def test_an_unknown_name_is_a_sentence_with_the_nearest():
    with pytest.raises(InputError, match="did you mean `heavy-ball`"):
        dynamics_of(RunConfig.build({}, "test").model_copy(update={"dynamics": "heavy-bal"}))


@given(etas, decays, momenta)
def test_the_threshold_is_where_the_spectral_radius_is_one(eta, decay, momentum):
    """Just below it both eigenvalues lie within the unit circle, just above one is beyond −1."""
    controls = {"eta": eta, "weight_decay": decay, "momentum": momentum}
    threshold = HEAVY_BALL.threshold(controls)
    step = 1e-3 / eta
    assert spectral_radius(threshold - step, eta, decay, momentum) < 1
    assert spectral_radius(threshold + step, eta, decay, momentum) > 1
    at_it = spectral_radius(threshold, eta, decay, momentum)
    assert at_it == pytest.approx(1, abs=1e-6)


@given(etas, momenta)
def test_any_curvature_below_the_threshold_is_stable(eta, momentum):
    """From flat to the threshold: no other boundary comes first."""
    threshold = HEAVY_BALL.threshold({"eta": eta, "weight_decay": 0.0, "momentum": momentum})
    for share in np.linspace(1e-3, 1 - 1e-3, 40):
        assert spectral_radius(share * threshold, eta, 0.0, momentum) < 1


def recursion(s, eta, decay, momentum, rows):
    """θ of one direction, from rest at 1, written out."""
    thetas = [1.0, 1.0]
    for _ in range(rows - 1):
        thetas.append((1 + momentum - eta * (s + decay)) * thetas[-1] - momentum * thetas[-2])
    return np.array(thetas[1:])


def moved(problem, controls, steps):
    """θ_0 … θ_steps by the class itself."""
    dynamics, theta = HeavyBall(config(), problem), problem.initial
    thetas = [theta]
    for _ in range(steps):
        leaf = theta.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(problem.loss(leaf), leaf)
        theta = dynamics.step(theta, gradient, controls)
        thetas.append(theta)
    return torch.stack(thetas).numpy(), dynamics


def test_steps_are_those_of_the_formula_and_decay_acts_on_the_decayed_alone():
    """Against the recursion written out in numpy, parameter by parameter."""
    eta, decay, momentum = 0.1, 0.4, 0.7
    controls = {"eta": eta, "weight_decay": decay, "momentum": momentum}
    curvatures, mask = (3.0, 8.0), (1.0, 0.0)
    found, _ = moved(quadratic(*curvatures, decayed=mask), controls, 30)
    for column, (s, kept) in enumerate(zip(curvatures, mask, strict=True)):
        before = at = 1.0
        for theta in found[:, column]:
            assert theta == pytest.approx(at, rel=1e-12, abs=1e-15)
            at, before = at - eta * (s + decay * kept) * at + momentum * (at - before), at


def test_without_momentum_it_is_gradient_descent_to_the_bit():
    controls = {"eta": 0.13, "weight_decay": 0.2, "momentum": 0.0}
    problem = quadratic(3.0, 8.0, 0.1)
    found, _ = moved(problem, controls, 20)
    descent, theta = GradientDescent(config(), problem), problem.initial
    for expected in found:
        assert torch.equal(theta, torch.from_numpy(expected))
        leaf = theta.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(problem.loss(leaf), leaf)
        theta = descent.step(theta, gradient, controls)


def test_its_state_is_all_that_the_next_step_needs():
    controls = {"eta": 0.1, "weight_decay": 0.01, "momentum": 0.9}
    problem = quadratic(3.0, 8.0)
    thetas, dynamics = moved(problem, controls, 10)
    other = HeavyBall(config(), problem)
    other.restore(dynamics.state())
    theta = torch.from_numpy(thetas[-1])
    gradient = torch.tensor([3.0, 8.0], dtype=torch.float64) * theta
    assert torch.equal(*(each.step(theta, gradient, controls) for each in (dynamics, other)))


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.5, 0.2), (0.9, 0.05)])
def test_real_runs_grow_just_above_the_threshold_and_die_out_just_below(tmp_path, momentum, decay):
    """The sharpest direction alone: its amplitude by the engine's own loop, at 0.2 % on both sides."""
    eta = 0.1
    values = {"eta": eta, "weight_decay": decay, "momentum": momentum, "steps": 4000}
    threshold = (2 + 2 * momentum) / eta - decay
    rare = {"cadence": 10**6, "test_cadence": 10**6}
    for name, share in (("below", 0.998), ("above", 1.002)):
        folder = tmp_path / name
        folder.mkdir()
        run, status = train(
            folder, config(**values, **rare), quadratic(share * threshold, 1e-3 * threshold)
        )
        np.testing.assert_allclose(
            run.steps["theta_1"],
            recursion(share * threshold, eta, decay, momentum, len(run.steps)),
            rtol=1e-6,
            atol=1e-9,
        )
        largest = np.abs(run.steps["theta_1"]).max()
        assert largest > 99 if name == "above" else largest < 30
        assert status == ("finished" if name == "below" else "diverged")
        assert run.steps["stability_threshold"][0] == pytest.approx(threshold, rel=1e-15)
        assert run.steps["stability_undecayed"][0] == pytest.approx(threshold + decay, rel=1e-15)
        assert (run.steps["momentum"] == momentum).all()
        assert run.measured["sharpness"][0] == pytest.approx(share * threshold, rel=1e-9)
        run.close()


def test_a_run_that_diverges_names_its_own_threshold(tmp_path):
    from eostui.engine.device import prepare_machine
    from eostui.engine.driver import Driver
    from eostui.engine.facts import initial_facts
    from eostui.runs.store.writer import RunWriter

    own, problem = config(eta=0.1, momentum=0.5, weight_decay=0.0, steps=3000), quadratic(40.0)
    writer = RunWriter(tmp_path / "r", initial_facts(own, prepare_machine(own), problem, "r", ""))
    status, sentence = Driver(own, problem).run(writer)
    writer.close()
    assert status == "diverged"
    assert sentence.endswith("with η 0.1, μ 0.5 the stable sharpness is below (2+2μ)/η = 30")


def test_a_network_rests_at_the_threshold_of_its_momentum(tmp_path):
    """The shipped preset, in its first steps: at (2 + 2μ)/η = 25, half as high again as 2/η."""
    from eostui import presets

    shipped = presets.load("digits-mlp-heavy-ball").config
    own = shipped.changed(
        {"steps": 1000, "measure": "spectrum", "eigenvalues": 1, "cadence": 40, "device": "cpu"}
    )
    run, status = train(tmp_path, own)
    assert status == "finished"
    late = run.measured["sharpness"][run.measured["step"] >= 800]
    assert run.steps["stability_threshold"][0] == 25.0
    assert late.mean() == pytest.approx(25.0, rel=0.03)
    assert run.steps["two_over_eta"][0] == pytest.approx(16.67, abs=0.01)
    run.close()


def test_the_gradient_that_phases_go_by_is_the_gradient(tmp_path):
    """‖∇L_λ‖ = ‖(s + λ)θ‖ of a quadratic; ‖Δθ‖/η would be up to 1/(1 − μ) times that."""
    decay, curvatures = 0.05, np.array([0.7, 2.0])
    own = config(eta=0.1, weight_decay=decay, momentum=0.9, steps=60)
    run, _ = train(tmp_path, own, quadratic(*curvatures))
    steps = run.steps
    arrivals = {
        "arrival_curvature": "path_curvature", "arrival_cosine": "step_cosine",
        "arrival_norm": "step_norm",
    }  # fmt: skip
    names = signal_columns(HEAVY_BALL.step_columns)
    rows = np.stack(
        [
            np.concatenate(([np.nan], steps[arrivals[name]][:-1]))
            if name in arrivals
            else steps[name]
            for name in names
        ],
        axis=1,
    )
    thetas = np.stack([recursion(s, 0.1, decay, 0.9, 61) for s in curvatures], axis=1)
    gradients = np.linalg.norm((curvatures + decay) * thetas, axis=1)
    for first in (0, 30):
        block, *_ = summarize(first, rows[first : first + 26], None, names)
        assert block.gradient == pytest.approx(np.median(gradients[first : first + 25]), rel=1e-9)
    run.close()
