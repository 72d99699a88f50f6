"""What is on the screen belongs together: legends, monitors, strips and titles are of what is drawn."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import facts
from shown import SIZES, on_screen, settled
from textual.pilot import Pilot
from textual.widgets import OptionList

from eostui.charts.chart import Chart, Curve
from eostui.charts.numbers import compact, tick_texts
from eostui.charts.picture import draw
from eostui.charts.scales import Scale, StickyRange, linear_ticks
from eostui.panels import PANELS
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter
from eostui.tui.app import EostuiApp
from eostui.tui.session import Watch
from eostui.tui.widgets.chart import ChartWidget, fitting
from eostui.tui.window import Window

STRIPS = ("phases", "signs", "holds")
LABEL = re.compile(r"(·?)(2/η−λ|2/η|Lλ|test|‖θ‖|βα|λg|[SκLq]) (\S+)( [↑↓])?")


def rows(first: int, last: int, steered: int = 10**9) -> np.ndarray:
    """Stored rows in closed form: L bounces from step 300 on, λ is .001 from `steered` on."""
    t = np.arange(first, last + 1)
    loss = 2 / (1 + t / 50) + np.where(t >= 300, 0.05 * (-1.0) ** t, 0.0)
    norm = 5 + t / 100
    decay = np.where(t >= steered, 0.001, 0.0)
    return np.stack([loss, norm, norm, 4 + t / 50, np.full(len(t), 0.1), decay], axis=1)


def measurement(step: int) -> dict[str, float]:
    return {
        "sharpness": 10 + step / 100, "sharpness_residual": 1e-4, "eig_2": 9.0, "beta": 100.0,
        "beta_alpha": 1 + step / 100, "g": 50.0, "g_u": 0.1, "grad_norm": 0.1, "sharpness_gap": 1.0,
        "sharpness_gradient_u": 1e-4 * step, "gradient_u": 0.5, "test_loss": 3 + step / 100,
        "test_accuracy": step / 1000,
    }  # fmt: skip


def make(
    path: Path, steps: int, *, steered: int = 10**9, first: int = 0, **others: str
) -> RunWriter:
    writer = RunWriter(path, facts(steps, **others))
    writer.event(0, "started")
    grow(writer, first, steps, steered)
    for step, phase in ((0, "sharpening"), (300, "edge")):
        if step <= steps:
            writer.event(step, "phase", {"from": None, "to": phase, "step": step, "why": "made so"})
    if steered <= steps:
        writer.event(steered, "control", {"weight_decay": [0.0, 0.001]})
    return writer


def grow(writer: RunWriter, first: int, last: int, steered: int = 10**9) -> None:
    writer.steps(first, rows(first, last, steered))
    for step in range(-(-first // 25) * 25, last + 1, 25):
        writer.measurement(step, measurement(step))
    writer.flush()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run of 600 steps."""
    path = tmp_path / "runs" / "made-aaaa"
    make(path, 600).close()
    return path


def chart(app: EostuiApp, name: str) -> ChartWidget:
    return app.first.query_one(f"#{name}", ChartWidget)


def labels(app: EostuiApp, name: str) -> dict[str, str]:
    """What stands to the right of a chart's plot: names and values."""
    widget = chart(app, name)
    left, columns = widget.plot
    beside = left - widget.content_region.x + columns + 1
    texts = [line[beside:].strip() for line in widget._grid.text().splitlines()]
    found = [LABEL.fullmatch(text) for text in texts]
    return {match[1] + match[2]: match[3] for match in found if match}


def text_of(app: EostuiApp, name: str) -> str:
    return app.first.query_one(f"#{name}").render().plain  # type: ignore[attr-defined]


def expected(run: Run, right: int) -> dict[str, str]:
    """The values of the curves at a step: of the newest rows up to there."""
    row = np.searchsorted(run.measured["step"], right, side="right") - 1
    steps, measured = run.steps, run.measured
    blocks = (min(right, run.last_step) - 12) // 25 + 1  # of those whose middle row is in sight
    blocks = min(blocks, (run.last_step) // 25)
    median = np.median(steps["path_curvature"][(blocks - 1) * 25 : blocks * 25])
    values = {
        "S": measured["sharpness"][row], "2/η": 20.0, "κ": median, "L": steps["loss"][right],
        "test": measured["test_loss"][row], "‖θ‖": steps["theta_norm"][right],
        "λg": measured["lambda_g"][row],
    }  # fmt: skip
    return {name: compact(float(value)) for name, value in values.items()}


async def shown_values(app: EostuiApp, pilot: Pilot[str]) -> dict[str, str]:
    """The labels of all four panels, at any size."""
    found: dict[str, str] = {}
    for index, panel in enumerate(PANELS[:4]):
        await pilot.press(str(index + 1))
        await settled(pilot)
        found |= labels(app, panel.name)
    return found


@pytest.mark.parametrize(
    ("size", "other", "flow_time"),
    [
        (SIZES[0], False, False),
        (SIZES[0], True, True),
        (SIZES[1], True, False),
        (SIZES[1], False, True),
    ],
)
def test_values_beside_curves_are_those_where_the_curves_end(
    path: Path, size: tuple[int, int], other: bool, flow_time: bool
) -> None:
    """Of all of the run, zoomed and panned: at the last step, and at the right end of x."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        run = Run(path)
        if other:
            for index in range(4):
                await pilot.press(str(index + 1), "y")
        if flow_time:
            await pilot.press("t")
        for keys in ([], ["plus", "left", "left"], ["plus", "left"], ["minus", "left"]):
            await pilot.press(*keys)
            await settled(pilot)
            right = app.first.window.right * (10 if flow_time else 1)
            if app.first.window.following:
                right = run.last_step
            wanted = expected(run, int(right + 1e-6))
            found = await shown_values(app, pilot)
            assert {name: found.get(name) for name in wanted} == wanted

    on_screen(path, check, size)


def test_values_of_another_run_end_there_too(path: Path) -> None:
    """Of a run laid under this one, and the monitors are those of this one at that step."""
    make(path.with_name("made-bbbb"), 600, steered=200, name="with decay").close()
    lower = Run(path.with_name("made-bbbb"))

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("o")
        while not app.screen.query(OptionList):
            await pilot.pause(0.05)
        await pilot.press("enter")
        await pilot.press("plus", "left", "left", "1")
        await settled(pilot)
        right = int(app.first.window.right)
        assert right < 600
        found = await shown_values(app, pilot)
        assert found["·L"] == compact(float(lower.steps["loss"][right]))
        assert found["·‖θ‖"] == compact(float(lower.steps["theta_norm"][right]))
        assert found["·S"] == compact(10 + (right // 25) * 0.25)

    on_screen(path, check)


@pytest.mark.parametrize("size", SIZES)
def test_monitors_and_readings_are_of_the_step_they_name(path: Path, size: tuple[int, int]) -> None:
    """Panned away they say of when they are; the title says it too, and tells the present."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        name = "monitors" if size[0] == 120 else "holds"
        assert "at step" not in text_of(app, name)
        await pilot.press("plus", "left", "left", "left")
        await settled(pilot)
        right = int(app.first.window.right)
        told = text_of(app, name)
        assert f"at step {right}" in told
        if name == "monitors":
            assert f"{1e-4 * (right // 25 * 25):.2g}" in told
            assert f"test accuracy {right // 25 * 25 / 10:.0f} %" in told
            assert f"‖θ‖ {compact(5 + right / 100)}" in told
        title = text_of(app, "title")
        assert "EDGE" in title
        assert "step 600" in title
        assert f"view up to step {right}" in title
        await pilot.press("0")
        await settled(pilot)
        assert "at step" not in text_of(app, name)

    on_screen(path, check, size)


def test_a_tiny_terminal_tells_the_values_of_the_view(path: Path) -> None:
    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        assert text_of(app, "values").splitlines()[1] == "S 16.0 2/η 20.0"
        await pilot.press("plus", "left", "left")
        await settled(pilot)
        right = int(app.first.window.right)
        lines = text_of(app, "values").splitlines()
        assert lines[0] == f"at step {right}"
        assert lines[1] == f"S {compact(10 + (right // 25) * 0.25)} 2/η 20.0"

    on_screen(path, check, (20, 5))


def test_a_frozen_view_stays_whole(tmp_path: Path) -> None:
    """While the run goes on nothing but the title changes, and panning shows the steps of then."""
    path = tmp_path / "runs" / "made-live"
    writer = make(path, 400, status="running")

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("v")
        await settled(pilot)
        before = await shown_values(app, pilot)
        texts = [text_of(app, name) for name in ("signs", "phases")]
        grow(writer, 401, 900)
        while app.session.view.newest.last_step < 900:
            await pilot.pause(0.05)
        await pilot.pause(0.5)  # texts are redrawn a few times a second
        assert await shown_values(app, pilot) == before
        assert [text_of(app, name) for name in ("signs", "phases")] == texts
        assert "at step 400" in text_of(app, "monitors")
        assert "step 900" in text_of(app, "title")
        assert app.first.last_x == 400
        await pilot.press("plus", "left")
        await settled(pilot)
        found = await shown_values(app, pilot)
        wanted = expected(Run(path).until(400), int(app.first.window.right))
        assert {name: found.get(name) for name in wanted} == wanted
        await pilot.press("0", "v")
        await settled(pilot)
        assert (await shown_values(app, pilot))["‖θ‖"] == "14.0"
        assert "at step" not in text_of(app, "monitors")

    on_screen(path, check)
    writer.close()


def test_a_playback_tells_the_values_at_its_cursor(path: Path) -> None:
    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("space", "home")
        for _ in range(20):
            await pilot.press("right")
        await settled(pilot)
        step = app.session.view.run.last_step
        assert 0 < step < 600
        assert (await shown_values(app, pilot))["‖θ‖"] == compact(5 + step / 100)
        await pilot.press("v", "right", "right")
        await settled(pilot)
        assert (await shown_values(app, pilot))["‖θ‖"] == compact(5 + step / 100)

    on_screen(Watch(path, 1.0), check)


@given(
    st.lists(st.sampled_from(["left", "right", "in", "out", "follow", "all"]), max_size=30),
    st.floats(1, 5000),
    st.floats(1, 3),
    st.sampled_from([1.0, 0.1, 0.013]),
)
def test_x_stays_between_step_0_and_the_end(
    keys: list[str], last: float, farther: float, unit: float
) -> None:
    """Whatever is pressed: nothing before 0; beyond the end no more than following needs."""
    window, last = Window(), last * unit
    end = last * farther
    for key in keys:
        if key in ("left", "right"):
            before = window.range(end if window.span is None else last, unit)
            window.pan(1 if key == "right" else -1, last, unit, end)
            after = window.range(end if window.span is None else last, unit)
            assert after[0] <= before[0] or key == "right"
            assert after[0] >= before[0] or key == "left"
            assert after[1] <= max(end, before[1]) * (1 + 1e-12)
        elif key in ("in", "out"):
            window.scale(-1 if key == "in" else 1, last, unit, end)
        elif key == "follow":
            window.follow()
        else:
            window.show_all()
        left, right = window.range(end if window.span is None else last, unit)
        assert 0 <= left < right
        assert window.following or right <= max(end, right - left)


def test_panning_ends_at_both_ends(path: Path) -> None:
    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("left")  # all is shown: there is nothing to the left
        assert app.first.window.following
        await pilot.press("plus", "plus", *["left"] * 30)
        assert app.first.x_range()[0] == 0
        await pilot.press(*["right"] * 30)
        assert app.first.x_range()[1] == 600

    on_screen(path, check)


@pytest.mark.parametrize("size", [*SIZES, (100, 30), (137, 41), (60, 16)])
def test_strips_share_the_axis_of_the_chart_above(path: Path, size: tuple[int, int]) -> None:
    """The column at which the phase changes is that of its step in the chart, to the cell."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        for keys in (["1"], ["plus"], ["left"], ["t"], ["plus"]):
            await pilot.press(*keys)
            await settled(pilot)
            left, columns = chart(app, "sharpness").plot
            x0, x1 = app.first.x_range()
            at = 30.0 if app.session.view.flow_time else 300.0
            above = chart(app, "sharpness")._grid.codes[0].tolist()
            assert chr(above[left - chart(app, "sharpness").content_region.x - 1]) in "│┤"
            begins = int((at - x0) / (x1 - x0) * columns)
            up = int((at * 299 / 300 - x0) / (x1 - x0) * columns)  # the step that leads there
            signs, ups = text_of(app, "signs").splitlines()
            for line, before, after, column in (
                (text_of(app, "phases"), "S", "E", begins),
                (signs, "▼ ", "▲◆▼", up),
                (ups, "▁", "▂▃▄▅▆▇█", up),
            ):
                if not line:  # too low for the band
                    continue
                cells = line[left : left + columns]
                if 0 < column < columns:
                    assert set(cells[:column]) <= set(before)
                    assert cells[column] in before + after
                    assert set(cells[column + 1 :].rstrip()) <= set(after + before[1:])
            assert max(map(len, text_of(app, "signs").splitlines())) <= size[0]

    on_screen(path, check, size)


def test_signs_are_single_steps_where_a_column_has_one(path: Path) -> None:
    """Zoomed in, each step's sign stands where the step is, and the steps beside end with the view."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press(*["plus"] * 6, "left", "left", "left", "left")
        await settled(pilot)
        left, columns = chart(app, "sharpness").plot
        x0, x1 = app.first.x_range()
        assert x1 - x0 < columns
        change = app.session.view.run.steps["loss_step_regularized"]
        cells = text_of(app, "signs").splitlines()[0][left : left + columns]
        wanted = [" "] * columns
        for step in range(int(np.ceil(x0)), int(x1) + 1):
            place = min(int((step - x0) / (x1 - x0) * columns), columns - 1)
            wanted[place] = "▲" if change[step] > 0 else "▼"
        assert len(set(wanted)) == 3
        assert cells == "".join(wanted)
        beside = text_of(app, "signs").splitlines()[0][left + columns :]
        last = re.search(r"[▲▼]+", beside)[0]
        end = int(x1) - 1
        ups = change[end - len(last) + 1 : end + 1] > 0
        assert last == "".join("▲" if up else "▼" for up in ups)

    on_screen(path, check)


@pytest.mark.parametrize("size", [*SIZES, (20, 5)])
def test_nothing_of_a_run_is_left_once_it_is_replaced(path: Path, size: tuple[int, int]) -> None:
    """As by r and n: charts, legends, strips, monitors, title and messages; then another run's alone."""
    make(path.with_name("made-bbbb"), 600, steered=200, name="other").close()

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("plus", "left")
        app.session.show_progress("starting: 3 of 9")
        app.notify("a message of this run")
        await settled(pilot)
        app.session.let_go()
        app.session.show_message("digits-mlp: starting")
        await settled(pilot)
        for name in (*STRIPS, "monitors", "values"):
            assert text_of(app, name) == ""
        assert text_of(app, "title").strip() == "digits-mlp: starting"
        assert not app._notifications
        for panel in PANELS:
            widget = chart(app, panel.name)
            if widget.display and widget.size.width:
                assert widget._grid.text().strip() in ("digits-mlp: starting", "")
                assert widget.border_title == panel.name
                assert not widget.border_subtitle
        await app.session.open(path.with_name("made-bbbb"))
        await settled(pilot)
        assert "run other" in text_of(app, "title") or size[0] < 80
        assert "⋯" not in text_of(app, "title")
        assert app.first.window == Window()

    on_screen(path, check, size)


def test_the_list_of_runs_names_them_and_tells_how_they_were_steered(path: Path) -> None:
    make(path.with_name("made-bbbb"), 600, steered=200, name="with decay").close()
    make(path.with_name("made-cccc"), 50).close()
    steered = make(path.with_name("made-dddd"), 300)
    steered.event(100, "control", {"eta": [0.1, 0.2]})
    steered.steps(301, np.array([[1.0, 5.0, 5.0, 4.0, 0.2, 0.0]]))
    steered.close()

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("o")
        while not app.screen.query(OptionList):
            await pilot.pause(0.05)
        found = app.screen.query_one(OptionList).options
        told = {option.id: str(option.prompt) for option in found}
        assert told["made-bbbb"].startswith("with decay ")
        assert "η 0.1  λ 0→.001" in told["made-bbbb"]
        assert told["made-cccc"].startswith("made-cccc ")
        assert "η 0.1  λ 0" in told["made-cccc"]
        assert "→" not in told["made-cccc"]
        assert "η .1→.2  λ 0" in told["made-dddd"]

    on_screen(path, check)


@pytest.mark.parametrize("size", SIZES)
def test_messages_lie_over_the_key_bar_and_not_in_pictures(
    path: Path, size: tuple[int, int]
) -> None:
    """Where one takes a line nothing else is covered; however many there are, no chart is."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        app.clear_notifications()
        app.notify("there is nothing to undo")
        await settled(pilot)
        assert _covered(app) == {"keys"}
        for count in range(6):
            app.notify(
                f"message {count}, of some length, so that it takes more than a line of them: "
                "said of a run whose name is long"
            )
        await settled(pilot)
        assert len(app.screen.query("Toast")) == 7
        assert _covered(app) <= {"keys", "holds", "signs", "cosines"}
        await pilot.press("ctrl+s")
        await settled(pilot)
        (picture,) = Path.cwd().glob("made-aaaa-600.svg")
        drawn = picture.read_text(encoding="utf-8")
        assert "message" not in drawn
        assert ">sharpness<" in drawn
        assert any("picture in" in each.message for each in app._notifications)
        assert app.screen.query_one("ToastRack").display

    before = Path.cwd()
    os.chdir(path.parent)
    try:
        on_screen(path, check, size)
    finally:
        os.chdir(before)


@pytest.mark.parametrize("size", [*SIZES, (60, 16), (44, 12)])
def test_the_axis_says_what_it_counts(path: Path, size: tuple[int, int]) -> None:
    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        for counts, keys in (("steps", []), ("flow time", ["t"]), ("steps", ["t"])):
            await pilot.press(*keys)
            await settled(pilot)
            assert chart(app, "sharpness")._grid.text().splitlines()[-2].rstrip().endswith(counts)

    on_screen(path, check, size)


@given(st.floats(0, 1e7), st.floats(1, 1e6), st.integers(2, 20))
def test_steps_have_whole_ticks_that_tell_themselves_apart(
    left: float, span: float, most: int
) -> None:
    """Each text is its tick's value to the last digit, and that is a whole number of steps."""
    ticks = linear_ticks(left, left + span, most, whole=True)
    assert all(tick == round(tick) for tick in ticks)
    texts = tick_texts(ticks)
    values = [float(text.replace("k", "e3")) for text in texts]
    assert values == pytest.approx(ticks, rel=1e-9)
    assert len(ticks) <= most + 1


@pytest.mark.parametrize("eta", [0.15, 0.1, 1 / 3, 0.07, 2e-4])
def test_flow_time_has_round_ticks_and_a_round_end(eta: float) -> None:
    """Sums of η over many steps miss a round number by their rounding: the axis doesn't jump for it."""
    time = float(np.cumsum(np.full(4000, eta))[-1])
    left, right = Window().range(time, eta)
    assert right <= 1.5 * time
    if abs(time / 600 - round(time / 600)) < 1e-9:
        assert right == pytest.approx(time)
    ticks = linear_ticks(left, right, 6)
    steps = np.diff(ticks)
    power = 10 ** np.floor(np.log10(steps[0]))
    assert round(steps[0] / power, 9) in (1, 2, 2.5, 5, 10)


@pytest.mark.parametrize("kind", ["log", "linear"])
@pytest.mark.parametrize("above", ["test", "Lλ"])
def test_another_loss_does_not_flatten_the_zoomed_one(kind: str, above: str) -> None:
    """Zoomed to where L changes by a hundredth it fills the chart; of all of x both are seen."""
    x = np.arange(1000.0)
    loss = 0.0370 + 0.9 * np.exp(-x / 60)
    other = Curve(x, loss + 0.5, "test", "dotted", above, yields="flattening")
    curves = Chart([other, Curve(x, loss, "loss", label="L")], Scale(kind))

    def height(colour: str, left: float) -> int:
        grid = draw(curves, 90, 24, (left, 1000), StickyRange())
        return len(set(np.nonzero(grid.colours[:22, 6:78] == colour)[0].tolist()))

    assert height("loss", 250) > 22 / 2
    assert height("loss", 0) > 22 / 3
    assert height("test", 0) > 1
    text = draw(curves, 90, 24, (250, 1000), StickyRange()).text()
    assert ("test 0.54 ↑" if above == "test" else "Lλ 0.537 ↑") in text


@pytest.mark.parametrize("room", range(10, 90, 3))
def test_titles_fit(room: int) -> None:
    """The last parts are left out, whole."""
    parts = ("oscillator q, √β x (symlog)", "agreed for 212 steps", "C re-seats", "━ measured")
    text = fitting(parts, room)
    assert text.startswith(parts[0])
    assert text == parts[0] or len(text) <= room
    assert text in [" · ".join(parts[:count]) for count in range(1, 5)]
    if room >= 56:  # of a chart of a terminal of 120 columns
        assert text.startswith("oscillator q, √β x (symlog) · agreed for 212 steps")


@pytest.mark.parametrize(
    ("size", "unicode"), [(SIZES[0], True), (SIZES[1], False), ((20, 5), True)]
)
@pytest.mark.parametrize("what", ["one step", "no step", "nan", "infinite", "all nan"])
def test_odd_runs_at_every_size(
    tmp_path: Path, size: tuple[int, int], unicode: bool, what: str
) -> None:
    """A run of a step, of its start alone, and such as end in what isn't finite: drawn, and told."""
    path = tmp_path / "runs" / "made-odd"
    steps = {"one step": 1, "no step": 0}.get(what, 300)
    writer = RunWriter(path, facts(max(steps, 1)))
    drawn = rows(0, steps)
    if what in ("nan", "infinite"):
        drawn[-1, :2] = np.nan if what == "nan" else np.inf
    elif what == "all nan":
        drawn[:, :4] = np.nan
    writer.steps(0, drawn)
    for step in range(0, steps + 1, 25):
        values = measurement(step)
        if step == 300 or what == "all nan":
            values = dict.fromkeys(values, np.nan)
        writer.measurement(step, values)
    writer.close()

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        for keys in ([], ["y"], ["t"], ["plus"], ["left"], ["v"], ["5"], ["4", "z"]):
            await pilot.press(*keys)
            await settled(pilot)
            assert app.screen is app.first
        await pilot.press("0", "1", "z")
        if what in ("nan", "infinite") and size[0] > 20:
            await pilot.press("t")
            found = await shown_values(app, pilot)
            assert found["S"] == "12.8"  # of step 275, the last that could be measured
            assert found["‖θ‖"] == compact(5 + 299 / 100)

    on_screen(path, check, size, unicode=unicode)


def _covered(app: EostuiApp) -> set[str]:
    """Return the widgets of the first screen, charts and lines, over which a message lies."""
    toasts = [app.screen.find_widget(each).visible_region for each in app.screen.query("Toast")]
    return {
        str(widget.id)
        for widget in app.first.query("TextBar, PhaseBand, CosineStrip, SignRaster, ChartWidget")
        if any(toast and widget.display and widget.region.overlaps(toast) for toast in toasts)
    }
