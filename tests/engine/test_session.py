"""A session: one machine and one problem, in which runs begin."""

from __future__ import annotations

import json

import pytest
from engines import small

from eostui.engine.session import EngineSession
from eostui.runs.store.reader import facts_of
from eostui.runs.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("one_thread")


def begun(folder, config, **more) -> dict[str, str]:
    session = EngineSession(config, folder, lambda _text: None, **more)
    writer: RunWriter = session.new(folder / "r", "")
    writer.close()
    return facts_of(folder / "r")


def test_a_run_states_its_group(tmp_path):
    assert begun(tmp_path, small(), group="learning rates")["group"] == "learning rates"


def test_a_run_of_gradient_descent_has_the_columns_that_it_always_had(tmp_path):
    """With the accuracy, which its problem has. And says nothing of a group that it hasn't."""
    facts = begun(tmp_path, small())
    assert "group" not in facts
    assert json.loads(facts["step_columns"]) == [
        "loss", "theta_norm", "decayed_norm", "arrival_curvature", "arrival_cosine", "arrival_norm",
        "eta", "weight_decay", "train_accuracy",
    ]  # fmt: skip


def test_another_dynamics_states_its_controls_and_both_thresholds(tmp_path):
    facts = begun(tmp_path, small(dynamics="heavy-ball", problem="two-layer-scalar"))
    assert json.loads(facts["step_columns"])[6:] == [
        "eta", "weight_decay", "momentum", "stability_threshold", "stability_undecayed", "theta_1",
        "theta_2",
    ]  # fmt: skip
    described = json.loads(facts["dynamics"])
    assert described["name"] == "heavy-ball"
    assert (described["label"], described["undecayed_label"]) == ("(2+2μ)/η−λ", "(2+2μ)/η")
    assert [control["symbol"] for control in described["controls"]] == ["η", "λ", "μ"]
