"""Forks on a schedule: ordinary runs of one group, each made once, as a fork by hand would be."""

from __future__ import annotations

import dataclasses
import json

import pytest
from engines import assert_same_rows, entry, here, small
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.fork_schedule import ForkSchedule
from eostui.runs import shelf
from eostui.runs.fork_plan import planned_forks
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter
from eostui.schedule import Ramp

SCHEDULE = {"every": 40, "from": 20, "length": 15, "eta": 0.1, "weight_decay": 0.0}


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    config = small(steps=100, weight_decay=0.01, forks=[SCHEDULE], cadence=20, far_cadence=0)
    return here(config, tmp_path_factory.mktemp("parent"))


def cli(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_a_preset_states_them(parent):
    config = entry(parent).config
    assert config.forks == (ForkSchedule.model_validate(SCHEDULE),)
    assert RunConfig.from_toml(config.to_toml(), "again") == config
    assert "from = 20" in config.to_toml()


def test_they_are_forks_as_by_hand_each_made_once(parent, tmp_path):
    """At 20 and 60, with 100 to come once the parent is there; asked for again they are there already."""
    runs = parent.parent
    done = cli("fork", parent.name, "--scheduled", "--runs-dir", runs)
    assert done.exit_code == 0, done.output
    made = sorted(
        (each for each in shelf.entries(runs) if each.parent == parent.name),
        key=lambda each: each.parent_step,
    )
    assert [each.parent_step for each in made] == [20, 60, 100]
    assert {each.group for each in made} == {f"{parent.name}-forks"}
    assert done.stdout.split() == [str(each.path) for each in made]
    for each in made:
        assert each.last_step == each.parent_step + 14
        with Run(each.path) as run:
            assert set(run["eta"][each.parent_step :]) == {0.1}
            assert set(run["weight_decay"][each.parent_step :]) == {0.0}
            assert set(run["eta"][: each.parent_step]) == {0.3}
            assert run.config.forks == ()
    by_hand = here(
        Fork(entry(parent), 60, {"eta": 0.1, "weight_decay": 0.0, "steps": 74}), tmp_path
    )
    assert_same_rows(made[1].path, by_hand, whole=True)

    again = cli("fork", parent.name, "--every", 40, "--from", 20, "--length", 15, "--eta", "0.1",
                "--weight-decay", "0", "--runs-dir", runs, "--json")  # fmt: skip
    assert again.exit_code == 0, again.output
    assert [each["id"] for each in json.loads(again.stdout)] == [each.id for each in made]
    assert len([each for each in shelf.entries(runs) if each.parent == parent.name]) == 3


def test_one_that_was_cut_off_or_stopped_goes_on(parent, tmp_path):
    """Others that are alike but for their η, or of another group, are no part of it."""
    whole = entry(parent)
    folder = tmp_path / "runs"
    schedule = ForkSchedule.model_validate({**SCHEDULE, "until": 20})
    changes = {"eta": 0.1, "weight_decay": 0.0, "steps": 34}
    here(Fork(whole, 20, changes), folder, {25: [("stop", {})]})
    here(Fork(whole, 20, {**changes, "eta": 0.2}), folder)
    known = shelf.entries(folder)
    (planned,) = planned_forks(whole, [schedule], "g", known)
    assert isinstance(planned.next, Fork)

    of_group = [dataclasses.replace(each, group="g") for each in known]
    (planned,) = planned_forks(whole, [schedule], "g", of_group)
    assert planned.made.eta == 0.1
    assert planned.next == Resume(planned.made)  # ctrl+c stops as its user does
    cut = [dataclasses.replace(each, state="interrupted") for each in of_group]
    (planned,) = planned_forks(whole, [schedule], "g", cut)
    assert planned.next == Resume(planned.made)


def test_the_same_command_finishes_what_was_stopped(parent, tmp_path):
    changes = {"eta": 0.1, "weight_decay": 0.0, "steps": 34}
    path = here(Fork(entry(parent), 20, changes), tmp_path, {25: [("stop", {})]})
    writer = RunWriter(path)
    writer.fact("group", "g")
    writer.close()
    done = cli("fork", parent, "--every", 40, "--from", 20, "--until", 20, "--length", 15, "--eta", "0.1",
               "--weight-decay", "0", "--group", "g", "--runs-dir", tmp_path)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(path)]
    assert (entry(path).state, entry(path).last_step) == ("finished", 34)


def test_one_that_came_to_its_stop_at_is_there(parent, tmp_path):
    whole = entry(parent)
    changes = {"eta": 0.1, "weight_decay": 0.0, "stop_at": ("step 28",)}
    made = here(Fork(whole, 20, {**changes, "steps": 34}), tmp_path)
    schedule = ForkSchedule.model_validate({**SCHEDULE, **changes, "until": 20})
    (planned,) = planned_forks(whole, [schedule], "", shelf.entries(tmp_path))
    assert (planned.made.path, planned.made.state, planned.next) == (made, "stopped", None)


@pytest.mark.parametrize(
    "settings", [{"cadence": 1}, {"probes": ("noise",)}, {"stop_at": ("step 28",)}], ids=str
)
def test_other_settings_make_other_forks(parent, tmp_path, settings):
    """Whichever were made first."""
    whole = entry(parent)
    changes = {"eta": 0.1, "weight_decay": 0.0}
    schedules = [
        ForkSchedule.model_validate({**SCHEDULE, **more, "until": 20}) for more in ({}, settings)
    ]
    for more, own in zip(({}, settings), schedules, strict=True):
        folder = tmp_path / str(len(more))
        made = here(Fork(whole, 20, {**changes, **more, "steps": 34}), folder)
        known = shelf.entries(folder)
        for schedule in schedules:
            (planned,) = planned_forks(whole, [schedule], "", known)
            assert (planned.made and planned.made.path) == (made if schedule is own else None)


def test_one_that_keeps_what_a_warm_up_has_just_then_is_another(tmp_path):
    """Than one that goes on warming up, whichever was made first; also where the parent has ended."""
    config = small(steps=19, eta=0.3, warm_up=40, cadence=20, far_cadence=0)
    whole = entry(here(config, tmp_path / "parent"))
    for at in (15, 20):
        eta = Ramp(0, 0.0, 0.3, 40).at(at)
        times = {"every": 1000, "from": at, "length": 15}
        for asked in ({}, {"eta": eta}):
            folder = tmp_path / f"{at}{len(asked)}"
            made = here(Fork(whole, at, {**asked, "steps": at + 14}), folder)
            for changes in ({}, {"eta": eta}):
                schedule = ForkSchedule.model_validate({**times, **changes})
                (planned,) = planned_forks(whole, [schedule], "", shelf.entries(folder))
                assert (planned.made and planned.made.path) == (made if changes == asked else None)


def test_a_length_is_of_one_fork_too(parent, tmp_path):
    done = cli("fork", parent, "--at", 50, "--length", 5, "--headless", "--runs-dir", tmp_path)
    assert done.exit_code == 0, done.output
    (made,) = shelf.entries(tmp_path)
    assert (made.parent_step, made.last_step) == (50, 54)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--every", 10], "--every needs --length"),
        (["--every", 0, "--length", 5], "`every` is 0"),
        (["--every", 10, "--length", 5, "--at", 3], "--at is for one fork"),
        (["--every", 10, "--length", 5, "--from", 500], "has no step of that schedule"),
        (["--every", 10, "--length", 5, "--from", 50, "--until", 40], "there are none"),
        (["--scheduled", "--eta", "0.1"], "--scheduled takes all from"),
        (["--every", 10, "--length", 5, "--set", "width=3"], "`width` can't change"),
        (["--from", 10], "--from and --until are for --every"),
        (["--length", 5, "--steps", 50], "give one of them"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said_before_anything_is_made(parent, tmp_path, options, said):
    done = cli("fork", parent, *options, "--runs-dir", tmp_path)
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert not list(tmp_path.glob("*"))


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"every": 0, "length": 3}, "schedule 1 of `forks`: `every` is 0"),
        ({"every": 5}, "schedule 1 of `forks`: `length` is missing"),
        ({"every": 5, "length": 3, "etta": 0.1}, "unknown key `etta`; did you mean `eta`?"),
        ({"every": 5, "length": 3, "steps": 9}, "by `length`"),
    ],
    ids=str,
)
def test_a_config_that_cannot_be(schedule, said):
    with pytest.raises(InputError) as caught:
        small(forks=[schedule])
    assert said in str(caught.value)
