"""The runs screen: a shelf of a thousand, filtered, marked, sorted, changed; what goes wrong is told."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from made import facts, make_run, make_shelf, rows
from shown import on_screen, screen_text, settled
from terminal import Terminal
from textual.pilot import Pilot

from eostui import oscillator_presets
from eostui.runs import shelf
from eostui.runs.store.writer import RunWriter
from eostui.tui.app import EostuiApp
from eostui.tui.screens.compare import CompareScreen
from eostui.tui.screens.live import LiveScreen
from eostui.tui.screens.runs import RunsScreen
from eostui.tui.widgets.table import Table

SIZES = [(120, 40), (80, 24)]


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thousand")
    make_shelf(folder, 1000)
    return folder


@pytest.fixture
def few(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    make_shelf(folder, 12)
    return folder


def open_terminal(folder: Path, size: tuple[int, int], run: str = "made-0000") -> Terminal:
    width, height = size
    return Terminal(
        "attach", run, cwd=folder.parent, width=width, height=height, EOSTUI_RUNS=str(folder)
    )


@pytest.mark.parametrize("size", SIZES)
def test_a_thousand_runs(thousand: Path, size: tuple[int, int]) -> None:
    """Filter, mark five, sort, export, name, note, delete after a question, open: by keys."""
    terminal = open_terminal(thousand, size)
    terminal.wait_for(r"step 100 ")
    terminal.send("l")
    terminal.wait_for(r"RUNS   (1 000|999) runs", r"▸  ✓ (lam-0|made-0001)", "made-0004")
    terminal.send("/lam width>100")
    listed = r"(200|199) listed +/ lam width>100"
    terminal.wait_for(listed, r"lam-3 ", without="made-0001|lam-0 ")
    terminal.send("\r")
    terminal.send(" " * 5)
    terminal.wait_for("5 marked", r"✚ ✓ lam-3 ", r"✚ ✗ lam-9 ")
    terminal.send("x")
    terminal.wait_for("505 rows in")
    with (thousand.parent / "runs.csv").open() as file:
        found = list(csv.DictReader(file))
    assert len({row["run"] for row in found}) == 5
    assert len(found) == 505
    (thousand.parent / "runs.csv").unlink()
    terminal.send("s")
    terminal.wait_for("sort by")
    terminal.send("\x1b[B\r")  # by name
    terminal.wait_for(r"run▴")
    terminal.send("\x1b[H")
    terminal.wait_for(r"▸  . lam-102 ")
    terminal.send("N")
    terminal.wait_for("name of made-0102")
    terminal.send("lam-0000\r")
    terminal.wait_for(r"▸  . lam-0000 ")
    terminal.send("m")
    terminal.wait_for("note on lam-0000")
    terminal.send("wide ⏎ and odd\r")
    terminal.wait_for("made-0102: noted|wide")
    entry = shelf.read_entry(thousand / "made-0102")
    assert (entry.name, entry.note) == ("lam-0000", "wide\nand odd")
    terminal.send("N")
    terminal.wait_for("name of made-0102")
    terminal.send("lam-102\r")
    terminal.wait_for(r"▸  . lam-102 ")
    gone = sorted(path.name for path in thousand.iterdir())
    terminal.send("*")  # marks all that are listed, then takes all marks away
    terminal.wait_for(r"(200|199) marked")
    terminal.send("*")
    terminal.wait_for("listed", without="marked")
    terminal.send("d")
    terminal.wait_for(r"Delete made-0102 for good\?")
    terminal.send("\x1b")
    terminal.wait_for("lam-102", without="for good")
    assert sorted(path.name for path in thousand.iterdir()) == gone
    terminal.send("\x1b[F")
    terminal.wait_for(r"▸")
    terminal.send("d")
    victim = terminal.wait_for(r"Delete (made-\d+) for good\?")[1]
    terminal.send("y")
    terminal.wait_for(rf"deleted {victim}|RUNS   (999|998) runs")
    assert not (thousand / victim).exists()
    terminal.send("\x1b")
    terminal.wait_for("runs", without="listed")
    terminal.send("\x1b[H/made-0500")
    terminal.wait_for("1 listed")
    terminal.send("\r\r")
    terminal.wait_for(r"FINISHED +step 100 ", without="RUNS")
    terminal.send("q")
    assert terminal.exit_code() == 0
    assert b"made-0500" in terminal.output
    assert terminal.restored


def test_a_thousand_cost_little(thousand: Path) -> None:
    """A key is obeyed within a frame or two, and a look at a shelf at rest reads no run."""
    times = {}

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot, lambda: "runs" in title(app) and "reading" not in title(app))
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        started = time.process_time()
        for _ in range(5):
            screen.draw_list()
        times["drawn"] = (time.process_time() - started) / 5
        looks = []
        for _ in range(3):
            started = time.process_time()
            screen._read(screen._listed or [])
            looks.append(time.process_time() - started)
        times["looked"] = min(looks)

    on_screen(thousand / "made-0000", check)
    assert times["drawn"] < 0.05, times  # 8 ms where it was written
    assert times["looked"] < 0.3, times  # 30 ms


def title(app: EostuiApp) -> str:
    return str(app.screen.query_one("#title").render())


def about(app: EostuiApp) -> str:
    return str(app.screen.query_one("#about").render())


async def shelf_shown(
    app: EostuiApp, pilot: Pilot[str], when: Callable[[], object] = lambda: True
) -> None:
    await pilot.press("l")
    while not isinstance(app.screen, RunsScreen):
        await pilot.pause(0.02)
    await until(pilot, lambda: "reading" not in title(app))
    await until(pilot, when)


async def until(pilot: Pilot[str], holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, screen_text(pilot.app)
        await pilot.pause(0.02)


def listed(app: EostuiApp) -> list[str]:
    """The names of the list's rows, with their signs."""
    return [row.cells[0] for row in app.screen.query_one(Table)._rows]


def said(app: EostuiApp) -> str:
    return " | ".join(each.message for each in app._notifications)


def shown(
    folder: Path, check: Callable[[EostuiApp, Pilot[str]], Awaitable[None]], **options
) -> None:
    on_screen(folder / "made-0000", check, **options)


def test_marked_runs_are_compared(few: Path) -> None:
    """Those that are marked; else all that a filter shows; else the one under the cursor."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot)
        await pilot.press("down", "space", "space", "c")  # made-0001, made-0002
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        comparing = app.session.comparing
        assert comparing is not None
        assert [each.id for each in comparing.view.entries] == ["made-0001", "made-0002"]

    shown(few, check)


def test_deleted_meanwhile(few: Path) -> None:
    """A run that another process deletes leaves the list, its mark with it; what was asked says so."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot)
        await pilot.press("down", "space", "space")  # made-0001, made-0002
        await until(pilot, lambda: "2 marked" in title(app))
        shutil.rmtree(few / "made-0001")
        await until(pilot, lambda: "1 marked" in title(app) and "11 runs" in title(app))
        assert "✓ made-0001" not in listed(app)
        await pilot.press("home", "down", "N")
        shutil.rmtree(few / "made-0002")
        await pilot.press("z", "enter")
        await until(pilot, lambda: "gone" in said(app) or "deleted" in said(app))
        assert not (few / "made-0002").exists()  # nothing is made anew

    shown(few, check)


def test_damaged_runs_are_listed_with_why(few: Path) -> None:
    (few / "made-0003" / "run.db").write_bytes(b"no database at all, but long enough" * 100)

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot)
        await pilot.press("end")
        await until(pilot, lambda: "made-0003" in about(app))
        assert listed(app)[-1] == "✗ made-0003"
        row = app.screen.query_one(Table)._rows[-1]
        assert row.sentence.startswith("unreadable: ")
        await pilot.press("enter")
        await until(pilot, lambda: "eostui runs repair made-0003" in said(app))
        await pilot.press("slash", *"state:unreadable", "enter")
        assert listed(app) == ["✗ made-0003"]
        await pilot.press("d", "y")
        await until(pilot, lambda: not (few / "made-0003").exists())

    shown(few, check)


def test_a_live_run_goes_on(few: Path) -> None:
    """It isn't deleted; another one is opened over it, which is said, and leaving still asks about it."""
    path = few / "made-live"
    writer = RunWriter(path, facts(1000, status="running"))
    writer.steps(0, rows(0, 20))
    writer.flush()

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot, lambda: "1 live" in title(app))
        assert listed(app)[0] == "● made-live"
        await pilot.press("home", "d")
        await until(pilot, lambda: "made-live is still running: `eostui stop" in said(app))
        await pilot.press("r", "n", "right_curly_bracket")  # steer nothing that isn't in sight
        await settled(pilot)
        assert app.session.engine is None
        assert "f2 shows it" in said(app)
        assert not list((path / "commands").glob("*.json"))
        await pilot.press("slash", *"made-0002", "enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, LiveScreen))
        await until(pilot, lambda: app.session.path == few / "made-0002")
        await until(pilot, lambda: "made-live trains on" in said(app))
        assert app.session.training == [path]
        await pilot.press("q")
        await settled(pilot)
        assert "made-live goes on" in "".join(str(w.render()) for w in app.screen.query("Static"))
        await pilot.press("escape")

    on_screen(path, check)
    writer.close()


def test_the_shown_run_is_deleted(few: Path) -> None:
    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot)
        await pilot.press("home", "d")
        await settled(pilot)
        assert "It is the run that is shown" in "".join(
            str(widget.render()) for widget in app.screen.query("Static")
        )
        await pilot.press("y")
        await until(pilot, lambda: "11 runs" in title(app))
        assert app.session.run is None
        await pilot.press("f2")
        await settled(pilot)
        assert "deleted" in title(app)
        await pilot.press("l", "enter")
        await until(pilot, lambda: app.session.run is not None)

    shown(few, check)


def test_pruning_asks_for_which(few: Path) -> None:
    """Without a filter or marks nothing goes; with one all ended runs that pass, after a question."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot)
        await pilot.press("D")
        await until(pilot, lambda: "say which runs" in said(app))
        await pilot.press("slash", *"state:diverged", "enter", "D")
        await until(pilot, lambda: app.screen.query(".dialog"))
        await pilot.press("d")
        # what is said is gone after some seconds, which a slow machine may take to get here
        await until(pilot, lambda: "10 runs" in title(app) and not listed(app))

    shown(few, check)
    left = {entry.id for entry in shelf.entries(few)}
    assert left == {f"made-{number:04d}" for number in range(12) if number % 5 != 4}


def test_names_of_others_are_refused(few: Path) -> None:
    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot)
        await pilot.press("home", "N", *"lam-3", "enter")
        await until(pilot, lambda: "`lam-3` already finds made-0003" in said(app))
        await pilot.press("N", *"a/b", "enter")
        await settled(pilot)
        assert "no / in it" in str(app.screen.query_one("#hint").render())
        await pilot.press("escape")

    shown(few, check)
    assert shelf.read_entry(few / "made-0000").name == "lam-0"


def test_the_order(few: Path) -> None:
    """By a column both ways, what has nothing there last; by a click on its title too."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot)
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        newest = listed(app)
        assert newest[:3] == ["✓ lam-0", "✓ made-0001", "✓ made-0002"]
        screen.sort("age")
        assert listed(app) == newest
        screen.sort("age")
        assert listed(app) == newest[::-1]
        screen.sort("group")
        assert listed(app) == newest  # none has one
        screen.sort("run")
        assert listed(app)[0] == "✓ lam-0"
        assert listed(app)[-1] == "✓ made-0011"
        assert await pilot.click(Table, offset=(8, 0))
        await settled(pilot)
        assert listed(app)[-1] == "✓ lam-0"
        assert await pilot.click(Table, offset=(8, 4))
        await settled(pilot)
        assert screen.table.cursor == few / "made-0007"

    shown(few, check)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 12), (20, 5), (1, 1)])
def test_odd_names_in_every_size(few: Path, size: tuple[int, int]) -> None:
    """Wide, combining and right-to-left letters; control characters of a stranger's record."""
    names = ["実験" * 40, "שלום-עולם", "e\u0301" * 30, "\x1b[31mred\x07", "x" * 90]
    for number, name in enumerate(names, 1):
        writer = RunWriter(few / f"made-{number:04d}")
        writer.fact("name", name)
        writer.fact("note", "\x1b]0;title\x07" + name)
        writer.close()

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await until(pilot, lambda: app.screen.query_one(Table)._rows)
        await pilot.press("down", "down", "space", "slash", "l", "enter", "escape", "s", "escape")
        await settled(pilot)
        table = app.screen.query_one(Table)
        for y in range(table.size.height):
            strip = table.render_line(y)
            assert strip.cell_length == table.size.width
            assert "\x1b" not in strip.text

    shown(few, check, size=size)


def test_columns_drop_from_the_right(few: Path) -> None:
    """The name is never among them."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot)
        seen = []
        for width in (120, 80, 60, 40, 24, 12):
            await pilot.resize_terminal(width, 24)
            await settled(pilot)
            table = app.screen.query_one(Table)
            seen.append([table._columns[index].name for index, _ in table._shown])
            assert "lam-0" in table.render_line(1).text
        for wide, narrow in pairwise(seen):
            assert narrow == wide[: len(narrow)]
        assert seen[0][-1] == "preset"
        assert seen[-1] == ["run"]

    shown(few, check)


def test_an_empty_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot)
        await until(pilot, lambda: "no run here yet: P lists presets" in about(app))
        await pilot.press("d", "space", "enter", "x", "D", "asterisk", "end", "s", "enter")
        await settled(pilot)
        await pilot.press("escape")

    on_screen(oscillator_presets.load("oscillator-damped"), check)


def test_a_run_that_cannot_be_opened_ends_nothing(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application began without a run: the first one that fails isn't the end of it."""
    monkeypatch.chdir(few)

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot, lambda: "12 runs" in title(app))
        (few / "made-0000" / "run.db").write_bytes(b"damaged")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query(".dialog"))
        assert app.is_running

    on_screen(oscillator_presets.load("oscillator-damped"), check)


def test_a_preview_follows(few: Path) -> None:
    """The run under the cursor is drawn; a live one grows there."""
    path = few / "made-live"
    writer = RunWriter(path, facts(1000, status="running"))
    writer.steps(0, rows(0, 20))
    writer.flush()

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot, lambda: "1 live" in title(app))
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        assert screen._preview is not None
        preview = screen._preview
        await pilot.press("home")
        await until(pilot, lambda: preview.view and preview.view.run.last_step == 20)
        writer.steps(21, rows(21, 60))
        writer.flush()
        await until(pilot, lambda: preview.view and preview.view.run.last_step == 60)
        await pilot.press("down", "2")
        await until(pilot, lambda: preview.view and preview.view.run.path.name == "made-0000")
        assert "drives" in str(screen.query_one("#preview-chart").border_title)

    shown(few, check)
    writer.close()


def test_playing_back_starts_nothing(few: Path) -> None:
    from eostui.tui.session import Watch

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot)
        await pilot.press("f")
        await until(pilot, lambda: "this is a playback" in said(app))

    on_screen(Watch(few / "made-0000", 1.0), check)


def test_made_at_once(tmp_path: Path) -> None:
    """A run that comes is listed, and a filter that was typed holds for it too."""
    make_run(tmp_path / "made-0000", 50)

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await shelf_shown(app, pilot)
        await pilot.press("slash", *"steps>60", "enter")
        assert not listed(app)
        make_run(tmp_path / "made-0001", 80)
        await until(pilot, lambda: listed(app) == ["✓ made-0001"])

    shown(tmp_path, check)
