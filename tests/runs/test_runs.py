"""Run directories: real SQLite files written, read, damaged, locked and found."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from damage import HOLDER, edit
from hypothesis import given, settings
from hypothesis import strategies as st
from random_runs import facts_of, rows, written

import eostui
from eostui.errors import EostuiError, InputError, RunFormatError
from eostui.runs import shelf
from eostui.runs.run import Run
from eostui.runs.store import commands, schema
from eostui.runs.store.columns import (
    ARRIVALS,
    EVERY_STEP,
    FIRST_STEP_COLUMNS,
    STORED_STEP_COLUMNS,
    exported,
)
from eostui.runs.store.filesystem import on_network
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.writer import RunWriter

# --- columns ---------------------------------------------------------------------------------------


def test_columns_of_three_rows_by_hand(tmp_path):
    """Every derived column of a run of three rows whose η and λ change, worked out by hand."""
    nan = float("nan")
    matrix = np.array(
        [
            # loss, ‖θ‖, ‖decayed θ‖, arrival κ, its cosine, its length, η, λ
            [4.0, 5.0, 4.0, nan, nan, nan, 0.5, 0.25],
            [1.0, 3.0, 2.0, 7.0, nan, 0.75, 0.25, 0.5],
            [2.0, 2.5, 1.0, 8.0, -0.5, 1.5, 0.125, 0.0],
        ]
    )
    stored = json.dumps(STORED_STEP_COLUMNS)
    run = Run(written(tmp_path / "r", matrix, step_columns=stored))
    steps = {column.name: run.steps[column.name].tolist() for column in EVERY_STEP}
    assert steps["step"] == [0, 1, 2]
    assert steps["flow_time"] == [0, 0.5, 0.75]
    assert steps["loss"] == [4, 1, 2]
    assert steps["loss_regularized"] == [4 + 0.25 * 8, 1 + 0.5 * 2, 2]
    assert steps["loss_step"][:2] == [-3, 1]
    # the λ of the step at both ends: 0.25·(2 − 8), then 0.5·(0.5 − 2)
    assert steps["loss_step_regularized"][:2] == [-3 + 0.25 * -6, 1 + 0.5 * -1.5]
    assert steps["path_curvature"][:2] == [7, 8]
    assert np.isnan(steps["step_cosine"][0])  # there is no step before the first
    assert steps["step_cosine"][1] == -0.5
    assert steps["step_norm"][:2] == [0.75, 1.5]
    assert steps["eta"] == [0.5, 0.25, 0.125]
    assert steps["weight_decay"] == [0.25, 0.5, 0]
    assert steps["theta_norm"] == [5, 3, 2.5]
    assert steps["decayed_norm"] == [4, 2, 1]
    assert steps["two_over_eta"] == [4, 8, 16]
    assert steps["stability_threshold"] == [3.75, 7.5, 16]
    for name in ("loss_step", "loss_step_regularized", *ARRIVALS):
        assert np.isnan(steps[name][2]), f"{name} of the last step isn't known yet"
    assert run.last_step == 2


def test_measured_columns_and_what_is_derived_from_them(tmp_path):
    """Measurements keep the η, λ and flow time of their step; α and λg follow from them."""
    matrix = rows(30)
    measured = [
        (0, {"sharpness": 10.0, "beta": 4.0, "beta_alpha": 2.0, "g": 3.0, "test_loss": 0.5}),
        (20, {"sharpness": 11.0, "beta": 8.0, "beta_alpha": -2.0, "g": -1.0}),
        (25, {"test_loss": 0.25, "test_accuracy": 0.875}),
    ]
    run = Run(written(tmp_path / "r", matrix, measured))
    assert run.measured["step"].tolist() == [0, 20, 25]
    np.testing.assert_array_equal(run.measured["eta"], matrix[[0, 20, 25], 4])
    np.testing.assert_array_equal(run.measured["weight_decay"], matrix[[0, 20, 25], 5])
    np.testing.assert_array_equal(
        run.measured["flow_time"], [0.0, *np.cumsum(matrix[:, 4])[[19, 24]]]
    )
    np.testing.assert_array_equal(run.measured["alpha"], [0.5, -0.25, np.nan])
    np.testing.assert_array_equal(
        run.measured["lambda_g"], [matrix[0, 5] * 3.0, matrix[20, 5] * -1.0, np.nan]
    )
    decay = matrix[20, 5]
    assert matrix[0, 5] == 0
    np.testing.assert_array_equal(
        run.measured["g_critical"], [np.nan, -2.0 / decay + decay, np.nan]
    )
    np.testing.assert_array_equal(run.measured["sharpness"], [10, 11, np.nan])
    np.testing.assert_array_equal(run.measured["test_accuracy"], [np.nan, np.nan, 0.875])

    table = run.columns()
    assert list(table) == [
        column.name
        for column in exported(FIRST_STEP_COLUMNS)
        if not column.optional or column.name == "g_critical"
    ]
    assert {len(values) for values in table.values()} == {30}
    assert np.flatnonzero(~np.isnan(table["sharpness"])).tolist() == [0, 20]
    assert table["alpha"][20] == -0.25
    only = run.columns(measured_only=True)
    assert only["step"].tolist() == [0, 20, 25]
    np.testing.assert_array_equal(only["loss"], matrix[[0, 20, 25], 0])
    np.testing.assert_array_equal(only["test_loss"], [0.5, np.nan, 0.25])


def test_beta_of_zero_has_no_alpha(tmp_path):
    """A quadratic loss has β = 0: α is left empty."""
    run = Run(written(tmp_path / "r", rows(1), [(0, {"beta": 0.0, "beta_alpha": 0.0, "g": 0.0})]))
    assert np.isnan(run.measured["alpha"][0])
    assert run.measured["lambda_g"][0] == 0


def test_without_decay_no_g_is_critical(tmp_path):
    """λ + βα/λ has no meaning at λ = 0: a run without decay has no such column."""
    matrix = rows(30)
    matrix[:, 5] = 0.0
    run = Run(written(tmp_path / "r", matrix, [(0, {"beta": 4.0, "beta_alpha": 2.0, "g": 3.0})]))
    assert np.isnan(run.measured["g_critical"]).all()
    assert "g_critical" not in run.columns()


def test_a_measured_nan_is_an_empty_value_and_the_run_stays_readable(tmp_path):
    """SQLite stores NaN as NULL: the row is read with that column empty."""
    values = {"sharpness": 3.0, "beta": 2.0, "beta_alpha": float("nan"), "g": float("nan")}
    run = Run(written(tmp_path / "r", rows(1), [(0, values)]))
    assert run.measured["sharpness"].tolist() == [3.0]
    assert np.isnan(run.measured["beta_alpha"][0])
    assert np.isnan(run.measured["alpha"][0])
    assert np.isnan(run.measured["lambda_g"][0])


def test_pandas_frame_has_the_same_columns(tmp_path):
    """`frame` is `columns` with a whole-numbered step."""
    run = Run(written(tmp_path / "r", rows(12), [(5, {"sharpness": 2.0})]))
    frame = run.frame()
    assert list(frame.columns) == [
        column.name for column in exported(FIRST_STEP_COLUMNS) if not column.optional
    ]
    assert frame["step"].tolist() == list(range(12))
    np.testing.assert_array_equal(frame["loss"].to_numpy(), run.steps["loss"])
    assert len(run.frame(measured_only=True)) == 1


def test_a_run_without_rows_is_readable(tmp_path):
    """Between the making of a run and its first flush there is nothing to see, and no error."""
    run = Run(written(tmp_path / "r", rows(0)))
    assert run.last_step == -1
    assert not run.refresh()
    assert len(run.columns()["loss"]) == 0


@settings(max_examples=40)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=8), st.data())
def test_reading_piecewise_equals_reading_at_once(chunks, data):
    """However the rows were cut into flushes and polls, all columns are the same, bit for bit."""
    total = sum(chunks)
    matrix = rows(total, seed=total)
    folder = Path(tempfile.mkdtemp())
    try:
        writer = RunWriter(folder / "r", facts_of())
        live = Run(folder / "r")
        first = 0
        for size in chunks:
            writer.steps(first, matrix[first : first + size])
            first += size
            writer.measurement(first - 1, {"sharpness": float(first), "g": 2.0, "beta": 1.0,
                                           "beta_alpha": 0.5})  # fmt: skip
            writer.event(first - 1, "note", {"rows": first})
            if data.draw(st.booleans()):
                writer.flush()
            if data.draw(st.booleans()):
                live.refresh()
        writer.close()
        live.refresh()
        assert not live.refresh()
        whole = Run(folder / "r")
        assert len(live.steps) == len(whole.steps) == total
        for name, values in whole.columns().items():
            np.testing.assert_array_equal(live.columns()[name], values, err_msg=name)
        np.testing.assert_array_equal(live.measured["flow_time"], whole.measured["flow_time"])
        assert live.events == whole.events
        assert [event.payload["rows"] for event in whole.events] == np.cumsum(chunks).tolist()
        # against the definitions, not only against each other
        np.testing.assert_array_equal(whole.steps["loss_step"][:-1], np.diff(matrix[:, 0]))
        np.testing.assert_array_equal(whole.steps["path_curvature"][:-1], matrix[1:, 3])
        live.close()
        whole.close()
    finally:
        shutil.rmtree(folder)


def test_refresh_says_whether_there_was_anything(tmp_path):
    """Rows, measurements, events and facts each count as news; quiet means False."""
    writer = RunWriter(tmp_path / "r", facts_of(status="running"))
    run = Run(tmp_path / "r")
    for change in (
        lambda: writer.steps(0, rows(2)),
        lambda: writer.measurement(1, {"sharpness": 1.0}),
        lambda: writer.event(1, "note"),
        lambda: writer.fact("status", "paused"),
    ):
        assert not run.refresh()
        change()
        assert not run.refresh(), "what isn't flushed isn't seen"
        writer.flush()
        assert run.refresh()
    assert run.state == "paused"
    writer.close()


# --- damage ----------------------------------------------------------------------------------------


def test_a_flipped_bit_is_noticed(tmp_path):
    """The checksum of the rows fails: a sentence that says which rows, and how many are sound."""
    writer = RunWriter(tmp_path / "r", facts_of())
    writer.steps(0, rows(10))
    writer.steps(10, rows(5))
    writer.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "r" / schema.DATABASE)) as database:
        (blob,) = database.execute("SELECT matrix FROM steps WHERE first_step = 10").fetchone()
    damaged = bytearray(blob)
    damaged[17] ^= 1
    edit(tmp_path / "r", "UPDATE steps SET matrix = ? WHERE first_step = 10", bytes(damaged))
    with pytest.raises(RunFormatError, match="steps 10 to 14 are damaged; the 10 rows") as caught:
        Run(tmp_path / "r")
    assert str(tmp_path / "r") in str(caught.value)


def test_sound_rows_before_the_damage_are_not_lost_to_a_viewer(tmp_path):
    """Sound and damaged rows arrive together: those that the sentence calls sound are read."""
    writer = RunWriter(tmp_path / "r", facts_of())
    run = Run(tmp_path / "r")
    writer.steps(0, rows(10))
    writer.steps(10, rows(5))
    writer.close()
    edit(tmp_path / "r", "UPDATE steps SET crc32 = crc32 + 1 WHERE first_step = 10")
    for _ in range(2):  # at this refresh or at the next
        with contextlib.suppress(RunFormatError):
            run.refresh()
    assert run.last_step == 9


def test_missing_rows_are_noticed(tmp_path):
    """A gap between flushes is damage, not a shorter run."""
    writer = RunWriter(tmp_path / "r", facts_of())
    for first in (0, 10, 20):
        writer.steps(first, rows(10))
    writer.close()
    edit(tmp_path / "r", "DELETE FROM steps WHERE first_step = 10")
    with pytest.raises(RunFormatError, match="steps 20 to 29 are damaged"):
        Run(tmp_path / "r")


def test_another_format_is_named(tmp_path):
    """A run of a later version is refused with both versions."""
    path = written(tmp_path / "r", rows(3))
    edit(path, "PRAGMA user_version = 99")
    with pytest.raises(RunFormatError, match=f"format 99.*format {schema.SCHEMA_VERSION}"):
        Run(path)


def test_what_is_not_a_run_is_refused(tmp_path):
    """No folder, an empty folder, a text file, an empty file, someone else's database."""
    with pytest.raises(InputError, match=r"not a run directory.*run\.db"):
        eostui.open_run(tmp_path / "none")
    with pytest.raises(InputError, match="not a run directory"):
        eostui.open_run(str(tmp_path))
    for content in (b"hello, I am a text file that is long enough", b""):
        (tmp_path / "run.db").write_bytes(content)
        with pytest.raises(RunFormatError, match=r"run\.db"):
            eostui.open_run(tmp_path)
    (tmp_path / "run.db").unlink()
    edit(tmp_path, "CREATE TABLE other (x)")
    with pytest.raises(RunFormatError, match=r"run\.db"):
        eostui.open_run(tmp_path)


def test_a_truncated_database_is_refused(tmp_path):
    """Half a file, as a full disk leaves it."""
    path = written(tmp_path / "r", rows(5000))
    database = path / schema.DATABASE
    database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])
    with pytest.raises(RunFormatError, match=r"run\.db"):
        Run(path)


def test_a_run_without_its_config_is_a_sentence(tmp_path):
    """As a viewer sees it that opens a directory before its first facts are written."""
    writer = RunWriter(tmp_path / "r", {})
    with pytest.raises(RunFormatError):
        Run(tmp_path / "r")
    with pytest.raises(RunFormatError, match="facts"):
        shelf.read_entry(tmp_path / "r")
    writer.close()


def test_a_failed_transaction_writes_nothing_of_itself(tmp_path):
    """A row that SQLite refuses takes its whole flush with it; what was flushed before stays."""
    writer = RunWriter(tmp_path / "r", facts_of())
    writer.steps(0, rows(4))
    writer.measurement(0, {"sharpness": 1.0})
    writer.flush()
    writer.steps(4, rows(4))
    writer.measurement(0, {"sharpness": 2.0})  # measured twice at one step
    with pytest.raises(sqlite3.IntegrityError):
        writer.flush()
    run = Run(tmp_path / "r")
    assert run.last_step == 3
    assert run.measured["sharpness"].tolist() == [1.0]


def test_rows_of_a_wrong_width_are_refused(tmp_path):
    """A matrix that isn't that of the columns is the caller's error."""
    writer = RunWriter(tmp_path / "r", facts_of())
    with pytest.raises(ValueError, match="5 columns"):
        writer.steps(0, np.zeros((2, 5)))


# --- permissions, places ---------------------------------------------------------------------------


def test_run_directories_are_private(tmp_path):
    """Mode 0700 for the run and for its commands, whatever the umask."""
    before = os.umask(0)
    try:
        path = written(tmp_path / "deep" / "r", rows(1))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / schema.COMMANDS).stat().st_mode) == 0o700
    assert stat.S_IMODE((path / schema.LOCK).stat().st_mode) == 0o600


def test_a_run_that_cannot_be_made_is_a_sentence(tmp_path):
    """A file in the way, or a run that already is there: the folder and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--runs-dir or EOSTUI_RUNS") as caught:
        RunWriter(tmp_path / "file" / "r", facts_of())
    assert str(tmp_path / "file") in str(caught.value)
    path = written(tmp_path / "r", rows(2))
    with pytest.raises(InputError, match="can't make a run there"):
        RunWriter(path, facts_of())
    assert Run(path).last_step == 1


@pytest.fixture
def read_only_run():
    """An ended run whose directory and files may only be read, by whoever reads it.

    Root may write everywhere, so root reads as another user.
    """
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    path = written(folder / "r", rows(7), [(3, {"sharpness": 2.0})])
    for file in (path / schema.DATABASE, path / schema.LOCK):
        file.chmod(0o444)
    path.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        assert not os.access(path, os.W_OK, effective_ids=True)
        yield path
    finally:
        os.seteuid(user)
        path.chmod(0o755)
        shutil.rmtree(folder)


def test_a_read_only_directory_opens(read_only_run):
    """A run on a read-only disk or of another user is read like any other, and left as it was."""
    before = sorted(os.listdir(read_only_run))
    with eostui.open_run(read_only_run) as run:
        assert run.last_step == 6
        assert run.measured["sharpness"].tolist() == [2.0]
        assert run.state == "finished"
    assert not engine_alive(read_only_run)
    assert shelf.find(read_only_run.parent, "r").last_step == 6
    assert sorted(os.listdir(read_only_run)) == before


def test_opening_a_run_loads_no_torch():
    """Viewers and notebooks start fast: neither torch nor textual comes with a run."""
    code = (
        "import sys, eostui; from eostui.runs import launch, shelf, export; "
        "from eostui import presets; eostui.open_run(sys.argv[1]).columns(); "
        "print(sorted({'torch', 'torchvision', 'textual', 'plotext', 'pandas'} & set(sys.modules)))"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "r", rows(3))
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert done.stdout.strip() == "[]"


MOUNTS = """\
sysfs /sys sysfs rw 0 0
/dev/sda1 / ext4 rw 0 0
server:/export {0}/nfs nfs4 rw 0 0
tmpfs {0}/nfs/local tmpfs rw 0 0
//server/share {0}/my\\040share cifs rw 0 0
me@host: {0}/ssh fuse.sshfs rw 0 0
portal {0}/doc fuse.portal rw 0 0
broken line
"""


@pytest.mark.parametrize(
    ("place", "network"),
    [
        ("", False), ("nfs", True), ("nfs/a/b", True), ("nfs/local/a", False), ("nfsx", False),
        ("my share/a", True), ("ssh", True), ("doc", False),
    ],
)  # fmt: skip
def test_network_file_systems_are_recognised(tmp_path, place, network):
    """By the innermost mount in the table of the system; a space there is written \\040."""
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.format(tmp_path.resolve()))
    assert on_network(tmp_path / place, mounts) is network


def test_a_later_mount_hides_an_earlier_one_at_the_same_place(tmp_path):
    """The table lists mounts in order: what was mounted last is what one sees."""
    mounts = tmp_path / "mounts"
    here = tmp_path.resolve()
    mounts.write_text(f"a {here} tmpfs rw 0 0\nb {here} nfs rw 0 0\n")
    assert on_network(here / "r", mounts)
    mounts.write_text(f"b {here} nfs rw 0 0\na {here} ext4 rw 0 0\n")
    assert not on_network(here / "r", mounts)


def test_without_a_mount_table_nothing_is_a_network(tmp_path):
    """macOS has no /proc."""
    assert not on_network(tmp_path, tmp_path / "none")


def test_journal_is_write_ahead_on_a_local_disk(tmp_path):
    """WAL, so that readers never wait for the engine nor it for them."""
    path = written(tmp_path / "r", rows(1))
    if on_network(path):
        pytest.skip("the temporary folder is on a network")
    with contextlib.closing(sqlite3.connect(path / schema.DATABASE)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# --- liveness --------------------------------------------------------------------------------------


@pytest.fixture
def holder(tmp_path):
    """A process that holds a run as an engine does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "r")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_run_lives_as_long_as_its_writers_process(tmp_path, holder):
    """Alive while it holds the lock, interrupted at once after kill −9, its rows still there."""
    path = tmp_path / "r"
    assert engine_alive(path)
    assert engine_alive(path), "looking doesn't take the lock away"
    run = Run(path)
    assert run.state == "running"
    entry = shelf.find(tmp_path, None, live=True)
    assert entry.live
    assert (path / schema.LOCK).read_text() == f"{holder.pid}\n"
    with pytest.raises(InputError, match="still running"):
        shelf.delete(entry.path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not engine_alive(path)
    assert run.state == "interrupted"
    assert Run(path).last_step == 4
    with pytest.raises(InputError, match="no live run"):
        shelf.find(tmp_path, None, live=True)
    shelf.delete(path)
    assert not path.exists()


def test_a_run_without_a_lock_file_has_no_engine(tmp_path):
    """A copied run may come without it; and a writer that closed holds it no longer."""
    path = written(tmp_path / "r", rows(1), status="running")
    assert not engine_alive(path)
    (path / schema.LOCK).unlink()
    assert not engine_alive(path)
    assert Run(path).state == "interrupted"


# --- commands --------------------------------------------------------------------------------------


def test_commands_are_taken_in_the_order_they_were_sent(tmp_path):
    """Each once, with its id and arguments, in order, also within one clock tick."""
    (tmp_path / schema.COMMANDS).mkdir()
    sent = [commands.send(tmp_path, "set", eta=i / 10, weight_decay=None) for i in range(50)]
    sent.append(commands.send(tmp_path, "stop"))
    taken = commands.take(tmp_path)
    assert [command_id for command_id, _ in taken] == sent
    assert taken[3][1] == {"kind": "set", "eta": 0.3, "weight_decay": None}
    assert taken[-1][1] == {"kind": "stop"}
    assert commands.take(tmp_path) == []
    assert os.listdir(tmp_path / schema.COMMANDS) == []


@pytest.mark.parametrize(
    "content",
    [b"not json", b"", b"[1, 2]", b'{"eta": 1}', b'{"kind": 7}', b"\xff\xfe", b"[" * 100_000],
    ids=["text", "empty", "list", "no-kind", "number-kind", "bytes", "nested"],
)
def test_junk_is_taken_as_unreadable_and_removed(tmp_path, content):
    """A broken file must neither stop the engine nor be read again and again."""
    folder = tmp_path / schema.COMMANDS
    folder.mkdir()
    (folder / "0-junk.json").write_bytes(content)
    after = commands.send(tmp_path, "pause")
    assert commands.take(tmp_path) == [
        ("0-junk", {"kind": "unreadable"}),
        (after, {"kind": "pause"}),
    ]
    assert os.listdir(folder) == []


def test_half_written_and_foreign_files_are_left_alone(tmp_path):
    """Only whole commands are taken: those still written aside, and other files, are not."""
    folder = tmp_path / schema.COMMANDS
    folder.mkdir()
    (folder / ".5-half").write_text('{"kind": ')
    (folder / "notes.txt").write_text("x")
    assert commands.take(tmp_path) == []
    assert sorted(os.listdir(folder)) == [".5-half", "notes.txt"]


def test_a_command_to_nowhere_is_a_sentence(tmp_path):
    """The folder is named."""
    with pytest.raises(EostuiError, match="the command can't be written") as caught:
        commands.send(tmp_path / "none", "stop")
    assert str(tmp_path / "none") in str(caught.value)


# --- shelf -----------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path):
    """A shelf of three ended runs, two of them with names."""
    for tag, created, name in (("ab2c", 10, "baseline"), ("cd2c", 30, ""), ("xyz9", 20, "decay")):
        written(tmp_path / f"digits-{tag}", rows(4), created=str(created), name=name)
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, "digits-cd2c"),
        ("digits-ab2c", "digits-ab2c"),
        ("xyz9", "digits-xyz9"),
        ("9", "digits-xyz9"),
        ("baseline", "digits-ab2c"),
        ("decay", "digits-xyz9"),
    ],
)
def test_a_run_is_found_by_id_end_or_name(three, wanted, found):
    """And without any, the newest."""
    entry = shelf.find(three, wanted)
    assert (entry.id, entry.path, entry.last_step) == (found, three / found, 3)
    assert entry.state == "finished"
    assert not entry.live


def test_a_run_is_found_by_its_path(three, tmp_path, monkeypatch):
    """From anywhere, relative too."""
    assert shelf.find(tmp_path / "elsewhere", str(three / "digits-ab2c")).id == "digits-ab2c"
    monkeypatch.chdir(three)
    assert shelf.find(tmp_path / "elsewhere", "digits-ab2c").path == three / "digits-ab2c"


def test_ambiguous_and_unknown_names_are_sentences(three):
    """All candidates, or the nearest name; an empty shelf says so."""
    with pytest.raises(InputError, match="`2c` could be digits-cd2c, digits-ab2c"):
        shelf.find(three, "2c")
    with pytest.raises(InputError, match=r"no run `basline`.*did you mean `baseline`"):
        shelf.find(three, "basline")
    with pytest.raises(InputError, match="there is no run in"):
        shelf.find(three / "none", None)


@pytest.mark.parametrize("wanted", [None, "digits-ab2c", "ab2c", "baseline"])
def test_only_live_runs_when_asked_for_one(three, wanted):
    """However an ended run is named, it isn't a live one."""
    with pytest.raises(InputError, match="no live run"):
        shelf.find(three, wanted, live=True)


def test_shelf_lists_newest_first_and_skips_what_it_cannot_read(three):
    """A damaged neighbour, a stray folder and a stray file don't hide the others."""
    (three / "stray").mkdir()
    (three / "file").write_text("")
    (three / "broken").mkdir()
    (three / "broken" / schema.DATABASE).write_text("damaged beyond repair, really")
    ids = [entry.id for entry in shelf.entries(three)]
    assert ids == ["digits-cd2c", "digits-xyz9", "digits-ab2c"]
    assert shelf.entries(three / "none") == []
    with pytest.raises(RunFormatError):
        shelf.find(three, "broken")


def test_new_run_paths_are_free_and_safe(tmp_path):
    """The preset's name made safe for a folder, and a tag; never one that exists."""
    paths = {shelf.new_run_path(tmp_path, "my preset/../../etc") for _ in range(50)}
    assert len(paths) == 50
    for path in paths:
        assert path.parent == tmp_path
        assert path.name.startswith("my-preset-")
    assert shelf.new_run_path(tmp_path, "λ").name.startswith("run-")
