"""Resting values are those of runs at rest; others say why they aren't."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from made import facts
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.runs.analysis.run_phases import PHASE_EVENT
from eostui.runs.analysis.summary import summarize_run
from eostui.runs.run import Run
from eostui.runs.store.columns import MEASURED_AT, STORED_STEP_COLUMNS, exported
from eostui.runs.store.writer import RunWriter

STEPS = 1000


def made(path, *, phases=(("edge", 0),), sharpness=lambda _: 20.0, eta=lambda _: 0.1, cadence=25):
    """Write a run of STEPS steps, 2/η 20, whose phases are told by events."""
    writer = RunWriter(path, facts(STEPS, step_columns=json.dumps(STORED_STEP_COLUMNS)))
    t = np.arange(STEPS + 1)
    columns = dict.fromkeys(STORED_STEP_COLUMNS, 1.0)
    columns |= {"loss": np.exp(-t / 300), "eta": np.array([eta(s) for s in t]), "weight_decay": 0.0}
    rows = [np.broadcast_to(columns[name], len(t)) for name in STORED_STEP_COLUMNS]
    writer.steps(0, np.stack(rows, axis=1))
    for step in range(0, STEPS + 1, cadence):
        writer.measurement(step, {"sharpness": sharpness(step)})
    for phase, step in phases:
        payload = {"from": None, "to": phase, "step": step, "why": "made so"}
        writer.event(step, PHASE_EVENT, payload)
    writer.close()
    return path


@pytest.mark.parametrize("phase", ["edge", "lowered edge", "collapsed", "converged"])
def test_at_rest(tmp_path, phase):
    """S alternates from reading to reading, as on the bounce: that is no drift."""
    path = made(
        tmp_path / "r", phases=[("sharpening", 0), (phase, 800)],
        sharpness=lambda t: 18 + 4 * (t // 25 % 2),
    )  # fmt: skip
    found = summarize_run(path)
    assert found["not_at_rest"] == ""
    assert found["resting_sharpness"] == pytest.approx(20, abs=0.3)
    assert found["resting_path_curvature"] == 1
    shown = CliRunner().invoke(app, ["runs", "show", str(path)]).stdout
    assert "at_rest                         from step 801 on" in shown
    assert "resting_sharpness " in shown


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"phases": [("sharpening", 0)]}, "its phase was sharpening"),
        ({"phases": [("edge", 0), ("flattening", 500)]}, "its phase was flattening"),
        ({"phases": [("edge", 0), ("diverged", 1000)]}, "its phase was diverged"),
        ({"phases": [("sharpening", 0), ("edge", 850)]}, "its phase was sharpening up to step 849"),
        ({"sharpness": lambda t: 20 - t / 100}, "S is 10.88 ± 0.32, known no better than to 0.02"),
        ({"eta": lambda t: 0.1 if t < 900 else 0.11}, "η was changed at step 900"),
        ({"cadence": 100}, "S was measured 2 times, fewer than 8 in its last 200 steps"),
        ({"sharpness": lambda _: math.nan}, "S was measured 0 times"),
    ],
)
def test_not_at_rest(tmp_path, changes, why):
    path = made(tmp_path / "r", **changes)
    told = json.loads(CliRunner().invoke(app, ["runs", "show", str(path), "--json"]).stdout)
    assert [value for key, value in told.items() if key.startswith("resting_")] == [None] * 5
    assert re.search(why, told["not_at_rest"])
    shown = CliRunner().invoke(app, ["runs", "show", str(path)]).stdout
    assert f"at_rest                         no: {told['not_at_rest']}" in shown
    assert "resting_" not in shown


def test_a_run_without_rows_is_not_at_rest(tmp_path):
    RunWriter(tmp_path / "r", facts(10)).close()
    assert summarize_run(tmp_path / "r")["not_at_rest"] == "it has no steps yet"


def test_columns_say_what_they_are(tmp_path):
    """Where what is measured is measured, whose sign is a convention, what the prediction has."""
    described = {column.name: column.description for column in exported(calibrated=True)}
    for name in ("sharpness", "beta", "g", "grad_norm", "test_loss", "test_accuracy", "lambda_g"):
        assert described[name].endswith(MEASURED_AT)
    for name in ("loss", "step_cosine", "theta_norm", "path_curvature"):
        assert MEASURED_AT not in described[name]
    for name in ("g", "g_u", "g_perp"):
        assert "over the decayed parameters" in described[name]
    for name in ("g_u", "x"):
        assert "convention" in described[name]
    assert "D⁴x²/6" in described["x_predicted"]
    assert "re-seated" in described["x_predicted"]
    assert "infinite where L is" in described["loss_regularized"]
    path = made(tmp_path / "r")
    out = tmp_path / "out.csv"
    CliRunner().invoke(app, ["export", str(path), "-o", str(out)])
    sidecar = json.loads(out.with_suffix(".json").read_text())["columns"]
    assert sidecar["step_cosine"]["description"] == described["step_cosine"]
    assert sidecar["test_loss"]["description"] == described["test_loss"]


def test_a_regularised_loss_is_infinite_where_the_loss_is(tmp_path):
    writer = RunWriter(tmp_path / "r", facts(2))
    rows = np.ones((3, 6))
    rows[2, 0] = np.inf
    writer.steps(0, rows)
    writer.close()
    with Run(tmp_path / "r") as run:
        assert run.steps["loss_regularized"][2] == math.inf


def test_control_events_are_counted_as_events(tmp_path):
    """One command may change η and λ: it is one event."""
    writer = RunWriter(tmp_path / "r", facts(2))
    writer.steps(0, np.ones((3, 6)))
    writer.event(1, "control", {"eta": [0.1, 0.2], "weight_decay": [0.0, 0.1]})
    writer.close()
    found = summarize_run(tmp_path / "r")
    assert found["control_events"] == 1
    assert "control_changes" not in found
