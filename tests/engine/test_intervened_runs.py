"""Interventions in runs: none above the bound is none at all; what is on record repeats to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import taped
from engines import assert_same_rows, derived, entry, here, small
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.curvature import capture
from eostui.panels import PANELS
from eostui.panels.panel import chart_of
from eostui.panels.view import RunView, intervention
from eostui.runs.analysis.remarks import remark
from eostui.runs.analysis.rest import unsteady
from eostui.runs.analysis.run_phases import PHASE_EVENT, classify, payload
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.runs.save_preset import steered_config

pytestmark = pytest.mark.usefixtures("one_thread")

#: A network that bounces at 2/η = 10 from its first steps on.
EDGE = {"steps": 80, "eta": 0.2, "cadence": 4, "far_cadence": 0, "eigenvalues": 3}
#: An intervention that begins at an unmeasured step, changes, and ends.
SCRIPT = {
    22: [("set", {"sharp_step": 0.0})],
    41: [("set", {"sharp_step": 0.25, "sharp_above": 0.9})],
    53: [("set", {"other_step": 0.5})],
    66: [("set", {"sharp_step": 1.0, "other_step": 1.0})],
}
SHARES = ["sharp_step", "other_step", "sharp_above"]


@pytest.fixture(scope="module")
def steered(tmp_path_factory, one_thread):  # noqa: ARG001
    return here(small(**EDGE), tmp_path_factory.mktemp("steered"), SCRIPT)


def replayed(path):
    return CliRunner().invoke(app, ["replay", str(path)])


@pytest.mark.parametrize("dynamics", ["gradient-descent", "heavy-ball"])
@pytest.mark.parametrize("reading", ["raw", "midpoint"])
def test_with_all_below_the_bound_it_is_the_plain_run_to_the_bit(tmp_path, dynamics, reading):
    values = {**EDGE, "steps": 60, "dynamics": dynamics, "reading": reading, "momentum": 0.1}
    plain = here(small(**values), tmp_path / "plain")
    other = here(small(**values, sharp_step=0.0, sharp_above=1e6), tmp_path / "other")
    assert_same_rows(plain, other)
    told = [event for event in derived(plain) if event[1] != PHASE_EVENT]
    assert [event for event in derived(other) if event[1] != PHASE_EVENT] == told
    with Run(other) as run, Run(plain) as bare:
        assert (run["sharp_step"] == 0).all()
        assert "sharp_step" not in bare
        assert ("descent_bound" in bare) == (dynamics == "gradient-descent")
        assert "descent_bound" not in run


def test_it_is_on_record_step_by_step_and_as_events(steered):
    with Run(steered) as run:
        shares = np.column_stack([run[name] for name in SHARES])
        nothing, acting = np.isnan(shares).all(axis=1), np.isfinite(shares).all(axis=1)
        assert acting.nonzero()[0].tolist() == list(range(22, 66))
        assert (nothing | acting).all()
        for step, told in {22: [0, 1, 1], 41: [0.25, 1, 0.9], 53: [0.25, 0.5, 0.9]}.items():
            assert shares[step].tolist() == told
        events = {event.step: event.payload for event in run.events if event.kind == "control"}
        assert events[22] == {"sharp_step": [1.0, 0.0]}
        assert events[66] == {"sharp_step": [0.25, 1.0], "other_step": [0.5, 1.0]}
        assert unsteady([], run.steps, [], 60) == "η_u/η was changed at step 66"
        assert not unsteady([], run.steps, [], 67)
        recorded = [(e.step, dict(e.payload)) for e in run.events if e.kind == PHASE_EVENT]
        assert [(change.step, payload(change)) for change in classify(run)] == recorded
        assert "sharp_step" not in Run(steered).until(20).columns()


def test_a_step_along_u_has_length_0_where_s_is_measured_at_every_step(tmp_path):
    """κ of such a step holds nothing of the direction that would bounce: it flows on."""
    values = {**EDGE, "cadence": 1, "steps": 60}
    plain = here(small(**values), tmp_path / "plain")
    flowing = here(Fork(entry(plain), 24, {"sharp_step": 0.0}), tmp_path)
    with Run(plain) as one, Run(flowing) as other:
        late = slice(30, 59)
        assert one.measured["sharpness"][24:].min() > 0.95 * 10
        assert np.nanmedian(one["step_cosine"][late]) < -0.5
        assert np.nanmedian(other["step_cosine"][late]) > 0.9
        assert other["path_curvature"][late].max() < one["path_curvature"][late].max() / 2


def test_it_resumes_forks_and_replays_to_the_bit(steered, tmp_path):
    part = here(small(**EDGE), tmp_path / "part", {**SCRIPT, 45: [("stop", {})]})
    left = {at: told for at, told in SCRIPT.items() if at > 45}
    here(Resume(entry(part)), tmp_path / "part", left)
    assert_same_rows(part, steered, whole=True)
    fork = here(Fork(entry(steered), 47, {}), tmp_path / "fork", left)
    assert_same_rows(fork, steered, whole=True)
    for path in (steered, part, fork):
        done = replayed(path)
        assert done.exit_code == 0, done.output
        assert "bit for bit" in done.output
    with Run(steered) as run:
        again = here(steered_config(run, "again"), tmp_path / "again")
    assert_same_rows(again, steered, whole=True)


def test_captured_steps_are_the_called_ones(steered, tmp_path, monkeypatch):
    """Which intervention there is may change at any step; what it reads lies on the device."""
    capturers = taped.tape(monkeypatch)
    monkeypatch.setenv(capture.SWITCH, "1")
    captured = here(small(**EDGE), tmp_path, SCRIPT)
    assert_same_rows(captured, steered, whole=True)
    assert derived(captured) == derived(steered)
    assert sum(graph.replays for graph in capturers[-1].graphs) > 40
    with Run(captured) as run:
        assert not [event for event in run.events if event.kind == "uncaptured"]


def test_a_calibration_is_of_plain_steps(tmp_path):
    script = {25: [("calibrate", {})], 32: [("set", {"sharp_step": 0.0})], 40: [("calibrate", {})]}
    with Run(here(small(**{**EDGE, "steps": 50}), tmp_path, script)) as run:
        refused = [event for event in run.events if event.kind == "refused"]
        assert [(event.step, "plain steps" in event.payload["reason"]) for event in refused] == [
            (40, True)
        ]
        rows = run.calibrations.rows
        predicted = rows["step"][np.isfinite(rows["q_predicted"])]
        assert (predicted.min(), predicted.max()) == (25, 32)
        assert np.isfinite(rows["q"]).all()


def test_where_nothing_is_above_the_bound_theta_stands_and_that_is_told_once(tmp_path):
    config = small(**{**EDGE, "other_step": 0.0, "sharp_above": 3.0, "steps": 30})
    path = here(config, tmp_path, {12: [("stop", {})]})
    here(Resume(entry(path)), tmp_path)
    with Run(path) as run:
        assert (run["step_norm"][:-1] == 0).all()
        told = [(event.step, remark(event)) for event in run.events if remark(event)]
        assert [step for step, _ in told] == [0]
        assert "θ stands still from step 0 on" in told[0][1]
        assert not {"converged", "stuck"} & {
            e.payload["to"] for e in run.events if e.kind == "phase"
        }
    assert replayed(path).exit_code == 0


def test_the_charts_have_the_threshold_of_the_steps_along_them(steered):
    with Run(steered) as run:
        view = RunView(run, "finished")
        for name in ("sharpness", "eigenvalues"):
            panel = next(each for each in PANELS if each.name == name)
            drawn = {curve.label: curve.y for curve in chart_of(panel, view, "linear").curves}
            limit = drawn["2/η_u−λ"]
            assert np.isfinite(limit).nonzero()[0].tolist() == list(range(41, 66))
            assert limit[41] == 2 / (0.25 * 0.2)
        assert [mark.text for mark in view.marks()] == [
            "η_u/η→0", "η_u/η→0.25 bound→0.9", "η_⊥/η→0.5", "η_u/η→1 η_⊥/η→1",
        ]  # fmt: skip
    shares = {"sharp_step": 0.0, "other_step": 1.0, "sharp_above": 1.0}
    assert intervention(shares, "2/η−λ") == "η_u/η 0 for S > (2/η−λ)"
    assert intervention({**shares, "sharp_above": 0.9}, "2/η−λ") == "η_u/η 0 for S > 0.9·(2/η−λ)"
    assert intervention({**shares, "sharp_step": 1.0}, "2/η−λ") == ""


def test_eta_is_cut_by_a_factor(tmp_path):
    """By the schedule, over a warm-up, and in a fork; whatever η is then."""
    cuts = [{"step": 10, "eta_factor": 0.2}, {"step": 20, "eta_factor": 2.0, "warm_up": 4}]
    path = here(
        small(**{**EDGE, "steps": 40}, controls=cuts), tmp_path, {5: [("set", {"eta": 0.1})]}
    )
    with Run(path) as run:
        eta = run["eta"][[4, 5, 9, 10, 19, 20, 21, 22, 23, 40]]
    np.testing.assert_allclose(eta, [0.2, 0.1, 0.1, 0.02, 0.02, 0.025, 0.03, 0.035, 0.04, 0.04])
    assert replayed(path).exit_code == 0
    kept = Fork(entry(path), 15, {"eta": 0.3}).config
    assert kept.controls[1:] == ()
