"""Runs that are sent between machines: what comes back is a stranger's until it is seen."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from random_runs import rows, written

from eostui.config import RunConfig
from eostui.errors import EostuiError, RunFormatError
from eostui.runs.run import Run
from eostui.runs.shelf import read_entry
from eostui.runs.store import checkpoints
from eostui.sweeps import parcel
from eostui.sweeps.cluster import _accept, _aside, _finish_exchange
from eostui.sweeps.parcel import pack, refuse_other_run, unpack
from eostui.sweeps.sweep import Member, state_of

CONFIG = RunConfig.build({"steps": 100}, "test")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that ended, with two checkpoints and what only an engine has use for."""
    path = written(tmp_path / "there" / "s.000", rows(50), [(5, {"sharpness": 2.0})], id="s.000")
    for step in (20, 50):
        state = checkpoints.Checkpoint(step, 0, {"theta": np.ones(3)}, {})
        checkpoints.write(path, state)
    (path / "engine.log").write_text("its words\n")
    return path


def test_a_run_arrives_as_it_was(run: Path, tmp_path: Path) -> None:
    packed = pack(run)
    assert {"run.db", "engine.log", "checkpoints/000000000050.safetensors"} < set(packed)
    assert all(type(content) is bytes for content in packed.values())
    unpack(packed, tmp_path / "s.000", CONFIG)
    with Run(run) as sent, Run(tmp_path / "s.000") as arrived:
        assert arrived.last_step == sent.last_step == 49
        assert arrived.facts == sent.facts
    assert [f.step for f in checkpoints.files(tmp_path / "s.000")] == [20, 50]
    for file in (tmp_path / "s.000").rglob("*"):
        assert file.lstat().st_mode & 0o077 == 0


def test_of_many_checkpoints_the_newest_is_sent(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "_CHECKPOINT_BYTES", 1)
    assert [n for n in pack(run) if n.startswith("check")] == [
        "checkpoints/000000000050.safetensors"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "../precious/file", "/etc/passwd", "checkpoints/../../precious/file", "commands/1.json",
        "checkpoints/x.safetensors", "run.db/x", "", ".", "lock", "reserve", "run.db-journal",
        "run.db-shm", "checkpoints/000000000001.safetensors\n", "a\0b", "checkpoints",
    ],
)  # fmt: skip
def test_no_file_of_another_name_is_made(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "precious").mkdir()
    packed = {**pack(run), name: b"owned"}
    with pytest.raises(RunFormatError, match="in it, and a run directory hasn't"):
        unpack(packed, tmp_path / "s.000", CONFIG)
    assert os.listdir(tmp_path / "precious") == []
    assert not (tmp_path / "s.000").exists()


@pytest.mark.parametrize(
    "sent", [{}, {"engine.log": b""}, [], None, "run.db", {"run.db": "text"}, {"run.db": 7}]
)
def test_what_is_no_run_is_refused(sent: object, tmp_path: Path) -> None:
    with pytest.raises(RunFormatError):
        unpack(sent, tmp_path / "s.000", CONFIG)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_more_than_such_a_run_can_have_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcel, "_MARGIN", 0.0)
    monkeypatch.setattr(parcel.cost, "record_bytes", lambda _config: 1000.0)
    with pytest.raises(RunFormatError, match="a run of that config at most 4 kB"):
        unpack(pack(run), tmp_path / "s.000", CONFIG)
    assert not (tmp_path / "s.000").exists()


def test_nothing_is_written_through_links(run: Path, tmp_path: Path) -> None:
    """A folder of that name, or a link to one, isn't unpacked into; links of a run aren't sent."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "s.000").symlink_to(tmp_path / "precious")
    with pytest.raises(EostuiError, match="can't be made"):
        unpack(pack(run), tmp_path / "s.000", CONFIG)
    assert os.listdir(tmp_path / "precious") == []
    (run / "engine.log").unlink()
    (run / "engine.log").symlink_to("/etc/hostname")
    with pytest.raises(EostuiError, match=r"engine\.log"):
        pack(run)


def member_for(path: Path, run: Path) -> Member:
    return Member(0, path, {}, read_entry(run).config)


def test_another_run_than_was_asked_for_is_refused(run: Path, tmp_path: Path) -> None:
    """One whose record names code, or that is of other settings, another group, another name."""
    entry = read_entry(run)
    packed = pack(run)
    member = member_for(tmp_path / "s.000", run)
    found = state_of(member)
    asked = "s.000"
    for config, group, name in (
        (entry.config.changed({"eta": 0.7}), entry.group, asked),
        (entry.config, "another", asked),
        (entry.config, entry.group, "another"),
    ):
        with pytest.raises(RunFormatError, match="isn't the run"):
            refuse_other_run(run, name, group, config)
    with pytest.raises(RunFormatError, match="isn't the run"):
        _accept(packed, member, found, "another")
    assert {path.name for path in tmp_path.iterdir()} == {"there"}


def test_a_damaged_run_is_refused_and_what_was_there_stays(run: Path, tmp_path: Path) -> None:
    packed = pack(run)
    unpack(packed, tmp_path / "s.000", CONFIG)
    member = member_for(tmp_path / "s.000", run)
    before = state_of(member)
    with pytest.raises(RunFormatError):
        _accept({**packed, "run.db": b"SQLite format 3\0" + b"x" * 5000}, member, before, "")
    assert state_of(member) == before
    assert {path.name for path in tmp_path.iterdir()} == {"there", "s.000"}


def test_a_run_is_replaced_whole_also_by_who_is_killed_meanwhile(run: Path, tmp_path: Path) -> None:
    member = member_for(tmp_path / "s.000", run)
    unpack(pack(run), member.path, CONFIG)
    member.path.rename(_aside(member, "before"))  # killed here
    assert state_of(member).entry is None
    _finish_exchange(member)
    assert state_of(member).entry is not None
    assert not _aside(member, "before").exists()
