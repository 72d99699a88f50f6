"""Settings as they are looked up: every one, with type, default, bounds or choices, and meaning."""

from __future__ import annotations

import re
import tomllib

import pytest

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.settings import find, settings, shown
from eostui.toys import TOYS


def test_every_setting_and_every_argument_of_a_toy_is_there():
    wanted = [("", key) for key in RunConfig.model_fields]
    wanted += [(toy, key) for toy, arguments in TOYS.items() for key in arguments.model_fields]
    found = settings()
    assert [(each.toy, each.name) for each in found] == wanted
    assert all(each.description and each.type for each in found)


@pytest.mark.parametrize(
    ("name", "type_", "default"),
    [
        ("eta", "a number above 0", 0.15),
        ("tolerance", "a number above 0 and below 1", 1e-5),
        ("samples", 'a whole number above 0, or "all"', "all"),
        ("eigenvalues", 'a whole number at least 1 and at most 24, or "edge"', 2),
        ("loss", '"mse" or "cross-entropy"', "mse"),
        ("bias", "true or false", True),
        ("channels", "a list of whole numbers above 0", [32, 32]),
        ("problem_arguments", "a table", {}),
        ("calibrate_at", '"never" or "auto", or a whole number at least 0', "never"),
    ],
)
def test_types_defaults_and_bounds_in_words(name, type_, default):
    (setting,) = find(name)
    assert (setting.type, setting.default) == (type_, default)


def test_defaults_are_what_a_preset_may_say():
    """Each, as it is shown, is TOML; a run's, read back, give the default config."""
    text = "\n".join(f"{each.name} = {shown(each.default)}" for each in settings() if not each.toy)
    assert RunConfig.build(tomllib.loads(text), "test") == RunConfig.build({}, "test")
    for toy in TOYS:
        text = "\n".join(f"{each.name} = {shown(each.default)}" for each in find(toy))
        arguments = tomllib.loads(text)
        assert RunConfig.build({"problem": toy, "problem_arguments": arguments}, "test")


def test_bounds_are_those_that_are_checked():
    """What is said to be the bound is refused beyond it, and no sooner."""
    for each in settings():
        for word, good, bad in (("above", 1e-9, 0.0), ("at least", 0, -1e-9)):
            bound = re.search(rf"^a number {word} (\d+)\b", each.type)
            if bound is None or each.toy:
                continue
            RunConfig.build({each.name: float(bound[1]) + good}, "test")
            with pytest.raises(InputError, match=f"`{each.name}`"):
                RunConfig.build({each.name: float(bound[1]) + bad}, "test")


def test_one_by_name_and_all_of_a_toy():
    assert [each.toy for each in find("width")] == [
        "",
        "deep-linear",
        "chebyshev",
        "two-layer-linear",
    ]
    assert {each.toy for each in find("chebyshev")} == {"chebyshev"}


@pytest.mark.parametrize(
    ("typed", "meant"), [("lamda", "weight_decay"), ("lr", "eta"), ("deep-liner", "deep-linear")]
)
def test_a_wrong_name_is_corrected(typed, meant):
    with pytest.raises(InputError, match=f"`{typed}`; did you mean `{meant}`") as caught:
        find(typed)
    assert caught.value.exit_code == 2
