"""A plane of two quantities: a map of loss or sharpness, a phase portrait, a map of regimes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from eostui.charts.contours import Map, draw_map
from eostui.charts.picture import Grid
from eostui.charts.plane import Plane, draw_plane
from eostui.tui.widgets.grid import GridWidget


class PlaneWidget(GridWidget):
    """Draws a `Map` or a `Plane`; its border carries the title, and below it what the signs mean."""

    def __init__(self, *, unicode: bool, id: str) -> None:
        super().__init__(id=id)
        self._unicode = unicode
        self._draw: Callable[[int, int], Grid] | None = None

    def show(self, plane: Map | Plane, title: str, legend: str) -> None:
        """Draw a plane in place of the last one, repainting what differs."""
        if isinstance(plane, Map):
            self._draw = partial(draw_map, plane, unicode=self._unicode)
        else:
            self._draw = partial(draw_plane, plane, unicode=self._unicode)
        if (self.border_title, self.border_subtitle) != (title, legend):
            self.border_title, self.border_subtitle = title, legend
        self._redraw()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._redraw()

    def _redraw(self) -> None:
        width, height = self.size
        if self._draw is not None and width and height:
            self.present(self._draw(width, height))
