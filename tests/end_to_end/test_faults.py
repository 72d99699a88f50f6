"""What goes wrong around a run: full disks, locks, stopped viewers, lost devices, clocks. Real ones where
they can be had; what is only imitated is called so."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
from damage import HOLDER, edit
from random_runs import facts_of, rows
from toy_runs import toy_config, train

import eostui.engine.__main__ as engine
from eostui.config import RunConfig
from eostui.engine.checkpointing import Checkpointer
from eostui.engine.explain import explain
from eostui.engine.handshake import _Log
from eostui.errors import BusyError, EostuiError, InputError, RunFormatError, StoreError
from eostui.runs import shelf
from eostui.runs.repair.check import check_run
from eostui.runs.repair.rebuild import repair_run
from eostui.runs.request import ForkRequest, NewRequest, ResumeRequest, StartRequest
from eostui.runs.run import Run
from eostui.runs.store import commands, durable, schema, writer
from eostui.runs.store.ending import end_sentence, last_words
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.writer import RunWriter

TOY = {"name": "two-layer-scalar", "eta": 0.1}


def finished(run, steps):
    assert run.steps["step"].tolist() == list(range(steps + 1))
    assert all(finding.sound for finding in check_run(run.path))


# --- a full disk -----------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted_disk(size="2m"):
    """A real file system of two megabytes, or as many as are asked for, in memory."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    folder = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("this system lets nobody mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture
def small_disk():
    """One such file system."""
    with mounted_disk() as disk:
        yield disk


def until(happened):
    """Wait until something is so; fail if it isn't after 90 s."""
    deadline = time.monotonic() + 90
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_disk_that_fills_while_training_ends_the_run_by_name(small_disk):
    """The whole program: one sentence, exit code 1, state failed, all flushed rows there, and sound."""
    command = [
        sys.executable, "-m", "eostui", "run", "toy-two-layer", "--headless", "--steps", "1000000",
        "--runs-dir", str(small_disk),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = " ".join(done.stderr.split())
    assert done.returncode == 1, said
    assert "Traceback" not in done.stderr
    assert "the disk is full; free some space, then `eostui resume" in said
    (entry,) = shelf.entries(small_disk)
    assert entry.state == "failed"
    assert "the disk is full" in entry.sentence
    assert last_words(entry.path) == entry.sentence
    with Run(entry.path) as run:
        assert run.last_step == entry.last_step > 0
        finished(run, entry.last_step)
    assert not (entry.path / schema.RESERVE).exists()


def fill(disk, leave=0):
    """Fill a disk to its last byte, but for so many bytes."""
    with contextlib.suppress(OSError), (disk / "other").open("ab", buffering=0) as other:
        while True:
            other.write(bytes(4096))
    if leave:
        os.truncate(disk / "other", (disk / "other").stat().st_size - leave)


@pytest.fixture
def small_disks():
    """As many of them as are asked for."""
    with contextlib.ExitStack() as mounted:
        yield lambda count: [mounted.enter_context(mounted_disk("8m")) for _ in range(count)]


def test_a_disk_filled_to_its_last_byte_ends_the_run_by_name(small_disks):
    """Others take every byte, engine.log's too: training, saving all the time, printing, paused, stopped.

    The end is on record with its sentence, the reserve is given back, rows are sound, exit code 1.
    """
    noisy = "import torch\nfrom eostui.problems import Problem\n" + NOISY
    ways = ("trains", "saves", "prints", "paused")
    disks = dict(zip(ways, small_disks(len(ways)), strict=True))
    started = {}
    for way, disk in disks.items():
        (disk / "noisy.py").write_text(noisy)
        more = {
            "saves": ["--set", "checkpoint_every=0.01"],
            "prints": [
                "--set",
                f"problem={disk / 'noisy.py'}:noisy",
                "--set",
                "problem_arguments={}",
            ],
        }.get(way, [])
        started[way] = subprocess.Popen(
            [sys.executable, "-m", "eostui", "run", "toy-two-layer", "--headless", "--steps", "1000000",
             "--runs-dir", str(disk / "runs"), *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    for way, process in started.items():
        runs = disks[way] / "runs"

        def reached(runs=runs, step=10, state="running"):
            return any(e.last_step > step and e.state == state for e in shelf.entries(runs))

        until(reached)
        if way == "paused":
            commands.send(shelf.entries(runs)[0].path, "pause")
            until(lambda reached=reached: reached(state="paused"))
        fill(disks[way])
        if way == "paused":
            process.send_signal(signal.SIGTERM)
    for way, process in started.items():
        _, said = process.communicate(timeout=90)
        (entry,) = shelf.entries(disks[way] / "runs")
        assert "Traceback" not in said
        if way == "paused":  # it had nothing to write but its end
            assert (process.returncode, entry.state) == (143, "stopped"), said
        else:
            assert (process.returncode, entry.state) == (1, "failed"), (way, said)
            assert "the disk is full; free some space, then `eostui resume" in entry.sentence
        assert entry.sentence in said
        assert not (entry.path / schema.RESERVE).exists()
        assert not list(entry.path.glob("checkpoints/.*"))
        with Run(entry.path) as run:
            finished(run, entry.last_step)


NOISY = """
def noisy(device, dtype):
    def loss(at):
        print("x" * 100)
        return at @ at / 2
    return Problem(torch.ones(3, device=device, dtype=dtype), loss, "\u00bd\u2016\u03b8\u2016\u00b2")
"""


def test_what_a_log_does_not_take_is_lost_and_no_more():
    """Python's own prints, warnings and tracebacks; on a disk that takes nothing."""
    with open("/dev/full", "w") as full:
        log = io.TextIOWrapper(_Log(full.fileno(), "w", closefd=False), "utf-8", write_through=True)
        assert print("η" * 10_000, file=log, flush=True) is None
        traceback.print_exception(ValueError("η"), file=log)
        log.close()
        with pytest.raises(OSError, match="No space"):
            os.write(full.fileno(), b"x")


class Told:
    """Takes what an engine says before it has a log; the test's own output stays where it is."""

    def __init__(self):
        self.said = []

    def say(self, kind, text, **_):
        self.said.append((kind, text))

    def steps(self, *_):
        pass

    def end(self, _):
        pass


@pytest.fixture
def impatient(monkeypatch):
    """A full disk is waited for no time at all."""
    monkeypatch.setattr(durable.FULL, "patience", 0.0)


class FillsThen(Told):
    """Fills the disk when the run is ready; and can't open its log, if it is told so."""

    def __init__(self, disk, logs=True):
        super().__init__()
        self.disk, self.logs = disk, logs

    def end(self, path):
        fill(self.disk)
        if not self.logs:
            raise EostuiError(f"{path}: can't be logged: No space left on device")


def engine_on(disk, config, told=None, **request):
    """Do what an engine does on that disk; return its exit code."""
    before = signal.getsignal(signal.SIGTERM)
    whole = {"path": disk / "r", "data_dir": disk, "watched": True, **request}
    try:
        return engine._run(StartRequest(config=config.to_toml(), **whole), told or Told())
    finally:
        signal.signal(signal.SIGTERM, before)


def on_record(path):
    """State, sentence, rows and events of a run, and whether its reserve is there."""
    with Run(path) as run:
        events = [(event.step, event.kind) for event in run.events]
        reserved = (path / schema.RESERVE).exists()
        return run.state, run.facts["sentence"], run.last_step, events, reserved


@pytest.mark.usefixtures("impatient")
def test_a_new_run_whose_log_cannot_be_opened_leaves_nothing(small_disk):
    told = FillsThen(small_disk, logs=False)
    with pytest.raises(EostuiError, match="can't be logged"):
        engine_on(small_disk, toy_config(**TOY, steps=50), told)
    assert not (small_disk / "r").exists()


@pytest.mark.usefixtures("impatient")
def test_a_disk_that_fills_before_the_first_step(small_disk):
    assert engine_on(small_disk, toy_config(**TOY, steps=50), FillsThen(small_disk)) == 1
    state, sentence, _, _, reserved = on_record(small_disk / "r")
    assert state == "failed"
    assert sentence.startswith("failed at step 0: ")
    assert not reserved


@pytest.mark.usefixtures("impatient")
def test_a_run_that_has_all_its_rows_is_finished_where_no_checkpoint_fits(small_disk, monkeypatch):
    """The disk fills between its last row and its last checkpoint."""
    take = Checkpointer.take

    def filled(*arguments):
        fill(small_disk)
        return take(*arguments)

    monkeypatch.setattr(Checkpointer, "take", filled)
    config = toy_config(**TOY, steps=50).changed({"checkpoint_every": 0.0})
    assert engine_on(small_disk, config) == 0
    state, sentence, last, events, reserved = on_record(small_disk / "r")
    assert (state, sentence, last, reserved) == ("finished", "finished after 50 steps", 50, False)
    assert (50, "unsaved") in events
    assert not list((small_disk / "r").glob("checkpoints/.*"))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("leave", [0, 4096 * 60, 4096 * 131, 4096 * 134, 4096 * 150])
@pytest.mark.parametrize("way", ["new", "resume", "fork"])
def test_a_start_on_a_disk_with_little_room(small_disk, way, leave):
    """Either it begins, and ends by name, or all is as it was, and one sentence says why not."""
    first = toy_config(**TOY, steps=50)
    if way != "new":
        assert engine_on(small_disk, first) == 0
    before = way != "new" and on_record(small_disk / "r")
    fill(small_disk, leave)
    longer = first.changed({"steps": 100_000})
    path = small_disk / ("f" if way == "fork" else "r")
    begin = {
        "new": NewRequest(),
        "resume": ResumeRequest(),
        "fork": ForkRequest(parent=small_disk / "r", at=20),
    }[way]
    refusal = ""
    try:
        code = engine_on(small_disk, longer, path=path, begin=begin)
    except (EostuiError, OSError) as error:
        refusal = explain(error)
    if refusal:
        assert re.search("No space left|disk is full", refusal)
        if way == "resume":
            assert on_record(path) == before
        else:
            assert "eostui resume" not in refusal
            assert not path.exists()
    else:
        state, sentence, last, _, reserved = on_record(path)
        assert (code, state, reserved) == (1, "failed", False)
        assert "the disk is full" in sentence
        with Run(path) as run:
            finished(run, last)
    if way == "fork":
        assert on_record(small_disk / "r") == before
    assert not engine_alive(path)


def test_readers_and_commands_on_a_disk_that_takes_nothing(small_disk):
    """What only reads works; what writes says so in one sentence, and leaves no file behind."""
    assert engine_on(small_disk, toy_config(**TOY, steps=50)) == 0
    fill(small_disk)
    before = sorted(small_disk.rglob("*"))

    def cli(*arguments):
        from typer.testing import CliRunner

        from eostui.cli.app import app

        return CliRunner().invoke(app, [*arguments, "--runs-dir", str(small_disk)])

    for reading in ("runs list", "runs show r", "runs check r", "export r -o -", "plot r"):
        assert cli(*reading.split()).exit_code == 0, reading
    target = str(small_disk / "out")
    for writing in ("runs note r x", "runs rename r x", "runs repair r", f"export r -o {target}.csv",
                    f"export r -o {target}.csv.gz", f"presets save r p --to {target}.toml"):  # fmt: skip
        error = cli(*writing.split()).exception
        assert isinstance(error, EostuiError), writing
        assert re.search("No space left|disk is full", str(error)), writing
    with pytest.raises(EostuiError, match="can't be written: No space left"):
        commands.send(small_disk / "r", "stop")
    assert sorted(p for p in small_disk.rglob("*") if "run.db-" not in p.name) == [
        p for p in before if "run.db-" not in p.name
    ]


def test_a_disk_so_full_that_not_even_the_end_fits(small_disk, monkeypatch, capsys):
    """Others take the reserved room: the sentence is told, the run is interrupted, its rows stay."""
    monkeypatch.setattr(durable.FULL, "patience", 0.0)
    store = RunWriter(small_disk / "r", facts_of(status="running"))
    matrix = rows(500)
    flushed = 0
    with contextlib.suppress(StoreError):
        while True:
            store.steps(flushed, matrix)
            store.flush()
            flushed += 500
    durable.free_reserve(store.path)
    with contextlib.suppress(OSError), (small_disk / "other").open("wb", buffering=0) as other:
        while True:
            other.write(bytes(4096))
    assert engine._end(store, flushed, "failed", "failed: full") == "failed"
    assert "eostui: failed: full; its end isn't recorded" in capsys.readouterr().out
    with Run(small_disk / "r") as run:
        assert run.state == "interrupted"
        assert run.last_step == flushed - 1 > 0
        assert end_sentence(run.path, run.facts, run.state).startswith("interrupted: its engine")


def test_a_disk_that_is_full_from_the_start_is_a_sentence(small_disk):
    with contextlib.suppress(OSError), (small_disk / "other").open("wb", buffering=0) as other:
        while True:
            other.write(bytes(4096))
    with pytest.raises(EostuiError, match=r"No space left|disk is full"):
        RunWriter(small_disk / "r", facts_of())
    assert not (small_disk / "r").exists()


def test_space_that_comes_back_in_time_loses_nothing(small_disk, monkeypatch):
    """The rows in hand are written when another file goes."""
    store = RunWriter(small_disk / "r", facts_of())
    other = small_disk / "other"
    with contextlib.suppress(OSError), other.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    monkeypatch.setattr(durable, "sleep", lambda _: other.unlink(missing_ok=True))
    store.steps(0, rows(3000))
    store.close()
    assert Run(small_disk / "r").last_step == 2999


# --- read-only -------------------------------------------------------------------------------------


def test_a_store_that_becomes_read_only(monkeypatch):
    """Its directory's permission goes while an ordinary user trains; the rollback journal notices."""
    monkeypatch.setattr(writer, "on_network", lambda _: True)  # imitated: it only picks the journal
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        store = RunWriter(folder / "r", facts_of(status="running"))
        store.steps(0, rows(40))
        store.flush()
        (folder / "r").chmod(0o500)
        store.steps(40, rows(10))
        with pytest.raises(StoreError, match="it has become read-only; make it writable"):
            store.flush()
        with pytest.raises(StoreError, match="read-only"):
            store.close()
        with Run(folder / "r") as run:
            assert (run.last_step, run.state) == (39, "interrupted")
            assert "can't be written to" in end_sentence(run.path, run.facts, run.state)
    finally:
        os.seteuid(user)
        shutil.rmtree(folder)


def test_sqlite_that_says_read_only_is_named(tmp_path):
    """Imitated: the connection itself is forbidden to write."""
    store = RunWriter(tmp_path / "r", facts_of())
    store._database.execute("PRAGMA query_only=ON")
    store.event(0, "note")
    with pytest.raises(StoreError, match="read-only"):
        store.flush()
    store._database.execute("PRAGMA query_only=OFF")
    store.close()
    assert Run(tmp_path / "r").events[0].kind == "note"


def test_an_error_that_is_not_the_stores_is_not_called_so(tmp_path):
    """A row twice is a mistake of the program: it is raised as it is, at once."""
    store = RunWriter(tmp_path / "r", facts_of())
    store.measurement(0, {"sharpness": 1.0})
    store.measurement(0, {"sharpness": 1.0})
    with pytest.raises(sqlite3.IntegrityError):
        store.flush()
    assert engine._end(store, 0, "failed", "failed: twice") == "failed"
    assert not engine_alive(tmp_path / "r")


# --- locks -----------------------------------------------------------------------------------------

LOCKER = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
database.execute("ROLLBACK")
"""


@contextlib.contextmanager
def locked(path):
    """Another program locks a store, and lets go when told or at the end; yields how to tell it."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(path / schema.DATABASE)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "locked\n"

    def let_go():
        if process.poll() is None:
            process.stdin.write("\n")
            process.stdin.close()
            process.wait(30)

    try:
        yield let_go
    finally:
        let_go()
        process.stdout.close()


def test_a_store_locked_for_a_while_loses_nothing(tmp_path, monkeypatch):
    """Training waits; when the other program lets go, all rows are there."""
    store = RunWriter(tmp_path / "r", facts_of())
    with locked(tmp_path / "r") as let_go:
        monkeypatch.setattr(durable, "sleep", lambda _: let_go())
        store.steps(0, rows(10))
        store.flush()
    store.close()
    finished(Run(tmp_path / "r"), 9)


def test_a_store_locked_for_too_long_names_who_holds_it_up(tmp_path, monkeypatch):
    """The rows wait in hand: the end of the run may still find the store free, and writes them."""
    monkeypatch.setattr(durable.LOCKED, "patience", 0.2)
    store = RunWriter(tmp_path / "r", facts_of())
    with locked(tmp_path / "r"):
        store.steps(0, rows(10))
        with pytest.raises(StoreError, match="locked by another program; end what holds it"):
            store.flush()
    store.close()
    finished(Run(tmp_path / "r"), 9)


@pytest.mark.parametrize("network", [False, True])
def test_a_viewer_meets_a_lock_and_recovers(tmp_path, monkeypatch, network):
    """With the log of a local disk readers aren't locked out; with a rollback journal, by a sentence."""
    monkeypatch.setattr(writer, "on_network", lambda _: network)  # imitated: it picks the journal
    store = RunWriter(tmp_path / "r", facts_of())
    store.steps(0, rows(10))
    store.flush()
    run = Run(tmp_path / "r")
    store.steps(10, rows(10))
    store.flush()
    with locked(tmp_path / "r") as let_go:
        if network:
            with pytest.raises(BusyError, match=r"run\.db: locked by another program"):
                run.refresh()
            let_go()
        assert run.refresh()
    assert run.last_step == 19
    store.close()


READER = """
import sys, time
from pathlib import Path
from eostui.runs.store.poller import Poller
from eostui.runs.store.reader import RunReader
reader = RunReader(Path(sys.argv[1]))
reader._execute("BEGIN")
print(len(Poller(reader)._new_steps()[0]), flush=True)
time.sleep(600)
"""


def test_a_viewer_stopped_in_mid_read_delays_training_by_nothing(tmp_path):
    """SIGSTOP within its transaction: training goes on at its pace, ends, and closes."""
    config = toy_config(**TOY, steps=1000)
    begun = time.monotonic()
    train(tmp_path / "alone", config)
    alone = time.monotonic() - begun
    readers = []

    class Watched(RunWriter):
        """Has a viewer open its run after the first flush, and stops it there."""

        def flush(self):
            super().flush()
            if not readers and Run(self.path).last_step >= 0:
                reader = subprocess.Popen(
                    [sys.executable, "-c", READER, str(self.path)],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                readers.append(reader)
                assert int(reader.stdout.readline()) > 0
                reader.send_signal(signal.SIGSTOP)
                self.stopped_at = time.monotonic()

    from toy_runs import build

    from eostui.engine.device import prepare_machine
    from eostui.engine.driver import Driver
    from eostui.engine.facts import initial_facts

    problem = build(config)
    facts = initial_facts(config, prepare_machine(config), problem, "r", "")
    store = Watched(tmp_path / "r", facts)
    try:
        status, _ = Driver(config, problem).run(store)
        store.close()
        took = time.monotonic() - store.stopped_at
        assert status == "finished"
        finished(Run(tmp_path / "r"), 1000)
        # a lock that was waited for would cost a second at least, at each of the flushes
        assert took < 3 * alone + 5
        assert readers[0].poll() is None, "it was still stopped in mid-read"
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
            reader.stdout.close()


# --- two engines, network file systems -------------------------------------------------------------


def test_a_second_engine_is_refused(tmp_path):
    """The run that another process drives is left as it is."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "r")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(EostuiError, match="another engine drives this run") as caught:
            RunWriter(tmp_path / "r")
        assert caught.value.exit_code == 1
        assert (tmp_path / "r" / schema.LOCK).read_text() == f"{process.pid}\n"
        assert (tmp_path / "r" / schema.RESERVE).exists(), "the other's reserve is its own"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    RunWriter(tmp_path / "r").close()
    assert Run(tmp_path / "r").last_step == 4


def test_a_write_that_was_interrupted_is_not_read(tmp_path, monkeypatch):
    """With a rollback journal, as on a network: half of the pages are new, until they are put back."""
    monkeypatch.setattr(writer, "on_network", lambda _: True)
    store = RunWriter(tmp_path / "r", facts_of())
    for first in range(0, 4000, 100):
        store.steps(first, rows(100))
    store.close()
    before = (tmp_path / "r" / schema.DATABASE).read_bytes()
    database = sqlite3.connect(tmp_path / "r" / schema.DATABASE, isolation_level=None)
    with contextlib.closing(database):
        database.execute("PRAGMA cache_size=2")  # so that pages are written before the end
        database.execute("BEGIN")
        database.execute("UPDATE steps SET matrix = zeroblob(length(matrix)) WHERE id % 2")
        shutil.copytree(tmp_path / "r", tmp_path / "killed")  # as the disk was at that instant
        database.execute("ROLLBACK")
    torn = (tmp_path / "killed" / schema.DATABASE).read_bytes()
    assert torn != before
    with pytest.raises(RunFormatError, match=r"isn't rolled back yet; `eostui runs repair killed`"):
        Run(tmp_path / "killed")
    assert (tmp_path / "killed" / schema.DATABASE).read_bytes() == torn
    assert (tmp_path / "killed" / f"{schema.DATABASE}-journal").exists()
    finished(Run(repair_run(tmp_path / "killed").path), 3999)


def test_a_run_on_a_network_file_system(tmp_path, monkeypatch):
    """Imitated, for none can be had: the rollback journal and flock carry a whole run all the same."""
    monkeypatch.setattr(writer, "on_network", lambda _: True)
    (tmp_path / "net").mkdir()
    run, status = train(tmp_path / "net", toy_config(**TOY, steps=400))
    assert status == "finished"
    finished(run, 400)
    with contextlib.closing(sqlite3.connect(run.path / schema.DATABASE)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert not list(run.path.glob("run.db-*"))
    monkeypatch.undo()
    (tmp_path / "local").mkdir()
    local, _ = train(tmp_path / "local", toy_config(**TOY, steps=400))
    np.testing.assert_array_equal(local.steps["loss"], run.steps["loss"])


# --- memory, devices -------------------------------------------------------------------------------

FAILING = """
import torch
from eostui.problems import Problem

def _failing(device, dtype, failure):
    # every step shrinks θ by η; how often the loss is evaluated before the run is open
    smallest = (1 - 0.15) ** 29.5

    def loss(at):
        if at.abs().max() < smallest:
            failure()
        return at @ at / 2

    return Problem(torch.ones(3, device=device, dtype=dtype), loss, "½‖θ‖²")

def memory(device, dtype):
    return _failing(device, dtype, lambda: torch.empty(10**15))

def gpu(device, dtype):  # imitated: what PyTorch raises when a GPU is lost
    def lost():
        raise RuntimeError(
            "CUDA error: unspecified launch failure\\nCUDA kernel errors might be reported later"
        )
    return _failing(device, dtype, lost)
"""


def drive(config, path):
    """Do what an engine process does with a request; return its exit code."""
    before = signal.getsignal(signal.SIGTERM)
    request = StartRequest(config=config.to_toml(), path=path, data_dir=path.parent, watched=True)
    try:
        return engine._run(request, Told())
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("memory", "out of memory: use a smaller"),
        ("gpu", "the GPU failed (CUDA error: unspecified"),
    ],
)
def test_lost_memory_and_a_lost_gpu_end_the_run_by_name(tmp_path, name, cause):
    """A real allocation that can't be had, in mid-run; an imitated loss of the GPU."""
    (tmp_path / "own.py").write_text(FAILING)
    own = {"problem": f"{tmp_path / 'own.py'}:{name}", "problem_arguments": {}}
    config = toy_config("elliptical-valley", steps=60).changed(own)
    assert drive(config, tmp_path / "r") == 1
    with Run(tmp_path / "r") as run:
        assert run.state == "failed"
        assert run.facts["sentence"].startswith(f"failed at step 30: {cause}")
        assert "\n" not in run.facts["sentence"]
        finished(run, 29)


def test_a_network_too_large_for_the_memory_is_a_sentence(tmp_path):
    """Before there is a run: nothing is left behind. It is larger than any address space."""
    file = tmp_path / "narrow.npz"
    np.savez(file, x=np.arange(8.0)[:, None], y=np.arange(8) % 2)
    values = {
        "data": "npz", "data_file": str(file), "width": 30_000_000, "depth": 2, "device": "cpu",
        "threads": 1,
    }  # fmt: skip
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever PyTorch raises
        drive(RunConfig.build(values, "test"), tmp_path / "r")
    assert explain(caught.value).startswith("out of memory: use a smaller")
    assert not (tmp_path / "r").exists()


# --- clocks ----------------------------------------------------------------------------------------


def test_a_clock_that_is_put_back_changes_no_order(tmp_path, monkeypatch):
    """Commands are taken as they were sent, events and rows stay in order; an hour back, then 1970."""
    hours = iter([10_000, 6_400, 6_400, 10, 0, 20_000, *[5] * 1000])
    now = time.time
    monkeypatch.setattr(time, "time", lambda: float(next(hours)))
    monkeypatch.setattr(time, "time_ns", lambda: int(time.time() * 1e9))
    path = tmp_path / "r"
    store = RunWriter(path, facts_of(created="9999999999"))
    sent = [commands.send(path, "set", eta=0.1 * place) for place in range(1, 6)]
    assert [command for command, _ in commands.take(path)] == sent
    assert commands.take(path) == []
    for place in range(5):
        store.steps(place, rows(1))
        store.event(place, "note", {"place": place})
        store.flush()
    store.close()
    monkeypatch.setattr(time, "time", now)
    with Run(path) as run:
        assert [event.payload["place"] for event in run.events] == list(range(5))
        finished(run, 4)
    from typer.testing import CliRunner

    from eostui.cli.app import app

    listed = CliRunner().invoke(app, ["runs", "list", "--runs-dir", str(tmp_path)])
    assert listed.exit_code == 0
    assert "0 s" in listed.stdout, "a run from the future is of no age"


def test_a_newer_format_is_refused_by_all(tmp_path):
    """Reading, checking and going on with it: a sentence that names both formats."""
    RunWriter(tmp_path / "r", facts_of()).close()
    edit(tmp_path / "r", f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    newer, known = schema.SCHEMA_VERSION + 1, schema.SCHEMA_VERSION
    for open_it in (Run, RunWriter, shelf.read_entry):
        with pytest.raises(
            RunFormatError, match=f"format {newer}, but this eostui reads format {known} "
        ):
            open_it(tmp_path / "r")
    assert not engine_alive(tmp_path / "r")
    assert not issubclass(RunFormatError, InputError)
