"""Thresholds, controls and what a run states of them, by numbers and by wrong facts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from eostui.config import RunConfig
from eostui.stability import (
    ETA,
    FACT,
    GRADIENT_DESCENT,
    HEAVY_BALL,
    STABILITY,
    WEIGHT_DECAY,
    Control,
    Description,
    Stability,
    in_force,
)

LAG = Control("lag", "ν", "of the past", factor=1.1, below=0.5, start=0.01, initial=0.125)
OWN = Stability((ETA, WEIGHT_DECAY, LAG), lambda controls: 1 / controls["lag"], "1/ν−λ", "1/ν")


def test_thresholds_take_numbers_and_arrays():
    controls = {"eta": 0.125, "weight_decay": 0.25, "momentum": 0.5}
    assert GRADIENT_DESCENT.threshold(controls) == 15.75
    assert HEAVY_BALL.threshold(controls) == 23.75
    arrays = {name: np.full(3, value) for name, value in controls.items()}
    np.testing.assert_array_equal(HEAVY_BALL.threshold(arrays), np.full(3, 23.75))


def test_controls_at_the_start_are_settings_or_their_own():
    config = RunConfig.build({"eta": 0.02, "weight_decay": 0.01}, "test")
    none = {"sharp_step": 1.0, "other_step": 1.0, "sharp_above": 1.0}
    assert OWN.at_start(config) == {"eta": 0.02, "weight_decay": 0.01, "lag": 0.125, **none}
    assert HEAVY_BALL.at_start(config)["momentum"] == config.momentum


def test_controls_are_refused_by_their_own_bounds():
    sound = {"eta": 0.1, "weight_decay": 0.0, "lag": 0.1}
    assert OWN.refuse(sound) is None
    assert OWN.refuse({**sound, "lag": 0.5}) == "ν is 0.5, but must be below 0.5"
    assert OWN.refuse({**sound, "momentum": 0.5}) == "there is no control `momentum`"
    assert "below 1" in (OWN.refuse({**sound, "weight_decay": 10.0}) or "")


def test_only_other_dynamics_than_gradient_descent_store_more():
    assert GRADIENT_DESCENT.step_columns == ()
    assert HEAVY_BALL.step_columns == ("momentum", "stability_threshold", "stability_undecayed")
    assert OWN.step_columns == ("lag", "stability_threshold", "stability_undecayed")


def test_controls_in_force_follow_the_changes_up_to_a_step():
    changes = [(5, {"eta": 0.2}), (5, {"lag": 0.3}), (9, {"eta": 0.3})]
    start = {"eta": 0.1, "lag": 0.1}
    assert in_force(start, changes, 4) == start
    assert in_force(start, changes, 5) == {"eta": 0.2, "lag": 0.3}
    assert in_force(start, changes, math.inf) == {"eta": 0.3, "lag": 0.3}


@pytest.mark.parametrize("stability", [*STABILITY.values(), OWN])
def test_a_description_comes_back_from_its_fact(stability):
    """And tells descent of all samples from what shares its label."""
    description = Description.of("some name", stability)
    found = Description.of_facts({FACT: description.to_json()})
    assert found == description
    assert found.descends == (stability is GRADIENT_DESCENT)


def test_a_run_that_says_nothing_is_one_of_gradient_descent():
    assert Description.of_facts({}) == Description.of("gradient-descent", GRADIENT_DESCENT)


CONTROLS = json.loads(Description.of("x", OWN).to_json())["controls"]


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "3", "{}", "[" * 10_000,
        json.dumps({"name": "x", "label": "a", "undecayed_label": "b", "controls": 3}),
        json.dumps({"name": "x", "label": "a", "undecayed_label": "b", "controls": [3]}),
        json.dumps({"name": "x", "label": "a", "undecayed_label": "b", "controls": CONTROLS[2:]}),
        json.dumps({"name": "x", "label": "a", "controls": CONTROLS}),
        json.dumps(
            {
                "name": "x", "label": "a", "undecayed_label": "b",
                "controls": [*CONTROLS, {**CONTROLS[2], "factor": "large"}],
            }
        ),
        json.dumps(
            {
                "name": "x", "label": "a", "undecayed_label": "b",
                "controls": [*CONTROLS, {**CONTROLS[2], "colour": "red"}],
            }
        ),
    ],
)  # fmt: skip
def test_a_damaged_fact_is_a_value_error(text):
    with pytest.raises(ValueError, match="the fact `dynamics`"):
        Description.of_facts({FACT: text})
