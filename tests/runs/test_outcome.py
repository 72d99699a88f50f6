"""What one run came to, column by column, against runs in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import summarised
from made import facts, make_run

from eostui.config import RunConfig
from eostui.runs.analysis.curvature_summary import balance, running_median
from eostui.runs.analysis.outcome import COLUMNS, TEXTS, nothing, outcome
from eostui.runs.analysis.run_phases import on_the_bounce, spans
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter


def row_of(path):
    with Run(path) as run:
        return outcome(run)


def test_a_run_at_rest(tmp_path):
    row = row_of(summarised.make(tmp_path / "r", 0.01, name="lam"))
    assert list(row) == [column.name for column in COLUMNS]
    rest = summarised.resting_sharpness(0.01)
    assert (row["run"], row["name"], row["state"], row["phase"]) == ("r", "lam", "finished", "edge")
    assert (row["at_rest"], row["not_at_rest"], row["last_step"]) == (True, "", 2000)
    assert (row["window_first"], row["window_last"]) == (1001, 2000)
    with Run(tmp_path / "r") as run:
        late = run.measured["sharpness"][run.measured["step"] >= 1001]
        tail = run.measured["sharpness"][run.measured["step"] >= 1601]
        ups = np.diff(run.steps["loss"][1001:]) > 0
    assert row["resting_sharpness"] == pytest.approx(late.mean())
    assert abs(row["resting_sharpness"] - rest) < 4 * row["resting_sharpness_error"] < 0.02
    assert (row["tail_share"], row["tail_sharpness"]) == (0.2, pytest.approx(tail.mean()))
    assert (row["resting_path_curvature"], row["step_cosine"]) == (19, -0.9)
    assert (row["resting_test_loss"], row["resting_test_accuracy"]) == (0.5, pytest.approx(0.9))
    assert row["up_share"] == pytest.approx(ups.mean(), abs=0.002)
    assert row["up_share_regularized"] == row["up_share"]  # ‖θ‖ doesn't change
    assert (row["onset"], row["eig_2_at_edge"]) == (480, 700)
    assert [row[f"sharpness_at_{step}"] for step in (50, 100, 250)] == pytest.approx(
        [9.25, 10.5, 14.25]
    )
    assert (row["two_over_eta"], row["stability_threshold"]) == (20, pytest.approx(19.99))
    assert row["damping_theory"] == pytest.approx(0.1 * 0.01 / 2)
    assert row["amplitude_8"] == pytest.approx(math.sqrt(2) * 0.02 * math.sqrt(70 / 256), rel=0.3)
    assert math.isnan(row["resting_train_accuracy"])  # the run is older than that column


@pytest.mark.parametrize(("decay", "crosses"), [(0.004, False), (0.005, True), (0.01, True)])
def test_the_crossing_and_the_decay_that_would_have_crossed(tmp_path, decay, crosses):
    row = row_of(summarised.make(tmp_path / "r", decay))
    # βα is freed of its alternation over five readings: from 10 it comes down within two
    assert (row["crossing"] in (310, 320)) if crosses else math.isnan(row["crossing"])
    if crosses:
        assert row["crossing_sharpness"] == pytest.approx(8 + 12.5 * row["crossing"] / 500)
    root = (200 - math.sqrt(200**2 - 4)) / 2  # of λ² − gλ + βα = 0
    assert row["critical_weight_decay"] == pytest.approx(root, rel=1e-9)


def test_readings_on_a_bounce_tell_nothing_of_the_balance(tmp_path):
    """βα is forced negative there: in an edge phase, and where steps turn back before that begins."""
    with Run(summarised.make(tmp_path / "r", 0.001)) as run:
        steps, measured = run.steps, run.measured
        bounces = on_the_bounce(run, spans(run))
        assert measured["step"][bounces].min() == 510
        changed = measured["beta_alpha"].copy()
        changed[measured["step"] >= 505] = -50.0
        measured.write("beta_alpha", slice(None), changed)
        assert balance(steps, measured, bounces).row is None
        none = np.zeros_like(bounces)
        assert balance(steps, measured, none).row is None  # by the step cosines alone
        steps.write("step_cosine", slice(None), np.full(len(steps), 0.8))
        assert (
            balance(steps, measured, none).row is not None
        )  # S is below the edge: that would count


def test_a_balance_without_readings_or_decay(tmp_path):
    with Run(make_run(tmp_path / "r", 10)) as run:
        found = balance(run.steps, run.measured, on_the_bounce(run, spans(run)))
        assert found.row is None
    empty = RunWriter(tmp_path / "e", facts(10))
    empty.close()
    row = row_of(tmp_path / "e")
    assert (row["last_step"], row["at_rest"]) == (-1, False)
    assert all(math.isnan(row[f"resting_{name}"]) for name in ("sharpness", "loss"))
    assert math.isnan(row_of(summarised.make(tmp_path / "z", 0.0))["crossing"])


def test_not_at_rest_is_an_outcome_and_has_no_resting_value(tmp_path):
    for path, why in (
        (summarised.make(tmp_path / "drifts", drift=-2e-3), "S goes from"),
        (summarised.make(tmp_path / "diverged", diverges=True), "diverged"),
        (make_run(tmp_path / "short", 100), "fewer than"),
    ):
        row = row_of(path)
        assert row["at_rest"] is False
        assert why in row["not_at_rest"]
        assert all(math.isnan(row[c.name]) for c in COLUMNS if c.name.startswith("resting_"))
        assert math.isfinite(row["tail_sharpness"])


def test_stretches_without_readings(tmp_path):
    """A probe that wasn't due leaves NaN: they count nowhere."""
    whole = row_of(summarised.make(tmp_path / "r", 0.01))
    row = row_of(summarised.make(tmp_path / "gaps", 0.01, between=True))
    for name in ("resting_sharpness", "crossing", "onset", "tail_sharpness", "sharpness_at_1000"):
        assert row[name] == whole[name]


def test_running_medians_are_medians_of_what_is_known():
    values = np.random.default_rng(0).normal(size=500)
    values[100:150] = np.nan
    rows = np.array([0.0, 1, 10, 120, 160, 499])
    found = running_median(values, rows, 40)
    for row, median in zip(rows.astype(int), found, strict=True):
        known = values[max(row - 40, 0) : row]
        known = known[np.isfinite(known)]
        assert median == np.median(known) if len(known) else math.isnan(median)


def test_columns_are_told_once_and_are_no_settings():
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    assert not {*names} & {*RunConfig.keys(), "group"}
    assert set(TEXTS) <= {*names}
    assert all(column.description for column in COLUMNS)
    assert all(math.isnan(value) for key, value in nothing().items() if key not in TEXTS)
