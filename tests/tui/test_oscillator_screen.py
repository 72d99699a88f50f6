"""The oscillator screen: its numbers against the map's own, its keys, its charts, its sizes."""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from terminal import Terminal
from textual.pilot import Pilot

from eostui import oscillator_presets
from eostui.charts.chart import Chart, Curve
from eostui.charts.numbers import tick_texts
from eostui.charts.picture import draw
from eostui.charts.plane import Plane, Strand, draw_plane
from eostui.charts.scales import StickyRange
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.oscillator import Parameters, advance, survey, two_cycles
from eostui.oscillator.envelope import prediction
from eostui.panels.orbit import PANELS
from eostui.panels.orbit.bounce import bounce_chart
from eostui.panels.orbit.portrait import Portrait
from eostui.panels.orbit.regimes import KINDS, RegimeMap, regimes
from eostui.panels.orbit.sharpness import sharpness_chart
from eostui.panels.orbit.view import OrbitView
from eostui.runs.run import Run
from eostui.runs.store import commands
from eostui.runs.store.writer import RunWriter
from eostui.stability import WEIGHT_DECAY, turned
from eostui.tui.app import EostuiApp
from eostui.tui.oscillator_settings import OscillatorSettings, newest_reading
from eostui.tui.oscillator_texts import CONDITIONS, conditions
from eostui.tui.screens.oscillator import OscillatorScreen
from eostui.tui.screens.table import keys_by_group
from eostui.tui.session import Settings
from eostui.tui.widgets.chart import ChartWidget
from eostui.tui.widgets.grid import GridWidget

NAMES = ("damped", "collapse", "escape", "gx")


def preset(name: str, **values):
    found = oscillator_presets.load(f"oscillator-{name}")
    return replace(found, simulation=found.simulation.changed(values))


def view_of(name: str, **values) -> OrbitView:
    return OrbitView.of(preset(name, **values).simulation)


def on_screen(
    tmp_path: Path,
    check: Callable[[EostuiApp, Pilot], Awaitable[None]],
    start=None,
    size=(120, 40),
    unicode=True,
) -> None:
    """Run the application without a terminal, on the oscillator screen unless `start` is a run."""

    async def session() -> None:
        app = EostuiApp(Settings(tmp_path, tmp_path, unicode=unicode), start or preset("damped"))
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await check(app, pilot)

    asyncio.run(session())


def text_of(app: EostuiApp, name: str) -> str:
    """What a widget of the present screen shows."""
    widget = app.screen.query_one(f"#{name}")
    if isinstance(widget, GridWidget):
        rows = [widget.render_line(row).text for row in range(widget.size.height)]
        return "\n".join([str(widget.border_title), *rows, str(widget.border_subtitle)])
    return str(widget.render())


def answers(app: EostuiApp) -> dict[str, list[str]]:
    """The table's rows: name to the words after it."""
    return {line.split()[0]: line.split()[1:] for line in text_of(app, "answers").splitlines()[1:]}


# --- numbers ------------------------------------------------------------------------------------------


def test_the_table_is_the_papers_and_the_maps(tmp_path: Path) -> None:
    """MATH §3.2's example: A 0.01155 to leading order, 0.0059 by iteration, decay 0.00958."""

    async def check(app: EostuiApp, pilot: Pilot) -> None:
        await pilot.press("n", "n")  # collapse, damped, escape, gx
        found = answers(app)
        parameters = preset("gx").simulation.parameters
        x, q = preset("gx").simulation.start
        path = []
        for _ in range(3000):  # the map written out, by itself
            x, q = advance(parameters, x, q)
            path.append((x, q))
        end = np.array(path[-500:])
        leading, exact, orbit = found["leading"], found["exact"], found["orbit"]
        assert float(leading[0]) == 99.0
        assert float(leading[1]) == pytest.approx(0.01155, abs=5e-6)
        assert float(leading[3]) == pytest.approx(0.01)  # ηλ/2
        assert float(exact[0]) == pytest.approx(100 + end[:, 1].mean(), abs=5e-4)
        assert float(exact[1]) == pytest.approx(np.ptp(end[:, 0]) / 2, rel=1e-4)
        assert float(exact[2]) == pytest.approx(end[:, 0].mean(), rel=1e-4)
        assert float(exact[3]) == pytest.approx(0.00958, abs=5e-6)
        assert float(orbit[1]) == pytest.approx(0.0059, abs=5e-5)
        assert leading[5:] == ["underdamped", "0.250"]  # λ/(2√β A) = 1/(2·√3e4·0.011547)
        assert exact[5:] == ["2-cycle", "attracts"]
        assert orbit[5:] == ["at", "the", "2-cycle"]
        assert "✗ centre small fails: c² 1.0e-4, A² 1.3e-4" in text_of(app, "conditions")

    on_screen(tmp_path, check)


def test_levels_lie_where_theory_has_them() -> None:
    """2/η, 2/η − λ, and βα/λ − g where collapsed; the exact level only where it can be told apart."""

    def levels(view: OrbitView, kind: str) -> dict[str, float]:
        chart, _ = sharpness_chart(view, kind)
        return {
            curve.label.split()[0]: float(curve.y[0]) for curve in chart.curves if curve.extended
        }

    assert levels(view_of("damped"), "S") == pytest.approx({"2/η": 100.0, "2/η−λ": 99.5})
    assert levels(view_of("damped"), "y") == pytest.approx({"2/η": 0.0, "−λ": -0.5})
    assert levels(view_of("collapse"), "S") == pytest.approx(
        {"2/η": 100.0, "2/η−λ": 99.0, "rest": 97.0}
    )
    shown = levels(view_of("gx"), "y")
    assert shown["exact"] == pytest.approx(-1.03031, abs=5e-6)  # MATH §3.2
    (undecayed,) = levels(view_of("escape"), "S").values()
    assert undecayed == pytest.approx(25.0)


def test_the_bounce_is_two_strands_within_its_envelope() -> None:
    """Even steps solid, odd stippled, ±A of the envelope equations around them, in one unit."""
    view = view_of("damped")
    chart, title = bounce_chart(view, "linear")
    upper, lower, odd, even = chart.curves
    assert title == "bounce x in 1e-3"
    assert (odd.pattern, even.pattern) == ("stippled", "solid")
    assert odd.colour != even.colour
    np.testing.assert_allclose(even.y, view.orbit.x[::2] * 1e3)
    np.testing.assert_array_equal(odd.x, np.arange(1, 2001, 2))
    amplitude = np.sqrt(2 * (2 / 3e4 + (0.5**2 - 0.5) / 3e4))  # A² = 2(α + (λ² − λg)/β)
    assert upper.y[-1] / 1e3 == pytest.approx(amplitude, rel=1e-3)
    assert even.y[-1] / 1e3 == pytest.approx(amplitude, rel=1e-3)
    assert lower.y[-1] == pytest.approx(-upper.y[-1])
    # 2-cycle of leading order about a centre that isn't 0
    upper, lower, *_ = bounce_chart(view_of("gx"), "linear")[0].curves
    assert (upper.y[-1] + lower.y[-1]) / 2e3 == pytest.approx(-0.5 * 0.02 * 1 * 1, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_envelope_is_the_same_by_longer_steps(name: str) -> None:
    """As far as a chart could show, the equations solved one step at a time give the same."""
    view = view_of(name)
    at, amplitude = view.predicted
    finely = prediction(view.orbit)[0][at.astype(int)]
    assert len(at) < len(view.orbit.x) or name == "escape"
    np.testing.assert_allclose(amplitude, finely, atol=2e-3 * finely.max())


def test_an_escape_is_marked_and_flattens_nothing() -> None:
    """The step is the map's own; the charts end where S falls below −λ, from where nothing returns."""
    view = view_of("escape")
    p, (x, q) = view.parameters, preset("escape").simulation.start
    step, fell = 0, 0
    while abs(x) <= 1e15:
        x, q = advance(p, x, q)
        step += 1
        fell = fell or (step if 25 + q < 0 else 0)
    assert view.orbit.escape_step == step
    chart, _ = sharpness_chart(view, "S")
    assert [(mark.x, mark.text) for mark in chart.marks] == [(step, f"escaped at {step}")]
    ranged = [curve for curve in chart.curves if curve.ranged and not curve.extended]
    assert [len(curve.y) for curve in ranged] == [fell]
    grid = draw(chart, 60, 16, (0.0, 1200.0), StickyRange())
    ticks = [float(t) for t in re.findall(r"^ *(-?\d+)┤", grid.text(), re.MULTILINE)]
    assert max(ticks) <= 60
    assert min(ticks) >= -30
    holds = {monitor.name: monitor.holds for monitor in conditions(view)}
    assert holds == {
        "cycle exists": True, "cycle attracts": False, "underdamped": True, "centre small": True,
    }  # fmt: skip
    undefined = conditions(view_of("collapse"))
    assert [monitor.holds for monitor in undefined] == [False, None, None, None]


# --- planes -------------------------------------------------------------------------------------------


def test_the_portrait_shows_two_strands_with_signs_of_their_own() -> None:
    """Every odd state lies in a cell with ×, every even one in a cell with dots, ● or ○."""
    view = view_of("damped", steps=300)
    for unicode, sign, last in ((True, "×", "●"), (False, "x", "@")):
        plane, _ = Portrait().plane(view)
        grid = draw_plane(plane, 67, 22, unicode=unicode)
        left, right, bottom, top = plane.region
        x, y = view.orbit.x * 1e3, view.orbit.y
        column = 6 + np.floor((x - left) / (right - left) * 60).astype(int)
        row = np.floor((top - y) / (top - bottom) * 20).astype(int)
        odd = {chr(code) for code in grid.codes[row[1::2], column[1::2]]}
        even = {chr(code) for code in grid.codes[row[::2], column[::2]]}
        assert sign in odd
        assert sign not in even - odd
        assert odd <= {sign, last, "○", "O"}
        assert not odd & even - {last, "○", "O"}
        assert chr(grid.codes[row[-1], column[-1]]) == last
        if not unicode:
            assert {chr(c) for c in np.unique(grid.codes[:20, 6:66])} <= set(" .':|xO@")


def test_a_plane_leaves_out_what_it_cannot_show() -> None:
    """NaN and points outside are no dots; too small a room is blank."""
    points = np.array([[np.nan, 0.0], [5.0, 0.0], [0.5, 0.5]])
    plane = Plane((0.0, 1.0, 0.0, 1.0), strands=[Strand(points, "norm", "×")])
    assert draw_plane(plane, 47, 12).text().count("×") == 1
    assert draw_plane(plane, 8, 2).text().strip() == ""


@pytest.mark.parametrize("g_x", [0.0, 1.0])
def test_the_regime_map_is_what_orbits_do(g_x: float) -> None:
    """Iterated from beside the edge, points of a regime with one attractor end there."""
    fixed = (0.02, 2 / 3e4, 3e4, g_x, 0.0, None)
    region = (0.0, 1.0, 0.0, 6.0)
    shown = np.array(KINDS)[regimes(fixed, region, 12, 8)]
    decay, g = np.meshgrid((np.arange(12) + 0.5) / 12, 6 - (np.arange(8) + 0.5) / 8 * 6)
    grid = Parameters(0.02, decay, 2 / 3e4, 3e4, g, g_x)
    # long enough for the slowest: decay of the edge's own cells takes thousands of steps
    found = survey(grid, (1e-3, -1.0), 20_000).attractor
    settled = ~np.isin(found, ["unsettled", "escaped"])
    assert settled.mean() > 0.8
    assert set(shown[settled & (found == "cycle")].tolist()) <= {"cycle", "both"}
    assert set(shown[settled & (found == "collapsed")].tolist()) <= {"collapse", "both"}
    assert set(shown[settled & (found == "wandering")].tolist()) <= {"neither"}
    assert {"cycle", "collapse", "neither"} <= set(shown.ravel().tolist())


def test_the_regime_map_has_the_line_and_the_point() -> None:
    """The line is g = λ + βα/λ; ● lies in the cell of (λ, g)."""
    view = view_of("collapse")
    plane, title = RegimeMap().plane(view)
    (line,) = plane.curves
    np.testing.assert_allclose(line.x * (line.y - line.x), 2.0)  # λ(g − λ) = βα
    left, right, bottom, top = plane.region
    assert (left, bottom) == (0.0, 0.0)
    assert title.endswith("collapse")
    grid = draw_plane(plane, 47, 22)
    row, column = np.argwhere(grid.codes[:20, 6:46] == ord("●"))[0]
    assert column == int(1.0 / right * 40)
    assert row == int((top - 5.0) / top * 20)
    letters = {".": "collapse", "o": "cycle", "~": "neither", "%": "both"}
    kinds = np.array(KINDS)[plane.background.kinds(40, 20)]
    told = [
        (letters[chr(code)], kind)
        for code, kind in zip(grid.codes[:20, 6:46].ravel(), kinds.ravel(), strict=True)
        if chr(code) in letters
    ]
    assert len(told) > 600
    assert all(a == b for a, b in told)


def test_the_regime_map_is_computed_only_when_it_changes(tmp_path: Path) -> None:
    """Not for λ, g or a start inside the same axes; anew for η, α, β and g_x."""

    async def check(_: EostuiApp, pilot: Pilot) -> None:
        async def misses(*keys: str) -> int:
            before = regimes.cache_info().misses
            await pilot.press(*keys)
            await pilot.pause()
            return regimes.cache_info().misses - before

        assert await misses("left_curly_bracket") == 0
        assert await misses("greater_than_sign", "greater_than_sign", "up") == 0  # g
        assert await misses("greater_than_sign", "greater_than_sign", "up") == 0  # x at step 0
        assert await misses("right_square_bracket") == 1
        assert await misses("less_than_sign", "up") == 1  # g_x
        assert await misses("y") == 0

    on_screen(tmp_path, check)


def test_axes_of_the_map_stay_until_the_point_leaves() -> None:
    """A press doesn't move them; far away they follow, and never reach ηλ = 1."""
    regime_map = RegimeMap()
    first = regime_map.plane(view_of("damped"))[0].region
    assert regime_map.plane(view_of("damped", weight_decay=0.6, g=1.25))[0].region == first
    for values in ({"weight_decay": 3.0}, {"g": 100.0}, {"g": -3.0}, {"weight_decay": 49.0}):
        left, right, bottom, top = regime_map.plane(view_of("damped", **values))[0].region
        assert left <= values.get("weight_decay", 0.5) <= right < 50.0
        assert bottom <= values.get("g", 1.0) <= top


# --- settings -----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    st.sampled_from(["damped", "gx", "escape"]),
    st.floats(1e-3, 0.5),
    st.floats(0, 1.9),
    st.floats(-1e-2, 1e-2),
    st.floats(0, 1e6),
    st.floats(-100, 100),
    st.floats(-10, 10),
    st.floats(-10, 10),
)
def test_whatever_the_settings_something_is_drawn(
    name: str, eta: float, decay: float, alpha: float, beta: float, g: float, g_x: float, x: float
) -> None:
    """Orbits that escape at once, stand still or have no solution raise nothing and warn of nothing."""
    values = {"eta": eta, "weight_decay": decay, "alpha": alpha, "beta": beta, "g": g, "g_x": g_x}
    view = view_of(name, **values, x=x, steps=60)
    for kind in ("S", "y"):
        draw(sharpness_chart(view, kind)[0], 60, 12, (0.0, 60.0), StickyRange())
    for kind in ("linear", "symlog"):
        draw(bounce_chart(view, kind)[0], 60, 12, (0.0, 60.0), StickyRange())
    for plane in (Portrait().plane(view)[0], RegimeMap().plane(view)[0]):
        grid = draw_plane(plane, 60, 12)
        assert grid.text().strip()
        assert "nan" not in grid.text()
    assert len(conditions(view)) == len(CONDITIONS)


@given(st.sampled_from([-1.0, 1.0]), st.floats(1e-6, 1e6), st.sampled_from([-1, 1]))
def test_a_press_and_its_opposite_meet(sign: float, size: float, direction: int) -> None:
    """Away from 0 a press is a factor; through 0 it reaches the other sign."""
    value = sign * float(f"{size:.6g}")
    there = turned(value, direction, 1.25, 1e-7)
    assert (there - value) * direction > 0
    assert turned(there, -direction, 1.25, 1e-7) == pytest.approx(value, rel=1e-5)
    assert turned(turned(1e-7, -1, 1.25, 1e-7), -1, 1.25, 1e-7) == -1e-7
    assert WEIGHT_DECAY.turned(WEIGHT_DECAY.turned(WEIGHT_DECAY.start, -1), -1) == 0.0


def test_settings_are_changed_refused_and_undone() -> None:
    """A refused value changes nothing; undo goes back step by step, over presets too."""
    chosen = OscillatorSettings(preset("damped"))
    original = chosen.simulation
    for name, value in (
        ("eta", 0.0), ("eta", -1.0), ("weight_decay", -0.1), ("weight_decay", 50.0),
        ("beta", -1.0), ("alpha", float("nan")), ("steps", 0), ("steps", 2.5), ("x", 1e16),
    ):  # fmt: skip
        with pytest.raises(InputError, match="must be"):
            chosen.set(name, value)
        assert chosen.simulation == original
    chosen.set("g", 3.0)
    assert chosen.name == "oscillator-damped*"
    chosen.step_preset(1)
    assert chosen.name == "oscillator-escape"
    chosen.step_preset(-1)
    chosen.step_preset(-1)
    assert chosen.name == "oscillator-collapse"
    for _ in range(3):
        chosen.undo()
    assert chosen.value("g") == 3.0
    chosen.reset()
    assert chosen.simulation == original
    chosen.undo()
    chosen.undo()
    assert chosen.simulation == original
    with pytest.raises(InputError, match="no change"):
        chosen.undo()


def test_long_orbits_are_shown_in_part() -> None:
    """A preset of a million steps doesn't freeze the screen."""
    view = view_of("damped", steps=1_000_000)
    assert len(view.orbit.x) == 100_001


# --- keys ---------------------------------------------------------------------------------------------


@pytest.fixture
def behind(tmp_path: Path):
    """A running run without an engine's loop: what is asked of it stays to be read."""
    config = RunConfig.build({"preset": "made", "eta": 0.1, "weight_decay": 0.01}, "test")
    facts = {
        "config": config.to_toml(), "created": str(time.time()), "status": "running",
        "device": "cpu", "parameters": "10",
    }  # fmt: skip
    writer = RunWriter(tmp_path / "made-abcd", facts)
    rows = np.tile([1.0, 8.0, 8.0, 5.0, 0.1, 0.01], (51, 1))
    writer.steps(0, rows)
    writer.flush()
    yield writer
    writer.close()


READING = {
    "sharpness": 19.5, "sharpness_residual": 1e-4, "eig_2": 9.0, "beta": 2000.0, "beta_alpha": 0.5,
    "g": 40.0, "g_u": 0.25, "grad_norm": 0.1, "sharpness_gradient_u": 0.01, "gradient_u": 0.02,
}  # fmt: skip


def test_keys_act_on_the_screen_shown(tmp_path: Path, behind: RunWriter) -> None:
    """η and λ on the oscillator screen are the oscillator's: the run is asked for nothing."""

    async def check(app: EostuiApp, pilot: Pilot) -> None:
        for _ in range(20):
            await pilot.pause(0.1)
            if "RUNNING" in text_of(app, "title"):
                break
        await pilot.press("tab")
        assert "OSCILLATOR" in text_of(app, "title")
        assert "not the training's" in text_of(app, "title")
        assert "behind: made running, step 50" in text_of(app, "title")
        await pilot.press("right_square_bracket", "E", "left_square_bracket", "right_curly_bracket")
        assert "η 0.022" in text_of(app, "title")
        assert "λ 0.625" in text_of(app, "title")
        await pilot.press("e", *"2/50", "enter")
        assert "η 0.04" in text_of(app, "title")
        await pilot.press("u", "u", "W", "A", "n", "p", "r")
        assert commands.take(behind.path) == []
        assert "λ 0.5" in text_of(app, "title")
        await pilot.press("shift+tab", "right_square_bracket")
        ((_, asked),) = commands.take(behind.path)
        assert asked == {"kind": "set", "eta": pytest.approx(0.11)}

    on_screen(tmp_path, check, behind.path)


def test_what_theory_predicts_for_the_same_moment(tmp_path: Path, behind: RunWriter) -> None:
    """Before a measurement a message; then every parameter is the measured one."""

    async def check(app: EostuiApp, pilot: Pilot) -> None:
        await pilot.pause(0.5)
        await pilot.press("i")
        await pilot.pause()
        assert next(n.message for n in app._notifications).endswith("yet")
        assert type(app.screen).__name__ == "LiveScreen"
        behind.measurement(25, {**READING, "g": 1.0})
        behind.measurement(50, READING)
        behind.flush()
        await pilot.pause(0.5)
        await pilot.press("i")
        await pilot.pause(0.2)
        assert "made-abcd at step 50" in text_of(app, "title")
        assert "η 0.1  λ 0.01" in text_of(app, "title")
        shown = text_of(app, "settings")
        for part in ("α 0.00025", "β 2000", "g 40", "g_x 0.25", "y₀ -0.5", "S* 19.5"):
            assert part in shown
        await pilot.press("e", *"0.2", "enter")  # S at step 0 stays the network's
        assert "y₀ 9.5" in text_of(app, "settings")
        await pilot.press("r")
        assert "y₀ -0.5" in text_of(app, "settings")

    on_screen(tmp_path, check, behind.path)
    with Run(behind.path) as run:
        found = newest_reading(run, 100).simulation
    assert found.parameters == Parameters(0.1, 0.01, 0.5 / 2000, 2000.0, 40.0, 0.25, 0.0, 19.5)
    assert found.start == (pytest.approx(0.01 * np.sqrt(2 * 0.00025)), pytest.approx(0.0))


def test_a_typed_value_out_of_range_is_refused(tmp_path: Path) -> None:
    """A sentence, and everything as before; what isn't a number stays in its dialog."""

    async def check(app: EostuiApp, pilot: Pilot) -> None:
        before = text_of(app, "settings")
        for keys, sentence in (
            (("e", *"-1"), "`eta` is -1, but must be above 0"),
            (("w", *"50"), "`eta` × `weight_decay` is 1, but must be below 1"),
            (("greater_than_sign", "enter", *"-3"), "`beta` is -3, but must be at least 0"),
        ):
            await pilot.press(*keys, "enter")
            await pilot.pause()
            assert sentence in [n.message for n in app._notifications][-1]
            app.clear_notifications()
        await pilot.press("less_than_sign")
        assert text_of(app, "settings") == before
        await pilot.press("enter", *"two", "enter")
        assert "isn't a number" in text_of(app, "hint")
        await pilot.press("escape")
        assert text_of(app, "settings") == before

    on_screen(tmp_path, check)


def test_the_ring_of_screens(tmp_path: Path, behind: RunWriter) -> None:
    """tab goes round, shift+tab back; the landscape is passed by where there can't be one."""

    async def check(app: EostuiApp, pilot: Pilot) -> None:
        await pilot.pause(0.3)
        seen = []
        for key in ("tab", "tab", "shift+tab", "f3", "tab", "f2", "f4", "f4", "f3", "shift+tab"):
            await pilot.press(key)
            await pilot.pause()
            seen.append(type(app.screen).__name__.removesuffix("Screen"))
        assert seen == [
            "Oscillator", "Spectrum", "Oscillator", "Landscape", "Oscillator", "Live", "Oscillator",
            "Oscillator", "Landscape", "Live",
        ]  # fmt: skip
        await pilot.press("question_mark", "tab")
        assert type(app.screen).__name__ == "HelpScreen"

    on_screen(tmp_path, check, behind.path)


def test_help_and_palette_come_from_the_tables(tmp_path: Path) -> None:
    """Every key and every panel is in the help; the palette changes the oscillator, not the run."""

    async def check(app: EostuiApp, pilot: Pilot) -> None:
        offered = {command.title: command for command in app.get_system_commands(app.screen)}
        for key in OscillatorScreen.KEYS:
            assert key.text[0].upper() + key.text[1:] in offered
        offered["Λ of the oscillator × 1.25, from 0 too"].callback()
        offered["Next setting"].callback()
        await pilot.pause(0.1)
        assert "λ 0.625" in text_of(app, "title")
        await pilot.press("up")
        assert "β 37500" in text_of(app, "settings")
        await pilot.press("question_mark")
        await pilot.pause()
        help_text = " ".join(str(part.render()) for part in app.screen.query("Static"))
        for meaning in (*(panel.meaning for panel in PANELS), *CONDITIONS.values()):
            assert app.session.fill(meaning) in help_text
        for key in itertools.chain(*keys_by_group().values()):
            assert key.text in help_text
        await pilot.press("escape", "tab")
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert "The reduced oscillator" in titles
        assert "Next setting" not in titles

    on_screen(tmp_path, check)


# --- sizes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unicode", [True, False])
def test_sizes_and_views(tmp_path: Path, unicode: bool) -> None:
    """Four panels, one chosen by digits, text alone; S or y, linear or symlog; zoomed x."""

    async def check(app: EostuiApp, pilot: Pilot) -> None:
        assert all(app.screen.query_one(f"#{panel.name}").display for panel in PANELS)
        assert "S 99.50" in text_of(app, "sharpness")
        braille = [char for char in text_of(app, "portrait") if "⠀" < char <= "⣿"]
        assert bool(braille) == unicode
        await pilot.press("y", "2", "y")
        assert "y = S − 2/η" in text_of(app, "sharpness")
        assert "(symlog)" in text_of(app, "x")
        await pilot.press("plus", "plus")
        assert "1.8k" in text_of(app, "x")
        await pilot.press("left", "0")
        assert "500" in text_of(app, "x")
        await pilot.resize_terminal(80, 24)
        await pilot.pause(0.1)
        await pilot.press("4")
        await pilot.pause(0.1)
        shown = [panel.name for panel in PANELS if app.screen.query_one(f"#{panel.name}").display]
        assert shown == ["regimes"]
        assert "4 regimes" in text_of(app, "tabs")
        assert max(map(len, text_of(app, "answers").splitlines())) <= 80
        assert answers(app)["orbit"][5:] == ["at", "the", "2-cycle"]
        await pilot.resize_terminal(20, 5)
        await pilot.pause(0.1)
        assert "S 99.5 exact 99.5" in text_of(app, "values")
        await pilot.press("p")
        assert "S 97" in text_of(app, "values")
        assert "collapsed" in text_of(app, "values")

    on_screen(tmp_path, check, unicode=unicode)


def test_ticks_are_never_cut_to_another_number() -> None:
    """Where a tick's text doesn't fit it drops its zero, or says nothing."""
    assert tick_texts([-0.025, 0.0125, -2.5e-3, 100.0], 5) == [
        "-.025", ".0125", "", "100",
    ]  # fmt: skip
    curve = Curve(np.arange(2.0), np.array([-0.03, 0.03]), "loss")
    text = draw(Chart([curve]), 50, 14, (0.0, 1.0), StickyRange()).text()
    ticks = [float(t) for t in re.findall(r"^ *([-.\d]+)┤", text, re.MULTILINE)]
    assert len(ticks) >= 3
    np.testing.assert_allclose(np.diff(ticks, 2), 0, atol=1e-12)


def test_the_same_chart_is_drawn_after_coming_back(tmp_path: Path) -> None:
    """What changed while another size hid a chart is seen when it is shown again."""

    async def check(app: EostuiApp, pilot: Pilot) -> None:
        await pilot.press("z", "right_square_bracket", "z")
        await pilot.pause(0.1)
        widget = app.screen.query_one("#x", ChartWidget)
        assert "A " in "".join(widget.render_line(row).text for row in range(widget.size.height))
        # 2/η moved from 100 to 90.9
        assert "2/η 90.91" in text_of(app, "sharpness")

    on_screen(tmp_path, check)


# --- a real terminal ----------------------------------------------------------------------------------


def test_simulate_live(tmp_path: Path) -> None:
    """Opens on the screen with the changed settings, without a training; leaves at q."""
    terminal = Terminal(
        "simulate", "oscillator-gx", "--g", "2/4", "--live",
        cwd=tmp_path, EOSTUI_RUNS=str(tmp_path / "runs"),
    )  # fmt: skip
    amplitude = two_cycles(preset("gx", g=0.5).simulation.parameters).amplitude[0]
    terminal.wait_for("phase portrait", r"g 0\.5 ", re.escape(f"{amplitude:.5g}"))
    terminal.send("\x1b[C\x1b[A")  # right, up: α
    terminal.wait_for(r"α 8\.3333e-5")
    terminal.resize(80, 24)
    terminal.wait_for("1 sharpness  2 x")
    terminal.send("\x13")
    terminal.wait_for("picture in")
    assert (tmp_path / "oscillator.svg").read_text(encoding="utf-8").startswith("<svg")
    terminal.send("q")
    assert terminal.exit_code() == 0
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--json"], "leave out --grid, --csv and --json"), ([], "needs a terminal")],
)
def test_simulate_live_is_a_screen(arguments: list[str], sentence: str) -> None:
    """Exit code 2 with one sentence."""
    done = subprocess.run(
        [sys.executable, "-m", "eostui", "simulate", "--live", *arguments],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
