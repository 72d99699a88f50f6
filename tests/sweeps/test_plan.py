"""Plans: what varies over a preset, alone and together, within schedules too."""

from __future__ import annotations

from pathlib import Path

import pytest

from eostui import locations, presets
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.sweeps import presets as sweep_presets
from eostui.sweeps.plan import Axis, Draft, merged


def draft(**lists: str) -> Draft:
    drafted = Draft(presets.load("digits-mlp").config)
    for key, text in lists.items():
        drafted.take(key.replace("__", "."), text, f"--set {key}={text}")
    return drafted


def test_a_grid_is_the_product_with_seeds_fastest() -> None:
    plan = draft(seed="0..2", weight_decay="0,1e-3", width="50,100").plan("test")
    settings = list(plan.settings())
    assert plan.count == len(settings) == 12
    assert settings[:4] == [
        {"weight_decay": 0.0, "width": 50, "seed": 0},
        {"weight_decay": 0.0, "width": 50, "seed": 1},
        {"weight_decay": 0.0, "width": 50, "seed": 2},
        {"weight_decay": 0.0, "width": 100, "seed": 0},
    ]
    last = list(plan.configs())[-1]
    assert (last.weight_decay, last.width, last.seed) == (1e-3, 100, 2)


def test_one_value_is_shared_and_varies_nothing() -> None:
    plan = draft(eta="0.1", steps="77").plan("test")
    assert plan.axes == ()
    assert [config.steps for config in plan.configs()] == [77]
    assert plan.base.eta == 0.1


def test_what_is_said_last_counts() -> None:
    drafted = draft(eta="0.1,0.2")
    drafted.take("eta", "0.05", "test")
    assert drafted.plan("test").base.eta == 0.05
    drafted.zip({"eta": [0.1, 0.2], "width": [10, 20]}, "test")
    drafted.take("eta", "0.3,0.4", "test")
    (axis,) = drafted.plan("test").axes
    assert axis.keys == ("eta",)


def test_zipped_settings_vary_together() -> None:
    drafted = draft(seed="0,1")
    drafted.zip({"eta": [0.1, 0.15, 0.15], "weight_decay": [1e-3, 2e-3, 0]}, "test")
    plan = drafted.plan("test")
    assert plan.count == 6
    assert [(c.eta, c.weight_decay, c.seed) for c in plan.configs()] == [
        (0.1, 1e-3, 0), (0.1, 1e-3, 1), (0.15, 2e-3, 0), (0.15, 2e-3, 1), (0.15, 0, 0), (0.15, 0, 1)
    ]  # fmt: skip


def test_zipped_settings_need_equally_many_values() -> None:
    with pytest.raises(InputError, match="`eta` has 2, `width` has 3"):
        draft().zip({"eta": [1, 2], "width": [1, 2, 3]}, "test")
    with pytest.raises(InputError, match="given twice"):
        draft().zip({"eta": [1, 1], "width": [2, 2]}, "test")


def test_a_schedule_varies_within() -> None:
    """η₀ × the step at which it is cut."""
    plan = draft(eta="0.1,0.2", controls="[{step=10, eta=0.05}]", controls__0__step="20,30").plan(
        "test"
    )
    assert [(c.eta, c.controls[0].step, c.controls[0].eta) for c in plan.configs()] == [
        (0.1, 20, 0.05), (0.1, 30, 0.05), (0.2, 20, 0.05), (0.2, 30, 0.05)
    ]  # fmt: skip


def test_a_schedule_is_made_of_its_parts() -> None:
    drafted = draft()
    drafted.zip({"controls.0.step": [20, 30], "controls.0.eta": [0.05, 0.1]}, "test")
    assert [(c.controls[0].step, c.controls[0].eta) for c in drafted.plan("test").configs()] == [
        (20, 0.05), (30, 0.1)
    ]  # fmt: skip
    one = draft(controls__0__step="20,30", controls__0__eta="0.05").plan("test")
    assert [(c.controls[0].step, c.controls[0].eta) for c in one.configs()] == [
        (20, 0.05), (30, 0.05)
    ]  # fmt: skip


def test_lists_and_arguments_of_problems_vary() -> None:
    base = presets.load("cifar5k-cnn").config
    drafted = Draft(base)
    drafted.take("channels", "[4,4],[8]", "test")
    assert [c.channels for c in drafted.plan("test").configs()] == [(4, 4), (8,)]
    toy = Draft(presets.load("toy-deep-linear").config)
    toy.take("problem_arguments.depth", "2,3", "test")
    assert [c.problem_arguments["depth"] for c in toy.plan("test").configs()] == [2, 3]


@pytest.mark.parametrize(
    ("lists", "told"),
    [
        ({"weightdecay": "0,1"}, "unknown key `weightdecay`; did you mean `weight_decay`?"),
        ({"lr": "0.1,0.2"}, "did you mean `eta`?"),
        ({"preset": "a,b"}, "`preset` can't vary"),
        ({"eta": "0.1,-1"}, "the member with eta = -1: `eta` is -1"),
        ({"width": "10,10.5"}, "the member with width = 10.5"),
        ({"eta": "0.1,0.2", "weight_decay": "0,7"}, "eta = 0.2, weight_decay = 7"),
        ({"channels": "16,17"}, "must be a list"),
        ({"controls__x__step": "1,2"}, "must be the number of an entry"),
        ({"controls__3__step": "1,2"}, "must be the number of an entry"),
        ({"eta__3": "1,2"}, "nothing within a value"),
        ({"controls__0__stop": "1,2"}, "change 1 of `controls`"),
        ({"seed": "0..9999", "eta": "0.1,0.2"}, "20000 members, but a sweep has at most"),
        ({"activation": "relu,tan"}, "did you mean `tanh`?"),
        ({"width": "50,50.0"}, "50 is given twice"),
    ],
)
def test_what_is_no_plan_is_told_before_anything_starts(lists: dict[str, str], told: str) -> None:
    with pytest.raises(InputError) as caught:
        draft(**lists).plan("test")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_members_have_a_thread_each_unless_it_is_said() -> None:
    base = RunConfig.build({"threads": "auto"}, "test")
    assert Draft(base).plan("test").base.threads == 1
    assert Draft(base.changed({"threads": 2})).plan("test").base.threads == 2


def test_more_values_are_put_beside_those_there_are() -> None:
    plan = draft(weight_decay="0,1e-3").plan("test")
    more = merged(plan, [Axis(("weight_decay",), ((1e-3,), (2e-3,)))], "test")
    assert more.axes == (Axis(("weight_decay",), ((0.0,), (1e-3,), (2e-3,))),)
    both = merged(plan, [Axis(("eta",), ((0.1,),))], "test")
    assert both.axes[-1] == Axis(("eta",), ((0.15,), (0.1,)))


def test_values_that_are_there_are_known_however_they_are_written() -> None:
    """As whole numbers and fractions, zipped in another order, and the one value of all members."""
    drafted = draft(weight_decay="0,1e-3", seed="1,2")
    drafted.zip({"eta": [0.1, 0.2], "width": [10, 20]}, "test")
    plan = drafted.plan("test")
    more = draft(weight_decay="0,1/1000,2e-3", momentum="9/10,0")
    more.zip({"width": [10, 30], "eta": [1e-1, 1]}, "test")
    assert merged(plan, more.axes(), "test").axes == (
        Axis(("weight_decay",), ((0.0,), (1e-3,), (2e-3,))),
        Axis(("eta", "width"), ((0.1, 10), (0.2, 20), (1.0, 30))),
        Axis(("momentum",), ((0.9,), (0.0,))),
        Axis(("seed",), ((1,), (2,))),
    )
    assert merged(draft(seed="1,2").plan("test"), [Axis(("weight_decay",), ((0,),))], "test").axes == (
        Axis(("weight_decay",), ((0.0,),)), Axis(("seed",), ((1,), (2,)))
    )  # fmt: skip


def test_a_setting_that_varies_with_another_is_not_added_alone() -> None:
    drafted = draft()
    drafted.zip({"eta": [0.1, 0.2], "width": [10, 20]}, "test")
    with pytest.raises(InputError, match="varies eta,width together"):
        merged(drafted.plan("test"), [Axis(("eta",), ((0.3,),))], "test")


FILE = """# What to look for.
# More.
preset = "digits-mlp"

[set]
steps = 70
controls = [{step = 10, eta = 0.05}]

[axes]
weight_decay = "0,1e-5..1e-2:2log"
seed = [4, 5]
controls.0.step = [20, 30]

[[zip]]
eta = [0.1, 0.2, 0.2]
width = "50,60,50"
"""


def test_a_file_says_what_a_sweep_runs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    assert sweep_presets.is_meant(str(path))
    loaded = sweep_presets.load(str(path))
    assert loaded.summary == "What to look for."
    plan = loaded.plan()
    assert plan.count == 3 * 2 * 2 * 3
    assert plan.base.steps == 70
    assert {(c.eta, c.width) for c in plan.configs()} == {(0.1, 50), (0.2, 60), (0.2, 50)}
    assert {c.weight_decay for c in plan.configs()} == {0, 1e-5, 1e-2}
    assert {c.controls[0].step for c in plan.configs()} == {20, 30}
    assert [axis.keys for axis in plan.axes][-1] == ("seed",)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("[axes]", "[axis]", "unknown key `axis`; did you mean `axes`?"),
        ('preset = "digits-mlp"', "", "`preset` is missing"),
        ("digits-mlp", "digits-mpl", "did you mean `digits-mlp`?"),
        ("seed = [4, 5]", "sede = [4, 5]", "unknown key `sede`; did you mean `seed`?"),
        ("seed = [4, 5]", "seed = 4", 'must be a list, or a text such as "0:0.03:20"'),
        ("seed = [4, 5]", "seed = []", "no value is given"),
        ("2log", "0log", "is empty"),
        ('"50,60,50"', '"50,60"', "`eta` has 3, `width` has 2"),
        ("steps = 70", "steps = -1", "`steps` is -1"),
        ("steps = 70", "stps = 70", "did you mean `steps`?"),
        ("[[zip]]", "[zip]", "each as [[zip]]"),
        ("[set]", "[set", "not valid TOML"),
    ],
)
def test_a_file_that_is_wrong_is_told(tmp_path: Path, before: str, after: str, told: str) -> None:
    path = tmp_path / "mine.toml"
    assert before in FILE
    path.write_text(FILE.replace(before, after))
    with pytest.raises(InputError) as caught:
        sweep_presets.load(str(path)).plan()
    assert told in str(caught.value)


def test_a_preset_beside_a_sweep_is_found_from_there(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("width = 7\n")
    (tmp_path / "mine.toml").write_text('preset = "base.toml"\n[axes]\nseed = [1, 2]\n')
    assert sweep_presets.load(str(tmp_path / "mine.toml")).plan().base.width == 7


def test_files_that_a_sweep_varies_are_found_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its `set` has them, wherever the program is called."""
    (tmp_path / "mine.toml").write_text(
        'preset = "digits-mlp"\n[set]\nproblem = "p.py:f"\n'
        '[axes]\ndynamics = "a.py:A,sub/a.py:B"\nprobes = [["a.py:P"], []]\n'
        '[[zip]]\ndata_file = ["one.npz", "/two.npz"]\nseed = [1, 2]\n'
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    configs = list(sweep_presets.load("../mine.toml").plan().configs())
    here = tmp_path / "elsewhere" / ".."
    assert {c.problem for c in configs} == {f"{here}/p.py:f"}
    assert {c.dynamics for c in configs} == {f"{here}/a.py:A", f"{here}/sub/a.py:B"}
    assert {c.probes for c in configs} == {(f"{here}/a.py:P",), ()}
    assert {c.data_file for c in configs} == {f"{here}/one.npz", "/two.npz"}


def test_a_users_own_sweeps_are_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path))
    (tmp_path / "presets" / "sweeps").mkdir(parents=True)
    (tmp_path / "presets" / "sweeps" / "mine.toml").write_text(FILE)
    assert "mine" in sweep_presets.available()
    assert sweep_presets.load("mine").plan().count == 36
    with pytest.raises(InputError, match="did you mean `mine`"):
        sweep_presets.load("mien")


def test_every_shipped_sweep_is_valid() -> None:
    for name in sweep_presets.available():
        loaded = sweep_presets.load(name)
        assert loaded.plan().count > 1, name
        assert loaded.summary, name


@pytest.mark.parametrize(
    "path",
    sorted((locations.shipped("presets") / "sweeps").glob("*.toml")),
    ids=lambda path: path.stem,
)
def test_every_shipped_sweep_can_be_made_and_a_papers_has_a_twin(path: Path) -> None:
    plan = sweep_presets.load(str(path)).plan()
    assert len(list(plan.configs())) == plan.count > 1
    if path.stem.startswith(("inst-fig", "why-")) and path.stem != "inst-fig7":  # a preset's is its
        twin = sweep_presets.load(str(path.with_name(f"digits-{path.stem}.toml"))).plan()
        assert twin.base.data == "digits"
        assert {key for axis in twin.axes for key in axis.keys} == {
            key for axis in plan.axes for key in axis.keys
        }
