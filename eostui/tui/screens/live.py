"""The live screen: four linked charts, the signs, the monitors, and what steers them."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import ClassVar

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container

from eostui.charts.numbers import compact, control, grouped, percent
from eostui.figures.one_run import picture_of_run
from eostui.figures.picture import Picture
from eostui.figures.wanted import Wanted
from eostui.panels import PANELS
from eostui.panels.crosshair import Value, values_at
from eostui.panels.overlay import legend
from eostui.panels.panel import Panel, chart_of, in_last_place, title_of
from eostui.panels.sharpness import AT_RADII
from eostui.panels.view import SMOOTHINGS, RunView, is_bouncing
from eostui.runs.analysis.controls import controls_at
from eostui.runs.analysis.monitors import monitors
from eostui.runs.run import Run
from eostui.stability import UNDECAYED
from eostui.tui.crosshair import text_lines
from eostui.tui.screens.linked import LinkedCharts
from eostui.tui.session import Session
from eostui.tui.shares import shares_line
from eostui.tui.widgets.bars import TextBar, monitor_line, monitor_lines
from eostui.tui.widgets.chart import ChartWidget
from eostui.tui.widgets.cosine import CosineStrip
from eostui.tui.widgets.phases import PhaseBand
from eostui.tui.widgets.signs import SignRaster
from eostui.tui.widgets.strips import XAxis
from eostui.tui.window import Window

#: From this height on there is a row for the band of phases; below, the title alone tells the phase.
_BAND_HEIGHT = 20


class LiveScreen(LinkedCharts):
    """Shows the run as it trains; the readings change a few times a second, the charts in every frame.

    Class attributes:
        TABLE: its panels, those with a place of their own first.
    """

    TABLE: ClassVar[list[Panel]] = PANELS

    def __init__(self, session: Session) -> None:
        super().__init__(session, [panel.name for panel in self.TABLE])
        self._corner: Panel | None = None
        self._texts_drawn = 0.0

    def compose(self) -> ComposeResult:
        """Lay out title, tabs, charts, signs, monitors and keys; CSS classes choose what shows."""
        yield TextBar(id="title")
        yield TextBar(id="tabs")
        with Container(id="charts"):
            for panel in self.TABLE:
                if panel.own_place:
                    yield ChartWidget(unicode=self.unicode, id=panel.name)
            with Container(id="side"):
                for panel in self.TABLE:
                    if not panel.own_place:
                        yield ChartWidget(unicode=self.unicode, id=panel.name)
                yield TextBar(id="monitors")
        yield PhaseBand(id="phases")
        yield CosineStrip(unicode=self.unicode, id="cosines")
        yield SignRaster(unicode=self.unicode, id="signs")
        yield TextBar(id="shares")
        yield TextBar(id="holds")
        yield TextBar(id="crosshair")
        yield TextBar(id="keys")
        yield TextBar(id="values")

    def start_over(self) -> None:
        """Draw another run, from its start, or what is waited for; nothing of the last run stays."""
        self.crosshair = None
        if self.view is not None:
            self.window = Window()
        if self.is_mounted:
            for panel in self.TABLE:
                self.query_one(f"#{panel.name}", ChartWidget).forget()
            self.relayout()
            self.draw()

    def draw_news(self) -> None:
        """Draw rows that came, and a few times a second the texts: they would cost most of the bytes.

        The texts are drawn whether rows came or not, so that the last state is shown.
        """
        if self.has_news():
            if self._corner_panel() != self._corner:
                self.relayout()
            if self.view is not None and not self.view.frozen:
                self._draw_charts(self.x_range())
        now = time.monotonic()
        if now - self._texts_drawn >= self.EVERY:
            self._texts_drawn = now
            self.draw_bars()
            if self.view is not None:
                self._draw_texts(self.view, self.x_range())

    def relayout(self) -> None:
        """Choose the layout; the side has the fourth chart and the monitors."""
        super().relayout()
        self.set_class(self.size.height < _BAND_HEIGHT, "-short")
        single = self.has_class("-single")
        self._corner = self._corner_panel()
        focused = self.TABLE[self.focused_panel]
        for panel in self.TABLE:
            if not panel.own_place:
                hidden = panel is not (focused if single else self._corner)
                self.query_one(f"#{panel.name}").set_class(hidden, "-hidden")
        self.query_one("#side").set_class(single and focused.own_place, "-hidden")

    def offers(self, index: int) -> bool:
        """Return whether a panel has a tab: those of probes that the run hasn't have none."""
        return index == self.focused_panel or self.TABLE[index].is_of(self.view)

    def _corner_panel(self) -> Panel:
        """Return which panel has the place that several share: the focused one, or the last claimant."""
        return in_last_place(self.TABLE, self.view, self.TABLE[self.focused_panel])

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
        return controls_at(self.view.run)["eta"]

    @property
    def end_of_x(self) -> float:
        """How far the whole of x reaches: to the newest step, that of another run too."""
        if self.view is None or self.view.overlay is None:
            return self.last_x
        return float(max([self.last_x, *self.view.overlay.view.x[-1:]]))

    @property
    def last_step(self) -> int:
        """The newest step that is drawn."""
        return self.view.run.last_step if self.view is not None else -1

    def x_of(self, step: int) -> float:
        """Return the position of a step on the x axis."""
        return self.view.x_at(step) if self.view is not None else 0.0

    def step_at(self, x: float) -> int:
        """Return the step nearest to a position."""
        return self.view.step_at(x) if self.view is not None else 0

    def values_at(self, step: int) -> list[Value]:
        """Return what is on record of the run at a step."""
        return values_at(self.view, step) if self.view is not None else []

    @property
    def x_word(self) -> str:
        """What one unit of the x axis is called."""
        return "unit of t" if self.view is not None and self.view.flow_time else "step"

    def columns_of_focus(self) -> Collection[str]:
        """Return the columns of a panel that is shown alone."""
        return self.TABLE[self.focused_panel].columns if self.has_class("-single") else ()

    def action_switch_signs(self) -> None:
        """Draw the signs of the steps of L_λ, or of L."""
        self.query_one("#signs", SignRaster).switch()
        self.draw()

    def action_toggle_axis(self) -> None:
        """Step or flow time as x."""
        if self.view is not None:
            self.view.toggle_axis()
            self.window.show_all()
            self.draw()

    def action_smooth(self) -> None:
        """Draw medians of more points over the raw curves, or none after the most."""
        if self.view is not None:
            choices = (0, *SMOOTHINGS)
            at = choices.index(self.view.smoothing)
            self.view.smoothing = choices[(at + 1) % len(choices)]
            self.draw()

    def action_switch_radii(self) -> None:
        """Draw the sharpness at the radius of the bounce, at all that were measured, or at none."""
        if self.view is None:
            return
        if not any(name in self.view.run.measured for name in AT_RADII):
            key = self.session.key("probes")
            self.notify(f"this run measures S at no radius: {key} turns the probe radius on")
            return
        self.view.switch_radii()
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
        x_range = self.x_range()
        self.draw_bars()
        self.draw_tabs()
        self._draw_charts(x_range)
        if self.view is not None:
            self._draw_texts(self.view, x_range)
            return
        for name in ("#phases", "#cosines", "#signs", "#monitors", "#shares", "#holds", "#values"):
            self.query_one(name, TextBar).show(Text())

    def _draw_charts(self, x_range: tuple[float, float]) -> None:
        if self.has_class("-tiny"):
            return
        for panel in self.TABLE:
            self._draw_chart(panel, x_range)
        self.draw_crosshair()

    def _draw_chart(self, panel: Panel, x_range: tuple[float, float]) -> None:
        widget = self.query_one(f"#{panel.name}", ChartWidget)
        if widget.has_class("-hidden"):
            return
        if self.view is None:
            widget.show_waiting(self.session.message, panel.name)
            return
        kind = panel.scales[self._scale_choice[self.TABLE.index(panel)] % len(panel.scales)]
        chart = chart_of(panel, self.view, kind)
        title = title_of(panel, self.view, kind, chart)
        stretch = panel.own_x(self.view) if panel.own_x else x_range
        widget.show(chart, stretch, title, self._legend())

    def draw_crosshair(self) -> None:
        """Draw the crosshair, and the charts of one step alone where that is another now."""
        at = self._cursor if self.crosshair is not None and self.last_step >= 0 else None
        if self.view is not None and self.view.at != at:
            self.view.at = at
            for panel in self.TABLE:
                if panel.own_x is not None:
                    self._draw_chart(panel, self.x_range())
        super().draw_crosshair()

    def shares_x(self, chart: ChartWidget) -> bool:
        """Return whether a chart is drawn against the steps: those of one step alone aren't."""
        return all(panel.own_x is None for panel in self.TABLE if panel.name == chart.id)

    def figure(self) -> Picture | None:
        """Return the charts in sight, with their scales and their stretch of x."""
        if self.view is None:
            return None
        charts = []
        for index in self.shown_panels():
            panel = self.TABLE[index]
            kind = panel.scales[self._scale_choice[index] % len(panel.scales)]
            charts.append(Wanted(panel.name, scale=kind))
        whole = self.window.span is None
        return picture_of_run(self.view, charts, (None, None) if whole else self.x_range())

    def _legend(self) -> tuple[str, ...]:
        """Return which curves are whose, in parts; none without another run."""
        if self.view is None or self.view.overlay is None:
            return ()
        return legend(self.view.overlay, self.view.run, unicode=self.unicode)

    def _draw_texts(self, view: RunView, x_range: tuple[float, float]) -> None:
        if self.has_class("-tiny"):
            self.query_one("#values", TextBar).show(self._values(view))
            return
        self.draw_crosshair()
        self._draw_strips(view, x_range)
        shares = shares_line(view.newest, self.size.width)
        self.set_class(shares is not None, "-shares")
        self.query_one("#shares", TextBar).show(shares or Text())
        run = view.seen
        config = run.config
        found = monitors(
            run.steps,
            run.measured,
            config.reading,
            config.vector_tolerance,
            bouncing=is_bouncing(run),
            derived=view.of_theory,
        )
        rest = _rest(run)
        at = "" if view.is_newest else f" at step {grouped(run.last_step)}"
        if view.of_theory:
            head, short = f"holds for the theory,{at or ' now'}", f"holds{at}"
        else:  # readings alone, where there is room for them
            short = f"the theory isn't derived for {view.dynamics.name}"
            head = f"{short},{at or ' now'}"
        self.query_one("#monitors", TextBar).show(monitor_lines(found, rest, head))
        in_line = found if view.of_theory else ()
        self.query_one("#holds", TextBar).show(monitor_line(in_line, rest, self.size.width, short))

    def _draw_strips(self, view: RunView, x_range: tuple[float, float]) -> None:
        """Draw what shares the x axis of the chart above it: the only one, or the left ones."""
        shown = self.focused_panel if self.has_class("-single") else 0
        left, columns = self.query_one(f"#{self.TABLE[shown].name}", ChartWidget).plot
        if columns:
            axis = XAxis.of(left, columns, x_range, self.size.width)
            self.query_one("#phases", PhaseBand).show_run(view, axis)
            self.query_one("#cosines", CosineStrip).show_run(view, axis)
            self.query_one("#signs", SignRaster).show_run(view, axis)

    def x_range(self) -> tuple[float, float]:
        """Return the ends of x, and let the view know of them."""
        last = self.end_of_x if self.window.span is None else self.last_x
        x_range = self.window.range(last, self.x_unit)
        if self.view is not None:
            self.view.look(x_range[1])
        return x_range

    def _values(self, view: RunView) -> Text:
        """Return the last values as text, or those at the crosshair, where no chart has room."""
        if self.crosshair is not None:
            step = self.chosen_step or 0
            return text_lines(values_at(view, step), self.head(), step, unicode=self.unicode)
        run = view.seen
        lines = [f"{view.state} λ {control(controls_at(run)['weight_decay'])}"]
        if not view.is_newest:
            lines = [f"at step {grouped(run.last_step)}"]
        if len(run.measured):
            _, label, coming = view.thresholds()[0]
            limit = f"{label} {compact(run.steps[UNDECAYED][-1])}"
            if view.is_newest and coming is not None:
                limit = f"{label}→{compact(coming)}"
            lines.append(f"S {compact(run.measured.newest('sharpness'))} {limit}")
            shown = view.medians.rows < len(run.steps)
            lines += [f"κ {compact(value)}" for value in view.medians.medians[shown][-1:]]
        if len(run.steps):
            lines.append(f"L {compact(run.loss_at())}")
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _rest(run: Run) -> list[str]:
    """Return what no chart tells of a run's newest step, the most important last."""
    measured, steps = run.measured, run.steps
    tested = np.flatnonzero(np.isfinite(measured["test_loss"]))
    texts = [f"‖θ‖ {compact(steps['theta_norm'][-1])}"] if len(steps) else []
    if len(tested):
        accuracy = measured["test_accuracy"][tested[-1]]
        texts.append(f"test loss {compact(measured['test_loss'][tested[-1]])}")
        texts += [] if np.isnan(accuracy) else [f"test accuracy {percent(accuracy)}"]
    return texts
