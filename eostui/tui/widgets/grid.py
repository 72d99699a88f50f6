"""A grid of coloured characters that repaints only the spans of cells that changed."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from eostui.charts.palette import COLOURS
from eostui.charts.picture import Grid


@cache
def _style(colour: str) -> Style:
    return Style(color=colour)


class GridWidget(Widget):
    """Shows the last `Grid` that was presented; its title, in the border, can be clicked."""

    class TitleClicked(Message):
        """The title of a chart was clicked.

        Attributes:
            chart: whose title.
            again: whether it is the second of two quick clicks.
        """

        def __init__(self, chart: GridWidget, *, again: bool) -> None:
            super().__init__()
            self.chart, self.again = chart, again

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._grid = Grid.blank(1, 1)

    def on_click(self, event: events.Click) -> None:
        """Tell of a click on the title."""
        if event.screen_y == self.region.y and self.region.y != self.content_region.y:
            event.stop()
            self.post_message(self.TitleClicked(self, again=event.chain == 2))

    def render_line(self, y: int) -> Strip:
        """Return one line of cells, grouped into segments of one colour."""
        if y >= len(self._grid.codes):
            return Strip.blank(self.size.width, self.rich_style)
        codes, colours = self._grid.codes[y], self._grid.colours[y]
        changes = np.flatnonzero(colours[1:] != colours[:-1]) + 1
        bounds = [0, *changes.tolist(), len(codes)]
        background = self.rich_style
        segments = [
            Segment(
                "".join(map(chr, codes[start:end])), background + _style(COLOURS[colours[start]])
            )
            for start, end in pairwise(bounds)
        ]
        return Strip(segments, len(codes))

    def present(self, grid: Grid) -> None:
        """Show a grid in place of the last one."""
        before, self._grid = self._grid, grid
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
