"""The shelf: names, notes, differences, clearing away; and steered runs saved as presets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from made_sweeps import make_sweep

from eostui import presets
from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError, RunFormatError
from eostui.runs import edit, shelf
from eostui.runs.analysis.diff import compare_runs
from eostui.runs.fork import forked_config
from eostui.runs.launch import EngineProcess
from eostui.runs.prune import (
    Criteria,
    checkpoint_files,
    delete_checkpoints,
    parse_duration,
    parse_size,
    parse_states,
    shown_size,
    size,
)
from eostui.runs.run import Run
from eostui.runs.save_preset import save_preset, steered_config
from eostui.runs.store import commands, schema
from eostui.runs.store.columns import stored_columns
from eostui.runs.store.liveness import EngineLock
from eostui.runs.store.writer import RunWriter
from eostui.sweeps.names import rename

TOY = {
    "preset": "toy", "problem": "two-layer-scalar", "eta": 0.05, "weight_decay": 0.001,
    "dtype": "float64", "steps": 400, "cadence": 10, "threads": 1,
}  # fmt: skip


def trained(path, **values):
    """Train a toy to its end, in this process; return its run directory."""
    import torch

    from eostui.engine.driver import Driver
    from eostui.problems import build_problem

    config = RunConfig.build({**TOY, **values}, "test")
    problem = build_problem(config, torch.device("cpu"), path, lambda _: None)
    facts = {
        "config": config.to_toml(), "status": "running", "created": str(time.time()), "threads": "1",
        "step_columns": json.dumps(stored_columns(problem.initial.numel())),
    }  # fmt: skip
    writer = RunWriter(path, facts)
    status, _ = Driver(config, problem).run(writer)
    writer.fact("status", status)
    writer.fact("ended", str(time.time() + 1))
    writer.close()
    return path


def made(path, created, status="finished", length=10, matrix=None, **facts):
    """Make a run directory without an engine."""
    config = RunConfig.build({"preset": facts.pop("preset", "toy")}, "test").to_toml()
    writer = RunWriter(path, {"config": config, "status": status, "created": str(created), **facts})
    writer.steps(0, np.ones((length, 6)) if matrix is None else matrix)
    writer.close()
    return path


def cli(folder, *arguments, settings=None):
    environment = {**os.environ, "EOSTUI_RUNS": str(folder)}
    if settings:
        environment["EOSTUI_SETTINGS"] = str(settings)
    return subprocess.run(
        [sys.executable, "-m", "eostui", *arguments], cwd=folder, env=environment, text=True,
        capture_output=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def until(condition, timeout=30.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def three(tmp_path):
    """A shelf of three ended runs: ended 100, 10 and 1 hours ago."""
    now = time.time()
    for tag, hours, state in (
        ("ab2c", 100, "stopped"),
        ("cd2c", 10, "finished"),
        ("xyz9", 1, "failed"),
    ):
        when = now - 3600 * hours
        made(tmp_path / f"digits-{tag}", when - 60, state, length=1000 * hours, ended=str(when))
    return tmp_path


@pytest.fixture(scope="module")
def steered(tmp_path_factory):
    """A run that was steered by commands at steps nobody chose: paused, η twice at one step, λ, both."""
    folder = tmp_path_factory.mktemp("steered")
    config = RunConfig.build(
        {**TOY, "steps": 4000, "controls": [{"step": 7, "eta": 0.06}, {"step": 3990, "eta": 0.01}]},
        "test",
    )
    engine = EngineProcess(config, folder, folder, "")
    path = engine.ready(lambda _: None)
    with Run(path) as run:

        def reach(step):
            until(lambda: run.refresh() and run.last_step >= step)

        reach(100)
        commands.send(path, "set", weight_decay=0.002)
        reach(run.last_step + 150)
        commands.send(path, "pause")
        commands.send(path, "set", eta=0.1)
        commands.send(path, "set", eta=0.11, weight_decay=0.0)
        commands.send(path, "resume")
        reach(run.last_step + 300)
        commands.send(path, "set", eta=0.03)
        assert engine.wait(60) == 0
    return path


# --- names and notes --------------------------------------------------------------------------------


def test_an_ended_run_is_renamed_and_noted(three):
    """It is found by its new name, and nothing else in its record changes."""
    entry = shelf.find(three, "ab2c")
    before = Run(entry.path)
    rename(entry, "baseline λ", three)
    edit.note(entry, "two\nlines")
    entry = shelf.find(three, "baseline λ")
    assert (entry.id, entry.name, entry.note) == ("digits-ab2c", "baseline λ", "two\nlines")
    after = Run(entry.path)
    assert {**after.facts, "name": "", "note": ""} == {**before.facts, "name": "", "note": ""}
    np.testing.assert_array_equal(after.steps["loss"], before.steps["loss"])
    rename(entry, "", three)
    edit.note(entry, "")
    assert (shelf.read_entry(entry.path).name, shelf.read_entry(entry.path).note) == ("", "")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("taken", "already finds digits-cd2c"), ("2c", "already finds"), ("a\x1b[31m", "control"),
        ("x" * 101, "at most 100"), ("a/b", "typed"), ("-f", "typed"), (" a", "typed"),
    ],
)  # fmt: skip
def test_names_that_would_not_find_a_run(three, name, part):
    """Another's, the end of another's id, what can't be typed or shown."""
    rename(shelf.find(three, "cd2c"), "taken", three)
    with pytest.raises(InputError, match=part):
        rename(shelf.find(three, "xyz9"), name, three)
    assert shelf.find(three, "xyz9").name == ""


def test_a_name_that_finds_a_sweep(three):
    """Commands would take the run for the sweep, and delete that."""
    sweep = make_sweep(three, {"seed": [1, 2]}, name="lam")
    for name in ("lam", sweep.id, sweep.id[-4:]):
        with pytest.raises(InputError, match=f"already finds sweep {sweep.id}"):
            rename(shelf.find(three, "xyz9"), name, three)
    for beginning in (["run", "digits-mlp"], ["fork", "cd2c", "--at", "0"]):
        done = cli(three, *beginning, "--name", "lam", "--headless")
        assert done.returncode == 2
        assert f"the name `lam` already finds sweep {sweep.id}: choose another" in done.stderr
    assert len(shelf.entries(three)) == 3


def test_a_run_keeps_its_own_name(three):
    """Given again, it isn't taken."""
    entry = shelf.find(three, "xyz9")
    rename(entry, "xyz9", three)
    rename(entry, "xyz9", three)


def test_notes_without_escape_sequences(three):
    with pytest.raises(InputError, match="control characters"):
        edit.note(shelf.find(three, "xyz9"), "red \x1b[31m")
    with pytest.raises(InputError, match="at most 10000"):
        edit.note(shelf.find(three, "xyz9"), "x" * 10_001)


def test_a_run_that_cannot_be_written_to(three):
    """A damaged store is a sentence."""
    entry = shelf.find(three, "xyz9")
    (entry.path / schema.DATABASE).write_bytes(b"not a store at all")
    with pytest.raises(EostuiError, match=r"can't be written to|damaged"):
        rename(entry, "other", three / "none")


def test_a_live_run_is_renamed_by_its_engine(tmp_path):
    """The engine is its only writer: it obeys between two steps, paused too, and refuses what it must."""
    engine = EngineProcess(RunConfig.build({**TOY, "steps": 10**7}, "test"), tmp_path, tmp_path)
    path = engine.ready(lambda _: None)
    try:
        entry = shelf.read_entry(path)
        rename(entry, "running", tmp_path)
        commands.send(path, "pause")
        until(lambda: shelf.read_entry(path).state == "paused")
        edit.note(entry, "paused")
        found = shelf.read_entry(path)
        assert (found.name, found.note, found.state) == ("running", "paused", "paused")
        commands.send(path, "rename", name="\x07")
        commands.send(path, "note", note=3)
        with Run(path) as run:

            def refusals():
                run.refresh()  # they may have been there when it was opened
                return sum(event.kind == "refused" for event in run.events)

            until(lambda: refusals() == 2)
            obeyed = [e.payload["what"] for e in run.events if e.kind == "obeyed"]
        assert obeyed == ["rename", "pause", "note"]
        assert shelf.read_entry(path).name == "running"
    finally:
        commands.send(path, "stop")
        assert engine.wait(60) == 0


def test_an_engine_that_dies_before_it_obeys(tmp_path):
    """The name is written all the same, once it is gone, and no command is left for the next."""
    engine = EngineProcess(RunConfig.build({**TOY, "steps": 10**7}, "test"), tmp_path, tmp_path)
    path = engine.ready(lambda _: None)
    pid = int((path / schema.LOCK).read_text())
    os.kill(pid, signal.SIGSTOP)
    killer = threading.Timer(1.0, os.kill, (pid, signal.SIGKILL))
    killer.start()
    rename(shelf.read_entry(path), "late", tmp_path)
    engine.wait(60)
    entry = shelf.read_entry(path)
    assert (entry.name, entry.state) == ("late", "interrupted")
    assert list((path / schema.COMMANDS).iterdir()) == []


# --- differences ------------------------------------------------------------------------------------


def test_runs_that_differ_by_a_setting(tmp_path):
    """The key with both values, the steering beside each other, the first row that shows it."""
    a = trained(tmp_path / "a", controls=[{"step": 50, "eta": 0.04}])
    b = trained(
        tmp_path / "b", controls=[{"step": 50, "eta": 0.04}, {"step": 60, "weight_decay": 0.5}]
    )
    c = trained(tmp_path / "c", problem_arguments={"start": [2.0, 0.2]})
    with Run(a) as run_a, Run(b) as run_b, Run(c) as run_c:
        found = compare_runs(run_a, run_b)
        assert set(found["config"]) == {"controls"}
        assert found["facts"] == {}
        assert found["steering"] == [
            {"step": 50, "a": {"eta": 0.04}, "b": {"eta": 0.04}},
            {"step": 60, "a": None, "b": {"weight_decay": 0.5}},
        ]
        assert found["rows"]["same_start"]
        first = found["rows"]["first_difference"]
        assert first == {"step": 60, "column": "weight_decay", "a": 0.001, "b": 0.5}
        same = compare_runs(run_a, run_a)
        assert same["config"] == same["facts"] == {}
        assert same["rows"]["first_difference"] is None
        other = compare_runs(run_a, run_c)
        assert set(other["config"]) == {"controls", "problem_arguments.start"}
        assert not other["rows"]["same_start"]
    told = cli(tmp_path, "runs", "diff", a.name, b.name)
    assert told.returncode == 0, told.stderr
    assert "rows differ from step 60 on: weight_decay 0.001 · 0.5" in told.stdout
    assert (
        json.loads(cli(tmp_path, "runs", "diff", a.name, b.name, "--json").stdout)["rows"]
        == (found["rows"])
    )


def test_a_difference_in_the_last_bit(tmp_path):
    """One bit of one loss is a difference; so is a machine."""
    matrix = np.random.default_rng(0).uniform(1, 2, (50, 6))
    for name, device in (("a", "cpu"), ("b", "cuda:0")):
        if name == "b":
            matrix[33, 0] = np.nextafter(matrix[33, 0], 9)
        made(tmp_path / name, 1.0, matrix=matrix, device=device, parent="x" * (name == "b"))
    with Run(tmp_path / "a") as a, Run(tmp_path / "b") as b:
        found = compare_runs(a, b)
    assert found["facts"] == {"device": {"a": "cpu", "b": "cuda:0"}}
    first = found["rows"]["first_difference"]
    assert (first["step"], first["column"]) == (33, "loss")
    assert first["b"] == np.nextafter(first["a"], 9)


# --- the list, and clearing away ---------------------------------------------------------------------


def test_the_list_tells_state_size_and_parent(three):
    """Newest first, by state and preset; `eostui runs` alone is the list."""
    made(three / "fork-q2q2", time.time(), "running", preset="other", parent="digits-ab2c",
         parent_step="7", note="why")  # fmt: skip
    rows = json.loads(cli(three, "runs", "list", "--json").stdout)
    ids = ["fork-q2q2", "digits-xyz9", "digits-cd2c", "digits-ab2c"]
    assert [row["id"] for row in rows] == ids
    fork = rows[0]
    assert fork["state"] == "interrupted"  # no engine holds its lock
    assert (fork["parent"], fork["parent_step"], fork["note"]) == ("digits-ab2c", 7, "why")
    assert rows[1]["parent"] is None
    for row in rows:
        files = (three / row["id"]).rglob("*")
        assert row["bytes"] == sum(f.stat().st_size for f in files if f.is_file())
    lines = cli(three, "runs").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["!", ids[0]], ["✗", ids[1]], ["✓", ids[2]], ["■", ids[3]],
    ]  # fmt: skip
    filtered = json.loads(cli(three, "runs", "list", "--state", "stopped,failed", "--json").stdout)
    assert [row["id"] for row in filtered] == [ids[1], ids[3]]
    assert [r["id"] for r in json.loads(cli(three, "runs", "list", "--preset", "other", "--json").stdout)
            ] == ids[:1]  # fmt: skip
    done = cli(three, "runs", "list", "--state", "finshed")
    assert done.returncode == 2
    assert "did you mean `finished`" in done.stderr


def spoil(path, written):
    """Make a run unreadable, its store last written to at `written`."""
    (path / schema.DATABASE).write_bytes(b"no database" * 1000)
    os.utime(path / schema.DATABASE, (written, written))


@pytest.mark.parametrize(
    "command",
    [["export", "-o", "-"], ["plot"], ["resume", "--headless"], ["fork", "--headless"], ["replay"],
     ["attach"], ["runs", "show"], ["runs", "check"]],
)  # fmt: skip
def test_no_other_run_stands_in_for_the_newest_where_that_cannot_be_read(three, command):
    """It is named, and so is what to do; nothing is done."""
    spoil(made(three / "digits-new2", time.time()), time.time())
    done = cli(three, *command)
    assert done.returncode == 2, done.stdout
    assert "digits-new2 may be the newest run, but can't be read, so name the run" in done.stderr
    assert "damaged" in done.stderr
    assert not done.stdout


def test_runs_that_cannot_be_read_are_told_and_found(three):
    """In the list, by the end of their names, and beside others; an older one hides no newer."""
    spoil(three / "digits-ab2c", time.time() - 50 * 3600)
    assert shelf.find(three, None).id == "digits-xyz9"
    for command in (["list", "--json"], ["list"], ["prune", "--older-than", "5h", "--dry-run"]):
        done = cli(three, "runs", *command)
        assert done.returncode == 0
        assert "can't be read: digits-ab2c; `eostui runs check digits-ab2c` says" in done.stderr
        assert "digits-cd2c" in done.stdout
    with pytest.raises(RunFormatError, match=r"ab2c.*damaged"):
        shelf.find(three, "ab2c")
    with pytest.raises(
        InputError, match=r"could be digits-cd2c, digits-ab2c|could be digits-ab2c, "
    ):
        shelf.find(three, "2c")
    with pytest.raises(InputError, match=r"no run `baseline`.*can't be read: digits-ab2c"):
        shelf.find(three, "baseline")
    assert shelf.newest(three, live=True) is None
    lock = EngineLock(three / "digits-ab2c")
    with pytest.raises(InputError, match="digits-ab2c may be the newest"):
        shelf.newest(three, live=True)
    lock.release()


def test_runs_that_others_keep_to_themselves_are_not_ours():
    """On a shared shelf: folders that this user can't enter. Root can, and so looks as nobody."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom eostui.runs import shelf\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "folder = Path(sys.argv[1])\n"
        "print(shelf.find(folder, None).id, *(path.name for path in shelf.read(folder)[1]))\n"
    )
    with tempfile.TemporaryDirectory() as name:  # tmp_path is in a folder that nobody can't enter
        folder = Path(name)
        ours, theirs = made(folder / "ours-aaaa", 1.0), made(folder / "theirs-bbbb", 2.0)
        theirs.chmod(0o700 if os.geteuid() == 0 else 0)
        for path, mode in ((folder, 0o755), (ours, 0o755), (ours / schema.DATABASE, 0o644)):
            path.chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", code, name], text=True, capture_output=True, check=False
        )
        theirs.chmod(0o700)
    assert (done.stdout, done.stderr) == ("ours-aaaa\n", "")


def test_the_list_shows_what_eta_and_weight_decay_became(tmp_path):
    """As they began → as they are in the newest row."""
    matrix = np.ones((10, 6))
    matrix[-1, 4] = 0.25
    path = made(tmp_path / "toy-aaaa", 1.0, matrix=matrix)
    began = Run(path).config
    (row,) = json.loads(cli(tmp_path, "runs", "list", "--json").stdout)
    assert (row["eta"], row["newest_eta"]) == (began.eta, 0.25)
    assert (row["weight_decay"], row["newest_weight_decay"]) == (began.weight_decay, 1.0)
    table = cli(tmp_path, "runs").stdout
    assert f"{began.eta:g}→0.25" in table
    assert f"{began.weight_decay:g}→1" in table


def test_the_list_shows_phase_and_late_sharpness(tmp_path):
    """The mean of what was measured in the last fifth, as `runs show` has it."""
    path = trained(tmp_path / "toy-aaaa")
    (row,) = json.loads(cli(tmp_path, "runs", "list", "--json").stdout)
    with Run(path) as run:
        late = run.measured["step"] >= len(run.steps) * 4 // 5
        assert row["late_sharpness"] == pytest.approx(run.measured["sharpness"][late].mean())
        phases = [event.payload["to"] for event in run.events if event.kind == "phase"]
    assert row["phase"] == (phases or [""])[-1] != ""
    assert row["ended"] > row["created"]


@pytest.mark.parametrize(
    ("criteria", "gone"),
    [
        (Criteria(), ["xyz9", "cd2c", "ab2c"]),
        (Criteria(older_than=5 * 3600), ["cd2c", "ab2c"]),
        (Criteria(larger_than=1_000_000), ["ab2c"]),
        (Criteria(states=("failed", "stopped")), ["xyz9", "ab2c"]),
        (Criteria(states=("failed", "stopped"), keep=1), ["ab2c"]),
        (Criteria(older_than=5 * 3600, states=("failed",)), []),
        (Criteria(keep=7), []),
    ],
)
def test_what_is_cleared_away(three, criteria, gone):
    """All criteria that are given must hold; the newest that match are spared."""
    chosen = criteria.choose(shelf.entries(three), time.time())
    assert [entry.id[-4:] for entry in chosen] == gone


def test_a_run_is_as_old_as_what_was_last_written(tmp_path):
    """Begun 40 days ago: killed an hour ago, or gone on with and killed; and one that ended then."""
    now = time.time()
    began, killed = now - 40 * 86400, now - 3600
    made(tmp_path / "digits-kkkk", began, "running")
    made(tmp_path / "digits-rrrr", began, "running", ended=str(began + 60))
    made(tmp_path / "digits-eeee", began, "finished", ended=str(began + 60))
    for entry in shelf.entries(tmp_path):
        os.utime(entry.path / schema.DATABASE, (killed, killed))
    entries = shelf.entries(tmp_path)  # after others have read them
    chosen = Criteria(older_than=30 * 86400).choose(entries, now)
    assert [entry.id for entry in chosen] == ["digits-eeee"]
    listed = json.loads(cli(tmp_path, "runs", "list", "--json").stdout)
    assert {row["id"]: row["ended"] for row in listed} == {
        "digits-kkkk": pytest.approx(killed), "digits-rrrr": pytest.approx(killed),
        "digits-eeee": pytest.approx(began + 60),
    }  # fmt: skip
    assert len(Criteria(older_than=1800).choose(entries, now)) == 3


def test_live_runs_are_never_cleared_away(three):
    """Nor their checkpoints."""
    path = three / "live-llll"
    config = RunConfig.build({}, "test").to_toml()
    facts = {"config": config, "status": "running", "created": "1.0"}
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom eostui.runs.store.writer import RunWriter\n"
        f"writer = RunWriter(Path({str(path)!r}), {facts!r})\nprint('up', flush=True)\ntime.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "up\n"
        entry = shelf.find(three, "llll")
        assert entry not in Criteria().choose(shelf.entries(three), time.time())
        with pytest.raises(InputError, match="still running"):
            delete_checkpoints(entry)
        with pytest.raises(InputError, match="still running"):
            shelf.delete(entry.path)
    finally:
        holder.kill()
        holder.communicate()


def test_prune_asks_lists_and_frees(three):
    """Without a terminal to ask at it wants --yes; a dry run deletes nothing."""
    done = cli(three, "runs", "prune", "--older-than", "5h")
    assert done.returncode == 2
    sizes = {path.name: size(path) for path in three.iterdir()}  # reading left SQLite's index there
    assert "--yes" in done.stderr
    done = cli(three, "runs", "prune", "--older-than", "5h", "--dry-run", "--json")
    told = json.loads(done.stdout)
    assert {row["id"]: row["bytes"] for row in told["runs"]} == {
        name: sizes[name] for name in ("digits-ab2c", "digits-cd2c")
    }
    assert len(list(three.iterdir())) == 3
    done = cli(three, "runs", "prune", "--older-than", "5h", "--yes")
    freed = sizes["digits-ab2c"] + sizes["digits-cd2c"]
    assert f"deleted 2 runs: {shown_size(freed)} freed" in done.stderr
    assert [path.name for path in three.iterdir()] == ["digits-xyz9"]
    assert "nothing to delete" in cli(three, "runs", "prune", "--state", "stopped").stderr
    done = cli(three, "runs", "prune")
    assert done.returncode == 2
    assert "say which runs" in done.stderr


def test_checkpoints_alone(three):
    """Records stay; a folder of checkpoints that is a link elsewhere isn't touched."""
    folder = three / "digits-ab2c" / "checkpoints"
    folder.mkdir()
    for step in (10, 20):
        (folder / f"{step:012d}.safetensors").write_bytes(bytes(1000 * step))
    (folder / "notes.txt").write_text("mine")
    elsewhere = three.parent / f"{three.name}-elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.safetensors").write_text("of somebody else")
    (three / "digits-cd2c" / "checkpoints").symlink_to(elsewhere)
    assert [file.name for file in checkpoint_files(shelf.find(three, "ab2c"))] == [
        "000000000010.safetensors", "000000000020.safetensors",
    ]  # fmt: skip
    done = cli(three, "runs", "prune", "--checkpoints", "--yes")
    assert "deleted the checkpoints of 1 runs: 30 kB freed" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert (elsewhere / "1.safetensors").exists()
    assert shelf.find(three, "ab2c").last_step == 99_999


def test_what_cannot_be_deleted_is_told_and_the_rest_goes(three):
    """A run directory that is a link is no folder to delete."""
    os.rename(three / "digits-ab2c", three.parent / f"{three.name}-moved")
    (three / "digits-ab2c").symlink_to(three.parent / f"{three.name}-moved")
    done = cli(three, "runs", "prune", "--older-than", "5h", "--yes")
    assert done.returncode == 1
    assert "be deleted" in done.stderr
    assert "deleted 1 runs" in done.stderr
    assert (three.parent / f"{three.name}-moved" / "run.db").exists()


def test_durations_sizes_and_states_as_people_type_them():
    assert parse_duration("30d", "--older-than") == 30 * 86400
    assert parse_duration("1.5 h", "--older-than") == 5400
    assert parse_size("1GB", "--larger-than") == 1e9
    assert parse_size("2 KiB", "--larger-than") == 2048
    assert parse_states("live, finished", "--state") == ("running", "paused", "finished")
    for parse, text in ((parse_duration, "30"), (parse_duration, "d"), (parse_duration, "3m"),
                        (parse_size, "1G"), (parse_size, "-1GB"), (parse_states, "done")):  # fmt: skip
        with pytest.raises(InputError, match=f"--flag is `{text}`, but must be"):
            parse(text, "--flag")
    assert [shown_size(n) for n in (0, 999, 1234, 5e6, 2e9)] == [
        "0 B", "999 B", "1.23 kB", "5 MB", "2 GB",
    ]  # fmt: skip


# --- presets from steered runs ----------------------------------------------------------------------


def test_a_scheduled_change_is_like_one_by_key(tmp_path):
    """It acts at exactly its step, as plain descent says, and is the same event."""
    changes = [
        {"step": 0, "eta": 0.06},
        {"step": 20, "weight_decay": 0.01},
        {"step": 21, "eta": 0.02, "weight_decay": 0.0},
        {"step": 40, "eta": 0.05},
    ]
    with Run(trained(tmp_path / "r", steps=40, controls=changes)) as run:
        x, y = run.steps["theta_1"][0], run.steps["theta_2"][0]
        for step in range(41):
            eta = 0.06 if step < 21 else 0.02 if step < 40 else 0.05
            decay = 0.01 if step == 20 else 0.001 if step < 20 else 0.0
            assert (run.steps["eta"][step], run.steps["weight_decay"][step]) == (eta, decay)
            np.testing.assert_allclose(
                [run.steps["theta_1"][step], run.steps["theta_2"][step]], [x, y], rtol=1e-12
            )
            r = 1 - x * y
            x, y = x - eta * (-r * y + decay * x), y - eta * (-r * x + decay * y)
        events = [(e.step, e.payload) for e in run.events if e.kind == "control"]
    assert events == [
        (0, {"eta": [0.05, 0.06]}),
        (20, {"weight_decay": [0.001, 0.01]}),
        (21, {"eta": [0.06, 0.02], "weight_decay": [0.01, 0.0]}),
        (40, {"eta": [0.02, 0.05]}),
    ]


def test_a_steered_run_saved_as_a_preset_is_the_same_run_again(steered, tmp_path, monkeypatch):
    """Steered from outside at least three times; the preset's run has the same rows, bit for bit."""
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path / "settings"))
    with Run(steered) as run:
        by_key = [e for e in run.events if e.kind == "control" and e.step not in (7, 3990)]
        assert len(by_key) >= 4
        path = save_preset(run, "steered-again")
        assert path == tmp_path / "settings" / "presets" / "steered-again.toml"
        loaded = presets.load("steered-again")
        assert "with 5 changes of η and λ" in loaded.description
        again = trained(tmp_path / "again", **loaded.config.model_dump())
        with Run(again) as repeated:
            for name, values in run.columns().items():
                np.testing.assert_array_equal(repeated.columns()[name], values, err_msg=name)
            assert steered_config(repeated, "steered-again") == loaded.config


def test_a_run_that_is_not_over_keeps_what_is_to_come(tmp_path):
    """Stopped early: changes that its preset had for later stay; so does one for the next step."""
    config = RunConfig.build(
        {**TOY, "controls": [{"step": 2, "eta": 0.1}, {"step": 300, "eta": 0.2}]}, "test"
    )
    writer = RunWriter(tmp_path / "r", {"config": config.to_toml(), "created": "1.0", "threads": "3",
                                        "status": "stopped"})  # fmt: skip
    rows = np.ones((10, 6))
    rows[:, 4], rows[2:, 4], rows[:, 5] = 0.05, 0.1, 0.001
    writer.steps(0, rows)
    writer.event(2, "control", {"eta": [0.05, 0.1]})
    writer.event(10, "control", {"weight_decay": [0.001, 0.5]})
    writer.close()
    with Run(tmp_path / "r") as run:
        saved = steered_config(run, "x")
    assert [(c.step, c.values()) for c in saved.controls] == [
        (2, {"eta": 0.1}), (10, {"weight_decay": 0.5}), (300, {"eta": 0.2}),
    ]  # fmt: skip
    assert (saved.eta, saved.weight_decay, saved.threads) == (0.05, 0.001, 3)


def test_saving_presets_by_command(steered, tmp_path):
    """The file's path on stdout; nothing that is there is replaced unless it is said."""
    settings = tmp_path / "settings"

    def save(*arguments):
        return cli(steered.parent, "presets", "save", steered.name, *arguments, settings=settings)

    done = save("mine")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(settings / "presets" / "mine.toml")
    text = (settings / "presets" / "mine.toml").read_text()
    assert len(tomllib.loads(text)["controls"]) == 5
    assert "--force" in save("mine").stderr
    assert save("mine").returncode == 2
    assert save("mine", "--force").returncode == 0
    assert "shipped already" in save("digits-mlp").stderr
    assert "can't name a preset" in save("../x").stderr
    assert save("x", "--to", str(tmp_path / "deep" / "x.toml")).returncode == 0
    assert presets.load(str(tmp_path / "deep" / "x.toml")).config.preset == "x"


@pytest.mark.parametrize(
    ("controls", "parts"),
    [
        ([{"step": 3, "eta": "x"}], ["change 1 of `controls`", "`eta` is \"x\""]),
        ([{"step": 3}], ["step 3", "changes nothing"]),
        ([{"eta": 0.1}], ["change 1 of `controls`", "one of `step`", "none is"]),
        ([{"step": 1, "eta": 0.1}, {"step": 3, "etta": 1}], ["change 2", "did you mean `eta`"]),
        ([{"step": True, "eta": 0.1}], ["change 1", "`step` is True", "whole number"]),
        ([{"step": -1, "eta": 0.1}], ["`step` is -1"]),
        ([{"step": 3, "eta": -0.1}], ["`eta` is -0.1", "greater than 0"]),
        ([{"step": 3, "eta": float("inf")}], ["`eta` is inf", "finite"]),
        ([{"step": 5, "eta": 0.1}, {"step": 5, "eta": 0.2}], ["step 5", "must rise"]),
        ([{"step": 1, "eta": 4.0}, {"step": 3, "weight_decay": 0.3}], ["step 3", "1.2", "below 1"]),
        (3, ["`controls` is 3", "a list"]),
    ],
)  # fmt: skip
def test_schedules_that_cannot_be(controls, parts):
    """One sentence with the change, its key, its value."""
    with pytest.raises(InputError) as caught:
        RunConfig.build({**TOY, "controls": controls}, "x.toml")
    for part in ("x.toml", *parts):
        assert part in str(caught.value)


def test_a_schedule_is_cut_short_by_the_command_line_alone(tmp_path):
    """A preset whose change never comes is wrong; one that is made shorter keeps it for a resume."""
    file = tmp_path / "late.toml"
    changes = {"controls": [{"step": 401, "eta": 0.1}]}
    file.write_text(RunConfig.build({**TOY, **changes}, "test").to_toml())
    with pytest.raises(InputError, match=r"late\.toml: `controls` at step 401 would never come"):
        presets.load(str(file))
    file.write_text(RunConfig.build({**TOY, **changes, "steps": 500}, "test").to_toml())
    short = presets.load(str(file)).config.changed({"steps": 30})
    with Run(trained(tmp_path / "r", **short.model_dump())) as run:
        assert run.last_step == 30
        assert run.config.controls == short.controls
        assert steered_config(run, "again").controls == ()
    child = forked_config(shelf.read_entry(tmp_path / "r"), 10, {"eta": 0.06, "steps": 20})
    assert child.controls == ()


def test_a_schedule_survives_toml():
    """To the last bit, without the keys that aren't given."""
    changes = [{"step": 0, "eta": 0.1 + 0.2}, {"step": 9, "weight_decay": 5e-324}]
    config = RunConfig.build({**TOY, "controls": changes}, "test")
    assert tomllib.loads(config.to_toml())["controls"] == changes
    assert RunConfig.from_toml(config.to_toml(), "again") == config
    assert config.changed({"eta": 0.2}).controls == config.controls
