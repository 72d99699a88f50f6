"""The index of a shelf: it makes listing fast, and never tells what isn't so."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from damage import HOLDER, edit
from made import facts, make_fork, make_run, measure, rows

from eostui.errors import RunFormatError
from eostui.runs import shelf, shelf_index
from eostui.runs.shelf_index import ShelfIndex, completions, stamp_of
from eostui.runs.store import schema
from eostui.runs.store.writer import RunWriter


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of its own, in which also what changed just now is kept."""
    monkeypatch.setenv("EOSTUI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shelf_index, "SETTLED", -1.0)
    return tmp_path / "cache" / "shelves"


@pytest.fixture
def runs(tmp_path, cache):  # noqa: ARG001
    """A shelf of four runs: plain, forked, in a group and never measured, diverged with a name."""
    folder = tmp_path / "runs"
    make_run(folder / "one-ab2c", 100)
    make_fork(folder / "two-cd2c", "one-ab2c", 50, 100)
    bare = RunWriter(folder / "three-xyz9", facts(5, group="sweep"))
    bare.close()
    make_run(folder / "four-qqqq", 30, status="diverged", name="gone", note="a\nb", ended="5e8")
    assert len(shelf.entries(folder)) == 4
    return folder


class Opened(Exception):
    pass


@pytest.fixture
def no_databases(monkeypatch):
    """From here on a store that is opened is an error."""

    def refuse(path):
        raise Opened(path)

    return lambda: monkeypatch.setattr(shelf, "RunReader", refuse)


def anew(folder):
    """The shelf as its stores have it, without the index."""
    found = [shelf.read_entry(path) for path in shelf.run_paths(folder)]
    return sorted(found, key=lambda entry: entry.created, reverse=True)


def assert_true(folder):
    """What the shelf tells is what its stores have; NaN included, as text shows it."""
    assert repr(shelf.entries(folder)) == repr(anew(folder))


def test_it_tells_the_same_and_opens_nothing(runs, no_databases):
    before = anew(runs)
    assert {entry.group for entry in before} == {"", "sweep"}
    assert {entry.state for entry in before} == {"finished", "diverged"}
    assert np.isnan([entry.late_sharpness for entry in before]).sum() == 1
    no_databases()
    assert repr(shelf.entries(runs)) == repr(before)
    assert shelf.find(runs, "gone").id == "four-qqqq"
    assert shelf.find(runs, None).id == before[0].id


def test_the_file_is_its_owners_alone(runs, cache):
    del runs
    (file,) = cache.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "change",
    [
        lambda runs: RunWriter(runs / "one-ab2c").close(),
        lambda runs: rename(runs / "one-ab2c"),
        lambda runs: edit(runs / "one-ab2c", "UPDATE run SET value = value"),
        lambda runs: shutil.rmtree(runs / "two-cd2c"),
        lambda runs: make_run(runs / "five-wxyz", 10),
        lambda runs: (runs / "one-ab2c").rename(runs / "moved"),
        lambda runs: exchange(runs / "one-ab2c", runs / "two-cd2c"),
        lambda runs: swap_content(runs / "one-ab2c"),
    ],
    ids=["opened", "renamed", "written", "deleted", "new", "moved", "exchanged", "same-times"],
)
def test_a_change_is_seen(runs, change):
    change(runs)
    assert_true(runs)
    assert_true(runs)


def rename(path):
    writer = RunWriter(path)
    writer.fact("name", "renamed")
    writer.close()


def exchange(one, other):
    one.rename(one.with_name("aside"))
    other.rename(one)
    one.with_name("aside").rename(other)


def swap_content(path):
    """Put another store there, of the same size and with the same times, as a copy of a copy has."""
    file = path / schema.DATABASE
    before = file.stat()
    other = make_run(path.with_name("other"), 100, name="x", sentence="finished after 101 steps")
    content = (other / schema.DATABASE).read_bytes()
    shutil.rmtree(other)
    assert len(content) == before.st_size
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns


def test_rows_that_only_the_log_has_are_seen(tmp_path, cache):
    """An engine at work writes into the log beside its database."""
    del cache
    writer = RunWriter(tmp_path / "runs" / "r", facts(100, name="n") | {"status": "running"})
    for last in (0, 24, 49):
        first = {0: 0, 24: 1, 49: 25}[last]
        writer.steps(first, rows(first, last))
        measure(writer, first, last)
        writer.flush()
        (entry,) = shelf.entries(tmp_path / "runs")
        assert (entry.state, entry.last_step) == ("running", last)
        assert_true(tmp_path / "runs")
    writer.close()
    (entry,) = shelf.entries(tmp_path / "runs")
    assert (entry.state, entry.last_step) == ("interrupted", 49)


def test_whether_an_engine_lives_is_looked_at_each_time(tmp_path, cache):
    del cache
    path = tmp_path / "runs" / "r"
    engine = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert engine.stdout is not None
        assert engine.stdout.readline() == "ready\n"
        for _ in range(2):
            assert shelf.entries(path.parent)[0].state == "running"
        engine.send_signal(signal.SIGKILL)
        engine.wait()
        for _ in range(2):
            assert shelf.entries(path.parent)[0].state == "interrupted"
    finally:
        engine.kill()
        engine.wait()


def test_what_changed_a_moment_ago_is_not_kept(runs, cache, monkeypatch):
    """A second change within a tick of the clock would leave the same times."""
    monkeypatch.setattr(shelf_index, "SETTLED", 3.0)
    shutil.rmtree(cache)
    assert stamp_of(runs / "one-ab2c") is None
    assert_true(runs)
    assert not cache.exists()


def test_a_clock_that_was_set_back_keeps_nothing(runs, cache, monkeypatch):
    monkeypatch.setattr(shelf_index, "SETTLED", 3.0)
    shutil.rmtree(cache)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert stamp_of(runs / "one-ab2c") is None


def test_of_network_folders_nothing_is_kept(runs, cache, monkeypatch):
    shutil.rmtree(cache)
    monkeypatch.setattr(shelf_index, "on_network", lambda _: True)
    assert_true(runs)
    assert not cache.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\x00", b"[]", b"7", b'{"of": [], "runs": {}}', b'{"runs": 3}', b"[" * 100_000],
)
def test_a_damaged_file_is_made_anew(runs, cache, no_databases, content):
    (file,) = cache.iterdir()
    file.write_bytes(content)
    assert_true(runs)
    before = anew(runs)
    no_databases()
    assert repr(shelf.entries(runs)) == repr(before)


@pytest.mark.parametrize(
    "forge",
    [
        lambda kept: kept.update(summary=3),
        lambda kept: kept.update(summary={}),
        lambda kept: kept["summary"].pop("status"),
        lambda kept: kept["summary"].update(config=[]),
        lambda kept: kept["summary"]["config"].update(nonsense=1),
        lambda kept: kept["summary"]["config"].update(eta=-1.0),
        lambda kept: kept["stamp"].pop(),
        lambda kept: kept.pop("stamp"),
    ],
)
def test_what_cannot_be_understood_in_it_is_read_anew(runs, cache, forge):
    (file,) = cache.iterdir()
    content = json.loads(file.read_bytes())
    for kept in content["runs"].values():
        forge(kept)
    file.write_text(json.dumps(content))
    assert_true(runs)


def test_another_versions_file_is_not_read(runs, cache, monkeypatch, no_databases):
    del cache
    monkeypatch.setattr(shelf_index, "__version__", "0.0.0")
    no_databases()
    with pytest.raises(Opened):
        shelf.entries(runs)


def test_without_a_place_for_it_all_is_the_same(runs, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EOSTUI_CACHE", str(tmp_path / "file"))
    assert_true(runs)
    (tmp_path / "linked").mkdir()
    monkeypatch.setenv("EOSTUI_CACHE", str(tmp_path / "linked"))
    place = ShelfIndex(runs)._file
    assert place is not None
    place.parent.mkdir()
    place.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("{}")
    assert_true(runs)
    assert (tmp_path / "elsewhere").read_text() == "{}"  # the link is replaced, not followed


def test_a_damaged_run_is_told_each_time(runs):
    edit(runs / "one-ab2c", "UPDATE run SET value = 'x' WHERE key = 'config'")
    for _ in range(2):
        found, unread = shelf.read(runs)
        assert len(found) == 3
        assert isinstance(unread[runs / "one-ab2c"], RunFormatError)


def test_a_run_whose_numbers_or_name_json_lacks_spoils_no_other(runs, no_databases):
    odd = os.fsdecode(b"odd-\xff")
    make_run(runs / odd, 5)
    make_run(runs / "huge", 5, parent="one-ab2c", parent_step=str(10**30))
    assert_true(runs)
    no_databases()
    index = ShelfIndex(runs)
    assert index.get("one-ab2c", stamp_of(runs / "one-ab2c")) is not None
    assert index.get("huge", stamp_of(runs / "huge")) is None


LISTING = """
import sys
from pathlib import Path
from eostui.runs import shelf, shelf_index
shelf_index.SETTLED = -1.0
for _ in range(20):
    assert len(shelf.entries(Path(sys.argv[1]))) == 4
"""


def test_many_processes_at_once(runs, cache):
    """Each reads and writes it while a run changes; none fails, and what stays is true."""
    processes = [
        subprocess.Popen([sys.executable, "-c", LISTING, str(runs)], stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for number in range(30):
        writer = RunWriter(runs / "one-ab2c")
        writer.fact("note", f"note {number}")
        writer.close()
        time.sleep(0.02)
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert_true(runs)
    assert len(list(cache.iterdir())) == 1


def test_ids_and_names_are_completed_without_opening_runs(runs, monkeypatch):
    rename(runs / "one-ab2c")
    shelf.entries(runs)
    monkeypatch.setattr(shelf, "RunReader", None)
    assert sorted(completions(runs, "")) == sorted(
        ["four-qqqq", "gone", "one-ab2c", "renamed", "three-xyz9", "two-cd2c"]
    )
    assert completions(runs, "t") == [x for x in completions(runs, "") if x[0] == "t"]
    assert completions(runs.with_name("none"), "") == []


def test_names_that_a_shell_would_take_apart_are_not_completed(runs):
    writer = RunWriter(runs / "one-ab2c")
    writer.fact("name", "two words")
    writer.close()
    shelf.entries(runs)
    assert completions(runs, "two") == ["two-cd2c"]


def test_a_thousand_runs_are_listed_and_completed(tmp_path, monkeypatch):
    """Real commands; `eostui bench --shelf` times them."""
    folder = tmp_path / "runs"
    first = make_run(folder / "run-0000", 500)
    for number in range(1, 1000):
        path = folder / f"run-{number:04}"
        path.mkdir()
        os.link(first / schema.DATABASE, path / schema.DATABASE)
    time.sleep(shelf_index.SETTLED + 0.1)
    monkeypatch.setenv("EOSTUI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EOSTUI_RUNS", str(folder))
    listing = [sys.executable, "-m", "eostui", "runs", "list"]
    subprocess.run(listing, check=True, capture_output=True)  # which makes the index
    assert said_by(listing).count("run-") == 1000
    monkeypatch.setenv("_EOSTUI_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "eostui runs show run-00")
    monkeypatch.setenv("COMP_CWORD", "3")
    said = said_by([str(Path(sys.executable).with_name("eostui"))])
    assert sorted(said.split()) == [f"run-{number:04}" for number in range(100)]


def said_by(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
