"""Rates of decay of constructed oscillations, and of the reduced map's own cycle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made import facts
from toy_runs import toy_config, train

from eostui.oscillator import Parameters, simulate
from eostui.oscillator.theory import two_cycles
from eostui.runs.analysis.damping import after_onset, amplitudes, damping, floquet_rate
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter

STEPS = np.arange(0, 6000, 5.0)


def swinging(rate, period, noise=0.0, drift=0.0):
    random = np.random.default_rng(0)
    wave = np.exp(-rate * STEPS) * np.cos(2 * np.pi * STEPS / period + 0.3)
    return 13 + 2 * wave + drift * STEPS + noise * random.normal(size=len(STEPS))


@pytest.mark.parametrize("period", [30, 200])
@pytest.mark.parametrize("rate", [1e-4, 5e-4, 2e-3, 1e-2, -5e-4])
def test_the_rate_is_that_of_the_oscillation(rate, period):
    found = damping(STEPS, swinging(rate, period))
    assert found.rate == pytest.approx(rate, rel=0.005)


@pytest.mark.parametrize("rate", [1e-4, 5e-4, 2e-3])
def test_noise_at_the_end_is_no_slow_decay(rate):
    """A hundredth of the amplitude: without a floor the last swings would have the rate too low."""
    found = damping(STEPS, swinging(rate, 200, noise=0.02))
    assert found.rate == pytest.approx(rate, rel=0.1)
    assert abs(found.rate - rate) < 4 * found.error


def test_a_level_that_drifts():
    found = damping(STEPS, swinging(1e-3, 200, drift=-2e-5))
    assert found.rate == pytest.approx(1e-3, rel=0.03)


def test_an_alternation_is_filtered_and_leaves_the_rate(tmp_path):
    """On the bounce raw readings alternate: their share falls as they will, S's rate stays."""
    path = recorded(tmp_path / "r", swinging(1e-3, 200) + 0.5 * (-1.0) ** np.arange(len(STEPS)))
    with Run(path) as run:
        steps, values = after_onset(run)
    assert damping(steps, values).rate == pytest.approx(1e-3, rel=0.02)
    assert abs(np.diff(values[-50:], 2)).max() < 0.01


def test_what_does_not_swing_has_no_rate():
    for values in (np.full(len(STEPS), 13.0), 13 + STEPS / 1000, np.exp(-STEPS / 500)):
        assert math.isnan(damping(STEPS, values).rate)
    assert math.isnan(damping(STEPS[:5], STEPS[:5]).rate)
    assert math.isnan(damping(np.empty(0), np.empty(0)).rate)


def test_amplitudes_are_those_of_a_sine():
    wave = np.concatenate([a * np.sin(np.arange(100) * 2 * np.pi / 25) for a in range(8, 0, -1)])
    assert amplitudes(wave) == pytest.approx(np.arange(8, 0, -1))
    assert np.isnan(amplitudes(np.ones(10))).all()
    assert np.isnan(amplitudes(np.empty(0))).all()


def test_only_readings_from_the_onset_to_the_next_change_count(tmp_path):
    values = swinging(1e-3, 200)
    values[:40] = 5.0
    path = recorded(tmp_path / "r", values, changed_at=3000)
    with Run(path) as run:
        steps, _ = after_onset(run)
        first = next(int(t) for t, v in zip(STEPS, values, strict=True) if v >= 2 / 0.15)
    assert steps[0] == first >= 200
    assert steps[-1] <= 3000
    with Run(recorded(tmp_path / "low", np.full(len(STEPS), 5.0))) as run:
        assert len(after_onset(run)[0]) == 0
        assert math.isnan(floquet_rate(run))


def two_steps(p, state):
    """The reduced map twice, as MATH §3 writes it."""
    x, q = state
    for _ in range(2):
        threshold = 1 - p.eta * p.weight_decay
        x, q = (
            (threshold - p.eta * (p.reference_sharpness + q)) * x
            - p.eta * (p.gradient_u + p.weight_decay * p.g_x),
            threshold * q + p.eta * p.beta * (p.alpha - x * x / 2) - p.eta * p.weight_decay * p.g,
        )
    return np.array([x, q])


@pytest.mark.parametrize("decay", [1.0, 0.5, 0.1, 0.0])
def test_the_floquet_rate_is_that_of_the_linearised_two_step_map(tmp_path, decay):
    """Against eigenvalues of finite differences of two steps, and against an orbit that comes to rest."""
    told = {"beta": 3e4, "beta_alpha": 2.0, "g": -2.0, "g_u": 0.5, "sharpness": 97.0}
    p = Parameters(0.02, decay, 2 / 3e4, 3e4, g=-2.0, g_x=0.5, sharpness=97.0)
    cycle = two_cycles(p)
    at = np.array([float(cycle.x[0]), float(cycle.q[0])])
    assert two_steps(p, at) == pytest.approx(at, rel=1e-9)
    steps = np.array([1e-6, 1e-4])
    columns = [
        (two_steps(p, at + d) - two_steps(p, at - d)) / (2 * d.sum()) for d in np.diag(steps)
    ]
    size = np.abs(np.linalg.eigvals(np.stack(columns, axis=1))).max()
    path = recorded(tmp_path / "r", np.full(len(STEPS), 101.0), eta=0.02, decay=decay, first=told)
    with Run(path) as run:
        rate = floquet_rate(run)
    assert rate == pytest.approx(-0.5 * math.log(size), rel=1e-5)
    assert (rate > 0) == (
        decay > 0
    )  # without decay the cycle repels: SS's orbit spirals out (MATH §3.2)
    if decay == 1.0:
        orbit = simulate(p, (at[0] * 1.001, at[1]), 1200)
        away = np.abs(np.asarray(orbit.q)[::2] - at[1])
        measured = damping(np.arange(0, 1201, 2.0)[: len(away)], np.asarray(orbit.q)[::2])
        assert measured.rate == pytest.approx(rate, rel=0.1)


def recorded(path, sharpness, *, eta=0.15, decay=0.0, changed_at=None, first=None):
    """Write a run with these readings of S every five steps; `first` is the reading of step 0."""
    count = 5 * len(sharpness) - 4
    config = facts(count - 1)
    writer = RunWriter(path, config)
    rows = np.ones((count, 6))
    rows[:, 4], rows[:, 5] = eta, decay
    if changed_at is not None:
        rows[changed_at:, 4] = eta / 2
    writer.steps(0, rows)
    for place, value in enumerate(sharpness.tolist()):
        writer.measurement(5 * place, first if first and not place else {"sharpness": value})
    writer.close()
    return path


@pytest.mark.parametrize("decay", [0.03, 0.05])
def test_a_run_of_the_normal_form_decays_at_the_exact_rate(tmp_path, decay):
    """The problem that is the reduced map (MATH §3.3), trained by the engine: ηλ/2 is far off."""
    cycle = two_cycles(Parameters(0.5, decay, 0.04, 1.0, g=0.5))
    start = [1.05 * float(cycle.x[0]), float(cycle.q[0])]
    form = {"a": 0.04, "b": 1.0, "x_star": 0.0, "s_star": 0.5, "eta_star": 0.5, "start": start}
    config = toy_config(
        "cubic-normal-form", form, eta=0.5, weight_decay=decay, steps=1500, cadence=1
    )
    run, _ = train(tmp_path, config)
    with run:
        found = damping(*after_onset(run))
    assert found.rate == pytest.approx(float(cycle.decay[0]), rel=0.02)
    assert found.rate < 0.7 * 0.5 * decay / 2
