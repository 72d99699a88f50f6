"""A live chart that repaints only the spans of cells that changed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from eostui.tui.charts.picture import Chart, Grid, draw
from eostui.tui.charts.scales import StickyRange
from eostui.tui.palette import STYLES


class ChartWidget(Widget):
    """Draws a `Chart`; its border carries the title."""

    def __init__(self, *, unicode: bool, id: str) -> None:
        super().__init__(id=id)
        self._unicode = unicode
        self._chart = Chart([], waiting="starting")
        self._x_range = (0.0, 1.0)
        self._sticky = StickyRange()
        self._scale_kind = ""
        self._grid = Grid.blank(1, 1)

    def show(self, chart: Chart, x_range: tuple[float, float], title: str) -> None:
        """Draw a chart in place of the last one, repainting what differs."""
        self._chart, self._x_range = chart, x_range
        scale = f"{chart.scale.kind} {chart.scale.threshold}"
        if scale != self._scale_kind:
            self._scale_kind, self._sticky = scale, StickyRange()
        if self.border_title != title:
            self.border_title = title
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

    def render_line(self, y: int) -> Strip:
        """Return one line of cells, grouped into segments of one colour."""
        if y >= len(self._grid.codes):
            return Strip.blank(self.size.width, self.rich_style)
        codes, colours = self._grid.codes[y], self._grid.colours[y]
        changes = np.flatnonzero(colours[1:] != colours[:-1]) + 1
        bounds = [0, *changes.tolist(), len(codes)]
        background = self.rich_style
        segments = [
            Segment("".join(map(chr, codes[start:end])), background + STYLES[colours[start]])
            for start, end in pairwise(bounds)
        ]
        return Strip(segments, len(codes))

    def _redraw(self) -> None:
        width, height = self.size
        if not width or not height:
            return
        before = self._grid
        self._grid = draw(
            self._chart, width, height, self._x_range, self._sticky, unicode=self._unicode
        )
        if before.codes.shape != self._grid.codes.shape:
            self.refresh()
            return
        changed = (before.codes != self._grid.codes) | (before.colours != self._grid.colours)
        regions = []
        for row in np.flatnonzero(changed.any(axis=1)).tolist():
            columns = np.flatnonzero(changed[row])
            start = int(columns[0])
            regions.append(Region(start, row, int(columns[-1]) - start + 1, 1))
        if regions:
            self.refresh(*regions)
