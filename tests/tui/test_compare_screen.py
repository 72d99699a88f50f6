"""The Compare screen in the application: how its runs are chosen, and what its keys answer."""

from __future__ import annotations

import shutil

import pytest
from made import make_run
from shown import on_screen, screen_text

from eostui.runs import shelf
from eostui.runs.selection import Selection
from eostui.tui.screens.compare import CompareScreen
from eostui.tui.screens.dialogs import AskDialog


async def until(pilot, holds, what="it"):
    """Wait until something holds, of what comes in the background."""
    for _ in range(200):
        if holds():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"{what} in vain:\n{screen_text(pilot.app)[:4000]}")


def said(app):
    return " ".join(str(note.message) for note in app._notifications)


@pytest.fixture
def folder(tmp_path):
    for n in range(3):
        make_run(tmp_path / f"made-{n}", 100 * (n + 1), name=f"run {n}", created=f"{n + 1}.0")
    return tmp_path


def test_runs_are_chosen_by_a_filter_and_nothing_found_changes_nothing(folder):
    async def check(app, pilot):
        await pilot.press("O")
        await until(pilot, lambda: isinstance(app.screen, AskDialog), "the question")
        await pilot.press(*"weigth>1", "enter")
        await until(pilot, lambda: "unknown key" in screen_text(app), "the complaint")
        assert isinstance(app.screen, AskDialog)
        await pilot.press(*["backspace"] * 8, *"steps>100", "enter")
        await until(pilot, lambda: app.session.comparing is not None, "the comparison")
        view = app.session.comparing.view
        await until(pilot, lambda: view.read == 2, "both runs")
        assert [entry.name for entry in view.entries] == ["run 1", "run 2"]
        await pilot.press("slash", *["backspace"] * 9, *"nothing-like-it", "enter")
        await until(pilot, lambda: "no run fits that" in said(app), "the sentence")
        assert app.session.comparing.view is view
        await pilot.press("tab")
        await pilot.press("shift+tab")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen), "the way back")

    on_screen(folder / "made-0", check)


def test_marked_runs_are_compared_and_keys_say_what_they_lack(folder):
    async def check(app, pilot):
        app.compare(Selection(tuple(shelf.entries(folder))))
        await until(pilot, lambda: isinstance(app.screen, CompareScreen), "the screen")
        view = app.session.comparing.view
        await until(pilot, lambda: view.read == 3, "the runs")
        for key, sentence in (
            ("g", "no two of these runs differ in the seed alone"),
            ("k", "they differ in numbers in nothing"),
            ("d", "b pins the baseline"),
        ):
            await pilot.press(key)
            await until(pilot, lambda text=sentence: text in said(app), key)
        await pilot.press("t", "t")
        never = "S never reached the threshold: run 0, run 1, run 2"
        await until(pilot, lambda: never in said(app), never)
        assert "S of none of these runs reached the threshold" in screen_text(app)

    on_screen(folder / "made-0", check)


def test_another_quantity_is_read_of_all_runs_and_a_gone_one_is_told(folder):
    async def check(app, pilot):
        app.compare(Selection(tuple(shelf.entries(folder))))
        view = app.session.comparing.view
        await until(pilot, lambda: view.read == 3, "the runs")
        shutil.rmtree(folder / "made-2")
        view.show(quantity="grad_norm")
        await until(pilot, lambda: view.read == 3, "the column")
        assert [set(view.wanted) <= set(member.columns) for member in view.members] == [
            True, True, False,
        ]  # fmt: skip
        assert list(view.troubles) == [2]
        await until(pilot, lambda: "can't be read" in screen_text(app), "the title")

    on_screen(folder / "made-0", check)
