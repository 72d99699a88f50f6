"""A map over the plane of two parameters."""

from __future__ import annotations

from eostui.tui.charts.contours import Map, draw_map
from eostui.tui.widgets.grid import GridWidget


class MapWidget(GridWidget):
    """Draws a `Map`; its border carries the title, and below it what the shades mean."""

    def __init__(self, *, unicode: bool, id: str) -> None:
        super().__init__(id=id)
        self._unicode = unicode
        self._map: Map | None = None

    def show(self, drawn: Map, title: str, legend: str) -> None:
        """Draw a map in place of the last one."""
        self._map = drawn
        if (self.border_title, self.border_subtitle) != (title, legend):
            self.border_title, self.border_subtitle = title, legend
        self._redraw()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._redraw()

    def _redraw(self) -> None:
        width, height = self.size
        if self._map is not None and width and height:
            self.present(draw_map(self._map, width, height, unicode=self._unicode))
