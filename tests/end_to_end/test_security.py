"""A run directory from a stranger: whatever is in it, nothing runs, nothing is written outside it,
and the terminal gets no more than text."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from damage import edit
from engines import here, small
from everything import everything
from random_runs import facts_of, rows, written
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError, RunFormatError, StoreError
from eostui.runs import shelf
from eostui.runs.launch import EngineProcess, Resume, StartError
from eostui.runs.repair.check import check_run
from eostui.runs.repair.rebuild import repair_run
from eostui.runs.run import Run
from eostui.runs.store import checkpoints, commands, connection, schema
from eostui.runs.store.ending import last_words
from eostui.runs.store.liveness import EngineLock, engine_alive
from eostui.runs.store.rows import checksum
from eostui.runs.store.writer import RunWriter
from eostui.runs.trust import FLAG, refuse_foreign_code

#: What a terminal would obey: colours, title, clipboard, lines, 8-bit controls, direction of writing.
ODD = "\x1b[31m\x1b]0;owned\x07\x1b]52;c;cm0gLXJm\x07\r\n\x9b2J\u202e[red]x[/red]"
READS = (["list"], ["show", "RUN"], ["show", "RUN", "--json"], ["check", "RUN"], ["repair", "RUN"])


@pytest.fixture
def run(tmp_path):
    """A run on a shelf of its own, and beside the shelf something that must stay as it is."""
    (tmp_path / "shelf").mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("precious")
    path = written(tmp_path / "shelf" / "r", rows(50), [(5, {"sharpness": 2.0})])
    yield path
    assert os.listdir(tmp_path / "precious") == ["file"]
    assert (tmp_path / "precious" / "file").read_text() == "precious"


def precious(path):
    return path.parent.parent / "precious"


def cli(path, *arguments):
    """Call a command on a shelf; it ends well or with a sentence, and prints no control character."""
    filled = [str(path) if argument == "RUN" else argument for argument in arguments]
    result = CliRunner().invoke(app, [*filled, "--runs-dir", str(path.parent)])
    assert result.exception is None or isinstance(result.exception, EostuiError | SystemExit), (
        arguments, result.exception,
    )  # fmt: skip
    for line in result.stdout.split("\n") + result.stderr.split("\n"):
        assert line.isprintable(), (arguments, line)
    return result


def read_in_every_way(path, *, refused=None):
    """Read a run by all commands; return what they said. `refused`: what all but `list` must say."""
    outputs = []
    for arguments in READS:
        result = cli(path, "runs", *arguments)
        said = f"{result.stdout}{result.stderr}{result.exception or ''}"
        outputs.append(said)
        if refused is not None and arguments[0] == "show":
            assert isinstance(result.exception, RunFormatError), said
            assert refused in said
    for arguments in (["export", "RUN", "-o", "-"], ["plot", "RUN", "--width", "80"]):
        outputs.append(cli(path, *arguments).stdout)
    return "".join(outputs)


def read_briefly(path):
    """Read a run by the commands that go through all of it, in turn until one refuses it."""
    for arguments in (["list"], ["show", "RUN"], ["check", "RUN"]):
        cli(path, "runs", *arguments)


def append_event(path, kind, payload, step=0):
    """Add an event with a right checksum, as a stranger who knows the format can."""
    cells = (step, 1.0, kind, payload)
    edit(
        path,
        "INSERT INTO events (step, unix_time, kind, payload, crc32) VALUES (?, ?, ?, ?, ?)",
        *cells, checksum(cells),
    )  # fmt: skip
    edit(path, schema.seal())


def set_fact(path, key, value):
    cells = (key, value)
    edit(path, "INSERT OR REPLACE INTO run VALUES (?, ?, ?)", *cells, checksum(cells))
    edit(path, schema.seal())


# --- permissions -----------------------------------------------------------------------------------


def test_all_that_a_run_writes_is_private(tmp_path):
    """Directories 0700, files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        writer = RunWriter(tmp_path / "r", facts_of())
        writer.steps(0, rows(10))
        writer.flush()
        state = checkpoints.Checkpoint(5, 0, {"theta": np.ones(3)}, {})
        checkpoints.write(writer.path, state)
        commands.send(writer.path, "stop")
        modes = {
            file.relative_to(tmp_path): stat.S_IMODE(file.lstat().st_mode)
            for file in [tmp_path / "r", *(tmp_path / "r").rglob("*")]
        }
        writer.close()
    finally:
        os.umask(before)
    for file, mode in modes.items():
        private = 0o700 if (tmp_path / file).is_dir() else 0o600
        # a command is written by a viewer, with its umask, into a folder that nobody else can enter
        assert mode == private or file.parts[1:2] == (schema.COMMANDS,), (file, oct(mode))
    assert {"run.db", "run.db-wal", "reserve", "lock"} <= {file.name for file in modes}


# --- links -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run.db", "run.db-wal", "run.db-shm", "run.db-journal"])
def test_a_store_that_is_a_link_is_refused(run, name):
    """SQLite would make and write what it leads to."""
    target = precious(run) / ("file" if name == "run.db" else "made")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(target)
    with pytest.raises(EostuiError, match=r"is a link|not a run directory"):
        Run(run)
    with pytest.raises(EostuiError):
        RunWriter(run)
    assert not engine_alive(run)
    assert "link" in read_in_every_way(run)


@pytest.mark.parametrize("name", [schema.LOCK, schema.RESERVE, schema.COMMANDS, checkpoints.FOLDER])
def test_links_inside_are_not_written_through(run, name):
    """The lock, the reserve, the commands, the checkpoints: going on with the run is refused."""
    folder = name in (schema.COMMANDS, checkpoints.FOLDER)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(run / name) if folder and (run / name).is_dir() else (run / name).unlink()
    (run / name).symlink_to(precious(run) if folder else precious(run) / "file")
    (finding,) = [finding for finding in check_run(run) if finding.part == "directory"]
    assert not finding.sound
    assert name in finding.description
    state = checkpoints.Checkpoint(5, 0, {"theta": np.ones(3)}, {})
    with pytest.raises((EostuiError, OSError)):  # noqa: PT012 - whichever of them comes to the link
        RunWriter(run).close()
        commands.send(run, "stop")
        checkpoints.write(run, state)
    with Run(run) as opened:  # it can be looked at all the same
        assert opened.last_step == 49
    assert checkpoints.files(run) == []


def test_a_journal_that_names_a_file_elsewhere_deletes_nothing(run):
    """SQLite deletes a journal's super-journal when it has rolled back: the store isn't opened."""
    victim = run.parent.parent / "victim"
    name = str(victim).encode()
    victim.write_bytes(b"none\0")
    magic = bytes.fromhex("d9d505f920a163d7")
    head = magic + struct.pack(">5I", 0, 0, 1, 512, 4096)
    tail = struct.pack(">I", 0x40000000 // 4096 + 1) + name
    tail += struct.pack(">2I", len(name), sum(name)) + magic
    (run / f"{schema.DATABASE}-journal").write_bytes(head.ljust(512, b"\0") + tail)
    for act in (Run, shelf.read_entry, repair_run):
        with pytest.raises(RunFormatError, match="several databases"):
            act(run)
    assert victim.exists()


def test_waiting_commands_that_are_links_or_pipes_are_not_read(run):
    """They are taken away as unreadable, what they lead to stays, and no pipe is waited for."""
    folder = run / schema.COMMANDS
    (precious(run).parent / "command").write_text('{"kind": "stop"}')
    (folder / "1.json").symlink_to(precious(run).parent / "command")
    os.mkfifo(folder / "2.json")
    begun = time.monotonic()
    assert [content["kind"] for _, content in commands.take(run)] == ["unreadable"] * 2
    assert time.monotonic() - begun < 5
    assert os.listdir(folder) == []
    assert (precious(run).parent / "command").exists()


def test_a_command_is_not_written_through_a_link_that_waits_for_it(run):
    """Whoever names a waiting command chooses the next one's time, and may guess its whole name."""
    folder = run / schema.COMMANDS
    (folder / f"{2**62:020d}-1-000000.json").touch()
    (folder / f"{'9' * 20}-1-000000.json").touch()
    stamp, pid, number = commands.send(run, "pause").split("-")
    assert int(stamp) == 2**62 + 1
    guessed = folder / f".{2**62 + 2:020d}-{pid}-{int(number) + 1:06d}"
    guessed.symlink_to(precious(run) / "file")
    sent = commands.send(run, "stop")
    assert sent != guessed.name[1:]
    assert guessed.is_symlink()
    taken = [(name, content["kind"]) for name, content in commands.take(run)]
    assert [kind for _, kind in taken] == ["unreadable", "pause", "stop", "unreadable"]
    assert taken[2][0] == sent


@contextlib.contextmanager
def within(seconds):
    """Fail, rather than wait for ever."""

    def late(*_):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("read", [False, True])
def test_a_reserve_that_is_a_pipe_is_not_written_to(run, read):
    """Neither waited for nor, where somebody reads it, filled."""
    (run / schema.RESERVE).unlink(missing_ok=True)
    os.mkfifo(run / schema.RESERVE)
    reader = os.open(run / schema.RESERVE, os.O_RDONLY | os.O_NONBLOCK) if read else None
    with within(20), pytest.raises(StoreError, match="its `reserve` is no regular file"):
        RunWriter(run)
    if reader is not None:
        assert os.read(reader, 1) == b""
        os.close(reader)
    RunWriter(run).close()  # it was taken away


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_log_that_is_no_file_is_told_to_who_starts_the_engine(tmp_path, kind):
    """And a run in a folder of an odd name is repeated without a word that a terminal obeys."""
    path = here(small(steps=20), tmp_path)
    path = path.rename(tmp_path / ODD.replace("/", ""))
    result = cli(path, "replay", "RUN")
    assert "are the same, bit for bit" in result.stdout
    log = path / schema.ENGINE_LOG
    if kind == "pipe":
        os.mkfifo(log)
    else:
        log.symlink_to(tmp_path / "made")
    engine = EngineProcess(Resume(shelf.read_entry(path), 30), tmp_path, tmp_path)
    try:
        with within(120), pytest.raises(StartError, match=r"its `engine.log` is no regular file"):
            engine.ready(lambda _: None)
    finally:
        engine.cancel()
    assert not (tmp_path / "made").exists()
    assert not last_words(path)


def test_a_lock_that_is_a_pipe_holds_nobody_up(run):
    (run / schema.LOCK).unlink()
    os.mkfifo(run / schema.LOCK)
    assert not engine_alive(run)
    with contextlib.suppress(EostuiError):
        EngineLock(run).release()


def test_deleting_follows_no_link(run):
    """Neither one inside the run nor one that stands for it."""
    (run / "link").symlink_to(precious(run))
    (run.parent / "alias").symlink_to(precious(run))
    alias = run.parent / "alias-of-run"
    alias.symlink_to(run)
    with pytest.raises(InputError, match="is a link"):
        shelf.delete(alias)
    shelf.delete(run)
    assert not run.exists()


# --- a store that isn't what it seems --------------------------------------------------------------

ENDLESS = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id, x AS key,"
)


@pytest.mark.parametrize(
    "statements",
    [
        ["DROP TABLE events", f"CREATE VIEW events AS {ENDLESS} 'x' AS kind FROM c"],
        ["DROP TABLE run", f"CREATE VIEW run AS {ENDLESS} 'x' AS value, 1 AS crc32 FROM c"],
        ["CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM steps; END"],
        ["CREATE VIRTUAL TABLE other USING fts5(x)"],
        [
            "DROP TABLE events",
            "CREATE TABLE events (id INTEGER PRIMARY KEY, step, unix_time, kind, crc32, "
            "payload TEXT GENERATED ALWAYS AS (hex(zeroblob(1000000))) VIRTUAL)",
        ],
    ],
    ids=["view", "endless-view", "trigger", "virtual-table", "generated-column"],
)
def test_views_triggers_and_computed_columns_are_refused(run, statements):
    for statement in statements:
        edit(run, statement)
    begun = time.monotonic()
    read_in_every_way(run, refused="not a run")
    with pytest.raises(RunFormatError, match="not a run"):
        RunWriter(run)
    assert time.monotonic() - begun < 30


def test_a_store_can_call_no_function_with_effects(run):
    """What a schema calls isn't trusted, extensions can't be loaded, and nothing is written."""
    with Run(run) as opened:
        database = opened._reader._connection
        assert database.execute("PRAGMA trusted_schema").fetchone() == (0,)
        assert database.execute("PRAGMA query_only").fetchone() == (1,)
        with pytest.raises(sqlite3.OperationalError, match="attempt to write"):
            database.execute("DELETE FROM steps")
        with pytest.raises(sqlite3.OperationalError, match="not authorized"):
            database.execute("SELECT load_extension('/tmp/none.so')")


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("UPDATE steps SET last_step = 1000000000000000", ()),
        ("UPDATE steps SET first_step = -5, last_step = -1", ()),
        ("UPDATE steps SET matrix = 'text'", ()),
        ("UPDATE steps SET matrix = 7", ()),
        ("UPDATE steps SET first_step = 'x'", ()),
        ("UPDATE readings SET step = 1e15", ()),
        ("UPDATE readings SET step = -3", ()),
        ("UPDATE readings SET numbers = 'many'", ()),
        ("UPDATE readings SET numbers = x'00ff'", ()),
        ("UPDATE readings SET probe = x'00ff'", ()),
        ("UPDATE readings SET seconds = 'many'", ()),
        ("UPDATE readings SET products = -1e300", ()),
        ("UPDATE run SET value = x'ff00' WHERE key = 'name'", ()),
        ("UPDATE run SET value = cast(x'ff' AS TEXT) WHERE key = 'name'", ()),
        ("UPDATE steps SET matrix = zeroblob(3000000)", ()),
        ("DELETE FROM seal", ()),
        ("UPDATE seal SET steps = 'x'", ()),
        ("UPDATE seal SET events = 1000000000000", ()),
    ],
)
def test_wrong_types_and_claims_are_sentences(run, monkeypatch, statement, values):
    """With checksums of the steps made to fit, as somebody can who knows how."""
    monkeypatch.setattr(connection, "MOST_BYTES", 1 << 20)  # a huge cell needn't be that huge here
    edit(run, statement, *values)
    if statement.startswith("UPDATE steps"):
        with contextlib.closing(sqlite3.connect(run / "run.db")) as database, database:
            found = database.execute(
                "SELECT id, first_step, last_step, matrix FROM steps"
            ).fetchall()
            for row_id, *cells, blob in found:
                blob = blob if isinstance(blob, bytes) else b""
                crc = checksum(cells, blob)
                database.execute("UPDATE steps SET crc32 = ? WHERE id = ?", (crc, row_id))
    with pytest.raises(RunFormatError):
        Run(run)
    read_briefly(run)


def test_a_row_of_an_old_format_that_claims_many_steps(run):
    """No memory is taken for what isn't there: the blob's size must fit its steps."""
    from formats import as_format

    as_format(run, 3)
    edit(run, "UPDATE steps SET last_step = 1000000000000000, crc32 = ?",
         zlib.crc32(rows(50).tobytes()))  # fmt: skip
    with pytest.raises(RunFormatError, match="damaged"):
        Run(run)
    read_briefly(run)


# --- events and facts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("note", "[" * 100_000 + "]" * 100_000),
        ("note", '{"a": ' * 900 + "1" + "}" * 900),
        ("note", "[1, 2]"),
        ("note", "7"),
        ("note", '{"a": NaN}'),
        ("note", '{"a": -Infinity}'),
        ("note", '{"a": 1e999}'),
        ("note", '{"a": ' + "9" * 10_000 + "}"),
        ("note", "no JSON"),
        ("control", '{"eta": 7}'),
        ("control", '{"eta": [1]}'),
        ("control", '{"eta": ["a", "b"]}'),
        ("control", '{"[red]": [1, 2]}'),
        ("control", '{"eta": [1, ' + "9" * 400 + "]}"),
        ("phase", "{}"),
        ("phase", '{"to": []}'),
        ("refused", "{}"),
        ("unmapped", '{"reason": {}}'),
        ("calibrated", "{}"),
        ("calibrated", '{"number": 1, "step": 0, "eta": 0}'),
        ("reseated", '{"step": 0, "x": 1, "q": 1}'),
    ],
)
def test_events_of_a_wrong_shape_are_sentences(run, kind, payload):
    """Bombs, constants that JSON lacks, and events that tell something else than their kind does."""
    append_event(run, kind, payload)
    with pytest.raises(RunFormatError):
        Run(run)
    read_briefly(run)


def test_texts_that_would_control_the_terminal_are_shown_as_text(run):
    """In the name, the sentence, facts, events, the config's strings: replaced by a sign for it."""
    config = RunConfig.build({"preset": "test", "data": "npz", "data_file": ODD}, "test")
    for key, value in (
        ("name", ODD), ("sentence", ODD), ("device", ODD), ("convention", ODD), ("parameters", ODD),
        (f"k{ODD}", "v"), ("config", config.to_toml()),
    ):  # fmt: skip
        set_fact(run, key, value)
    append_event(run, "refused", json.dumps({"reason": ODD, ODD: [ODD]}))
    append_event(run, f"kind{ODD}", "{}")
    said = read_in_every_way(run)
    assert "owned" in said, "the text itself is shown"
    with Run(run) as opened:
        assert opened.facts["device"].replace("\n", "").isprintable()
        assert all(event.kind.isprintable() for event in opened.events)
        assert opened.events[0].payload["reason"].isprintable()
    assert everything(run)


@pytest.mark.parametrize("created", ["nan", "inf", "-1e300", "1e300", "soon", "9" * 5000])
def test_an_impossible_time_is_a_sentence(run, created):
    set_fact(run, "created", created)
    with pytest.raises(RunFormatError, match="facts are damaged"):
        shelf.read_entry(run)
    read_briefly(run)


@pytest.mark.parametrize(
    "stated", ["7", "[]", '["loss"]', "[" * 100_000, '["a","b","c","d","e","f"]']
)
def test_columns_that_no_engine_writes_are_a_sentence(run, stated):
    set_fact(run, "step_columns", stated)
    with pytest.raises(RunFormatError, match="step_columns"):
        Run(run)
    read_in_every_way(run)


@pytest.mark.parametrize(
    "name", [ODD.replace("/", ""), "a\nb", "-rf", "[red]x", "..x", "~", "$(id)", "a b", "λ", "-"]
)
def test_folders_of_odd_names_are_listed_exported_and_deleted(run, name, tmp_path, monkeypatch):
    """Their names are shown as text, and files named after them have harmless names in this folder."""
    odd = run.rename(run.parent / name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    read_in_every_way(odd)
    cli(odd, "runs", "note", "RUN", "text")
    cli(odd, "runs", "rename", "RUN", "name")
    assert shelf.read_entry(odd).name == "name"
    result = cli(odd, "export", "RUN")
    assert result.exit_code == 0
    assert len(os.listdir()) == 2
    for file in os.listdir():
        assert all(c.isascii() and (c.isalnum() or c in "._-") for c in file)
        assert file[0] not in "-."
    entry = shelf.read_entry(odd)
    shelf.delete(entry.path)
    assert not odd.exists()


def test_a_strangers_preset_is_shown_as_text(tmp_path, monkeypatch):
    """Listed, shown and validated; line ends and tabs are kept."""
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path))
    (tmp_path / "presets").mkdir()
    odd = "owned \x9b2J\u202e"
    text = f"# {odd}\n#\tsecond\npreset = 'fine'  # {odd}\n"
    (tmp_path / "presets" / f"x{odd}.toml").write_text(text, encoding="utf-8")
    for arguments in (["list"], ["show", f"x{odd}"], ["validate", f"x{odd}"]):
        result = CliRunner().invoke(app, ["presets", *arguments])
        assert result.exit_code == 0, result.output
        said = result.stdout + result.stderr
        assert "owned" in said
        assert said.replace("\n", "").replace("\t", "").isprintable(), arguments
        if arguments[0] == "show":
            assert result.stdout == text.replace("\x9b", "\ufffd").replace("\u202e", "\ufffd")


# --- code ------------------------------------------------------------------------------------------


def test_a_stored_problem_is_code_only_by_the_users_word(run):
    """Reading a run whose config names code executes none of it; to go on, its user must say so."""
    evil = run / "evil.py"
    evil.write_text(f"import shutil\nshutil.rmtree({str(precious(run))!r})\ndef f(*_): ...\n")
    config = RunConfig.build({"problem": f"{evil}:f"}, "test")
    set_fact(run, "config", config.to_toml())
    said = read_in_every_way(run)
    assert "evil.py:f" in said
    with pytest.raises(InputError, match=FLAG):
        refuse_foreign_code(config, run)
    refuse_foreign_code(config, run, trusted=True)
    refuse_foreign_code(RunConfig.build({}, "test"), run)
    repair_run(run)


def test_reading_unpickles_nothing(run):
    """No module of the program that opens runs imports pickle's loaders, nor does NumPy load objects."""
    code = (
        "import sys, pickle\n"
        "def refuse(*a, **k): raise SystemExit('unpickled')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "import eostui\nfrom eostui.runs.repair import check, rebuild\n"
        "check.check_run(__import__('pathlib').Path(sys.argv[1]))\n"
        "eostui.open_run(sys.argv[1]).columns()\nprint('read')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "read\n"


def test_the_application_shows_a_strangers_texts_as_text(run):
    """In the live view, through a real terminal: no title, no clipboard, no colours of the stranger."""
    from terminal import Terminal

    for key in ("sentence", "device"):
        set_fact(run, key, ODD)
    set_fact(run, "status", "failed")
    append_event(run, "refused", json.dumps({"reason": ODD}))
    terminal = Terminal("attach", str(run), cwd=run.parent)
    try:
        terminal.wait_for("holds for the theory", "owned")
        for evil in (b"\x1b]0;owned", b"\x1b]52;", b"\xc2\x9b2J", "\u202e".encode()):
            assert evil not in terminal.output
    finally:
        terminal.process.terminate(force=True)
