"""A chart as a grid of characters and colours: curves, thresholds, marks, axes, labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eostui.tui.charts import dots
from eostui.tui.charts.scales import FloatArray, Scale, StickyRange, linear_ticks, tick_text

#: Index into the widget's styles; 0 is the axis.
AXIS, TITLE, MARK = "axis", "title", "mark"

GUTTER_LEFT = 6
_GUTTER_RIGHT = 12
#: Characters of a label beside the plot.
LABEL_ROOM = _GUTTER_RIGHT - 1
_NARROW = 44
#: Values looked through at once for the last finite one.
_PIECE = 1024


@dataclass(frozen=True)
class Curve:
    """One curve of a chart.

    Attributes:
        x: rising positions, shape (n,).
        y: values, shape (n,).
        colour: name of its colour in the palette.
        pattern: solid (measured), dashed (threshold), dotted (prediction), stippled (raw spread),
            pointed (of another run: a point a cell).
        label: text at its right end, or "".
        ranged: whether the y axis makes room for it; a curve that isn't may be clipped.
        extended: whether the last value is drawn on to the right end, as thresholds are.
    """

    x: FloatArray
    y: FloatArray
    colour: str
    pattern: str = "solid"
    label: str = ""
    ranged: bool = True
    extended: bool = False


@dataclass(frozen=True)
class Mark:
    """A vertical line where a control changed, with the new value."""

    x: float
    text: str
    colour: str = MARK


@dataclass(frozen=True)
class Spot:
    """A single point with a sign of its own, such as a crossing."""

    x: float
    y: float
    colour: str
    sign: str = "✕"


@dataclass(frozen=True)
class Chart:
    """What to draw; curves later in the list lie above earlier ones.

    Attributes:
        waiting: shown in the middle while there is nothing to draw.
    """

    curves: list[Curve]
    scale: Scale = field(default_factory=Scale)
    marks: list[Mark] = field(default_factory=list)
    spots: list[Spot] = field(default_factory=list)
    waiting: str = ""


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


@dataclass(frozen=True)
class Frame:
    """Where a plot lies in its grid and what it shows: `left`, `width`, `height` in cells, x from `x0`
    to `x1`, places on the y scale from `bottom` to `top`."""

    left: int
    width: int
    height: int
    x0: float
    x1: float
    bottom: float
    top: float

    def column(self, x: float) -> int | None:
        """Return the cell column of x, or None outside."""
        if not self.x0 <= x <= self.x1:
            return None
        place = int((x - self.x0) / (self.x1 - self.x0) * self.width)
        return self.left + min(place, self.width - 1)

    def row(self, place: float) -> int:
        """Return the cell row of a place on the y scale, clipped to the plot."""
        share = (self.top - place) / (self.top - self.bottom)
        return min(max(int(share * self.height), 0), self.height - 1)


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
    gutter = _GUTTER_RIGHT if width >= _NARROW else 0
    columns = width - GUTTER_LEFT - gutter
    if rows < 1 or columns < 4:
        return grid
    low, high = _envelopes(chart, x_range, columns * dots.DOTS_X)
    limits = _limits(chart.curves, low, high)
    if limits is None:
        message = chart.waiting or "nothing to show yet"
        grid.write(height // 2, max((width - len(message)) // 2, 0), message, TITLE)
        return grid
    floor = 0.0 if chart.scale.kind == "linear" and limits[0] >= 0 else -math.inf
    frame = Frame(GUTTER_LEFT, columns, rows, *x_range, *sticky.fit(*limits, floor))
    y_axis(grid, frame, chart.scale)
    x_axis(grid, frame, chart.marks, unicode)
    _curves(grid, frame, chart.curves, low, high, unicode)
    for spot in chart.spots:
        column = frame.column(spot.x)
        place = float(chart.scale.forward(np.array([spot.y]))[0])
        if column is not None and math.isfinite(place):
            grid.write(frame.row(place), column, spot.sign if unicode else "x", spot.colour)
    if gutter:
        _labels(grid, frame, chart)
    return grid


def _envelopes(
    chart: Chart, x_range: tuple[float, float], width: int
) -> tuple[FloatArray, FloatArray]:
    """Return the least and greatest place of each curve in each dot column, shapes (curves, width)."""
    left, right = x_range
    low, high = np.full((2, len(chart.curves), width), np.nan)
    for index, curve in enumerate(chart.curves):
        low[index], high[index] = dots.extremes(curve.x, curve.y, left, right, width)
        if curve.extended and len(curve.x):
            passed = math.ceil((curve.x[-1] - left) / (right - left) * width)
            low[index, max(passed, 0) :] = high[index, max(passed, 0) :] = curve.y[-1]
    dots.join(low, high)
    return chart.scale.forward(low), chart.scale.forward(high)


def _limits(curves: list[Curve], low: FloatArray, high: FloatArray) -> tuple[float, float] | None:
    """Return the least and greatest place that the axis must show; None if there is none."""
    ranged = [curve.ranged for curve in curves]
    shown = np.stack([low[ranged], high[ranged]])
    finite = shown[np.isfinite(shown)]
    return (float(finite.min()), float(finite.max())) if len(finite) else None


def _curves(
    grid: Grid,
    frame: Frame,
    curves: list[Curve],
    low: FloatArray,
    high: FloatArray,
    unicode: bool,
) -> None:
    """Draw the curves; in a cell that two of them pass, the later one is seen."""
    rows = frame.height * dots.DOTS_Y
    first, last = dots.spans(low, high, frame.bottom, frame.top, rows)
    points = np.stack(
        [
            dots.curve(first[index], last[index], rows, curve.pattern)
            for index, curve in enumerate(curves)
        ]
    )
    codes = dots.braille(points) if unicode else dots.ascii_art(points)
    inside = (slice(0, frame.height), slice(frame.left, frame.left + frame.width))
    for drawn, curve in zip(codes, curves, strict=True):
        cells = drawn > 0
        if curve.pattern == "pointed":
            drawn = ord("·" if unicode else "o")
        grid.codes[inside] = np.where(cells, drawn, grid.codes[inside])
        grid.colours[inside][cells] = curve.colour


def y_axis(grid: Grid, frame: Frame, scale: Scale) -> None:
    """Draw the line left of the plot, with round values of the scale."""
    most = max(frame.height // 3, 2)
    bar = frame.left - 1
    grid.codes[: frame.height, bar] = ord("│")
    for value in scale.ticks(frame.bottom, frame.top, most):
        row = frame.row(float(scale.forward(np.array([value]))[0]))
        text = tick_text(value, bar)
        grid.write(row, max(bar - len(text), 0), text, AXIS)
        grid.write(row, bar, "┤", AXIS)


def x_axis(grid: Grid, frame: Frame, marks: list[Mark], unicode: bool) -> None:
    """Draw the line below the plot, with round values and the marks."""
    axis, labels = frame.height, frame.height + 1
    grid.write(axis, frame.left - 1, "└" + "─" * frame.width, AXIS)
    taken = np.zeros(grid.codes.shape[1] + 1, dtype=bool)
    for mark in reversed(marks):  # where labels would touch, the newest is told
        column = frame.column(mark.x)
        if column is None:
            continue
        grid.codes[: frame.height, column] = ord("┊" if unicode else ":")
        grid.colours[: frame.height, column] = mark.colour
        grid.write(axis, column, "┴", mark.colour)
        _label_below(grid, labels, column, mark.text, mark.colour, taken)
    for value in linear_ticks(frame.x0, frame.x1, max(frame.width // 9, 2)):
        column = frame.column(value)
        if column is not None and grid.codes[axis, column] != ord("┴"):
            grid.write(axis, column, "┬", AXIS)
            _label_below(grid, labels, column, tick_text(value), AXIS, taken)


def _label_below(
    grid: Grid, row: int, column: int, text: str, colour: str, taken: NDArray[np.bool_]
) -> None:
    """Write a label centred under a column unless it would touch another."""
    width = grid.codes.shape[1]
    start = min(max(column - len(text) // 2, 0), max(width - len(text), 0))
    around = slice(max(start - 1, 0), start + len(text) + 1)
    if not taken[around].any():
        grid.write(row, start, text, colour)
        taken[start : start + len(text)] = True


def _labels(grid: Grid, frame: Frame, chart: Chart) -> None:
    """Write each labelled curve's label at the height of its last value, one a row."""
    wanted = []
    for curve in chart.curves:
        upto = np.searchsorted(curve.x, frame.x1, side="right")
        finite = _last_finite(curve.y[:upto]) if curve.label else curve.y[:0]
        if len(finite):
            place = float(chart.scale.forward(finite)[0])
            if math.isfinite(place):
                wanted.append((frame.row(place), curve))
    wanted.sort(key=lambda item: item[0])
    rows = _spread([row for row, _ in wanted], frame.height)
    for row, (_, curve) in zip(rows, wanted, strict=False):
        column = frame.left + frame.width + 1
        grid.write(row, column, curve.label[:LABEL_ROOM], curve.colour)


def _last_finite(values: FloatArray) -> FloatArray:
    """Return the last finite value as an array of one, of none if there is none; from the end, so that
    a long curve isn't read through for it."""
    for stop in range(len(values), 0, -_PIECE):
        piece = values[max(stop - _PIECE, 0) : stop]
        finite = piece[np.isfinite(piece)]
        if len(finite):
            return finite[-1:]
    return values[:0]


def _spread(rows: list[int], height: int) -> list[int]:
    """Move rising rows apart until no two are equal, within [0, height)."""
    spread: list[int] = []
    for row in rows:
        spread.append(max(row, spread[-1] + 1) if spread else row)
    limit = height - 1
    for index in range(len(spread) - 1, -1, -1):
        spread[index] = min(spread[index], limit)
        limit = spread[index] - 1
    return [row for row in spread if row >= 0]
