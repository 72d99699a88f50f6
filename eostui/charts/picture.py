"""A chart as a grid of characters and colours: curves, thresholds, marks, axes, labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eostui.charts import dots
from eostui.charts.numbers import compact
from eostui.charts.scales import FloatArray, Scale, StickyRange, linear_ticks, tick_texts

#: Index into the widget's styles; 0 is the axis.
AXIS, TITLE, MARK = "axis", "title", "mark"

GUTTER_LEFT = 6
_GUTTER_RIGHT = 12
#: What an x axis counts.
STEPS, FLOW_TIME = "steps", "flow time"
#: Characters of a label beside the plot.
LABEL_ROOM = _GUTTER_RIGHT - 1
_NARROW = 44
#: Values looked through at once for the last finite one.
_PIECE = 1024
#: A curve that yields when it is far: when it ends beyond so many times the largest of the others.
_FAR = 4.0
#: One that yields before it flattens the others: it leaves them this share of the height at least.
_SHARE = 0.4


@dataclass(frozen=True)
class Curve:
    """One curve of a chart.

    Attributes:
        x: rising positions, shape (n,).
        y: values, shape (n,).
        colour: name of its colour in the palette.
        pattern: solid (measured), dashed (threshold), dotted (prediction), stippled (raw spread),
            pointed (of another run: a point a cell).
        label: its name, written at the right end of what is drawn of it with its last value there.
        digits: of that value; 0 for the name alone.
        ranged: whether the y axis makes room for it; a curve that isn't may be clipped.
        yields: where the y axis makes no room for it after all: when it is far from the others, or
            when it would flatten them.
        extended: whether the last value is drawn on to the right end, as thresholds are.
    """

    x: FloatArray
    y: FloatArray
    colour: str
    pattern: str = "solid"
    label: str = ""
    digits: int = 3
    ranged: bool = True
    yields: Literal["", "far", "flattening"] = ""
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
        counts: what the x axis counts.
    """

    curves: list[Curve]
    scale: Scale = field(default_factory=Scale)
    marks: list[Mark] = field(default_factory=list)
    spots: list[Spot] = field(default_factory=list)
    waiting: str = ""
    counts: str = STEPS


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
    low, high = _envelopes(chart, x_range, columns * dots.DOTS_X)
    limits = _limits(chart, low, high)
    if limits is None:
        message = chart.waiting or "nothing to show yet"
        if any(np.isfinite(chart.scale.forward(curve.y)).any() for curve in chart.curves):
            message = "nothing within this stretch"
        grid.write(height // 2, max((width - len(message)) // 2, 0), message, TITLE)
        return grid
    floor = 0.0 if chart.scale.kind == "linear" and limits[0] >= 0 else -math.inf
    frame = Frame(left, columns, rows, *x_range, *sticky.fit(*limits, floor))
    y_axis(grid, frame, chart.scale)
    x_axis(grid, frame, chart.marks, unicode, chart.counts)
    _curves(grid, frame, chart.curves, low, high, unicode)
    for spot in chart.spots:
        column = frame.column(spot.x)
        place = float(chart.scale.forward(np.array([spot.y]))[0])
        if column is not None and math.isfinite(place):
            grid.write(frame.row(place), column, spot.sign if unicode else "x", spot.colour)
    if left + columns < width:
        _labels(grid, frame, chart, np.isfinite(low))
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


def _limits(chart: Chart, low: FloatArray, high: FloatArray) -> tuple[float, float] | None:
    """Return the least and greatest place that the axis must show; None if there is none."""
    found: tuple[float, float] | None = None
    # those that yield come last, when it is known what the others need
    for index in sorted(
        range(len(chart.curves)), key=lambda index: bool(chart.curves[index].yields)
    ):
        curve, tops = chart.curves[index], high[index][np.isfinite(high[index])]
        places = np.concatenate([low[index][np.isfinite(low[index])], tops])
        if not curve.ranged or not len(places):
            continue
        ends = float(places.min()), float(places.max())
        if found is not None:
            ends = min(ends[0], found[0]), max(ends[1], found[1])
            if curve.yields == "far" and len(tops):
                largest = chart.scale.backward(found[1])
                if chart.scale.backward(float(tops[-1])) > _FAR * largest:
                    continue
            elif curve.yields and 0 < found[1] - found[0] < _SHARE * (ends[1] - ends[0]):
                continue
        found = ends
    return found


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
    values = scale.ticks(frame.bottom, frame.top, most)
    for value, text in zip(values, tick_texts(values, bar), strict=True):
        row = frame.row(float(scale.forward(np.array([value]))[0]))
        grid.write(row, max(bar - len(text), 0), text, AXIS)
        grid.write(row, bar, "┤", AXIS)


def x_axis(grid: Grid, frame: Frame, marks: list[Mark], unicode: bool, counts: str = "") -> None:
    """Draw the line below the plot, with round values, the marks, and what the axis counts."""
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
        # an older one in the place of one that has no room would be taken for it
        _label_below(grid, labels, column, mark.text, mark.colour, taken, keep=True)
    whole = counts == STEPS
    values = linear_ticks(frame.x0, frame.x1, max(frame.width // 9, 2), whole=whole)
    for value, text in zip(values, tick_texts(values), strict=True):
        column = frame.column(value)
        if column is not None and grid.codes[axis, column] != ord("┴"):
            grid.write(axis, column, "┬", AXIS)
            _label_below(grid, labels, column, text, AXIS, taken)
    beside = frame.left + frame.width + 1
    grid.write(axis, min(beside, grid.codes.shape[1] - len(counts)), counts, AXIS)


def _label_below(
    grid: Grid,
    row: int,
    column: int,
    text: str,
    colour: str,
    taken: NDArray[np.bool_],
    *,
    keep: bool = False,
) -> None:
    """Write a label centred under a column unless it would touch another; `keep` its place free then."""
    width = grid.codes.shape[1]
    start = min(max(column - len(text) // 2, 0), max(width - len(text), 0))
    around = slice(max(start - 1, 0), start + len(text) + 1)
    room = not taken[around].any()
    if room:
        grid.write(row, start, text, colour)
    if room or keep:
        taken[start : start + len(text)] = True


def _labels(grid: Grid, frame: Frame, chart: Chart, drawn: NDArray[np.bool_]) -> None:
    """Write the label of each curve at the height where it ends, one a row, with its value there.

    A label tells what is beside it: the last value up to the right end of x, of curves of which there
    are dots, `drawn` (of shape (curves, dots)).
    """
    wanted = []
    for curve, seen in zip(chart.curves, drawn, strict=True):
        upto = np.searchsorted(curve.x, frame.x1, side="right")
        finite = _last_finite(curve.y[:upto]) if curve.label and seen.any() else curve.y[:0]
        if len(finite):
            place = float(chart.scale.forward(finite)[0])
            if math.isfinite(place):
                beyond = " ↑" if place > frame.top else " ↓" if place < frame.bottom else ""
                wanted.append((place, _label(curve, float(finite[0]), beyond), curve))
    wanted.sort(key=lambda item: -item[0])
    rows = _spread([frame.row(place) for place, _, _ in wanted], frame.height)
    for row, (_, text, curve) in zip(rows, wanted[len(wanted) - len(rows) :], strict=True):
        grid.write(row, frame.left + frame.width + 1, text, curve.colour)


def _label(curve: Curve, value: float, beyond: str) -> str:
    """Return a curve's name and a value of it, with as many digits as there is room for beside it."""
    texts = [
        f"{curve.label} {compact(value, digits)}{beyond}" for digits in range(curve.digits, 1, -1)
    ]
    name = f"{curve.label}{beyond}"[:LABEL_ROOM]
    return next((text for text in texts if len(text) <= LABEL_ROOM), name)


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
