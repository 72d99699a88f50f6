"""`runs check`, `runs repair`, and reading what is damaged: bits flipped, files cut, pages lost."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from damage import edit
from everything import everything
from formats import as_format
from hypothesis import given, settings
from hypothesis import strategies as st
from random_runs import facts_of, rows
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.errors import EostuiError, InputError, RunFormatError
from eostui.runs.repair.check import Finding, check_run
from eostui.runs.repair.rebuild import CONFIG_LOST, repair_run
from eostui.runs.run import Run
from eostui.runs.store import checkpoints, schema
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.columns import CALIBRATED as CALIBRATED_COLUMNS
from eostui.runs.store.durable import RESERVED
from eostui.runs.store.landscape import Landscape
from eostui.runs.store.writer import RunWriter

PARTS = [
    "directory", "lock", "database", "facts", "steps", "readings", "calibrated", "landscapes",
    "events", "checkpoints", "record",
]  # fmt: skip
CALIBRATED = {
    "number": 1, "step": 300, "eta": 0.1, "weight_decay": 0.0, "alpha": 0.5, "beta": 2.0,
    "beta_alpha": 1.0, "g": 0.1, "g_x": 0.0, "gradient_u": 0.0, "sharpness": 19.0,
}  # fmt: skip


def made(path):
    """Make a run with something in every table, and two checkpoints; return its rows."""
    matrix = rows(700, seed=5)
    writer = RunWriter(path, facts_of(sentence="finished after 699 steps", device="cpu"))
    rng = np.random.default_rng(2)
    for first in range(0, 700, 20):
        writer.steps(first, matrix[first : first + 20])
        writer.measurement(
            first, {"sharpness": first + 0.5, "beta": 2.0, "beta_alpha": 1.0, "g": 0.1}
        )
        if first == 300:
            writer.event(300, "calibrated", CALIBRATED)
        if first >= 300:
            writer.calibrated(1, first, rng.normal(size=(20, 2)) * 1e-3)
        writer.event(first, "control", {"eta": [0.1, 0.2]})
        writer.flush()
    writer.landscape(Landscape((0.0, 1.0, 0.0, 1.0), *np.ones((2, 40, 50), np.float32)))
    writer.close()
    for step in (100, 600):
        state = Checkpoint(step, 0, {"theta": np.arange(9.0)}, {"step": step})
        checkpoints.write(path, state)
    return matrix


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound run, and all that is read from it."""
    path = tmp_path_factory.mktemp("sound") / "r"
    made(path)
    return path, everything(path)


@pytest.fixture
def copy(sound, tmp_path):
    return Path(shutil.copytree(sound[0], tmp_path / "r"))


def findings(path):
    return {finding.part: finding for finding in check_run(path)}


def damage(path, change):
    """Change the bytes of the store of an ended run."""
    file = path / schema.DATABASE
    content = bytearray(file.read_bytes())
    change(content)
    file.write_bytes(bytes(content))


def cli(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# --- check -----------------------------------------------------------------------------------------


def test_a_sound_run_is_sound_in_every_part(sound):
    path, _ = sound
    found = findings(path)
    assert list(found) == PARTS
    assert all(finding.sound for finding in found.values()), found
    assert found["steps"].description.startswith("700 rows")
    assert found["readings"].description.startswith("70,")
    assert found["calibrated"].description.startswith("400 rows")
    assert found["checkpoints"].description == "2 of 2 sound"
    result = cli("runs", "check", path, "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["sound"] is True
    assert [part["part"] for part in told["parts"]] == PARTS


@pytest.mark.parametrize(
    ("part", "statement"),
    [
        ("facts", "UPDATE run SET value = 'cuda' WHERE key = 'device'"),
        ("facts", "DELETE FROM run WHERE key = 'sentence'"),
        ("steps", "UPDATE steps SET last_step = last_step + 1 WHERE id = 3"),
        ("steps", "DELETE FROM steps WHERE id = 35"),
        ("readings", "UPDATE readings SET numbers = zeroblob(length(numbers)) WHERE step = 40"),
        ("readings", "UPDATE readings SET point = 'midpoint' WHERE step = 40"),
        ("readings", "UPDATE readings SET seconds = 1.5 WHERE step = 40"),
        ("readings", "UPDATE readings SET products = 7 WHERE step = 40"),
        ("readings", "UPDATE readings SET probe = 'smallest_eigenvalue' WHERE id = 3"),
        ("readings", "UPDATE readings SET probe = 'none' WHERE id = 3"),
        ("readings", "DELETE FROM readings WHERE step = 680"),
        ("readings", "DELETE FROM readings WHERE id = 3"),
        ("calibrated", "UPDATE calibrated SET number = 2 WHERE id = 4"),
        ("calibrated", "DELETE FROM calibrated WHERE id = 4"),
        ("landscapes", "UPDATE landscapes SET left = 0.5"),
        ("landscapes", "DELETE FROM landscapes"),
        ("events", "UPDATE events SET payload = replace(payload, '0.2', '0.3') WHERE id = 4"),
        ("events", "UPDATE events SET step = step + 1 WHERE id = 4"),
        ("events", "DELETE FROM events WHERE id = (SELECT max(id) FROM events)"),
        ("seal", "DELETE FROM seal"),
    ],
)
def test_each_part_is_named_when_one_value_of_it_changes(copy, part, statement):
    """What is changed behind the checksums is found, named, and never shown as if it were right."""
    edit(copy, statement)
    found = findings(copy)
    assert not found[part].sound, found
    assert not found["record"].sound, "reading it says so too"
    with pytest.raises(RunFormatError):
        Run(copy)
    result = cli("runs", "check", copy)
    assert result.exit_code == 1
    assert "DAMAGED" in result.stdout
    assert "runs repair" in result.stderr


def test_a_damaged_checkpoint_is_named(copy):
    file = checkpoints.files(copy)[0].path
    content = bytearray(file.read_bytes())
    content[-3] ^= 4
    file.write_bytes(bytes(content))
    found = findings(copy)["checkpoints"]
    assert not found.sound
    assert "1 of 2 sound" in found.description
    assert file.name in found.description


def test_a_checkpoint_that_is_thinned_away_meanwhile_is_no_damage(copy, monkeypatch):
    """Imitated: the list of checkpoints has one that is gone when it is read."""
    listed = checkpoints.files(copy)
    listed[0].path.unlink()
    monkeypatch.setattr(checkpoints, "files", lambda _: listed)
    assert findings(copy)["checkpoints"] == Finding("checkpoints", True, "1 of 1 sound")


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_older_formats_are_checked_read_and_repaired(copy, version):
    """They have no checksums but those of blobs; what they do have is sound."""
    before = Run(copy).columns()
    as_format(copy, version)
    found = findings(copy)
    assert all(finding.sound for finding in found.values()), found
    assert found["facts"].description.endswith(f"format {version}")
    repaired = repair_run(copy)
    assert repaired.lost == []
    with Run(repaired.path) as run:
        of_calibration = {column.name for column in CALIBRATED_COLUMNS} if version < 3 else set()
        assert set(run.columns()) >= set(before) - of_calibration
        for name in set(before) - of_calibration:
            np.testing.assert_array_equal(run.columns()[name], before[name], err_msg=name)


def test_check_of_what_is_no_run_and_of_a_newer_one(copy, tmp_path):
    result = cli("runs", "check", "none", "--runs-dir", tmp_path / "empty")
    assert isinstance(result.exception, InputError)
    newer, known = schema.SCHEMA_VERSION + 1, schema.SCHEMA_VERSION
    edit(copy, f"PRAGMA user_version = {newer}")
    found = findings(copy)
    assert not found["format"].sound
    assert f"format {newer}" in found["record"].description
    assert f"format {known} and before" in found["record"].description


# --- repair ----------------------------------------------------------------------------------------


def test_a_repaired_copy_of_a_sound_run_is_the_same_run(copy):
    before = {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()}
    repaired = repair_run(copy)
    assert repaired.path == copy.with_name("r-repaired")
    assert repaired.lost == []
    assert repaired.kept == [
        "700 steps", "70 readings", "400 calibrated rows", "36 events", "6 facts", "2 checkpoints",
    ]  # fmt: skip
    assert {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()} == before
    old, new = Run(copy), Run(repaired.path)
    for name, values in old.columns().items():
        np.testing.assert_array_equal(new.columns()[name], values, err_msg=name)
    assert new.events == old.events
    assert (new.config, new.state) == (old.config, old.state)
    assert new.facts["repaired_from"] == "r"
    assert all(finding.sound for finding in check_run(repaired.path))
    assert checkpoints.read(checkpoints.files(repaired.path)[1].path).step == 600
    assert repair_run(copy).path.name == "r-repaired-2"
    assert not [file for file in copy.parent.iterdir() if file.name.startswith(".")]


def test_repair_keeps_the_steps_before_a_gap(copy):
    """A damaged flush: what is before it stays, and all that is at those steps; the state is open."""
    edit(copy, "UPDATE steps SET matrix = zeroblob(960) WHERE id = 20")
    repaired = repair_run(copy)
    assert "380 steps" in repaired.kept
    assert any("steps 380 to 399" in how for how in repaired.lost)
    assert any("300 sound rows from 400 on" in how for how in repaired.lost)
    old = rows(700, seed=5)
    with Run(repaired.path) as run:
        np.testing.assert_array_equal(run.steps["loss"], old[:380, 0])
        assert run.measured["step"].tolist() == list(range(0, 380, 20))
        assert max(event.step for event in run.events) <= 380
        assert len(run.calibrations.rows) == 80
        assert run.state == "interrupted"
    assert [file.step for file in checkpoints.files(repaired.path)] == [100]
    assert all(finding.sound for finding in check_run(repaired.path))


def test_repair_of_a_file_that_sqlite_calls_no_database(copy):
    """The first page, with the header and the list of tables, is the same in every store."""
    damage(copy, lambda content: content.__setitem__(slice(0, 4096), bytes(4096)))
    with pytest.raises(RunFormatError, match="damaged or not a run"):
        Run(copy)
    repaired = repair_run(copy)
    assert repaired.lost == []
    np.testing.assert_array_equal(Run(repaired.path).steps["loss"], rows(700, seed=5)[:, 0])


def test_repair_where_the_config_is_lost_says_so(copy):
    edit(copy, "UPDATE run SET value = 'x' WHERE key = 'config'")
    repaired = repair_run(copy)
    assert any("config" in how and "defaults" in how for how in repaired.lost)
    with Run(repaired.path) as run:
        assert run.config.preset == CONFIG_LOST
        assert len(run.steps) == 700


def test_repair_finds_a_damaged_run_by_the_end_of_its_name_and_prints_the_copy(copy):
    damage(copy, lambda content: content.__setitem__(slice(0, 4096), bytes(4096)))
    run = copy.rename(copy.with_name("digits-ab2c"))
    result = cli("runs", "repair", "b2c", "--runs-dir", run.parent)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == str(run.with_name("digits-ab2c-repaired"))
    assert "kept  700 steps" in result.stderr


@contextlib.contextmanager
def files_of_at_most(size):
    """Have no file grow beyond `size` bytes: writing fails then as it does where a quota is used up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("fails", ["copying", "reserving", "checkpoint"])
def test_a_copy_that_cannot_be_written_is_a_sentence_and_leaves_nothing(copy, fails):
    """Whatever it is that finds no room: the run is as it was, and no half of a copy lies beside it."""
    written = checkpoints.write(copy, Checkpoint(650, 0, {"theta": np.ones(200_000)}, {}))
    length = (copy / schema.DATABASE).stat().st_size
    assert length < RESERVED < written.size
    room = {"copying": length - 1, "reserving": RESERVED - 1, "checkpoint": written.size - 1}
    with (
        files_of_at_most(room[fails]),
        pytest.raises(InputError, match="r: no repaired copy can be"),
    ):
        repair_run(copy)
    assert os.listdir(copy.parent) == ["r"]
    assert all(finding.sound for finding in check_run(copy))


def test_repair_refuses_a_live_run_and_what_is_none(tmp_path):
    writer = RunWriter(tmp_path / "r", facts_of(status="running"))
    with pytest.raises(InputError, match="r is live"):
        repair_run(tmp_path / "r")
    writer.close()
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / schema.DATABASE).write_bytes(random.Random(1).randbytes(20_000))
    with pytest.raises(RunFormatError, match="nothing of a run"):
        repair_run(tmp_path / "junk")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["junk", "r"]


# --- damage of any kind ----------------------------------------------------------------------------


def prove(path, told):
    """Read a damaged run in every way: what comes is right or a sentence; then check and repair it."""
    said = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert everything(path) == told, "wrong rows, silently"
    except EostuiError as error:
        said = str(error)
        assert "\n" not in said
        assert schema.DATABASE in said or str(path) in said
    unsound = [finding for finding in check_run(path) if not finding.sound]
    if said is not None:
        assert unsound, said
    with contextlib.suppress(RunFormatError):  # nothing could be read
        copy = repair_run(path).path
        assert [finding for finding in check_run(copy) if not finding.sound] == []
        with Run(copy) as run:
            loss = rows(700, seed=5)[:, 0]
            np.testing.assert_array_equal(run.steps["loss"], loss[: len(run.steps)])
            known = np.isfinite(
                run.measured["sharpness"]
            )  # of a step one reading of two may be lost
            expected = np.where(known, run.measured["step"] + 0.5, np.nan)
            np.testing.assert_array_equal(run.measured["sharpness"], expected)
            assert all(
                event.payload == {"eta": [0.1, 0.2]}
                for event in run.events
                if event.kind == "control"
            )
    return said


@settings(max_examples=40, derandomize=True)
@given(st.data())
def test_flipped_bits_never_show_wrong_rows(sound, data):
    """One to four bits anywhere in run.db: the right data or a sentence, never a traceback."""
    path, told = sound
    size = (path / schema.DATABASE).stat().st_size
    # the first page holds what all others are read by
    place = st.one_of(st.integers(0, 4095), st.integers(0, size - 1))
    flips = data.draw(st.lists(st.tuples(place, st.integers(0, 7)), min_size=1, max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(shutil.copytree(path, Path(folder) / "r"))

        def flip(content):
            for where, bit in flips:
                content[where] ^= 1 << bit

        damage(copied, flip)
        prove(copied, told)


@settings(max_examples=20, derandomize=True)
@given(st.floats(0, 1), st.booleans())
def test_truncated_files_never_show_wrong_rows(sound, share, whole_pages):
    """run.db cut anywhere, at a page's end or within a page."""
    path, told = sound
    size = int((path / schema.DATABASE).stat().st_size * share)
    size -= size % 4096 if whole_pages else 0
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(shutil.copytree(path, Path(folder) / "r"))
        damage(copied, lambda content: content.__delitem__(slice(size, None)))
        said = prove(copied, told)
        assert said is not None or share == 1


@settings(max_examples=15, derandomize=True)
@given(st.integers(0, 2**32))
def test_overwritten_pages_never_show_wrong_rows(sound, seed):
    """Whole pages of zeros or noise, as a failing disk leaves them."""
    path, told = sound
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(shutil.copytree(path, Path(folder) / "r"))

        def spoil(content):
            for _ in range(rng.randint(1, 3)):
                page = rng.randrange(len(content) // 4096)
                new = bytes(4096) if rng.random() < 0.5 else rng.randbytes(4096)
                content[page * 4096 : (page + 1) * 4096] = new

        damage(copied, spoil)
        prove(copied, told)


@settings(max_examples=40, derandomize=True)
@given(st.data())
def test_damaged_checkpoints_are_sentences(sound, data):
    """Flipped or cut anywhere: the same state or a sentence."""
    path, _ = sound
    file = checkpoints.files(path)[1].path
    content = bytearray(file.read_bytes())
    state = checkpoints.read(file)
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(
                st.integers(0, 7)
            )
    with tempfile.TemporaryDirectory() as folder:
        damaged = Path(folder) / file.name
        damaged.write_bytes(bytes(content))
        try:
            read = checkpoints.read(damaged)
        except RunFormatError as error:
            said = str(error)
        else:
            said = str(damaged)
            assert (read.step, read.events, read.plain) == (state.step, state.events, state.plain)
            np.testing.assert_array_equal(read.tensors["theta"], state.tensors["theta"])
        assert str(damaged) in said
