"""A plane of two quantities."""

from __future__ import annotations

from eostui.tui.charts.plane import Plane, draw_plane
from eostui.tui.widgets.grid import GridWidget


class PlaneWidget(GridWidget):
    """Draws a `Plane`; its border carries the title, and below it what the signs mean."""

    def __init__(self, *, unicode: bool, id: str) -> None:
        super().__init__(id=id)
        self._unicode = unicode
        self._plane: Plane | None = None

    def show(self, plane: Plane, title: str, legend: str) -> None:
        """Draw a plane in place of the last one, repainting what differs."""
        self._plane = plane
        if (self.border_title, self.border_subtitle) != (title, legend):
            self.border_title, self.border_subtitle = title, legend
        self._redraw()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._redraw()

    def _redraw(self) -> None:
        width, height = self.size
        if self._plane is not None and width and height:
            self.present(draw_plane(self._plane, width, height, unicode=self._unicode))
