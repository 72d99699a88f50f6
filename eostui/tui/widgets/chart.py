"""A live chart."""

from __future__ import annotations

from eostui.tui.charts.picture import Chart, draw
from eostui.tui.charts.scales import StickyRange
from eostui.tui.widgets.grid import GridWidget


class ChartWidget(GridWidget):
    """Draws a `Chart`; its border carries the title."""

    def __init__(self, *, unicode: bool, id: str) -> None:
        super().__init__(id=id)
        self._unicode = unicode
        self._chart = Chart([], waiting="starting")
        self._x_range = (0.0, 1.0)
        self._sticky = StickyRange()
        self._scale_kind = ""

    def show(
        self, chart: Chart, x_range: tuple[float, float], title: str, legend: str = ""
    ) -> None:
        """Draw a chart in place of the last one, repainting what differs.

        Args:
            chart: what to draw.
            x_range: left and right end of x.
            title: upper left, in the border.
            legend: lower right, in the border.
        """
        self._chart, self._x_range = chart, x_range
        scale = f"{chart.scale.kind} {chart.scale.threshold}"
        if scale != self._scale_kind:
            self._scale_kind, self._sticky = scale, StickyRange()
        if (self.border_title, self.border_subtitle) != (title, legend):
            self.border_title, self.border_subtitle = title, legend
        if self.size.width and self.display:
            self._redraw()

    def show_waiting(self, message: str, title: str) -> None:
        """Show what is waited for, before there is any run."""
        self.show(Chart([], waiting=message), self._x_range, title)

    def forget(self) -> None:
        """Start the axes anew, for another run."""
        self._sticky = StickyRange()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._redraw()

    def _redraw(self) -> None:
        width, height = self.size
        if not width or not height:
            return
        self.present(
            draw(self._chart, width, height, self._x_range, self._sticky, unicode=self._unicode)
        )
