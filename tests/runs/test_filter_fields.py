"""What a filter compares of runs and presets."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made import make_shelf

from eostui import presets
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.filter import OF_RUNS
from eostui.runs import shelf
from eostui.runs.filter_fields import (
    filter_fields,
    parse_preset_filter,
    preset_fields,
    preset_names,
    run_filter,
)
from eostui.runs.shelf import ShelfReader
from eostui.runs.store.writer import RunWriter


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    paths = make_shelf(folder, 10)
    writer = RunWriter(paths[1])
    writer.fact("note", "for Fig. 4")
    writer.fact("group", "pilot")
    writer.fact("parent", "made-0000")
    writer.fact("parent_step", "20")
    writer.close()
    return folder


def test_every_key_that_is_told_is_there(folder: Path) -> None:
    entry = shelf.read_entry(folder / "made-0001")
    fields = filter_fields(entry, time.time())
    assert {*OF_RUNS} <= {*fields}
    assert {*fields} <= {*OF_RUNS, *RunConfig.keys()}


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", range(10)),
        ("lam", (0, 3, 6, 9)),
        ("lam width>100 -state:diverged", (3,)),
        ("state:live", ()),
        ("state:diverged,stopped", (4, 9)),
        ("age>90s age<4.5min", (2, 3, 4)),
        ("ended<2min", (0, 1, 2)),
        ("'fig. 4'", (1,)),
        ("group:pilot parent:made* parent_step<=20", (1,)),
        ("late_sharpness>9.9 step=100 width=50", (0, 5)),
        ("late_sharpness>10", ()),
        ("name:lam-* id:made-000[0-3]", (0, 3)),
        ("λ=0.001 η:0.1 width:150", (2, 7)),
    ],
)
def test_runs(folder: Path, typed: str, found: range | tuple[int, ...]) -> None:
    passes = run_filter(typed)
    passed = {entry.id for entry in shelf.entries(folder) if passes(entry)}
    assert passed == {f"made-{number:04d}" for number in found}


def test_what_is_no_key_is_told(folder: Path) -> None:
    for typed, told in (
        ("widht>3", "did you mean `width`"),
        ("age>3", "like 30d, 12h or 90min"),
        ("phase<edge", "`edge` isn't a number"),
    ):
        with pytest.raises(InputError, match=told):
            run_filter(typed)
        arguments = [sys.executable, "-m", "eostui", "runs", "list", "--filter", typed]
        done = subprocess.run(
            [*arguments, "--runs-dir", str(folder)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert told in done.stderr


def test_the_commands_take_it(folder: Path) -> None:
    def listed(*arguments: str) -> list[dict[str, object]]:
        command = [sys.executable, "-m", "eostui", *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    found = listed("runs", "list", "--runs-dir", str(folder), "--filter", "lam width>100")
    assert [run["name"] for run in found] == ["lam-3", "lam-9"]
    pruned = listed(
        "runs", "prune", "--runs-dir", str(folder), "--filter", "state:diverged lam", "--dry-run"
    )
    assert [run["id"] for run in pruned["runs"]] == ["made-0009"]  # type: ignore[call-overload]
    found = listed("presets", "list", "--filter", "problem:network weight_decay>0 digits")
    names = [
        name
        for name in presets.available()
        if "digits" in name and presets.load(name).config.weight_decay > 0
    ]
    assert [preset["name"] for preset in found if "digits" in preset["name"]] == names
    assert names


def test_presets() -> None:
    """Their words are looked for in what their files say of them."""
    preset = presets.load("toy-two-layer")
    for typed, passes in (("catapult", True), ("catapult width>3", False), ("name:toy-*", True)):
        found = parse_preset_filter(typed).matches(preset_names(preset), preset_fields(preset))
        assert found is passes
    with pytest.raises(InputError, match="unknown key `state`"):
        parse_preset_filter("state:live")


def test_only_what_changed_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look gives the same entries; one run that changes, comes or goes is seen."""
    for path in folder.iterdir():  # what changed within the last seconds isn't kept
        for file in path.glob("run.db*"):
            past = time.time() - 60
            import os

            os.utime(file, (past, past))
    monkeypatch.setattr("eostui.runs.shelf_index.SETTLED", -1.0)
    reader = ShelfReader(folder)
    first, _ = reader.read()
    opened = []
    monkeypatch.setattr(
        shelf, "_read", lambda path, read=shelf._read: opened.append(path) or read(path)
    )
    again, _ = reader.read()
    assert all(a is b for a, b in zip(first, again, strict=True))
    assert not opened
    writer = RunWriter(folder / "made-0005")
    writer.fact("name", "another")
    writer.close()
    shutil.copytree(folder / "made-0000", folder / "made-new")
    shutil.rmtree(folder / "made-0002")
    seen, unread = reader.read()
    assert {path.name for path in opened} == {"made-0005", "made-new"}
    assert not unread
    assert {entry.id for entry in seen} == ({entry.id for entry in first} | {"made-new"}) - {
        "made-0002"
    }
    assert next(entry for entry in seen if entry.id == "made-0005").name == "another"
