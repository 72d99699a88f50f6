"""Changes of controls that a config makes by itself, and the controls that its dynamics has."""

from __future__ import annotations

import pytest

from eostui.config import RunConfig
from eostui.errors import InputError

HEAVY_BALL = {"dynamics": "heavy-ball"}


def refusal(**values):
    with pytest.raises(InputError) as caught:
        RunConfig.build(values, "x.toml")
    return str(caught.value).removeprefix("x.toml: ")


def test_momentum_changes_where_the_dynamics_has_it():
    config = RunConfig.build(
        {**HEAVY_BALL, "controls": [{"step": 3, "momentum": 0.5}, {"step": 4, "eta": 0.1}]}, "test"
    )
    assert [change.values() for change in config.controls] == [{"momentum": 0.5}, {"eta": 0.1}]
    assert RunConfig.from_toml(config.to_toml(), "again") == config


def test_a_control_that_the_dynamics_has_not_is_refused():
    assert refusal(controls=[{"step": 3, "momentum": 0.5}]) == (
        "`controls` at step 3 changes `momentum`, but the dynamics has only `eta`, `weight_decay`"
    )


def test_what_dynamics_of_your_own_have_their_file_says():
    change = [{"step": 3, "momentum": 0.5}]
    assert RunConfig.build({"dynamics": "my.py:Mine", "controls": change}, "test").controls


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ([{"step": 3, "eta": 0.1}, {"step": 3, "eta": 0.2}], ["step 3", "must rise"]),
        (
            [{"step": 3}],
            [
                "step 3 changes nothing: give `eta`, `weight_decay`, `momentum`, `beta1`, "
                "`sharp_step`, `other_step`, `sharp_above`, `eta_factor` or several"
            ],
        ),
        (
            [{"step": 3, "eta": 0.5}, {"step": 5, "weight_decay": 2.0}],
            ["step 5", "is 1,", "below 1"],
        ),
        ([{"step": 3, "eta": 1e39}], ["step 3", "`eta` is 1e+39", "at most 3.4e+38"]),
        (
            [{"step": 3, "momentum": 1.0}],
            ["change 1 of `controls`", "`momentum` is 1", "less than 1"],
        ),
        ([{"step": 3, "lr": 1.0}], ["change 1 of `controls`", "`lr`; did you mean `eta`?"]),
    ],
)
def test_changes_that_cannot_be_are_refused(changes, parts):
    told = refusal(**HEAVY_BALL, controls=changes)
    for part in parts:
        assert part in told


def test_momentum_is_stated_where_it_acts():
    """As settings of networks are; a config from before there were dynamics means gradient descent."""
    assert "momentum" not in RunConfig.build({}, "test").acting()
    assert RunConfig.build(HEAVY_BALL, "test").acting()["momentum"] == 0.9
    old = RunConfig.build({}, "test").acting()
    del old["dynamics"], old["probes"]
    assert RunConfig.build(old, "test") == RunConfig.build({}, "test")


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"dynamics": "heavy-bal"}, ['`dynamics` is "heavy-bal"', "did you mean `heavy-ball`?"]),
        ({"dynamics": "adagrad"}, ["gradient-descent, heavy-ball", '"file.py:Class"']),
        ({"probes": ["mine.py"]}, ['`probes` has "mine.py"', '"file.py:Class"']),
        ({"momentum": 1.0}, ["`momentum` is 1", "less than 1"]),
    ],
    ids=str,
)
def test_wrong_dynamics_and_probes(values, parts):
    for part in parts:
        assert part in refusal(**values)
