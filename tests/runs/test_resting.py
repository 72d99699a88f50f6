"""Readings at rest with their errors, and the onset of the edge."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made import make_run
from random_runs import rows as random_rows
from random_runs import written

from eostui.runs.analysis.resting import BATCHES, onset, resting, resting_of
from eostui.runs.run import Run


def test_the_error_of_independent_values_is_the_textbooks():
    """σ/√n, within what eight batches can tell of it, over many draws."""
    rng = np.random.default_rng(0)
    errors = [resting_of(rng.normal(5.0, 2.0, 1600)).error for _ in range(400)]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(2.0 / 40, rel=0.05)


def test_an_alternation_adds_no_error_and_a_slow_change_does():
    t = np.arange(160)
    assert resting_of(10 + 3.0 * (-1.0) ** t).error == pytest.approx(0.0, abs=1e-12)
    assert resting_of(10 + 3.0 * (-1.0) ** t).value == pytest.approx(10.0)
    correlated = np.repeat(np.random.default_rng(1).normal(size=BATCHES), 20)
    naive = correlated.std(ddof=1) / math.sqrt(len(correlated))
    assert resting_of(correlated).error > 3 * naive
    assert resting_of(correlated).error == pytest.approx(
        correlated[::20].std(ddof=1) / math.sqrt(BATCHES)
    )


def test_few_values_and_none():
    assert math.isnan(resting_of(np.array([])).value)
    assert resting_of(np.array([np.nan, np.inf])).count == 0
    three = resting_of(np.array([1.0, 2.0, 6.0]))
    assert (three.value, three.count) == (3.0, 3)
    assert math.isnan(three.error)
    four = resting_of(np.array([1.0, 3.0, 5.0, 7.0]))
    assert four.error == pytest.approx(np.std([2.0, 6.0], ddof=1) / math.sqrt(2))
    assert resting_of(np.array([1.0, 9.0, 2.0]), median=True).value == 2.0


def test_a_column_over_the_last_steps_of_a_run(tmp_path):
    path = make_run(tmp_path / "r", 1000)
    with Run(path) as run:
        first = 800
        kappa = run.steps["path_curvature"][first:]
        assert resting(run, "path_curvature", first).value == np.nanmedian(kappa)
        assert resting(run, "loss", first).value == pytest.approx(run.steps["loss"][first:].mean())
        assert resting(run, "sharpness", first).count == (run.measured["step"] >= first).sum()
        assert resting(run, "no_such_column", first).count == 0


def test_onset_is_the_first_reading_at_the_threshold(tmp_path):
    matrix = random_rows(400, 3)  # η and λ change at random: so does the threshold
    sharpness = {step: 5.0 + step / 10 for step in range(0, 400, 7)}
    written(tmp_path / "r", matrix, [(s, {"sharpness": v}) for s, v in sharpness.items()])
    with Run(tmp_path / "r") as run:
        limit = 2 / matrix[:, 4] - matrix[:, 5]
        expected = next(step for step, value in sharpness.items() if value >= limit[step])
        assert onset(run) == expected


def test_a_run_below_its_threshold_has_no_onset(tmp_path):
    with Run(make_run(tmp_path / "r", 100)) as run:  # S 10 below 2/η = 20
        assert onset(run) is None
