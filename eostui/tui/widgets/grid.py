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

#: How many rows at the bottom a vertical line leaves out: those of the texts.
_BELOW_LINES = 1


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
        self._lines: dict[int, str] = {}
        self._rows: dict[int, tuple[Style, Strip]] = {}

    def on_click(self, event: events.Click) -> None:
        """Tell of a click on the title."""
        if event.screen_y == self.region.y and self.region.y != self.content_region.y:
            event.stop()
            self.post_message(self.TitleClicked(self, again=event.chain == 2))

    def render_line(self, y: int) -> Strip:
        """Return one line of cells, grouped into segments of one colour."""
        if y >= len(self._grid.codes):
            return Strip.blank(self.size.width, self.rich_style)
        strip = self._row(y)
        for column, sign in self._lines.items():
            if y < len(self._grid.codes) - _BELOW_LINES:
                strip = self._crossed(strip, y, column, sign)
        return strip

    def _row(self, y: int) -> Strip:
        """Return a line of cells without vertical lines, made once for as long as it stays."""
        background = self.rich_style
        kept = self._rows.get(y)
        if kept is not None and kept[0] == background:
            return kept[1]
        codes, colours = self._grid.codes[y], self._grid.colours[y]
        changes = np.flatnonzero(colours[1:] != colours[:-1]) + 1
        bounds = [0, *changes.tolist(), len(codes)]
        segments = [
            Segment(
                "".join(map(chr, codes[start:end])), background + _style(COLOURS[colours[start]])
            )
            for start, end in pairwise(bounds)
        ]
        strip = Strip(segments, len(codes))
        self._rows[y] = background, strip
        return strip

    def _crossed(self, strip: Strip, y: int, column: int, sign: str) -> Strip:
        """Return a line of cells with that of a vertical line in it: what is drawn there stays seen."""
        code, colour = int(self._grid.codes[y, column]), self._grid.colours[y, column]
        drawn = chr(code) if code != ord(" ") else sign
        own = _style(COLOURS[colour if drawn != sign else "title"])
        style = self.rich_style + own + Style(bgcolor=COLOURS["shade"], bold=True)
        cell = Strip([Segment(drawn, style)], 1)
        return Strip.join([strip.crop(0, column), cell, strip.crop(column + 1)])

    def draw_lines(self, lines: dict[int, str]) -> None:
        """Draw vertical lines over the grid in place of the last ones, repainting these columns alone.

        Args:
            lines: the sign of each, by its column.
        """
        if lines == self._lines:
            return
        height, width = self._grid.codes.shape
        changed = {column for column, _ in lines.items() ^ self._lines.items() if column < width}
        self._lines = lines
        self.refresh(*(Region(column, 0, 1, height) for column in changed))

    def repaint(self) -> None:
        """Show the same grid in the palette's present colours."""
        self._rows.clear()
        self.refresh()

    def present(self, grid: Grid) -> None:
        """Show a grid in place of the last one."""
        before, self._grid = self._grid, grid
        if before.codes.shape != self._grid.codes.shape:
            self._rows.clear()
            self.refresh()
            return
        changed = (before.codes != self._grid.codes) | (before.colours != self._grid.colours)
        regions = []
        for row in np.flatnonzero(changed.any(axis=1)).tolist():
            self._rows.pop(row, None)
            columns = np.flatnonzero(changed[row])
            start = int(columns[0])
            regions.append(Region(start, row, int(columns[-1]) - start + 1, 1))
        if regions:
            self.refresh(*regions)
