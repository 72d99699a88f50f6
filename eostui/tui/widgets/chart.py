"""A live chart."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from eostui.charts.chart import Chart
from eostui.charts.picture import draw, plot_columns
from eostui.charts.scales import StickyRange
from eostui.tui.widgets.grid import GridWidget

#: Cells within the border that a title must leave free.
_CORNERS = 2


class ChartWidget(GridWidget):
    """Draws a `Chart`; its border carries the title."""

    def __init__(self, *, unicode: bool, id: str) -> None:
        super().__init__(id=id)
        self._unicode = unicode
        self._chart = Chart([], waiting="starting")
        self._x_range = (0.0, 1.0)
        self._titles: tuple[tuple[str, ...], tuple[str, ...]] = (), ()
        self._written = "", ""
        self._sticky = StickyRange()
        self._scale_kind = ""

    def show(
        self,
        chart: Chart,
        x_range: tuple[float, float],
        title: Sequence[str],
        legend: Sequence[str] = (),
    ) -> None:
        """Draw a chart in place of the last one, repainting what differs.

        Args:
            chart: what to draw.
            x_range: left and right end of x.
            title: upper left, in the border: parts, of which the last are left out if they don't fit.
            legend: lower right, in the border, in parts too.
        """
        self._chart, self._x_range = chart, x_range
        self._titles = tuple(title), tuple(legend)
        scale = f"{chart.scale.kind} {chart.scale.threshold}"
        if scale != self._scale_kind:
            self._scale_kind, self._sticky = scale, StickyRange()
        if self.size.width and self.display:
            self._redraw()

    def show_waiting(self, message: str, title: str) -> None:
        """Show what is waited for, before there is any run."""
        self.show(Chart([], waiting=message), self._x_range, (title,))

    @property
    def plot(self) -> tuple[int, int]:
        """The first column of the plot on the screen, and how many it has."""
        left, columns = plot_columns(self.size.width)
        return self.content_region.x + left, columns

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
        title, legend = (fitting(parts, width - _CORNERS) for parts in self._titles)
        if self._written != (title, legend):
            self._written = title, legend
            self.border_title, self.border_subtitle = Text(title), Text(legend)  # no markup
        self.present(
            draw(self._chart, width, height, self._x_range, self._sticky, unicode=self._unicode)
        )


def fitting(parts: Sequence[str], room: int) -> str:
    """Return parts of a title, as many from the first on as fit; the first alone may be cut."""
    for count in range(len(parts), 1, -1):
        text = " · ".join(parts[:count])
        if cell_len(text) <= room:
            return text
    return parts[0] if parts else ""
