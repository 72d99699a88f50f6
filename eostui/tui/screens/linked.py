"""Screens of charts that share their x: which panel is in focus, which stretch of x and y is shown, where
the crosshair stands."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from itertools import zip_longest

from rich.text import Text
from textual import on
from textual.widget import Widget

from eostui.charts.numbers import compact, grouped
from eostui.panels.crosshair import Value
from eostui.tui.crosshair import Crosshair, difference_line, value_line
from eostui.tui.keys import KEYS, Hints
from eostui.tui.screens.screen import SessionScreen
from eostui.tui.session import Session
from eostui.tui.widgets.bars import TextBar, tabs_line
from eostui.tui.widgets.chart import WHEEL_ZOOM, ChartWidget
from eostui.tui.widgets.grid import GridWidget
from eostui.tui.window import Window

#: From this size on all charts are shown.
WIDE = (100, 30)
#: Below this only text is shown.
SMALL = (44, 12)


class LinkedCharts(SessionScreen):
    """A screen with panels; a subclass draws them in `draw` and shows and hides them in `relayout`.

    Attributes:
        window: which stretch of x is shown.
        crosshair: where it stands, None without one.
    """

    def __init__(self, session: Session, panels: Sequence[str]) -> None:
        """`panels` are the ids of the panels' widgets."""
        super().__init__(session)
        self._panels = panels
        self.window = Window()
        self.focused_panel = 0
        self.zoomed = False
        self.crosshair: Crosshair | None = None
        self._scale_choice = [0] * len(panels)

    def on_mount(self) -> None:
        """Draw the first frame, before there is any run."""
        self.relayout()

    def draw_tabs(self) -> None:
        """Draw the panels' names with their keys, the TextBar `tabs`."""
        keymap = self.session.settings.keymap
        keys = [
            keymap.of(key) for key in KEYS if key.id.startswith("panel.") and key.id[6:].isdigit()
        ]
        digits = [key.shown if key.keys else "" for key in keys][: len(self._panels)]
        named = zip_longest(digits, self._panels, fillvalue="")
        tabs = [(n, key, name) for n, (key, name) in enumerate(named) if self.offers(n)]
        line = tabs_line(tabs, self.focused_panel, self.size.width)
        self.query_one("#tabs", TextBar).show(line)

    @property
    def ways_back(self) -> Hints:
        """Keys that leave a panel that fills the screen, and a stretch of x."""
        hints: Hints = (("z", "all panels"),) if self.zoomed and self._has_room else ()
        if self.crosshair is not None:
            marked = self.crosshair.mark is not None
            zoom = (("z", "zoom to marks"),) if marked else ()
            hints = (("← →", "move"), ("h", "mark"), *zoom, *self.fork_hint, ("esc", "leave"))
        elsewhere = self.window.span is not None or any(
            chart.zoomed for chart in self.query(ChartWidget)
        )
        return (*hints, ("0", "all steps")) if elsewhere else hints

    @property
    def fork_hint(self) -> Hints:
        """The key that forks at the crosshair, where something can be forked."""
        return () if self.chosen_step is None else (("enter", "fork there"),)

    @property
    def _has_room(self) -> bool:
        """Whether the screen is large enough for all panels."""
        return self.size.width >= WIDE[0] and self.size.height >= WIDE[1]

    @property
    @abstractmethod
    def last_x(self) -> float:
        """Position of the newest point."""

    @property
    def end_of_x(self) -> float:
        """How far the whole of x reaches."""
        return self.last_x

    @property
    def x_unit(self) -> float:
        """Length of one step on the x axis."""
        return 1.0

    @property
    def last_step(self) -> int:
        """The newest step that is drawn, below 0 before the first, and where there is no crosshair."""
        return -1

    def x_of(self, step: int) -> float:
        """Return the position of a step on the x axis."""
        return float(step)

    def step_at(self, x: float) -> int:
        """Return the step nearest to a position."""
        return min(max(round(x), 0), max(self.last_step, 0))

    def values_at(self, step: int) -> list[Value]:
        """Return what the crosshair reads at a step, the most important first."""
        raise NotImplementedError(step)

    @property
    def x_start(self) -> float:
        """Where x begins, from which on the window counts."""
        return 0.0

    def x_range(self) -> tuple[float, float]:
        """Return the ends of x that are shown."""
        left, right = self.window.range(self.last_x, self.x_unit)
        return left + self.x_start, right + self.x_start

    def shares_x(self, chart: ChartWidget) -> bool:
        """Return whether a chart is drawn against the x that is common to all."""
        return chart.is_mounted

    def shown_panels(self) -> list[int]:
        """Return which panels are in sight, by their places in the table; in a tiny terminal all are."""
        hidden = [self.query_one(f"#{name}").has_class("-hidden") for name in self._panels]
        tiny = self.has_class("-tiny")
        return [index for index, away in enumerate(hidden) if tiny or not away]

    def relayout(self) -> None:
        """Set the classes that choose between all charts, one chart, and text only."""
        width, height = self.size
        tiny = width < SMALL[0] or height < SMALL[1]
        single = not tiny and (self.zoomed or not self._has_room)
        self.set_class(tiny, "-tiny")
        self.set_class(single, "-single")
        self.set_class(not tiny and not single, "-grid")
        for index, name in enumerate(self._panels):
            widget = self.query_one(f"#{name}")
            widget.set_class(single and index != self.focused_panel, "-hidden")
            widget.set_class(not single and index == self.focused_panel, "-focused")
        super().relayout()

    def action_panel(self, index: int) -> None:
        """Focus a panel, if there are so many."""
        if index < len(self._panels):
            self.focused_panel = index
            self.relayout()

    def action_next_panel(self, direction: int) -> None:
        """Focus the panel after (+1) or before (−1), going round."""
        count = len(self._panels)
        following = (self.focused_panel + direction * far for far in range(1, count + 1))
        self.action_panel(next(n % count for n in following if self.offers(n % count)))

    def offers(self, index: int) -> bool:
        """Return whether a panel has a tab: whether it can have something to show."""
        return index in range(len(self._panels))

    def on_grid_widget_title_clicked(self, event: GridWidget.TitleClicked) -> None:
        """Focus a panel whose title is clicked; two quick clicks show it alone, or all again."""
        self.action_panel(self._panels.index(str(event.chart.id)))
        if event.again:
            self.action_zoom_panel()

    def action_zoom_panel(self) -> None:
        """Show the focused panel alone, or all; between two marks, zoom x to them."""
        if self.crosshair is not None and self.crosshair.ends is not None:
            left, right = (self.x_of(step) for step in self.crosshair.ends)
            self.window.show(left - self.x_start, right - self.x_start, self.x_unit)
            self.crosshair.mark = None
            self.draw()
            return
        self.zoomed = not self.zoomed
        self.relayout()

    def action_toggle_scale(self) -> None:
        """Step the focused chart through its y scales."""
        self._scale_choice[self.focused_panel] += 1
        self.draw()

    def action_zoom_y(self, direction: int) -> None:
        """Zoom y of the focused panel in (−1) or out (+1)."""
        if isinstance(chart := self._focused_widget, ChartWidget):
            chart.zoom_y(direction)
            self.draw_bars()

    def action_fit_y(self) -> None:
        """Fit y of the focused panel closely to what is in sight, or no longer."""
        if isinstance(chart := self._focused_widget, ChartWidget):
            chart.fit_y()
            self.draw_bars()

    @property
    def _focused_widget(self) -> Widget:
        return self.query_one(f"#{self._panels[self.focused_panel]}")

    def action_pan(self, direction: int) -> None:
        """Look back or forward; the crosshair, where there is one, goes by a column."""
        if self.crosshair is not None:
            self._move_by_column(direction)
            return
        self.window.pan(direction, self.last_x, self.x_unit, self.end_of_x)
        self.draw()

    def action_span(self, direction: int) -> None:
        """Zoom x in or out, about the crosshair where there is one."""
        if self.crosshair is not None:
            self._zoom_at(self.x_of(self._cursor), 2.0**direction)
            return
        self.window.scale(direction, self.last_x, self.x_unit, self.end_of_x)
        self.draw()

    def action_span_all(self) -> None:
        """Show all of x, and y as it was before it was zoomed."""
        self.window.show_all()
        for chart in self.query(ChartWidget):
            chart.forget()
        self.draw()

    def action_follow(self) -> None:
        """Follow the newest point."""
        self.window.follow()
        self.draw()

    # --- the crosshair ----------------------------------------------------------------------------------

    @property
    def chosen_step(self) -> int | None:
        """The step that a fork is for: the crosshair's, or the last in sight of a view panned away."""
        if self.crosshair is not None:
            return self._cursor
        return None if self.window.following else max(min(self._step_in_sight, self.last_step), 0)

    @property
    def _cursor(self) -> int:
        """The step that is read: a playback may show fewer steps than where the crosshair was put."""
        assert self.crosshair is not None
        return min(self.crosshair.step, self.last_step)

    @property
    def _step_in_sight(self) -> int:
        """The last step that is in sight."""
        right = self.x_range()[1]
        step = self.step_at(right)
        return step - 1 if self.x_of(step) > right else step

    def action_crosshair(self) -> None:
        """Put the crosshair at the newest step in sight; where it stands already, drop a mark."""
        if self.last_step < 0:
            return
        if self.crosshair is None:
            self.crosshair = Crosshair(max(min(self._step_in_sight, self.last_step), 0))
        else:
            self.crosshair.mark = self._cursor
        self._show_crosshair()

    def action_leave_crosshair(self) -> None:
        """Take the crosshair away, and its mark."""
        self.crosshair = None
        self._show_crosshair()

    def action_move_crosshair(self, steps: int) -> None:
        """Move the crosshair by steps; put it up where there is none."""
        if self.crosshair is None:
            self.action_crosshair()
        else:
            self._move_to(self._cursor + steps)

    def _move_by_column(self, direction: int) -> None:
        """Move the crosshair by a column of the charts, and by a step at least."""
        left, right = self.x_range()
        columns = max((chart.plot[1] for chart in self._shown_charts), default=0) or self.size.width
        wide = (right - left) / columns
        column = min(int((self.x_of(self._cursor) - left) / wide), columns - 1)
        step = self.step_at(left + (column + direction + 0.5) * wide)
        passed = (step - self._cursor) * direction
        self._move_to(step if passed > 0 else self._cursor + direction)

    def _move_to(self, step: int) -> None:
        """Move the crosshair to a step, and x as far as brings it into sight."""
        assert self.crosshair is not None
        self.crosshair.step = min(max(step, 0), self.last_step)
        before = self.x_range()
        at = self.x_of(self.crosshair.step) - self.x_start
        self.window.reveal(at, self.last_x, self.x_unit)
        if self.x_range() == before:
            self._show_crosshair(moved=True)
        else:
            self.draw()

    def _zoom_at(self, x: float, factor: float) -> None:
        self.window.zoom_at(x - self.x_start, factor, self.last_x, self.x_unit, self.end_of_x)
        self.draw()

    @on(ChartWidget.Wheeled)
    def zoom_at_pointer(self, wheeled: ChartWidget.Wheeled) -> None:
        """Zoom x at the pointer."""
        if not self.shares_x(wheeled.chart):
            return
        left, right = self.x_range()
        self._zoom_at(left + wheeled.share * (right - left), WHEEL_ZOOM**wheeled.direction)

    @on(ChartWidget.Pointed)
    def point(self, pointed: ChartWidget.Pointed) -> None:
        """Put the crosshair where the mouse was pressed, and move it with the pointer; a drag leaves a
        mark where it began."""
        if self.last_step < 0 or not (pointed.pressed or self.crosshair):
            return
        if not self.shares_x(pointed.chart):
            return
        step = self.step_at(pointed.x)
        if self.crosshair is None:
            self.crosshair = Crosshair(step)
        cross, marked = self.crosshair, self.crosshair.mark
        if pointed.pressed:
            cross.grasped = step
        elif not pointed.dragged:
            cross.grasped = None
        elif cross.grasped is not None and step != cross.grasped:
            cross.mark = cross.grasped
        if pointed.pressed or step != cross.step:
            moved = not pointed.pressed and (cross.mark is None) == (marked is None)
            cross.step = step
            self._show_crosshair(moved=moved)

    def _show_crosshair(self, *, moved: bool = False) -> None:
        """Draw what changes where the crosshair is put up or `moved`: no chart anew."""
        if self.has_class("-tiny"):
            self.draw()
            return
        self.draw_crosshair()
        if not moved:
            self.draw_bars()

    @property
    def _shown_charts(self) -> list[ChartWidget]:
        return [chart for chart in self.query(ChartWidget) if not chart.has_class("-hidden")]

    def draw_crosshair(self) -> None:
        """Draw the crosshair on all charts, and the line that says what is there."""
        cross = self.crosshair if self.last_step >= 0 else None
        self.set_class(cross is not None, "-crosshair")
        at = None
        if cross is not None:
            at = self.x_of(self._cursor), None if cross.mark is None else self.x_of(cross.mark)
            self.query_one("#crosshair", TextBar).show(self._crosshair_line(cross))
        for chart in self._shown_charts:
            chart.show_crosshair(at if self.shares_x(chart) else None)

    def _crosshair_line(self, cross: Crosshair) -> Text:
        width, first = self.size.width, self.columns_of_focus()
        ends = cross.ends
        if ends is None or ends[0] == ends[1] or ends[1] > self.last_step:
            values, step = self.values_at(self._cursor), self.reading_step(self._cursor)
            return value_line(values, self.head(), step, width, first=first, unicode=self.unicode)
        before, after = ends
        return difference_line(
            self.values_at(before),
            self.values_at(after),
            self.stretch(before, after),
            self.x_of,
            self.x_word,
            width,
            first=first,
        )

    def head(self) -> str:
        """Return where the crosshair stands: its step, and its flow time where that is x."""
        text = f"step {grouped(self._cursor)}"
        return text if self.x_word == "step" else f"{text}, t {compact(self.x_of(self._cursor), 4)}"

    def stretch(self, before: int, after: int) -> str:
        """Return between which steps differences are taken."""
        return f"{grouped(before)} → {grouped(after)}: {grouped(after - before)} steps"

    def reading_step(self, step: int) -> int:
        """Return what is said of a step of the crosshair: of values that stand elsewhere that is told."""
        return step

    @property
    def x_word(self) -> str:
        """What one unit of the x axis is called."""
        return "step"

    def columns_of_focus(self) -> Collection[str]:
        """Return the columns of a panel that is shown alone: they are read before others."""
        return ()
