"""Screens of charts that share their x: which panel is in focus, which stretch of x is shown."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from eostui.tui.keys import Hints
from eostui.tui.screens.screen import SessionScreen
from eostui.tui.session import Session
from eostui.tui.widgets.grid import GridWidget
from eostui.tui.window import Window

#: From this size on all charts are shown.
WIDE = (100, 30)
#: Below this only text is shown.
SMALL = (44, 12)


class LinkedCharts(SessionScreen):
    """A screen with panels; a subclass draws them in `draw` and shows and hides them in `relayout`."""

    def __init__(self, session: Session, panels: Sequence[str]) -> None:
        """`panels` are the ids of the panels' widgets."""
        super().__init__(session)
        self._panels = panels
        self.window = Window()
        self.focused_panel = 0
        self.zoomed = False
        self._scale_choice = [0] * len(panels)

    def on_mount(self) -> None:
        """Draw the first frame, before there is any run."""
        self.relayout()

    @property
    def ways_back(self) -> Hints:
        """Keys that leave a panel that fills the screen, and a stretch of x."""
        hints = (("z", "all panels"),) if self.zoomed and self._has_room else ()
        return (*hints, ("0", "all steps")) if self.window.span is not None else hints

    @property
    def _has_room(self) -> bool:
        """Whether the screen is large enough for all panels."""
        return self.size.width >= WIDE[0] and self.size.height >= WIDE[1]

    @property
    def right_end(self) -> float | None:
        """Where x ends if it was panned away from the newest point."""
        return None if self.window.following else self.window.right

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

    def on_grid_widget_title_clicked(self, event: GridWidget.TitleClicked) -> None:
        """Focus a panel whose title is clicked; two quick clicks show it alone, or all again."""
        self.action_panel(self._panels.index(str(event.chart.id)))
        if event.again:
            self.action_zoom_panel()

    def action_zoom_panel(self) -> None:
        """Show the focused panel alone, or all."""
        self.zoomed = not self.zoomed
        self.relayout()

    def action_toggle_scale(self) -> None:
        """Step the focused chart through its y scales."""
        self._scale_choice[self.focused_panel] += 1
        self.draw()

    def action_pan(self, direction: int) -> None:
        """Look back or forward."""
        self.window.pan(direction, self.last_x, self.x_unit, self.end_of_x)
        self.draw()

    def action_span(self, direction: int) -> None:
        """Zoom x in or out."""
        self.window.scale(direction, self.last_x, self.x_unit, self.end_of_x)
        self.draw()

    def action_span_all(self) -> None:
        """Show all of x."""
        self.window.show_all()
        self.draw()

    def action_follow(self) -> None:
        """Follow the newest point."""
        self.window.follow()
        self.draw()
