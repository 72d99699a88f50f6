"""Configurations and presets: what is valid, and the one sentence when something isn't."""

from __future__ import annotations

import datetime
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eostui import locations, presets
from eostui.config import RunConfig, absolute_files, parse_setting
from eostui.errors import EXIT_INPUT, InputError
from eostui.stability import LARGEST
from eostui.text import parse_number


def refusal(values, where="somewhere.toml"):
    """The sentence with which values are refused: one line that names their source."""
    with pytest.raises(InputError) as caught:
        RunConfig.build(values, where)
    sentence = str(caught.value)
    assert sentence.startswith(f"{where}: ")
    assert "\n" not in sentence
    assert caught.value.exit_code == EXIT_INPUT
    return sentence.removeprefix(f"{where}: ")


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"weight_decai": 0.1}, ["unknown key `weight_decai`", "did you mean `weight_decay`?"]),
        ({"lerning": 1}, ["unknown key `lerning`"]),
        ({"eta": 0}, ["`eta` is 0", "greater than 0"]),
        ({"eta": -0.5}, ["`eta` is -0.5", "greater than 0"]),
        ({"eta": math.nan}, ["`eta` is nan", "finite"]),
        ({"eta": math.inf}, ["`eta` is inf", "finite"]),
        ({"eta": "fast"}, ['`eta` is "fast"', "number"]),
        ({"weight_decay": -1e-3}, ["`weight_decay` is -0.001", "0"]),
        ({"weight_decay": math.nan}, ["`weight_decay` is nan", "finite"]),
        ({"eta": 0.5, "weight_decay": 2}, ["`eta`", "`weight_decay`", "is 1", "below 1"]),
        ({"activation": "rleu"}, ['`activation` is "rleu"', '"tanh"', "did you mean `relu`?"]),
        ({"data": "cifar"}, ['`data` is "cifar"', '"digits"', "did you mean `cifar10`?"]),
        ({"loss": "crossentropy"}, ["`loss`", "did you mean `cross-entropy`?"]),
        ({"dtype": "float16"}, ['`dtype` is "float16"', '"float32" or "float64"']),
        ({"kernel": 4}, ["`kernel` is 4", "odd"]),
        ({"data": "npz"}, ["`data_file` is missing", "npz"]),
        ({"width": 0}, ["`width` is 0", "greater than 0"]),
        ({"width": 2.5}, ["`width` is 2.5", "whole number"]),
        ({"samples": 0}, ["`samples` is 0", 'greater than 0 or "all"']),
        ({"samples": "most"}, ['`samples` is "most"', 'whole number or "all"']),
        ({"seed": -1}, ["`seed` is -1", "greater than or equal to 0"]),
        ({"tolerance": 1.0}, ["`tolerance` is 1", "less than 1"]),
        ({"channels": [8, 0]}, ["`channels`", "greater than 0"]),
        ({"standardize": "constants"}, ["`mean` is missing", "deviation"]),
        ({"mean": [0.1, 0.2], "deviation": [1.0]}, ["`mean` has 2", "`deviation` 1"]),
        ({"problem": "mine.py"}, ['`problem` is "mine.py"', "file.py:function"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_values_are_refused_in_one_sentence(values, parts):
    """Key, value, what would be right and, where one is near, the nearest valid name."""
    sentence = refusal(values)
    for part in parts:
        assert part in sentence


@pytest.mark.parametrize("key", ["eta", "width", "samples"])
def test_true_is_not_a_number(key):
    """A TOML boolean where a number belongs is a mistake, not 1."""
    assert f"`{key}`" in refusal({key: True})


def test_a_far_off_key_gets_no_suggestion():
    """A name like nothing that exists is refused without a guess."""
    assert refusal({"zzzzzz": 1}) == "unknown key `zzzzzz`"


def test_toml_syntax_error_names_the_place():
    """The source, that it isn't TOML, and the line."""
    with pytest.raises(InputError, match=re.escape("mine.toml: not valid TOML")) as caught:
        RunConfig.from_toml('eta = 0.1\nloss = "mse\n', "mine.toml")
    assert "line 2" in str(caught.value)


def test_the_largest_decay_below_the_limit_is_accepted():
    """ηλ = 1 flips signs and is refused; anything below is the user's business."""
    config = RunConfig.build({"eta": 0.5, "weight_decay": 1.999}, "test")
    assert config.eta * config.weight_decay < 1


def test_configs_cannot_be_changed_in_place_but_copied_with_changes():
    """A config is frozen; `changed` validates anew and names the key."""
    config = RunConfig.build({}, "test")
    with pytest.raises(ValueError, match="frozen"):
        config.eta = 1.0
    assert config.changed({}) is config
    assert config.changed({"eta": 0.3}).eta == 0.3
    assert config.eta == 0.15
    with pytest.raises(InputError, match="command line: `eta` is 0"):
        config.changed({"eta": 0})


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
finite = st.floats(1e-300, 1e300)
scalars = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts
)
arguments = st.dictionaries(
    texts,
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5),
    max_size=4,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "preset": texts.filter(str.isprintable),
            "problem_arguments": arguments,
            "samples": st.one_of(st.just("all"), st.integers(1, 10**9)),
            "selection": st.sampled_from(["first", "balanced", "random"]),
            "activation": st.sampled_from(["relu", "tanh", "gelu", "elu", "softplus"]),
            "channels": st.lists(st.integers(1, 512), max_size=4),
            "bias": st.booleans(),
            "eta": st.floats(1e-300, LARGEST),
            "steps": st.integers(1, 10**12),
            "seed": st.integers(0, 2**63 - 1),
            "tolerance": st.floats(1e-12, 0.5),
            "data_file": texts,
            "threads": st.one_of(st.just("auto"), st.integers(1, 64)),
        },
    ),
    st.lists(st.tuples(st.floats(-1e6, 1e6), finite), max_size=3),
)
def test_toml_round_trip(values, moments):
    """What is written reads back as the same config, to the last bit: it decides what a run is."""
    values = {
        **values,
        "mean": [mean for mean, _ in moments],
        "deviation": [deviation for _, deviation in moments],
    }
    config = RunConfig.build(values, "test")
    assert RunConfig.from_toml(config.to_toml(), "again") == config


def test_arguments_of_an_own_problem_keep_what_toml_can_say():
    """TOML has inf, nan and dates: they reach the user's function as they were written."""
    text = "[problem_arguments]\nbound = inf\nhole = nan\nday = 2024-05-17\n"
    config = RunConfig.from_toml(text, "test")
    again = RunConfig.from_toml(config.to_toml(), "again").problem_arguments
    assert again["bound"] == math.inf
    assert math.isnan(again["hole"])
    assert again["day"] == datetime.date(2024, 5, 17)


def test_toml_states_every_setting():
    """A stored config doesn't depend on defaults that may change."""
    import tomllib

    stated = set(tomllib.loads(RunConfig.build({}, "test").to_toml()))
    probes = ["rotations", "flow", "ema", "batch_sharpness", "noise"]
    own = {
        "problem": "file.py:function",
        "dynamics": "heavy-ball",
        "probes": probes,
        "sharp_step": 0.5,
    }
    stated_of_own = set(tomllib.loads(RunConfig.build(own, "test").to_toml()))
    of_dynamics = {
        "adamw": {"beta1", "beta2", "epsilon"},
        "rmsprop": {"beta2", "epsilon"},
        "sgd": {"batch_size", "replacement", "batch_ends"},
        "sphere-sgd": {"batch_size", "replacement", "batch_ends", "project_every"},
    }
    for name, settings in of_dynamics.items():
        its = set(tomllib.loads(RunConfig.build({"dynamics": name}, "test").to_toml()))
        assert its - stated == settings
    of_all = set.union(*of_dynamics.values())
    assert stated | stated_of_own | of_all == set(RunConfig.keys())
    acting = {
        "trust_gradients", "momentum", "pin_at", "eigenvectors_budget", "ema_decay",
        "batch_sharpness_cadence", "batch_sharpness_draws", "noise_cadence", "noise_draws", "flow_at",
        "flow_substeps", "sharp_step", "other_step", "sharp_above",
    }  # fmt: skip
    assert stated_of_own - stated == acting  # which act on nothing else


def test_every_setting_is_described():
    """Each key has a line for people."""
    for key, field in RunConfig.model_fields.items():
        assert field.description, key


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("width=200", ("width", 200)),
        ("eta = 1e-3", ("eta", 1e-3)),
        ("activation=tanh", ("activation", "tanh")),
        ('activation="tanh"', ("activation", "tanh")),
        ("bias=false", ("bias", False)),
        ("channels=[8, 16]", ("channels", [8, 16])),
        ("data_file=/a b/c=d.npz", ("data_file", "/a b/c=d.npz")),
        ("samples=all", ("samples", "all")),
    ],
)
def test_parse_setting(text, wanted):
    """A value is TOML where it can be, else a bare word; only the first = separates."""
    assert parse_setting(text) == wanted


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("width", ["width", "key=value"]),
        ("=3", ["key=value"]),
        ("widht=3", ["`widht`", "did you mean `width`?"]),
    ],
)
def test_parse_setting_refuses(text, parts):
    """No `=` or an unknown key: one sentence."""
    with pytest.raises(InputError) as caught:
        parse_setting(text)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("2/100", 0.02), ("1e-3", 1e-3), (" 0.15 ", 0.15), ("-3", -3.0), ("1 / 8", 0.125), ("0/5", 0)],
)
def test_parse_number(text, wanted):
    """Numbers as people type them, fractions among them."""
    assert parse_number(text) == wanted


@pytest.mark.parametrize("text", ["junk", "", "1/0", "nan", "inf", "-inf", "1/2/3", "/", "1e999"])
def test_parse_number_refuses(text):
    """Anything else is refused with the text and an example."""
    with pytest.raises(InputError, match=re.escape(f"`{text}`") + ".*0.02"):
        parse_number(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_parse_number_reads_back_what_python_prints(value):
    """repr is read exactly."""
    assert parse_number(repr(value)) == value


def test_file_names_are_meant_relative_to_the_preset(tmp_path):
    """data_file and problem become absolute; names that already are stay."""
    values = {"data_file": "here.npz", "problem": "sub/mine.py:make", "eta": 1}
    assert absolute_files(values, tmp_path) == {
        "data_file": str(tmp_path / "here.npz"),
        "problem": f"{tmp_path / 'sub/mine.py'}:make",
        "eta": 1,
    }
    assert absolute_files({"data_file": "/there.npz"}, tmp_path) == {"data_file": "/there.npz"}
    assert absolute_files({"problem": "network"}, tmp_path) == {"problem": "network"}


SHIPPED = sorted((Path(__file__).parents[1] / "presets").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_presets_load(path):
    """Every preset is valid, found by its name, and says in its first line what it shows."""
    preset = presets.load(path.stem)
    assert preset.config.preset == path.stem
    assert preset.summary
    assert not preset.summary.startswith("#")
    assert preset.config == RunConfig.from_toml(preset.config.to_toml(), "again")


def test_shipped_presets_are_there():
    """The default is among them (an empty folder would make the test above vanish)."""
    assert presets.DEFAULT_PRESET in {path.stem for path in SHIPPED}
    assert {path.stem for path in SHIPPED} <= set(presets.available())


def test_preset_by_path(tmp_path):
    """A file is loaded by its path; its comment is its description, its folder that of its files."""
    file = tmp_path / "mine.toml"
    file.write_text('# First line.\n# Second.\n\n# not this\neta = 0.3\ndata_file = "d.npz"\n')
    preset = presets.load(str(file))
    assert (preset.name, preset.description) == ("mine", "First line.\nSecond.")
    assert preset.summary == "First line."
    assert preset.config.eta == 0.3
    assert preset.config.preset == "mine"
    assert preset.config.data_file == str(tmp_path / "d.npz")


def test_broken_presets_are_named(tmp_path):
    """Syntax, key, encoding and absence: each sentence has the path."""
    for name, content, part in (
        ("syntax", b"eta = = 1", "not valid TOML"),
        ("key", b"etta = 1", "did you mean `eta`?"),
        ("bytes", b'preset = "\xff\xfe"', "can't be read"),
    ):
        file = tmp_path / f"{name}.toml"
        file.write_bytes(content)
        with pytest.raises(InputError) as caught:
            presets.load(str(file))
        assert str(file) in str(caught.value)
        assert part in str(caught.value)
    with pytest.raises(InputError, match="there is no such file"):
        presets.load(str(tmp_path / "absent.toml"))


def test_users_presets_are_found_and_hide_shipped_ones(tmp_path, monkeypatch):
    """Those in EOSTUI_SETTINGS/presets are listed by name with the shipped ones, and win."""
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path))
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "aaa-mine.toml").write_text("# Mine.\neta = 0.25\n")
    (folder / f"{presets.DEFAULT_PRESET}.toml").write_text("eta = 0.125\n")
    assert locations.user_presets_dir() == folder
    assert presets.load("aaa-mine").config.eta == 0.25
    assert presets.load(presets.DEFAULT_PRESET).config.eta == 0.125
    assert list(presets.available()) == sorted(presets.available())
    assert presets.neighbour("aaa-mine", -1) == list(presets.available())[-1]
    assert presets.neighbour(list(presets.available())[-1], 1) == "aaa-mine"


def test_unknown_preset_offers_the_nearest():
    """The name, the nearest one, and how to list them all."""
    with pytest.raises(InputError, match=r"`digit-mlp`; did you mean `digits-mlp`\?.*presets list"):
        presets.load("digit-mlp")


def test_places_come_from_flag_then_variable_then_system(tmp_path, monkeypatch):
    """A chosen folder beats the variable, which beats the system's place; ~ is expanded."""
    monkeypatch.setenv("EOSTUI_RUNS", str(tmp_path / "by-variable"))
    assert locations.runs_dir(tmp_path / "chosen") == tmp_path / "chosen"
    assert locations.runs_dir() == tmp_path / "by-variable"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locations.runs_dir(Path("~/mine")) == tmp_path / "mine"
    monkeypatch.delenv("EOSTUI_RUNS")
    assert locations.runs_dir().name == "runs"
    assert "eostui" in locations.runs_dir().parts
