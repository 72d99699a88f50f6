"""Names that aren't there: the one that was meant, by what the field calls it or by its spelling."""

from __future__ import annotations

import pytest

from eostui.config import RunConfig
from eostui.errors import did_you_mean
from eostui.nearest import _MEANT, nearest
from eostui.oscillator import Parameters
from eostui.toys import TOYS

KEYS = RunConfig.keys()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lamda", "weight_decay"), ("lambda", "weight_decay"), ("λ", "weight_decay"),
        ("wd", "weight_decay"), ("L2", "weight_decay"), ("weight-decay", "weight_decay"),
        ("weightDecay", "weight_decay"), ("lr", "eta"), ("learning_rate", "eta"),
        ("learning-rate", "eta"), ("η", "eta"), ("step_size", "eta"), ("mu", "momentum"),
        ("momentum_", "momentum"), ("epochs", "steps"), ("iterations", "steps"),
        ("hidden", "width"), ("units", "width"), ("n_layers", "depth"), ("optimizer", "dynamics"),
        ("dataset", "data"), ("normalize", "standardize"), ("widht", "width"), ("zzzzzz", None),
    ],
)  # fmt: skip
def test_what_was_meant(typed, meant):
    assert nearest(typed, KEYS) == meant


def test_only_valid_names_are_offered():
    """A synonym of a setting says nothing where there is no such setting."""
    assert nearest("lr", ["digits-mlp", "toy-cubic"]) is None
    assert nearest("epochs", Parameters.paper_names()) is None
    assert nearest("lambda", Parameters.paper_names()) == "weight_decay"
    assert did_you_mean("lamda", KEYS) == "; did you mean `weight_decay`?"
    assert did_you_mean("zzzzzz", KEYS) == ""


def test_names_with_hyphens_are_near():
    assert nearest("digit-mlp", ["cifar5k-mlp", "digits-mlp"]) == "digits-mlp"
    assert nearest("Heavy_Ball", ["gradient-descent", "heavy-ball"]) == "heavy-ball"


def test_synonyms_are_of_settings_that_there_are_and_no_setting_is_a_synonym():
    """A synonym for nothing, or one that hides a name, would be found here."""
    names = {*KEYS, *(name for toy in TOYS.values() for name in toy.model_fields)}
    assert set(_MEANT.values()) <= names
    for name in names:
        assert nearest(name, names) == name
