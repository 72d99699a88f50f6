"""The live screen: four linked charts, the signs, the monitors, and what steers them."""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container

from eostui.charts.numbers import compact, control, grouped, percent
from eostui.charts.palette import COLOURS, PHASE_COLOURS
from eostui.panels import PANELS
from eostui.panels.oscillator import agreement
from eostui.panels.overlay import legend, short
from eostui.panels.panel import Panel, chart_of, in_last_place, title_of
from eostui.panels.view import RunView, is_bouncing
from eostui.runs.analysis.monitors import monitors
from eostui.runs.run import Run
from eostui.tui.keys import Hints, training_hints
from eostui.tui.screens.linked import LinkedCharts
from eostui.tui.steering import current_controls
from eostui.tui.widgets.bars import (
    TextBar,
    fields_line,
    key_line,
    monitor_line,
    monitor_lines,
    tabs_line,
)
from eostui.tui.widgets.chart import ChartWidget
from eostui.tui.widgets.cosine import CosineStrip
from eostui.tui.widgets.phases import PhaseBand
from eostui.tui.widgets.signs import SignRaster
from eostui.tui.widgets.strips import XAxis
from eostui.tui.window import Window

#: From this height on there is a row for the band of phases; below, the title alone tells the phase.
_BAND_HEIGHT = 20
_STATE_SIGNS = {
    "running": "●", "paused": "‖", "finished": "✓", "stopped": "■", "playing": "▶", "held": "‖",
}  # fmt: skip
#: Seconds over which the speed is taken.
_SPEED_WINDOW = 3.0
#: Seconds between frames of the title, the signs and the readings.
_TEXTS_EVERY = 0.3


class LiveScreen(LinkedCharts):
    """Shows one run; the application feeds it with `show_run` and `refresh_run`."""

    def __init__(self, *, unicode: bool) -> None:
        super().__init__([panel.name for panel in PANELS], unicode=unicode)
        self.view: RunView | None = None
        self.message = "starting"
        self.progress = ""
        self._corner: Panel | None = None
        self._speed: deque[tuple[float, int]] = deque()
        self._texts_drawn = 0.0

    def compose(self) -> ComposeResult:
        """Lay out title, tabs, charts, signs, monitors and keys; CSS classes choose what shows."""
        yield TextBar(id="title")
        yield TextBar(id="tabs")
        with Container(id="charts"):
            for panel in PANELS:
                if panel.own_place:
                    yield ChartWidget(unicode=self._unicode, id=panel.name)
            with Container(id="side"):
                for panel in PANELS:
                    if not panel.own_place:
                        yield ChartWidget(unicode=self._unicode, id=panel.name)
                yield TextBar(id="monitors")
        yield PhaseBand(id="phases")
        yield CosineStrip(unicode=self._unicode, id="cosines")
        yield SignRaster(unicode=self._unicode, id="signs")
        yield TextBar(id="holds")
        yield TextBar(id="keys")
        yield TextBar(id="values")

    def show_message(self, message: str) -> None:
        """Say what is going on while there is no run to show; nothing of the last one stays."""
        if self.view is not None:
            self.app.clear_notifications()
        self.view, self.message, self.progress = None, message, ""
        self._speed.clear()
        if self.is_mounted:
            self.relayout()
        self.draw()

    def show_progress(self, text: str) -> None:
        """Say in the title what an engine on its way does, while a run is shown; "" for none."""
        self.progress = text
        self._draw_title()

    def show_run(self, view: RunView) -> None:
        """Show another run, from its start; nothing of the last one stays."""
        if self.view is not None:
            self.app.clear_notifications()
        flow_time = self.view.flow_time if self.view else False
        self.view, self.window, self.progress = view, Window(), ""
        view.flow_time = flow_time
        self._speed.clear()
        for panel in PANELS:
            self.query_one(f"#{panel.name}", ChartWidget).forget()
        self.relayout()

    def refresh_run(self) -> None:
        """Redraw after the run gained rows."""
        if self._corner_panel() != self._corner:
            self.relayout()
        if self.view is not None and not self.view.frozen:
            self._draw_charts(self._x_range())
        self.refresh_texts()

    def refresh_texts(self) -> None:
        """Redraw what changes at every step, a few times a second: it would cost most of the bytes.

        Called on every tick, so that the last state is shown, whether rows came or not.
        """
        now = time.monotonic()
        if self.view is None or now - self._texts_drawn < _TEXTS_EVERY:
            return
        self._texts_drawn = now
        self._measure_speed(self.view.newest.last_step)
        x_range = self._x_range()
        self._draw_title()
        self._draw_texts(self.view, x_range)

    def relayout(self) -> None:
        """Choose the layout; the side has the fourth chart and the monitors."""
        super().relayout()
        self.set_class(self.size.height < _BAND_HEIGHT, "-short")
        single = self.has_class("-single")
        self._corner = self._corner_panel()
        focused = PANELS[self.focused_panel]
        for panel in PANELS:
            if not panel.own_place:
                hidden = panel is not (focused if single else self._corner)
                self.query_one(f"#{panel.name}").set_class(hidden, "-hidden")
        self.query_one("#side").set_class(single and focused.own_place, "-hidden")

    def _corner_panel(self) -> Panel:
        """Return which panel has the place that several share: the focused one, or the last claimant."""
        return in_last_place(PANELS, self.view, PANELS[self.focused_panel])

    @property
    def last_x(self) -> float:
        """Position of the newest step that is drawn."""
        x = self.view.x if self.view else np.empty(0)
        return float(x[-1]) if len(x) else 0.0

    @property
    def x_unit(self) -> float:
        """Length of one step on the x axis."""
        if self.view is None or not self.view.flow_time:
            return 1.0
        return current_controls(self.view.run)[0]

    @property
    def end_of_x(self) -> float:
        """How far the whole of x reaches: to the newest step, that of another run too."""
        if self.view is None or self.view.overlay is None:
            return self.last_x
        return float(max([self.last_x, *self.view.overlay.view.x[-1:]]))

    def action_toggle_axis(self) -> None:
        """Step or flow time as x."""
        if self.view is not None:
            self.view.toggle_axis()
            self.window.show_all()
            self.draw()

    def action_freeze(self) -> None:
        """Freeze or thaw the view."""
        if self.view is not None:
            self.view.freeze(frozen=not self.view.frozen)
            self.draw()

    def draw(self) -> None:
        """Draw everything that is visible."""
        if not self.is_mounted:
            return
        x_range = self._x_range()
        self._draw_title()
        names = [panel.name for panel in PANELS]
        self.query_one("#tabs", TextBar).show(tabs_line(names, self.focused_panel))
        self._draw_charts(x_range)
        if self.view is not None:
            self._draw_texts(self.view, x_range)
            return
        for name in ("#phases", "#cosines", "#signs", "#monitors", "#holds", "#values"):
            self.query_one(name, TextBar).show(Text())

    def _draw_charts(self, x_range: tuple[float, float]) -> None:
        if self.has_class("-tiny"):
            return
        for index, panel in enumerate(PANELS):
            widget = self.query_one(f"#{panel.name}", ChartWidget)
            if widget.has_class("-hidden"):
                continue
            if self.view is None:
                widget.show_waiting(self.message, panel.name)
                continue
            kind = panel.scales[self._scale_choice[index] % len(panel.scales)]
            chart, title = chart_of(panel, self.view, kind), title_of(panel, self.view, kind)
            widget.show(chart, x_range, title, self._legend())

    def _legend(self) -> tuple[str, ...]:
        """Return which curves are whose, in parts; none without another run."""
        if self.view is None or self.view.overlay is None:
            return ()
        return legend(self.view.overlay, self.view.run, unicode=self._unicode)

    def _draw_texts(self, view: RunView, x_range: tuple[float, float]) -> None:
        if self.has_class("-tiny"):
            self.query_one("#values", TextBar).show(self._values(view))
            return
        self._draw_strips(view, x_range)
        run = view.seen
        config = run.config
        found = monitors(
            run.steps,
            run.measured,
            config.reading,
            config.vector_tolerance,
            bouncing=is_bouncing(run),
        )
        rest = _rest(run)
        at = "" if view.is_newest else f"at step {grouped(run.last_step)}"
        self.query_one("#monitors", TextBar).show(monitor_lines(found, rest, at or "now"))
        self.query_one("#holds", TextBar).show(monitor_line(found, rest, at))

    def _draw_strips(self, view: RunView, x_range: tuple[float, float]) -> None:
        """Draw what shares the x axis of the chart above it: the only one, or the left ones."""
        shown = self.focused_panel if self.has_class("-single") else 0
        left, columns = self.query_one(f"#{PANELS[shown].name}", ChartWidget).plot
        if columns:
            axis = XAxis.of(left, columns, x_range, self.size.width)
            self.query_one("#phases", PhaseBand).show_run(view, axis)
            self.query_one("#cosines", CosineStrip).show_run(view, axis)
            self.query_one("#signs", SignRaster).show_run(view, axis)

    def _x_range(self) -> tuple[float, float]:
        """Return the ends of x, and let the view know of them."""
        last = self.end_of_x if self.window.span is None else self.last_x
        x_range = self.window.range(last, self.x_unit)
        if self.view is not None:
            self.view.look(x_range[1])
        return x_range

    def title_line(self, width: int) -> Text:
        """Return what every screen says at its top: the run, its step, η and λ."""
        fields = [(0, self.message, COLOURS["title"])]
        if self.view is not None:
            fields = self._title_fields(self.view)
        return fields_line(fields, width)

    @property
    def hints(self) -> Hints:
        """What the key bar shows."""
        return training_hints(self.view.state if self.view is not None else "")

    def _draw_title(self) -> None:
        self.query_one("#keys", TextBar).show(key_line(self.size.width, self.hints))
        self.query_one("#title", TextBar).show(self.title_line(self.size.width))

    def _title_fields(self, view: RunView) -> list[tuple[int, str, str]]:
        run = view.newest
        state, last = view.state, max(run.last_step, 0)
        elsewhere = "" if view.is_newest else f"view up to step {grouped(view.seen.last_step)}"
        eta, decay = current_controls(run)
        residual = run.measured["sharpness_residual"]
        phase_colour = PHASE_COLOURS[view.phase.letter] if view.phase else COLOURS["axis"]
        colour = COLOURS["path"] if state == "running" else COLOURS["mark"]
        return [
            (6, "eostui", COLOURS["axis"]),
            (5, run.config.preset, f"bold {COLOURS['title']}"),
            (1, view.phase.name.upper() if view.phase else "", f"bold {phase_colour}"),
            (2, f"{_STATE_SIGNS.get(state, '✗')} {state.upper()}", f"bold {colour}"),
            (0, f"⋯ {self.progress}" if self.progress else "", f"bold {COLOURS['cool']}"),
            (3, "❄ view frozen" if view.frozen else "", COLOURS["cool"]),
            (0, f"step {grouped(last)}", COLOURS["title"]),
            (2, elsewhere, COLOURS["cool"]),
            (7, self._speed_text(state), COLOURS["axis"]),
            (0, f"η {control(eta)}", f"bold {COLOURS['mark']}"),
            (0, f"λ {control(decay)}", f"bold {COLOURS['mark']}"),
            (6, agreement(view), COLOURS["theory"]),
            (9, f"residual {compact(residual[-1], 2)}" if len(residual) else "", COLOURS["axis"]),
            (8, f"{run.facts.get('device', '')} {run.config.dtype}", COLOURS["axis"]),
            (4, f"run {short(run)}", COLOURS["axis"]),
        ]

    def _values(self, view: RunView) -> Text:
        """Return the last values as text, for terminals too small for a chart."""
        run = view.seen
        lines = [f"{view.state} λ {control(current_controls(run)[1])}"]
        if not view.is_newest:
            lines = [f"at step {grouped(run.last_step)}"]
        if len(run.measured):
            lines.append(
                f"S {compact(run.measured['sharpness'][-1])} "
                f"2/η {compact(run.steps['two_over_eta'][-1])}"
            )
            shown = view.medians.rows < len(run.steps)
            lines += [f"κ {compact(value)}" for value in view.medians.medians[shown][-1:]]
        if len(run.steps):
            lines.append(f"L {compact(run.steps['loss'][-1])}")
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")

    def _measure_speed(self, last_step: int) -> None:
        now = time.monotonic()
        self._speed.append((now, last_step))
        while len(self._speed) > 2 and now - self._speed[0][0] > _SPEED_WINDOW:
            self._speed.popleft()

    def _speed_text(self, state: str) -> str:
        if state != "running" or len(self._speed) < 2:
            return ""
        (start, first), (end, last) = self._speed[0], self._speed[-1]
        return f"{(last - first) / max(end - start, 1e-9):.0f}/s"


def _rest(run: Run) -> str:
    """Return what no chart tells of a run's newest step."""
    measured, steps = run.measured, run.steps
    tested = np.flatnonzero(np.isfinite(measured["test_loss"]))
    text = f"‖θ‖ {compact(steps['theta_norm'][-1])}" if len(steps) else ""
    if len(tested):
        accuracy = measured["test_accuracy"][tested[-1]]
        text += f"  test loss {compact(measured['test_loss'][tested[-1]])}"
        text += "" if np.isnan(accuracy) else f"  test accuracy {percent(accuracy)}"
    return text
