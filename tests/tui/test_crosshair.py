"""The crosshair and zoom of charts: what it reads is what the export has, wherever it is put from."""

from __future__ import annotations

import csv
import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
from made import facts, make_fork
from shown import SIZES, on_screen, settled
from test_snapshots import compared
from test_view import grow, make, rows, text_of
from textual.pilot import Pilot

from eostui import oscillator_presets
from eostui.charts.numbers import compact, grouped
from eostui.cli.oscillator_tables import orbit_table
from eostui.panels import PANELS
from eostui.panels.compare.view import Compare
from eostui.runs.export.files import write_stream
from eostui.runs.export.table import RunTable
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter
from eostui.tui.app import EostuiApp
from eostui.tui.session import Watch
from eostui.tui.widgets.bars import TextBar
from eostui.tui.widgets.chart import ChartWidget

#: What the line calls the columns of the export.
COLUMNS = {
    "L": "loss", "κ": "path_curvature", "cos": "step_cosine", "S": "sharpness", "βα": "beta_alpha",
    "λg": "lambda_g", "λ₂": "eig_2", "Lλ": "loss_regularized", "‖θ‖": "theta_norm",
    "test": "test_loss", "g": "g", "g crit": "g_critical",
}  # fmt: skip


def exported(path: Path) -> list[dict[str, str]]:
    """The rows of the CSV of a run."""
    with Run(path) as run:
        stream = io.StringIO()
        write_stream(RunTable(run), stream)
    return list(csv.DictReader(io.StringIO(stream.getvalue())))


def check_line(line: str, table: list[dict[str, str]]) -> int:
    """Check every value of a crosshair's line against the export; return how many there are.

    Values after `at N:` are those of step N, and no later step up to the cursor has any.
    """
    head = re.match(r" step (\d[\d ]*?)(?:, t \S+)?  ", line)
    assert head, line
    cursor = int(head[1].replace(" ", ""))
    names = "|".join(map(re.escape, sorted(COLUMNS, key=len, reverse=True)))
    told = 0
    step = cursor
    for match in re.finditer(rf"at (\d[\d ]*?):| ({names}) (\S+)", line[head.end() - 2 :]):
        if match[1]:
            step = int(match[1].replace(" ", ""))
            continue
        column = COLUMNS[match[2]]
        cell = table[step][column]
        assert match[3] == compact(float(cell) if cell else np.nan, 4), (match[0], line)
        assert not any(row[column] for row in table[step + 1 : cursor + 1]), match[0]
        told += 1
    change = re.search(r" L \S+ \(([▲▼]) (\S+)\)", line)
    if change:
        value = float(table[cursor]["loss_step"])
        assert (change[1] == "▲") == (value > 0)
        assert change[2] == ("+" if value > 0 else "") + compact(value)
    return told


def crosshair(app: EostuiApp) -> str:
    return text_of(app, "crosshair")


def cursor_columns(app: EostuiApp) -> list[int]:
    """The column of the crosshair in each chart that is shown, from the plot's left end."""
    found = []
    for chart in app.screen.query(ChartWidget):
        if chart.display and chart.size.width:
            columns = [column for column, sign in chart._lines.items() if sign == "│"]
            found += [column - (chart.plot[0] - chart.content_region.x) for column in columns]
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run of 600 steps, with decay from 400 on; measured every 25."""
    path = tmp_path / "runs" / "made-aaaa"
    make(path, 600, steered=400).close()
    return path


@pytest.mark.parametrize("size", [*SIZES, (60, 16)])
def test_what_it_reads_is_what_the_export_has(path: Path, size: tuple[int, int]) -> None:
    """At the newest step, a column and a step away from it, in every panel, by flow time too."""
    table = exported(path)

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        assert not app.screen.query_one("#crosshair").display
        await pilot.press("h")
        await settled(pilot)
        assert crosshair(app).startswith(" step 600  ")
        told = check_line(crosshair(app), table)
        assert told >= (8 if size[0] >= 120 else 2)
        columns = {*cursor_columns(app)}
        assert len(columns) == 1
        assert len(cursor_columns(app)) == (4 if size[0] >= 120 else 1)
        seen = set()
        for keys in (
            ["left"],
            ["left"],
            ["shift+left"],
            ["left"] * 9,
            ["shift+right"],
            ["t"],
            ["left"],
        ):
            await pilot.press(*keys)
            await settled(pilot)
            seen.add(app.screen.crosshair.step)
            assert check_line(crosshair(app), table)
            assert len({*cursor_columns(app)}) == 1
        assert len(seen) == 6  # t moves nothing
        for _ in PANELS:
            await pilot.press("semicolon")
            await settled(pilot)
            assert check_line(crosshair(app), table)
        await pilot.press("escape")
        await settled(pilot)
        assert not app.screen.query_one("#crosshair").display
        assert not cursor_columns(app)

    on_screen(path, check, size)


def test_a_panel_shown_alone_is_read_first(path: Path) -> None:
    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("2", "h")
        await settled(pilot)
        assert re.search(r"βα \S+  λg \S+", crosshair(app))
        await pilot.press("semicolon", "comma", "semicolon", "semicolon")
        await settled(pilot)
        assert "‖θ‖ 11.00" in crosshair(app)

    on_screen(path, check, (60, 20))


def test_a_column_on_the_chart_is_a_key_press(path: Path) -> None:
    """← moves the cursor by one column of the charts as long as a column has several steps."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("h")
        await settled(pilot)
        before = cursor_columns(app)[0]
        for n in range(1, 6):
            await pilot.press("left")
            await settled(pilot)
            assert cursor_columns(app)[0] == before - n

    on_screen(path, check)


@pytest.mark.parametrize("size", SIZES)
def test_the_mouse_points_and_drags(path: Path, size: tuple[int, int]) -> None:
    """A click puts it up, moving the pointer moves it, a drag leaves a mark where it began."""
    table = exported(path)

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        chart = app.screen.query_one("#sharpness", ChartWidget)
        first, columns = chart.plot
        left = first - chart.region.x
        await pilot.hover(chart, offset=(left + 10, 5))
        await settled(pilot)
        assert not cursor_columns(app)  # it isn't up by itself
        await pilot.click(chart, offset=(left + 10, 5))
        await settled(pilot)
        assert {*cursor_columns(app)} == {10}
        assert check_line(crosshair(app), table)
        await pilot.hover(chart, offset=(left + 20, 4))
        await settled(pilot)
        assert {*cursor_columns(app)} == {20}
        assert check_line(crosshair(app), table)
        await pilot.mouse_down(chart, offset=(left + 12, 4))
        await pilot.hover(chart, offset=(left + 30, 4))
        await pilot.mouse_up(chart, offset=(left + 30, 4))
        await settled(pilot)
        before, after = app.screen.crosshair.ends
        x0, x1 = app.screen.x_range()
        for step, column in ((before, 12), (after, 30)):
            assert int((step - x0) / (x1 - x0) * columns) == column
        line = crosshair(app)
        assert line.startswith(f" {before} → {after}: {after - before} steps, Δ (a step)  ")
        change = float(table[after]["loss"]) - float(table[before]["loss"])
        assert f"  L {compact(change)} ({compact(change / (after - before))})" in line
        await pilot.press("z")
        await settled(pilot)
        assert app.screen.x_range() == (before, after)

    on_screen(path, check, size)


def test_differences_of_what_is_measured_are_between_its_steps(path: Path) -> None:
    """S between two steps that weren't measured: that of the readings before them, and their distance."""
    table = exported(path)

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("h", *["shift+left"] * 10, "h", *["left"] * 20)
        await settled(pilot)
        before, after = app.screen.crosshair.ends
        assert after == 590
        low, high = before // 25 * 25, 575
        change = float(table[high]["sharpness"]) - float(table[low]["sharpness"])
        slope = change / (high - low)
        assert f"  S +{compact(change)} (+{compact(slope)})" in crosshair(app)
        await pilot.press("t")
        await settled(pilot)
        assert "Δ (a unit of t)" in crosshair(app)
        slope = change / (float(table[high]["flow_time"]) - float(table[low]["flow_time"]))
        assert f"  S +{compact(change)} (+{compact(slope)})" in crosshair(app)

    on_screen(path, check)


@pytest.mark.parametrize("size", SIZES)
def test_the_wheel_zooms_at_the_pointer(path: Path, size: tuple[int, int]) -> None:
    """What lies under the pointer stays there, in and out again; over the y axis it is y that zooms."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        chart = app.screen.query_one("#sharpness", ChartWidget)
        first, columns = chart.plot
        offset = first - chart.region.x + 15, 5
        at = 15.5 / columns
        before = app.screen.x_range()
        pointed = before[0] + at * (before[1] - before[0])
        for _ in range(3):
            await pilot._post_mouse_events([events_up], chart, offset=offset, button=0)
            await settled(pilot)
            x0, x1 = app.screen.x_range()
            assert x0 + at * (x1 - x0) == pytest.approx(pointed)
        assert x1 - x0 == pytest.approx((before[1] - before[0]) / 1.25**3)
        for _ in range(3):
            await pilot._post_mouse_events([events_down], chart, offset=offset, button=0)
        await settled(pilot)
        assert app.screen.x_range() == pytest.approx(before)
        y = chart._sticky.low, chart._sticky.high
        await pilot._post_mouse_events([events_up], chart, offset=(2, 5), button=0)
        await settled(pilot)
        assert chart._sticky.high - chart._sticky.low == pytest.approx((y[1] - y[0]) / 1.25)
        assert app.screen.x_range() == pytest.approx(before)
        await pilot.press("0")
        await settled(pilot)
        assert (chart._sticky.low, chart._sticky.high) == y

    from textual.events import MouseScrollDown as events_down
    from textual.events import MouseScrollUp as events_up

    on_screen(path, check, size)


def test_y_zooms_about_the_newest_value_and_fits_what_is_measured(path: Path) -> None:
    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        chart = app.screen.query_one("#sharpness", ChartWidget)
        y = chart._sticky.low, chart._sticky.high
        share = (16.0 - y[0]) / (y[1] - y[0])  # S at step 600
        await pilot.press("pageup")
        await settled(pilot)
        low, high = chart._sticky.low, chart._sticky.high
        assert high - low == pytest.approx((y[1] - y[0]) / 2)
        assert low + share * (high - low) == pytest.approx(16.0)
        assert "0" in text_of(app, "keys")
        await pilot.press("pagedown")
        await settled(pilot)
        assert (chart._sticky.low, chart._sticky.high) == pytest.approx(y)
        await pilot.press("Y", "plus")
        await settled(pilot)
        low, high = chart._sticky.low, chart._sticky.high
        x0, x1 = app.screen.x_range()
        with Run(path) as run:
            medians = app.session.view.medians
            seen = (medians.rows >= x0) & (medians.rows <= x1)
            at = run.measured["step"]
            values = [*run.measured["sharpness"][(at >= x0) & (at <= x1)], *medians.medians[seen]]
        assert low == pytest.approx(min(values), abs=0.1 * (high - low))
        assert high == pytest.approx(max(values), abs=0.1 * (high - low))
        assert high < 20  # 2/η isn't measured
        await pilot.press("Y", "0")
        await settled(pilot)
        assert (chart._sticky.low, chart._sticky.high) == y

    on_screen(path, check)


def test_the_cursor_keeps_its_step_while_the_run_grows(tmp_path: Path) -> None:
    """So does its mark; what wasn't known yet of the newest step comes."""
    path = tmp_path / "runs" / "made-aaaa"
    writer = make(path, 100, status="running")

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("h", *["left"] * 3, "h", *["left"] * 4)
        await settled(pilot)
        ends = app.screen.crosshair.ends
        await pilot.press("escape", "h")
        await settled(pilot)
        assert "κ –" in crosshair(app)
        grow(writer, 101, 1000)
        deadline = time.monotonic() + 10
        while app.session.run.last_step < 1000 or "κ –" in crosshair(app):
            assert time.monotonic() < deadline
            await pilot.pause(0.05)
        await settled(pilot)
        assert ends[0] < ends[1] < 100
        assert app.screen.crosshair.step == 100
        check_line(crosshair(app), exported(path))
        x0, x1 = app.screen.x_range()
        columns = app.screen.query_one("#sharpness", ChartWidget).plot[1]
        assert {*cursor_columns(app)} == {int((100 - x0) / (x1 - x0) * columns)}

    try:
        on_screen(path, check)
    finally:
        writer.close()


def test_beyond_an_end_x_moves_with_it(path: Path) -> None:
    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press(*["plus"] * 5, "h")
        await settled(pilot)
        x0, x1 = app.screen.x_range()
        for _ in range(70):
            await pilot.press("left")
        await settled(pilot)
        step = app.screen.crosshair.step
        assert step < x0
        moved = app.screen.x_range()
        assert moved[0] <= step <= moved[1]
        assert moved[1] - moved[0] == pytest.approx(x1 - x0)
        await pilot.press(*["shift+left"] * 5)
        assert app.screen.crosshair.step == step - 5

    on_screen(path, check)


def test_a_short_run_a_tiny_terminal_and_one_that_is_resized(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "made-aaaa"
    make(path, 10).close()
    table = exported(path)

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("h", *["left"] * 4)
        await settled(pilot)
        assert check_line(crosshair(app), table)
        step = app.screen.crosshair.step
        assert step == 6
        for size in ((80, 24), (20, 5), (44, 12), (200, 60), (120, 40)):
            await pilot.resize_terminal(*size)
            await settled(pilot)
            await pilot.pause(0.1)
            assert app.screen.crosshair.step == step
            if size[0] == 20:
                assert text_of(app, "values").startswith("step 6\nL 1.786 ")
                await pilot.press("shift+left")
                await settled(pilot)
                assert text_of(app, "values").startswith("step 5\nL 1.818 ")
                await pilot.press("shift+right")
            else:
                assert check_line(crosshair(app), table)
        await pilot.press(*["right"] * 12, *["left"] * 30, "left")
        assert app.screen.crosshair.step == 0

    on_screen(path, check)


def test_stretches_without_numbers(tmp_path: Path) -> None:
    """Where the loss isn't finite the line says so; nothing is read there of what was never measured."""
    matrix = rows(0, 100)
    matrix[50:, 0] = np.nan
    matrix[70:, 3] = np.inf
    writer = RunWriter(tmp_path / "runs" / "made-aaaa", facts(100, status="diverged"))
    writer.steps(0, matrix)
    writer.close()

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("h", *["left"] * 10)
        await settled(pilot)
        line = crosshair(app)
        assert re.match(r" step \d+  L –  κ ∞", line)
        assert " S " not in line

    on_screen(writer.path, check)


def test_a_run_without_steps_has_none(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "runs" / "made-aaaa", facts(100, status="failed"))
    writer.steps(0, rows(0, 0))
    writer.close()

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        app.session.view.run.steps._length = 0
        await pilot.press("h", "left", "right", "h", "enter", "z", "escape")
        await settled(pilot)
        assert app.first.crosshair is None

    on_screen(writer.path, check)


def test_enter_forks_there(path: Path) -> None:
    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("enter")  # does nothing without a crosshair
        await settled(pilot)
        assert app.screen is app.first
        await pilot.press("h", *["left"] * 7)
        await settled(pilot)
        step = app.first.crosshair.step
        await pilot.press("enter")
        deadline = time.monotonic() + 10
        while app.screen is app.first:
            assert time.monotonic() < deadline
            await pilot.pause(0.05)
        assert app.screen.query_one("#step").value == str(step)
        await pilot.press("escape")
        await settled(pilot)
        assert app.first.crosshair.step == step

    on_screen(path, check)


def test_a_playback_reads_too_and_goes_back_before_the_cursor(path: Path) -> None:
    table = exported(path)

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("space", "end", "h", *["left"] * 3)
        await settled(pilot)
        assert check_line(crosshair(app), table)
        step = app.screen.crosshair.step
        assert step < 600
        await pilot.press("home")
        deadline = time.monotonic() + 10
        while not crosshair(app).startswith(" step 0  "):
            assert time.monotonic() < deadline
            await pilot.pause(0.05)
        await pilot.press("end")
        while not crosshair(app).startswith(f" step {step}  "):
            assert time.monotonic() < deadline
            await pilot.pause(0.05)
        await pilot.press("enter")
        await settled(pilot)
        assert any(f"--at {step}`" in note.message for note in app._notifications)

    on_screen(Watch(path, 1.0), check)


@pytest.mark.parametrize("size", [*SIZES, (20, 5)])
def test_the_oscillator_reads_its_orbit(size: tuple[int, int]) -> None:
    """The numbers that `eostui simulate` writes."""
    preset = oscillator_presets.load(oscillator_presets.DEFAULT_PRESET)

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("h", *["left"] * 6, *["shift+left"] * 3)
        await settled(pilot)
        step = app.screen.crosshair.step
        table = orbit_table(app.screen.oscillator.orbit)
        bar = "#values" if size[0] == 20 else "#crosshair"
        line = app.screen.query_one(bar, TextBar).render().plain
        assert line.lstrip().startswith(f"step {grouped(step)}")
        symbols = {"x": "x", "y": "y", "S": "sharpness", "A": "envelope"}
        for symbol, column in list(symbols.items())[: 4 if size[0] > 20 else 1]:
            assert re.search(rf"{symbol} {re.escape(compact(table[column][step], 4))}(\s|$)", line)
        await pilot.press("enter")  # types the chosen setting, as it does without
        await settled(pilot)
        assert app.screen is not app.shown

    on_screen(preset, check, size)


def test_another_run_begins_without_it(path: Path) -> None:
    fork = make_fork(path.parent / "made-bbbb", path.name, 300, 500)

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("h")
        app.engines.open(fork)
        deadline = time.monotonic() + 10
        while app.session.run is None or app.session.run.path != fork:
            assert time.monotonic() < deadline
            await pilot.pause(0.05)
        await settled(pilot)
        assert app.first.crosshair is None
        assert not cursor_columns(app)

    on_screen(path, check)


def test_moving_it_draws_no_chart_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pointer that moves costs a column of cells, however long the run is."""
    from eostui.tui.widgets import chart

    drawn = []

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("h")
        await settled(pilot)
        original = chart.draw
        monkeypatch.setattr(
            chart, "draw", lambda *args, **kwargs: (drawn.append(1), original(*args, **kwargs))[1]
        )
        await pilot.press(*["left"] * 5, *["shift+left"] * 5)
        widget = app.screen.query_one("#loss", ChartWidget)
        for column in range(12, 30):
            await pilot.hover(widget, offset=(column, 4))
        await settled(pilot)
        assert not drawn

    on_screen(path, check)


def test_the_signs_are_those_of_the_loss_that_they_name(path: Path) -> None:
    """L_λ or L: where weight decay makes one rise and the other fall, the two rows differ so."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press(*["plus"] * 5)
        await settled(pilot)
        left, columns = app.screen.query_one("#sharpness", ChartWidget).plot
        x0, x1 = app.first.x_range()
        run = app.session.view.run
        for name, column in (("Lλ", "loss_step_regularized"), ("L", "loss_step"), ("Lλ", None)):
            line = text_of(app, "signs").splitlines()[0]
            assert line.startswith(f" {name} ▲▼ ")
            if column is not None:
                change = run.steps[column]
                for step in range(int(np.ceil(x0)), min(int(x1), 599)):
                    place = int((step - x0) / (x1 - x0) * columns)
                    assert line[left + place] == ("▲" if change[step] > 0 else "▼")
            assert re.search(rf" {name} up \d+ %", line)
            await pilot.press("L")
            await settled(pilot)

    on_screen(path, check)


@pytest.mark.parametrize("size", SIZES)
def test_a_comparison_is_read_curve_by_curve(tmp_path: Path, size: tuple[int, int]) -> None:
    """Every curve's value at the step, said of an earlier one where it was measured then; none of a run
    that ended before. The readings at rest, whose x is a setting, have no crosshair."""
    view = compared(tmp_path)
    tables = [exported(entry.path) for entry in view.entries]
    labels = ["0·0", "0·1", "0.001·0", "0.001·1"]

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        deadline = time.monotonic() + 20
        while view.read < 4:
            assert time.monotonic() < deadline
            await pilot.pause(0.05)
        await settled(pilot)

        def line() -> str:
            return app.screen.query_one("#crosshair", TextBar).render().plain

        for keys, column in (("1", "sharpness"), ("4", "loss")):
            await pilot.press(keys, "h", *["left"] * 3)
            await settled(pilot)
            for moves in (0, 12):
                await pilot.press(*["left"] * moves)
                await settled(pilot)
                step = int(re.match(r" step (\d+), ", line())[1])
                told = re.findall(r"[●○◆◇] (\S+) (\S+)", line())
                assert len(told) >= (3 if size[0] >= 120 else 2)
                for label, value in told:
                    table = tables[labels.index(label)]
                    assert step < len(table)
                    known = [float(row[column]) for row in table[: step + 1] if row[column]]
                    assert float(value) == pytest.approx(known[-1], rel=6e-4)
                if column == "sharpness":
                    assert (f"at {step // 25 * 25}: " in line()) == (step % 25 != 0)
            assert not app.screen.query_one("#rest", ChartWidget)._lines
            await pilot.press("escape")

    on_screen(Compare(view), check, size)
