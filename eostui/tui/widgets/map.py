"""A map of a sweep over two keys."""

from __future__ import annotations

from rich.cells import cell_len

from eostui.panels.sweep.map import SweepMap, draw_map, narrow
from eostui.tui.widgets.grid import GridWidget

#: Cells within the border that a title must leave free.
_CORNERS = 2


class MapWidget(GridWidget):
    """Draws a `SweepMap`; its border carries the title."""

    def __init__(self, *, unicode: bool, id: str) -> None:
        super().__init__(id=id)
        self._unicode = unicode
        self._map: SweepMap | None = None

    def show(self, shown: SweepMap) -> None:
        """Draw a map in place of the last one, repainting what differs."""
        self._map = shown
        self._redraw()

    def on_resize(self) -> None:
        """Draw in this size."""
        self._redraw()

    def _redraw(self) -> None:
        width, height = self.size
        if self._map is None or not width or not height:
            return
        self.present(draw_map(self._map, width, height, unicode=self._unicode))
        title = ""
        for part in self._map.title(digits=narrow(self._map, width)):
            longer = f"{title}  {part}" if title else part
            if title and cell_len(longer) > width - _CORNERS:
                break
            title = longer
        if self.border_title != title:
            self.border_title = title
