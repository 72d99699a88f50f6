"""A chart as a grid of characters and colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eostui.charts import dots
from eostui.charts.chart import Chart, Mark
from eostui.charts.layout import (
    LABEL_ROOM,
    Frame,
    Layout,
    labels,
    lay_out,
    text_start,
    x_ticks,
    y_ticks,
)
from eostui.charts.scales import Scale, StickyRange
from eostui.charts.shades import Shades, colours, signs

#: Names of colours in the palette.
AXIS, TITLE = "axis", "title"

GUTTER_LEFT = 6
_GUTTER_RIGHT = LABEL_ROOM + 1
_NARROW = 44


@dataclass
class Grid:
    """Characters (code points) and colour names of a rectangle of cells, each (height, width)."""

    codes: NDArray[np.uint32]
    colours: NDArray[np.object_]

    @classmethod
    def blank(cls, width: int, height: int) -> Grid:
        """Return a grid of spaces."""
        return cls(
            np.full((height, width), ord(" "), dtype=np.uint32),
            np.full((height, width), AXIS, dtype=object),
        )

    def write(self, row: int, column: int, text: str, colour: str) -> None:
        """Write text, clipped to the grid."""
        height, width = self.codes.shape
        if not 0 <= row < height:
            return
        for offset, character in enumerate(text):
            if 0 <= column + offset < width:
                self.codes[row, column + offset] = ord(character)
                self.colours[row, column + offset] = colour

    def text(self) -> str:
        """Return the characters as lines, for tests and for people."""
        return "\n".join("".join(map(chr, row)) for row in self.codes)


def plot_columns(width: int) -> tuple[int, int]:
    """Return the first column of a chart's plot and how many it has, in a chart of `width` cells."""
    gutter = _GUTTER_RIGHT if width >= _NARROW else 0
    return GUTTER_LEFT, max(width - GUTTER_LEFT - gutter, 0)


def draw(
    chart: Chart,
    width: int,
    height: int,
    x_range: tuple[float, float],
    sticky: StickyRange,
    *,
    unicode: bool = True,
) -> Grid:
    """Draw a chart into a grid of `width` × `height` cells.

    Args:
        chart: what to draw.
        width: cells.
        height: cells, the two lowest rows being the x axis.
        x_range: left and right end of x.
        sticky: remembers the y range between frames.
        unicode: braille dots, or ASCII.
    """
    grid = Grid.blank(width, height)
    rows = height - 2
    left, columns = plot_columns(width)
    if rows < 1 or columns < 4:
        return grid
    layout = lay_out(chart, left, columns, rows, x_range, sticky)
    if layout is None:
        message = chart.waiting or "nothing to show yet"
        if any(np.isfinite(chart.scale.forward(curve.y)).any() for curve in chart.curves):
            message = "nothing within this stretch"
        grid.write(height // 2, max((width - len(message)) // 2, 0), message, TITLE)
        return grid
    frame = layout.frame
    y_axis(grid, frame, chart.scale)
    x_axis(grid, frame, chart.marks, unicode, chart.counts, chart.places)
    if chart.shades is not None:
        _shades(grid, frame, chart.shades, chart.scale, unicode)
    _curves(grid, layout, chart, unicode)
    for spot in chart.spots:
        if (cell := layout.cell(chart, spot)) is not None:
            sign = spot.sign if unicode or spot.sign.isascii() else "x"
            grid.write(*cell, sign, spot.colour)
    if left + columns < width:
        for label in labels(layout, chart):
            grid.write(label.row, left + columns + 1, label.text, label.curve.colour)
    return grid


def _shades(grid: Grid, frame: Frame, shaded: Shades, scale: Scale, unicode: bool) -> None:
    """Fill the cells that have a value; the lines of marks are below them."""
    values = frame.shaded(shaded, scale)
    inside = (slice(0, frame.height), slice(frame.left, frame.left + frame.width))
    codes = signs(values, unicode=unicode)
    grid.codes[inside] = np.where(codes, codes, grid.codes[inside])
    grid.colours[inside] = np.where(codes, colours(values), grid.colours[inside])


def _curves(grid: Grid, layout: Layout, chart: Chart, unicode: bool) -> None:
    """Draw the curves. In a cell that several pass the latest is seen, and through it what is dashed:
    a threshold along which another curve lies stays in sight."""
    points, frame = layout.dots(chart.curves), layout.frame
    of_dots = dots.braille if unicode else dots.ascii_art
    codes = of_dots(points)
    cells = codes > 0
    if dashed := [index for index, curve in enumerate(chart.curves) if curve.pattern == "dashed"]:
        for index in dashed:
            points[index + 1 :] |= points[index]
        codes = of_dots(points)
    inside = (slice(0, frame.height), slice(frame.left, frame.left + frame.width))
    for drawn, passed, curve in zip(codes, cells, chart.curves, strict=True):
        if curve.pattern == "pointed":
            drawn = ord("·" if unicode else "o")
        grid.codes[inside] = np.where(passed, drawn, grid.codes[inside])
        grid.colours[inside][passed] = curve.colour


def y_axis(grid: Grid, frame: Frame, scale: Scale) -> None:
    """Draw the line left of the plot, with round values of the scale."""
    bar = frame.left - 1
    grid.codes[: frame.height, bar] = ord("│")
    for row, text in y_ticks(frame, scale, bar):
        grid.write(row, max(bar - len(text), 0), text, AXIS)
        grid.write(row, bar, "┤", AXIS)


def x_axis(
    grid: Grid,
    frame: Frame,
    marks: list[Mark],
    unicode: bool,
    counts: str = "",
    places: Sequence[tuple[float, str]] = (),
) -> None:
    """Draw the line below the plot, with round values, the marks, and what the axis counts."""
    axis, width = frame.height, grid.codes.shape[1]
    grid.write(axis, frame.left - 1, "└" + "─" * frame.width, AXIS)
    for tick in x_ticks(frame, marks, counts, width, places):
        colour = tick.mark.colour if tick.mark else AXIS
        if tick.mark:
            grid.codes[: frame.height, tick.column] = ord("┊" if unicode else ":")
            grid.colours[: frame.height, tick.column] = colour
        grid.write(axis, tick.column, "┴" if tick.mark else "┬", colour)
        start = text_start(tick.column, len(tick.text), width)
        grid.write(axis + 1, start, tick.text, colour)
    beside = frame.left + frame.width + 1
    grid.write(axis, min(beside, width - len(counts)), counts, AXIS)
