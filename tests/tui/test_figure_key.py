"""F: the charts in sight as a figure, under a name that is typed, while the program goes on."""

from __future__ import annotations

import sys

import pytest
from edge_runs import make
from PIL import Image
from shown import on_screen, settled
from textual.widgets import Input, Static

from eostui import oscillator_presets
from eostui.tui.app import EostuiApp


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A run, and a folder of its own to work in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return make(tmp_path / "runs" / "made-aaaa", steered=True)


def toasts(app: EostuiApp) -> list[str]:
    return [str(each.message) for each in app._notifications]


async def write(app, pilot, name):
    """Press F, type a name, and wait for what is said."""
    await pilot.press("F")
    await settled(pilot)
    app.screen.query_one(Input).value = name
    await pilot.press("enter")
    await said(app, pilot)


async def said(app, pilot):
    for _ in range(400):
        if toasts(app):
            return
        await pilot.pause(0.05)


def command_of(name):
    with Image.open(name) as image:
        return image.info["Comment"]


def test_the_four_charts_of_a_run(path, tmp_path):
    async def check(app, pilot):
        await write(app, pilot, "run.png")
        assert toasts(app) == [f"figure in {tmp_path / 'here' / 'run.png'}"]

    on_screen(path, check)
    assert command_of("run.png") == (
        "eostui figure made-aaaa --panel sharpness:linear,drives:symlog,loss:log,norm:linear "
        "--size double"
    )


def test_the_scale_the_stretch_and_the_panel_in_sight(path):
    """Panel 3 alone, linear, against flow time, its newest half."""

    async def check(app, pilot):
        await pilot.press("3", "z", "y", "t", "plus")
        await settled(pilot)
        left, right = app.shown.x_range()
        await write(app, pilot, "run.png")
        expected = f"eostui figure made-aaaa --panel loss:linear --x {left!r}:{right!r} --axis flow"
        assert command_of("run.png") == expected

    on_screen(path, check)


def test_a_name_that_is_taken_is_asked_for_twice_and_a_wrong_one_is_told(path, tmp_path):
    (tmp_path / "here" / "mine.pdf").write_text("mine")

    async def check(app, pilot):
        await pilot.press("F")
        await settled(pilot)
        field = app.screen.query_one(Input)
        assert field.value == "made-aaaa-400.pdf"

        async def enter(name):
            field.value = name
            await pilot.press("enter")
            await settled(pilot)

        def hint():
            return str(app.screen.query_one("#hint", Static).render())

        await enter("mine.pfd")
        assert "did you mean `.pdf`?" in hint()
        await enter("mine.pdf")
        assert "mine.pdf is there: enter once more replaces it" in hint()
        assert (tmp_path / "here" / "mine.pdf").read_text() == "mine"
        await enter("mine.pdf")
        await said(app, pilot)
        assert toasts(app) == [f"figure in {tmp_path / 'here' / 'mine.pdf'}"]

    on_screen(path, check)
    assert (tmp_path / "here" / "mine.pdf").read_bytes().startswith(b"%PDF")


def test_escape_writes_nothing(path, tmp_path):
    async def check(app, pilot):
        await pilot.press("F")
        await settled(pilot)
        await pilot.press("escape")
        await settled(pilot)
        assert not toasts(app)

    on_screen(path, check)
    assert not [*(tmp_path / "here").iterdir()]


def test_a_folder_that_is_not_there_is_told(path):
    async def check(app, pilot):
        await write(app, pilot, "nowhere/run.pdf")
        assert "can't be written: there is no folder" in toasts(app)[0]

    on_screen(path, check)


def test_without_matplotlib_it_says_how_to_get_it(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    async def check(app, pilot):
        await pilot.press("F")
        await settled(pilot)
        assert toasts(app) == ["figures need matplotlib: python -m pip install 'eostui[figures]'"]

    on_screen(path, check)


@pytest.mark.usefixtures("path")
def test_a_screen_without_charts_of_runs_says_so():
    async def check(app, pilot):
        await pilot.press("F")
        await settled(pilot)
        assert toasts(app) == ["there are no charts here to make a figure of"]

    on_screen(oscillator_presets.load("oscillator-gx"), check)
