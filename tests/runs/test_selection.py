"""Which runs are meant: by name, by filter, by group."""

from __future__ import annotations

import sqlite3

import pytest
from made import make_run

from eostui.errors import InputError
from eostui.runs import shelf
from eostui.runs.selection import filtered, select


@pytest.fixture
def folder(tmp_path):
    for n, (name, group) in enumerate([("first", "a"), ("second", "b"), ("", "a")]):
        make_run(tmp_path / f"made-{n}", 20 * (n + 1), name=name, group=group, created=f"{n + 1}.0")
    return tmp_path


def ids(selection):
    return [entry.id for entry in selection.entries]


def test_names_keep_their_order_and_count_once(folder):
    assert ids(select(folder, ["second", "made-0", "second"])) == ["made-1", "made-0"]
    with pytest.raises(InputError, match=r"no run `secnd`.*did you mean `second`"):
        select(folder, ["secnd"])


def test_a_filter_and_a_group_choose_from_the_shelf_oldest_first(folder):
    assert ids(select(folder, [])) == ["made-0", "made-1", "made-2"]
    assert ids(select(folder, [], "steps>20")) == ["made-1", "made-2"]
    assert ids(select(folder, [], group="a")) == ["made-0", "made-2"]
    assert ids(select(folder, [], "-first", "a")) == ["made-2"]
    assert ids(select(folder, ["second"], "first")) == ["made-1", "made-0"]
    assert ids(select(folder, [], "state:live")) == []


def test_a_filter_knows_settings_and_readings(folder):
    entry = shelf.entries(folder)[0]
    assert filtered([entry], "eta=0.1 λ<1 group:a phase:* step=60") == [entry]
    with pytest.raises(InputError, match="unknown key `sharpnes`"):
        filtered([entry], "sharpnes>3")


def test_damaged_runs_are_told_and_the_others_are_there(folder):
    with sqlite3.connect(folder / "made-1" / "run.db") as database:
        database.execute("DELETE FROM run WHERE key = 'config'")
    found = select(folder, ["made-0", "made-1"])
    assert ids(found) == ["made-0"]
    assert [path.name for path, _ in found.unread] == ["made-1"]
    assert [path.name for path, _ in select(folder, []).unread] == ["made-1"]
