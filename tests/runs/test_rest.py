"""The test of rest on series that are known to be at rest, or not, and how a run ends by it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from engines import Engine, assert_same_rows, entry, here, small
from scipy import stats

from eostui.runs.analysis.rest import LEAST_READINGS, RestWatch, not_level, rest_outcome
from eostui.runs.analysis.stops import ended_by
from eostui.runs.launch import Resume
from eostui.runs.run import Run
from eostui.stop_condition import REST

DRIFT, READINGS = 0.02, 40


def noise(seed, size=READINGS):
    return np.random.default_rng(seed).normal(size=size)


def test_a_level_with_noise_is_at_rest():
    """So is one that jumps between two levels at every reading, as S does on the bounce."""
    found = [not_level(10 + 0.3 * noise(seed), DRIFT) for seed in range(200)]
    assert sum(map(bool, found)) <= 20  # twice the error: a twentieth of them by chance
    assert not not_level(10 + np.resize([2.0, -2.0], READINGS), DRIFT)
    assert not not_level(np.full(READINGS, 10.0), DRIFT)


@pytest.mark.parametrize("rise", [0.1, 0.3, -0.2])
def test_a_trend_is_not(rise):
    """A line by least squares would say so too."""
    for seed in range(50):
        series = 10 * (1 + rise * np.linspace(0, 1, READINGS)) + 0.05 * noise(seed)
        fitted = stats.linregress(np.arange(READINGS), series)
        assert abs(fitted.slope) > 5 * fitted.stderr
        assert "S goes from" in not_level(series, DRIFT) or "known no better" in not_level(
            series, DRIFT
        )


def test_a_trend_below_the_drift_is_rest():
    assert not not_level(10 * (1 + 0.025 * np.linspace(0, 1, READINGS)), DRIFT)


@pytest.mark.parametrize("periods", [0.5, 1.0, 1.5])
def test_a_slow_oscillation_is_not_at_any_phase(periods):
    """Though its halves may be alike: then its mean isn't known well enough."""
    for phase in np.linspace(0, 2 * np.pi, 25):
        series = 10 + 1.5 * np.sin(phase + 2 * np.pi * periods * np.arange(READINGS) / READINGS)
        assert not_level(series, DRIFT), phase


def test_two_levels_one_after_the_other_are_not():
    for step in range(READINGS // 4, 3 * READINGS // 4):
        series = np.where(np.arange(READINGS) < step, 10.0, 12.0)
        assert not_level(series, DRIFT)


def test_too_much_noise_is_not():
    assert "known no better" in not_level(10 + 5 * noise(3), DRIFT)


@pytest.mark.parametrize("count", [0, 1, LEAST_READINGS - 1])
def test_few_readings_are_not(count):
    assert not_level(np.full(count, 10.0), DRIFT) == (
        f"S was measured {count} times, fewer than {LEAST_READINGS}"
    )


def test_a_watch_judges_its_window_alone():
    """A phase that isn't one of rest, or a control that changed, begins it anew; it never looks ahead."""
    watch, came = RestWatch(100, DRIFT), []
    for step in range(0, 600, 5):
        phase = "sharpening" if step < 50 else "edge"
        changed_at = 300 if step >= 300 else 0
        if watch.read(step, 10.0, phase, changed_at):
            came.append(step)
        elif step == 145:
            assert "its phase is edge since step 50 alone" in watch.why
        elif step == 320:
            assert "its controls are what they are since step 300 alone" in watch.why
    assert came == [*range(150, 300, 5), *range(400, 600, 5)]
    late = RestWatch(100, DRIFT)
    late.restore(json.loads(json.dumps(watch.state())))
    assert late.read(600, 10.0, "edge", 300)
    assert not late.read(605, 60.0, "edge", 300)


#: It rests at the edge within some hundred steps.
RESTING = {
    "steps": 3000, "rest_window": 300, "rest_drift": 0.03, "cadence": 5, "far_cadence": 0, "eta": 0.3,
    "test_cadence": 100_000,
}  # fmt: skip


def found(path):
    with Run(path) as run:
        return rest_outcome(run), ended_by(run.events), run.last_step, run.facts["sentence"]


@pytest.fixture(scope="module")
def rested(tmp_path_factory):
    return here(small(**RESTING, stop_at="rest +20"), tmp_path_factory.mktemp("rested"))


def test_a_run_ends_at_rest(rested):
    """By its own readings: the same test over the record, window after window, comes to the same step."""
    outcome, condition, last, sentence = found(rested)
    assert condition.kind == REST
    assert outcome.at_rest
    assert outcome.why == ""
    assert sentence == f"stopped as asked (S at rest, and 20 steps) at step {last}"
    assert outcome.came_at == last - 20
    with Run(rested) as run:
        steps = run.measured["step"]
        sharpness = run.measured["sharpness"]
        at = steps == outcome.came_at
        assert at.any()
        window = sharpness[(steps > outcome.came_at - 300) & (steps <= outcome.came_at)]
        assert not not_level(window, 0.03)
        late = sharpness[steps > last - 300]
    assert outcome.sharpness.value == pytest.approx(late.mean(), rel=1e-12)
    assert outcome.sharpness.count == len(late)


def test_killed_on_its_way_it_comes_to_rest_at_the_same_step(rested, tmp_path):
    """Whatever was in the window when it was."""
    came = found(rested)[0].came_at
    engine = Engine(small(**RESTING, stop_at="rest +20"), tmp_path)
    engine.reaches(came - 90)
    engine.kill()
    here(Resume(entry(engine.path)), tmp_path)
    assert found(engine.path)[1:] == found(rested)[1:]
    assert found(engine.path)[0] == found(rested)[0]
    assert_same_rows(engine.path, rested)


def test_a_run_that_never_rests_says_so(tmp_path):
    """At its last step, in its sentence and in its outcome."""
    path = here(small(**{**RESTING, "steps": 200}, stop_at="rest"), tmp_path)
    outcome, condition, last, sentence = found(path)
    assert condition is None
    assert last == 200
    assert sentence.startswith("finished after 200 steps, not at rest: its ")
    assert not outcome.at_rest
    assert outcome.why.startswith("it has 201 steps, fewer than the 300 of its window")
    assert outcome.came_at is None
