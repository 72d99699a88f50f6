"""Sweeps on disk: manifests, members, claims; and commands that take them for what they are."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
import tomllib
from pathlib import Path

import pytest
import tomli_w
from engines import here, small
from made import make_run
from typer.testing import CliRunner

from eostui import presets
from eostui.cli.app import app
from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError, Interrupted
from eostui.panels.sweep.members import share
from eostui.runs.store.writer import RunWriter
from eostui.sweeps import cost, log, names, trial
from eostui.sweeps.conductor import unfinished
from eostui.sweeps.lookup import find_sweep, sweep_named
from eostui.sweeps.names import only_namer
from eostui.sweeps.plan import Axis, Draft, Plan
from eostui.sweeps.shelf import (
    LOCK,
    MANIFEST,
    at_work,
    completions,
    locked,
    name_of,
    request_stop,
    sweeps_of,
    take_stop_request,
)
from eostui.sweeps.sweep import WAITING, Claim, Sweep, never_began


def plan(**lists: str) -> Plan:
    drafted = Draft(presets.load("digits-mlp").config)
    for key, text in {"weight_decay": "0,1e-3", "seed": "1,2", **lists}.items():
        drafted.take(key, text, "test")
    return drafted.plan("test")


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep.create(tmp_path, plan(), "mine")


def test_a_manifest_says_what_was_planned(sweep: Sweep) -> None:
    assert sweep.plan == plan()
    assert [member.config for member in sweep.members] == list(plan().configs())
    assert [member.path.name for member in sweep.members] == [
        f"{sweep.id}.{n:03}" for n in range(4)
    ]
    assert {each.state for each in sweep.states()} == {WAITING}
    assert sweep.path.stat().st_mode & 0o777 == 0o700


def test_it_is_found_by_id_and_name(sweep: Sweep, tmp_path: Path) -> None:
    assert name_of(sweep.path) == "mine"
    for wanted in ("mine", sweep.id, sweep.id[-4:], str(sweep.path)):
        assert find_sweep(tmp_path, wanted) == sweep.path
    assert find_sweep(tmp_path, "other") is None
    assert find_sweep(tmp_path, "") is None
    assert completions(tmp_path, "mi") == ["mine"]
    Sweep.create(tmp_path, plan(), "mine")
    with pytest.raises(InputError, match="could be"):
        find_sweep(tmp_path, "mine")


def test_one_that_was_killed_as_it_was_made_is_no_sweep(sweep: Sweep, tmp_path: Path) -> None:
    shutil.copytree(sweep.path, tmp_path / f".made-{sweep.id[-4:]}")
    assert sweeps_of(tmp_path) == [sweep.path]
    for wanted in ("mine", sweep.id[-4:]):
        assert find_sweep(tmp_path, wanted) == sweep.path
    assert completions(tmp_path, "") == [sweep.id, "mine"]


def test_a_sweep_and_a_run_that_are_called_the_same_are_told_apart(
    sweep: Sweep, tmp_path: Path
) -> None:
    """By a whole id or path alone: neither is silently taken for the other."""
    named = make_run(tmp_path / "made-aaaa", 10, name="mine")
    ending = make_run(tmp_path / f"made-{sweep.id[-4:]}", 10)
    for wanted, run in (("mine", named), (sweep.id[-4:], ending)):
        with pytest.raises(InputError) as caught:
            sweep_named(tmp_path, wanted)
        assert f"`{wanted}` could be {sweep.id}, {run.name}: type more" in str(caught.value)
        code, _, err = call(tmp_path, "runs", "delete", wanted, "-y")
        assert code == 2, err
    for wanted in (sweep.id, str(sweep.path)):
        assert sweep_named(tmp_path, wanted) == sweep.path
    for wanted in (named.name, str(named), ending.name):
        assert sweep_named(tmp_path, wanted) is None
    make_run(tmp_path / "mine", 10)  # its id is the sweep's name
    assert sweep_named(tmp_path, "mine") is None


def test_members_are_added_and_those_there_keep_their_places(sweep: Sweep) -> None:
    more, taken_up = sweep.extended([Axis(("weight_decay",), ((2e-3,),))])
    assert not taken_up
    assert more.is_current
    assert not sweep.is_current
    before, after = sweep.members, more.members
    assert after[:4] == before
    assert [dict(member.settings) for member in after[4:]] == [
        {"weight_decay": 2e-3, "seed": 1}, {"weight_decay": 2e-3, "seed": 2}
    ]  # fmt: skip
    assert [member.path.name[-3:] for member in after] == [f"{n:03}" for n in range(6)]
    both, _ = more.extended([Axis(("eta",), ((0.1,),))])
    assert len(both.members) == 12
    assert [m.path for m in both.members[:6]] == [m.path for m in after]
    assert [m.config for m in both.members[:6]] == [m.config for m in after]
    assert {m.config.eta for m in both.members[6:]} == {0.1}
    with pytest.raises(InputError, match="all of these members"):
        both.extended([Axis(("seed",), ((1,),))])
    with pytest.raises(InputError, match="`eta` is -1"):
        both.extended([Axis(("eta",), ((-1.0,),))])
    assert len(Sweep(sweep.path).members) == 12


def test_members_that_are_there_are_not_added_again_however_they_are_written(sweep: Sweep) -> None:
    drafted = Draft(presets.load("digits-mlp").config)
    drafted.take("weight_decay", "0,1/1000,2e-3", "test")
    more, _ = sweep.extended(drafted.axes())
    assert [dict(member.settings) for member in more.members[4:]] == [
        {"weight_decay": 2e-3, "seed": 1}, {"weight_decay": 2e-3, "seed": 2}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("format = 1", "format = 2", "of a later version"),
        ('name = "mine"', 'nome = "mine"', "damaged"),
        ("[base]", "[base", "not valid TOML"),
        (".001", "/../../elsewhere", "damaged"),
        ("created = ", "created = 1" + 400 * "0" + " # ", "damaged"),
        ('"weight_decay",', '"weight_decay", "eta",', "damaged"),
        ('"weight_decay",', "true,", "damaged"),
        ('"weight_decay",', "", "damaged"),
        ("width = 100", "width = -1", "`width` is -1"),
    ],
)
def test_a_damaged_manifest_is_told(sweep: Sweep, before: str, after: str, told: str) -> None:
    text = (sweep.path / MANIFEST).read_text()
    assert before in text
    (sweep.path / MANIFEST).write_text(text.replace(before, after, 1))
    with pytest.raises(InputError) as caught:
        Sweep(sweep.path)
    assert told in str(caught.value)


def test_one_process_at_a_time_begins_members(sweep: Sweep) -> None:
    claim = Claim(sweep.path)
    assert at_work(sweep.path)
    with pytest.raises(InputError, match="another process is at work"):
        Claim(sweep.path)
    claim.release()
    assert not at_work(sweep.path)
    Claim(sweep.path).release()


def test_engines_of_the_process_before_are_waited_for(sweep: Sweep) -> None:
    claim = Claim(sweep.path)
    held = os.dup(claim.descriptor)  # as an engine has it
    claim.release()
    asked = []

    def wait() -> None:
        asked.append(at_work(sweep.path))
        if len(asked) == 3:
            raise Interrupted("no more")

    with pytest.raises(Interrupted, match="no more"):
        Claim(sweep.path, wait)
    assert asked == [True] * 3
    assert not at_work(sweep.path)
    os.close(held)
    Claim(sweep.path).release()


def test_whoever_only_looks_whether_it_is_at_work_keeps_nobody_from_it(sweep: Sweep) -> None:
    Claim(sweep.path).release()
    looks = os.open(sweep.path / LOCK, os.O_RDONLY)  # as `at_work` does, for an instant
    assert locked(looks, fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, [looks]).start()
    Claim(sweep.path).release()


def test_whoever_ends_sees_members_that_are_added_or_they_see_that_it_ended(sweep: Sweep) -> None:
    claim = Claim(sweep.path)
    more, taken_up = sweep.extended([Axis(("seed",), ((3,),))])
    assert taken_up
    assert not claim.let_go(lambda: sweep.is_current)
    (sweep.path / "manifest.lock").rename(sweep.path / "moved")
    (sweep.path / "manifest.lock").mkdir()  # as where none can be made, on a full disk
    assert claim.let_go(lambda: more.is_current)
    (sweep.path / "manifest.lock").rmdir()
    assert not more.extended([Axis(("seed",), ((4,),))])[1]
    claim.release()
    Claim(sweep.path).release()


def test_a_request_to_stop_is_for_who_is_at_work_when_it_comes(sweep: Sweep) -> None:
    """Not for whoever takes the sweep up after that."""
    request_stop(sweep.path)
    claim = Claim(sweep.path)
    assert not take_stop_request(sweep.path)
    request_stop(sweep.path)
    claim.release()
    assert take_stop_request(sweep.path)


def test_who_does_not_come_to_an_end_with_a_name_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "_PATIENCE", 0.2)
    with (
        only_namer(tmp_path),
        pytest.raises(InputError, match="another process has been making a sweep or renaming"),
        only_namer(tmp_path),
    ):
        pass
    with only_namer(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_shelf_is_locked_by_one_at_a_time_and_nothing_is_left(tmp_path: Path) -> None:
    """Whoever waits for the lock's file finds it gone, and makes another."""
    shelf, inside, most = tmp_path / "shelf", [0], []

    def name() -> None:
        for _ in range(20):
            with only_namer(shelf):
                inside[0] += 1
                most.append(inside[0])
                time.sleep(0.001)
                inside[0] -= 1

    threads = [threading.Thread(target=name) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == [1] * 80
    assert list(shelf.iterdir()) == []


def test_a_member_that_could_not_begin_has_failed_until_it_begins(sweep: Sweep) -> None:
    run = sweep.members[1].path.name
    log.write(sweep.path, log.REFUSED, run=run, sentence="there is no such file")
    states = sweep.states()
    assert (states[1].state, states[1].sentence) == ("failed", "there is no such file")
    assert [m.number for m in unfinished(states)] == [0, 2, 3]
    assert [m.number for m in unfinished(states, failed=True)] == [0, 1, 2, 3]
    log.write(sweep.path, log.STARTED, run=run)
    with open(sweep.path / log.LOG, "a") as file:
        file.write('{"kind": "refused", "ru')  # killed while it wrote
    assert sweep.states()[1].state == WAITING


@pytest.mark.usefixtures("one_thread")
def test_a_member_that_came_to_its_stop_at_is_complete(tmp_path: Path) -> None:
    """One that someone stopped goes on; neither is told apart by its state."""
    drafted = Draft(small(steps=60, stop_at=["step 20"]))
    drafted.take("seed", "1,2", "test")
    sweep = Sweep.create(tmp_path, drafted.plan("test"), "stops")
    for member, controls in zip(sweep.members, ({}, {7: [("stop", {})]}), strict=True):
        path = here(member.config, tmp_path / "elsewhere", controls)
        path.rename(member.path)
    states = sweep.states()
    assert [(each.state, each.complete) for each in states] == [
        ("stopped", True), ("stopped", False)
    ]  # fmt: skip
    assert [m.number for m in unfinished(states)] == [1]
    assert [m.number for m in unfinished(sweep.states(), failed=True)] == [1]  # kept from before
    assert [share(each) for each in states] == [1.0, 6 / 60]
    for member in sweep.members:
        writer = RunWriter(member.path)
        writer.fact("group", sweep.id)
        writer.close()
    listed = CliRunner().invoke(app, ["runs", "list", "--runs-dir", str(tmp_path)])
    assert "▦ stops unfinished 1/2 members" in " ".join(listed.stdout.split())


def test_longer_members_come_first(tmp_path: Path) -> None:
    long = Sweep.create(tmp_path, plan(width="10,200", steps="100,400", seed="1"))
    order = [(m.config.width, m.config.steps) for m in unfinished(long.states())]
    assert order[0] == (200, 400)
    assert order[-1] == (10, 100)


def test_what_was_killed_before_it_began_is_begun_anew(sweep: Sweep) -> None:
    path = sweep.members[0].path
    path.mkdir()
    assert never_began(path)
    (path / "run.db").touch()
    assert never_began(path)
    assert sweep.states()[0].state == WAITING
    (path / "run.db").unlink()
    path.rmdir()
    assert not never_began(path)
    make_run(path, 10)
    assert not never_began(path)
    writer = RunWriter(sweep.members[1].path, {"id": "x"})
    assert not never_began(sweep.members[1].path)  # its engine is alive
    writer.close()


def call(folder: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments), env={"EOSTUI_RUNS": str(folder)})
    if isinstance(result.exception, EostuiError):
        return result.exception.exit_code, result.stdout, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_sweep_is_one_line_of_the_list(sweep: Sweep, tmp_path: Path) -> None:
    make_run(tmp_path / "made-aaaa", 10)
    code, out, _ = call(tmp_path, "runs", "list")
    assert code == 0
    lines = out.splitlines()
    (line,) = [each for each in lines if "▦" in each]
    assert "mine" in line
    assert "0/4 members" in line
    assert "unfinished" in line
    assert len(lines) == 3
    assert call(tmp_path, "runs", "list", "--group", sweep.id)[1] == ""
    claim = Claim(sweep.path)
    assert "running" in call(tmp_path, "runs", "list")[1]
    claim.release()


def test_a_run_of_a_sweeps_group_that_is_no_member_is_listed_by_itself(
    sweep: Sweep, tmp_path: Path
) -> None:
    for path in (*sweep.run_paths, tmp_path / "made-aaaa"):
        make_run(path, 10, group=sweep.id)
    out = call(tmp_path, "runs", "list")[1]
    assert "/4 members" in out
    assert "5/4" not in out
    assert [line for line in out.splitlines() if "made-aaaa" in line]
    assert len(out.splitlines()) == 3


def test_a_sweep_is_deleted_whole_or_not_at_all(sweep: Sweep, tmp_path: Path) -> None:
    make_run(sweep.members[2].path, 10)
    make_run(tmp_path / "made-aaaa", 10)
    assert call(tmp_path, "runs", "delete", "mine")[0] == 2
    claim = Claim(sweep.path)
    code, _, err = call(tmp_path, "runs", "delete", "mine", "-y")
    assert code == 2
    assert "is at work" in err
    claim.release()
    code, _, err = call(tmp_path, "runs", "delete", "mine", "-y")
    assert code == 0
    assert "with the runs of 1 members" in err
    assert [path.name for path in tmp_path.iterdir()] == ["made-aaaa"]
    assert sweeps_of(tmp_path) == []


def test_a_sweep_its_members_and_others_are_deleted_each_once(sweep: Sweep, tmp_path: Path) -> None:
    for path in (*sweep.run_paths[:2], tmp_path / "made-aaaa", tmp_path / "made-bbbb"):
        make_run(path, 10)
    names = [sweep.run_paths[1].name, "mine", sweep.id, "aaaa", str(tmp_path / "made-aaaa"), "bbbb"]
    code, _, err = call(tmp_path, "runs", "delete", *names, "-y")
    assert code == 0, err
    assert err.splitlines() == [
        f"deleted sweep {sweep.id} with the runs of 2 members",
        "deleted made-aaaa", "deleted made-bbbb",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_whose_manifest_is_damaged_is_deleted_without_its_members(
    sweep: Sweep, tmp_path: Path
) -> None:
    for member in sweep.members[:2]:
        make_run(member.path, 10, group=sweep.id)
    (sweep.path / MANIFEST).write_text("format = ")
    code, out, err = call(tmp_path, "runs", "prune", "--filter", f"id:{sweep.id}.000", "-y")
    assert code == 0, err
    assert out.startswith("run")
    assert sweep.path.is_dir()
    code, _, err = call(tmp_path, "runs", "delete", sweep.id, "-y")
    assert code == 0, err
    assert "without its members' runs, since its manifest can't be read" in err
    assert list(tmp_path.iterdir()) == [sweep.run_paths[1]]


def test_a_disk_that_is_too_small_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "free_bytes", lambda _: 1e6)
    code, _, err = call(tmp_path, "sweep", "digits-mlp", "--seed", "0..3")
    assert code == 2
    assert "the sweep needs about" in err
    assert "1 MB free" in err
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused_adds_no_members(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where there is no such machine nor on a disk without room: it can be said again."""
    with monkeypatch.context() as without:
        without.setattr("importlib.util.find_spec", lambda _name: None)
        code, _, err = call(
            tmp_path, "sweep", "--add", "mine", "--seed", "5", "--scheduler", "tcp://wrong:1"
        )
    assert code == 2
    assert "isn't installed" in err
    assert len(Sweep(sweep.path).members) == 4
    room = sum(cost.record_bytes(member.config) for member in sweep.members)
    monkeypatch.setattr(cost, "free_bytes", lambda _: 1.1 * room)
    code, _, err = call(tmp_path, "sweep", "--add", "mine", "--seed", "5")
    assert code == 2
    assert "the sweep needs about" in err
    assert len(Sweep(sweep.path).members) == 4


def test_a_setting_that_the_members_there_have_not_is_not_added(tmp_path: Path) -> None:
    """A change of controls that states η alone has no λ, which `--add` could only make one for all."""
    base = presets.load("digits-mlp").config.changed({"controls": [{"step": 5, "eta": 0.1}]})
    draft = Draft(base)
    draft.take("seed", "1,2", "the test")
    made = Sweep.create(tmp_path, draft.plan("the test"), "mine")
    more = [Axis(("controls.0.weight_decay",), ((0.1,), (0.2,)))]
    with pytest.raises(InputError, match="have no such setting"):
        made.extended(more)
    assert len(Sweep(made.path).members) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("sweep", "say what is swept"),
        ("sweep digits-mpl", "did you mean `digits-mlp`?"),
        ("sweep digits-mlp --weight-decay 1:0:3", "--weight-decay 1:0:3: `1:0:3` is reversed"),
        ("sweep digits-mlp --eta 0:1:0", "is empty"),
        ("sweep digits-mlp --set wdth=1,2", "did you mean `width`?"),
        ("sweep digits-mlp --set width", "must be KEY=VALUES"),
        ("sweep digits-mlp --zip eta=0.1,0.2", "nothing varies together with it"),
        ("sweep digits-mlp --zip eta=0.1,0.2 --zip seed=1", "`eta` has 2, `seed` has 1"),
        ("sweep digits-mlp --seed 0:1:1000000", "must have at most"),
        ("sweep digits-mlp --seed 0..9999 --eta 0.1,0.2", "20000 members"),
        ("sweep digits-mlp --weight-decay 0,50", "weight_decay = 50"),
        ("sweep digits-mlp --seed 1,2 --workers 0", "--workers is 0"),
        ("sweep digits-mlp --seed 1,2 --name a/b", "can't be typed"),
        ("sweep digits-mlp --seed 1,2 --name mine", "already finds sweep"),
        ("sweep --add nothing --seed 3", "there is no sweep `nothing`"),
        ("sweep --add mnie --seed 3", "there is no sweep `mnie`"),
        ("sweep --add mnie --seed 3", "did you mean `mine`?"),
        ("runs summary mnie", "there is no run or sweep `mnie`"),
        ("runs summary mnie", "did you mean `mine`?"),
        ("stop mde-aaaa", "did you mean `made-aaaa`?"),
        ("resume mde-aaaa", "there is no run or sweep `mde-aaaa`"),
        ("plot mde-aaaa", "there is no run or sweep `mde-aaaa`"),
        ("runs delete --yes mde-aaaa", "there is no run or sweep `mde-aaaa`"),
        ("sweep --add mine --seed 1", "all of these members"),
        ("sweep --add mine --seed 1", " trains what is left of them"),
        ("sweep digits-mlp --seed 1,2 --trust-code", "--trust-code is for --add"),
        ("sweep --add mine --weight-decay 0,1/1000", "all of these members"),
        ("sweep --add mine --set momentum=9/10", "all of these members"),
        ("sweep --add mine --momentum 0.5,7", "`momentum`"),
        ("sweep --add mine --set controls.first.step=5", "have no such setting"),
        ("sweep digits-mlp --set stop_at.0='',rest", "has no `stop_at.0`"),
        ("sweep digits-mlp --add mine --seed 3", "takes settings alone"),
        ("resume mine --steps 5", "--steps is for runs"),
        ("resume made-aaaa --failed", "are for sweeps"),
    ],
)
def test_wrong_calls_get_a_sentence(
    sweep: Sweep, tmp_path: Path, arguments: str, told: str
) -> None:
    make_run(tmp_path / "made-aaaa", 10)
    code, out, err = call(tmp_path, *arguments.split())
    assert code == 2, err
    assert told in err
    assert "\n" not in err
    assert out == ""
    assert len(Sweep(sweep.path).members) == 4
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("command", ["resume mine", "sweep --add mine --seed 9"])
def test_own_code_of_a_manifest_is_asked_about(sweep: Sweep, tmp_path: Path, command: str) -> None:
    text = (sweep.path / MANIFEST).read_text()
    (sweep.path / MANIFEST).write_text(
        text.replace('dynamics = "gradient-descent"', 'dynamics = "/x/own.py:Mine"', 1)
    )
    code, _, err = call(tmp_path, *command.split())
    assert code == 2
    assert "would execute code of `/x/own.py:Mine`" in err
    assert "--trust-code" in err
    assert len(Sweep(sweep.path).members) == 4


def test_members_with_own_code_are_added_by_the_users_word(sweep: Sweep, tmp_path: Path) -> None:
    """An axis that names it counts though no member has it yet; what the command line names is a word."""
    claim = Claim(sweep.path)  # whoever is at work trains them: nothing is trained here
    add = ("sweep", "--add", "mine")
    code, _, err = call(tmp_path, *add, "--set", "dynamics=/x/own.py:Mine")
    assert code == 0, err
    assert len(Sweep(sweep.path).members) == 8
    content = tomllib.loads((sweep.path / MANIFEST).read_text())
    content["members"] = content["members"][:4]
    (sweep.path / MANIFEST).write_text(tomli_w.dumps(content))
    assert not any(member.config.own_code() for member in Sweep(sweep.path).members)
    code, _, err = call(tmp_path, *add, "--seed", "3")
    assert code == 2
    assert "would execute code of `/x/own.py:Mine`" in err
    assert len(Sweep(sweep.path).members) == 4
    code, _, err = call(tmp_path, *add, "--seed", "3", "--trust-code")
    assert code == 0, err
    assert {own for m in Sweep(sweep.path).members for own in m.config.own_code()} == {
        "/x/own.py:Mine"
    }
    claim.release()


def test_a_sweep_whose_members_are_pruned_goes_too(sweep: Sweep, tmp_path: Path) -> None:
    for member in sweep.members:
        make_run(member.path, 10, group=sweep.id)
        log.write(sweep.path, log.STARTED, run=member.path.name)
    make_run(tmp_path / "made-aaaa", 10)
    assert "4/4 members" in call(tmp_path, "runs", "list")[1]
    code, _, err = call(tmp_path, "runs", "prune", "--filter", f"group:{sweep.id}", "-y")
    assert code == 0, err
    assert "no member is left" in err
    assert [path.name for path in tmp_path.iterdir()] == ["made-aaaa"]


def test_a_sweep_stays_while_members_wait(sweep: Sweep, tmp_path: Path) -> None:
    """Nothing but its manifest tells what they are."""
    for member in sweep.members[:2]:
        make_run(member.path, 10, group=sweep.id)
        log.write(sweep.path, log.STARTED, run=member.path.name)
    code, _, err = call(tmp_path, "runs", "prune", "--filter", f"group:{sweep.id}", "-y")
    assert code == 0, err
    assert "deleted 2 runs" in err
    assert {each.state for each in Sweep(sweep.path).states()} == {WAITING}


def test_costs_are_in_proportion() -> None:
    base = RunConfig.build({"data": "cifar10", "samples": 5000, "steps": 100}, "test")
    assert cost.parameters(base) == 3072 * 100 + 100 * 100 + 100 * 10
    assert cost.work(base.changed({"steps": 200})) == pytest.approx(2 * cost.work(base))
    assert cost.work(base.changed({"width": 400})) > 3 * cost.work(base)
    assert cost.work(base.changed({"cadence": 5})) > 1.5 * cost.work(base)
    assert cost.record_bytes(base.changed({"steps": 10**6})) > 1e8


def test_cores_are_those_of_the_member_that_takes_most() -> None:
    """One that leaves its threads to PyTorch counts for one a process."""

    def config(threads: object, processes: int = 1) -> RunConfig:
        return RunConfig.build({"threads": threads, "processes": processes}, "test")

    assert cost.cores_taken([config("auto")]) == 1
    assert cost.cores_taken([config("auto", 3), config(2)]) == 3
    assert cost.cores_taken([config(2, 2), config(3), config("auto")]) == 4


def test_members_whose_threads_are_left_to_pytorch_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "cores", lambda: 2)
    zipped = Draft(presets.load("digits-mlp").config)
    zipped.zip({"threads": ["auto", "auto"], "eta": [0.1, 0.2]}, "test")
    assert cost.default_workers(zipped.plan("test").configs()) == 2


def test_an_estimate_is_between_what_was_timed() -> None:
    base = RunConfig.build({"steps": 1000}, "test")
    cheap, dear = base.changed({"width": 50}), base.changed({"width": 400})
    assert trial.to_time([dear, base, cheap]) == [cheap, dear]
    assert trial.to_time([base, base.changed({"seed": 3, "eta": 0.1})]) == [
        base.changed({"seed": 3, "eta": 0.1})
    ]
    trials = [trial.Trial(cheap, 0.1, 1e-3, 1e8, 1e6), trial.Trial(dear, 0.1, 5e-3, 2e8, 8e6)]
    told = trial.estimate([cheap, base, dear, dear], trials, 2)
    assert told.seconds[0] == pytest.approx(1.1)
    assert told.seconds[2] == pytest.approx(5.1)
    assert told.seconds[0] < told.seconds[1] < told.seconds[2]
    assert told.wall == pytest.approx(2 + 5.1 + told.seconds[1], rel=0.01)  # 5.1 | 5.1 … the rest
    assert told.memory == 4e8
