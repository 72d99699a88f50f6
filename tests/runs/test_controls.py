"""Controls beyond η and λ: in summaries, differences, phases, forks and presets of a record."""

from __future__ import annotations

import json

import numpy as np
import pytest
from engines import assert_same_rows, entry, here, small

from eostui.runs.analysis.controls import control_changes, controls_of
from eostui.runs.analysis.diff import compare_runs
from eostui.runs.analysis.phases import EDGE
from eostui.runs.analysis.rest import unsteady
from eostui.runs.analysis.run_phases import PHASE_EVENT, classify, payload, spans
from eostui.runs.analysis.summary import summarize_run
from eostui.runs.fork import parent_controls_at
from eostui.runs.launch import Fork
from eostui.runs.run import Run
from eostui.runs.save_preset import save_preset, steered_config
from eostui.runs.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("one_thread")


def heavy_ball(**values):
    """A tanh network with S from 20.6 down to 16, below (2 + 2μ)/η = 25."""
    return small(
        **{"dynamics": "heavy-ball", "momentum": 0.5, "eta": 0.12, "activation": "tanh", "steps": 450,
           "cadence": 20, "far_cadence": 0, "test_cadence": 10**6, "checkpoint_every": 30.0} | values,
    )  # fmt: skip


@pytest.fixture(scope="module")
def steered(tmp_path_factory, one_thread):  # noqa: ARG001
    """Commands take its μ away at step 200 and raise η, so that 2/η = 15.4 is below S, and λ at 400."""
    script = {
        200: [("set", {"momentum": 0.0, "eta": 0.13})],
        400: [("set", {"weight_decay": 0.01}), ("set", {"momentum": 0.1})],
    }
    return here(heavy_ball(), tmp_path_factory.mktemp("steered"), script)


def test_they_are_those_of_the_dynamics(steered):
    with Run(steered) as run:
        assert [control.name for control in controls_of(run)] == ["eta", "weight_decay", "momentum"]
        assert control_changes(run) == {
            200: {"momentum": 0.0, "eta": 0.13}, 400: {"weight_decay": 0.01, "momentum": 0.1},
        }  # fmt: skip
        momentum = run.steps["momentum"]
        assert momentum[[199, 200, 399, 400, 450]].tolist() == [0.5, 0.0, 0.0, 0.1, 0.1]
        np.testing.assert_array_equal(
            run.steps["stability_threshold"],
            (2 + 2 * momentum) / run.steps["eta"] - run.steps["weight_decay"],
        )
    summary = summarize_run(steered)
    assert (summary["eta"], summary["weight_decay"], summary["momentum"]) == (0.13, 0.01, 0.1)
    assert summary["stability_threshold"] == 2.2 / 0.13 - 0.01
    in_force = {"eta": 0.13, "weight_decay": 0.0, "momentum": 0.0}
    in_force |= {"sharp_step": 1.0, "other_step": 1.0, "sharp_above": 1.0}
    assert parent_controls_at(entry(steered), 399) == in_force
    assert parent_controls_at(entry(steered), 199) == in_force | {"eta": 0.12, "momentum": 0.5}


def test_its_phases_are_those_of_its_own_threshold(steered):
    """S falls below 25; without momentum it is above 15.4 and bounces. From the record the same."""
    with Run(steered) as run:
        recorded = [(e.step, dict(e.payload)) for e in run.events if e.kind == PHASE_EVENT]
        assert [(change.step, payload(change)) for change in classify(run)] == recorded
        flattening, catapult, edge = spans(run)[:3]
        assert [span.phase.name for span in (flattening, catapult, edge)] == [
            "flattening", "catapult", "edge",
        ]  # fmt: skip
        assert 200 < flattening.last < 320
        why = [each["why"] for _, each in recorded]
        assert "(2+2μ)/η − λ 25" in why[1]
        assert "times (2+2μ)/η − λ" in why[2]
        assert "(2+2μ)/η − λ 15.4" in why[3]


def test_a_run_whose_momentum_was_changed_is_not_at_rest(steered):
    with Run(steered) as run:
        resting = [spans(run)[0]._replace(phase=EDGE, first=0)]
        for until, said in (
            (450, "λ was changed at step 400"),
            (220, "η was changed at step 200"),
        ):
            past = run.until(until)
            assert unsteady(resting, past.steps, controls_of(run), until * 4 // 5) == said
        only = [control for control in controls_of(run) if control.name == "momentum"]
        assert unsteady(resting, run.steps, only, 399) == "μ was changed at step 400"


def test_as_a_preset_it_repeats_to_the_bit(steered, tmp_path):
    with Run(steered) as run:
        config = steered_config(run, "again")
        assert config.momentum == 0.5
        assert [(change.step, change.values()) for change in config.controls] == [
            (200, {"eta": 0.13, "momentum": 0.0}), (400, {"weight_decay": 0.01, "momentum": 0.1}),
        ]  # fmt: skip
        text = save_preset(run, "again", tmp_path / "again.toml").read_text(encoding="utf-8")
    assert "again: with 2 changes of η, λ and μ." in text
    assert_same_rows(steered, here(config, tmp_path), whole=True)


def test_a_difference_in_one_is_told(steered, tmp_path):
    fork = here(Fork(entry(steered), 420, {"momentum": 0.2, "steps": 440}), tmp_path)
    with Run(steered) as a, Run(fork) as b:
        found = compare_runs(a, b)
        assert b.steps["momentum"][[419, 420]].tolist() == [0.1, 0.2]
    assert found["steering"][-1] == {"step": 420, "a": None, "b": {"momentum": 0.2}}
    assert found["rows"]["same_start"]
    first = found["rows"]["first_difference"]
    assert (first["step"], first["column"]) == (420, "momentum")
    assert json.dumps(found)


def test_a_change_that_waits_is_saved(tmp_path):
    """As of a run that is paused: what was set at its next step, for which there is no row yet."""
    path = here(heavy_ball(steps=20, cadence=10), tmp_path)
    writer = RunWriter(path)
    writer.event(21, "control", {"momentum": [0.5, 0.6]})
    writer.close()
    with Run(path) as run:
        run.config = run.config.changed({"steps": 40})
        assert [(c.step, c.values()) for c in steered_config(run, "x").controls] == [
            (21, {"momentum": 0.6})
        ]
