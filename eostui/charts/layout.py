"""Where the parts of a chart lie: its frame, the envelopes of its curves, ticks, marks, labels."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eostui.charts import dots
from eostui.charts.chart import STEPS, Chart, Curve, Mark, Spot
from eostui.charts.numbers import compact, tick_texts
from eostui.charts.scales import FloatArray, Scale, StickyRange, linear_ticks
from eostui.charts.shades import Shades, centres

#: A number at the end of a text, or the beginning of one.
_AT_END = re.compile(r"[-−]?\.?\d[\d.]*(e[-+]?\d*)?$")
#: Characters of a label beside the plot.
LABEL_ROOM = 11
#: Values looked through at once for the last finite one.
_PIECE = 1024
#: A curve that yields when it is far: when it ends beyond so many times the largest of the others.
_FAR = 4.0
#: One that yields before it flattens the others: it leaves them this share of the height at least.
_SHARE = 0.4
#: Outliers lie farther outside the middle four fifths of a curve than so many times what these span.
_OUTLYING = 3.0


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

    def shaded(self, shades: Shades, scale: Scale) -> FloatArray:
        """Return the values of shades in the middle of each cell, shape (height, width)."""
        x = centres(self.x0, self.x1, self.width)
        places = centres(self.bottom, self.top, self.height)[::-1]
        return shades.values(x, np.array([scale.backward(place) for place in places.tolist()]))

    def dots(self, x: FloatArray, places: FloatArray) -> NDArray[np.bool_]:
        """Return the dots, shape (4·height, 2·width), in which points lie; others have none."""
        rows, columns = self.height * dots.DOTS_Y, self.width * dots.DOTS_X
        seen = (x >= self.x0) & (x <= self.x1) & (places >= self.bottom) & (places <= self.top)
        along = ((x[seen] - self.x0) / (self.x1 - self.x0) * columns).astype(np.int64)
        down = ((self.top - places[seen]) / (self.top - self.bottom) * rows).astype(np.int64)
        found = np.zeros((rows, columns), dtype=np.bool_)
        # the very right and bottom edges belong to the last column and row
        found[np.minimum(down, rows - 1), np.minimum(along, columns - 1)] = True
        return found


@dataclass(frozen=True)
class Layout:
    """A chart's frame, and the least and greatest place of each curve in each dot column of it.

    `low` and `high` have the shape (curves, columns of dots), NaN where there is nothing to draw.
    """

    frame: Frame
    low: FloatArray
    high: FloatArray

    def cuts(self, chart: Chart) -> bool:
        """Whether a curve for which the axis should make room reaches beyond it."""
        ranged = [curve.ranged for curve in chart.curves]
        highest = np.nanmax(self.high[ranged], initial=-np.inf)
        lowest = np.nanmin(self.low[ranged], initial=np.inf)
        return bool(highest > self.frame.top or lowest < self.frame.bottom)

    def cell(self, chart: Chart, spot: Spot) -> tuple[int, int] | None:
        """Return the row and the column of a spot, None where it isn't in sight."""
        column = self.frame.column(spot.x)
        place = float(chart.scale.forward(np.array([spot.y]))[0])
        if column is None or not math.isfinite(place):
            return None
        return self.frame.row(place), column

    def dots(self, curves: list[Curve]) -> NDArray[np.bool_]:
        """Return the dots of each curve, shape (curves, 4·height, 2·width)."""
        rows = self.frame.height * dots.DOTS_Y
        first, last = dots.spans(self.low, self.high, self.frame.bottom, self.frame.top, rows)
        return np.stack(
            [
                dots.curve(first[index], last[index], rows, curve.pattern)
                for index, curve in enumerate(curves)
            ]
        )


def lay_out(
    chart: Chart,
    left: int,
    width: int,
    height: int,
    x_range: tuple[float, float],
    sticky: StickyRange,
    *,
    without_outliers: bool = False,
) -> Layout | None:
    """Return where the parts of a chart lie; None where there is nothing to draw.

    Args:
        chart: what to draw.
        left: first column of the plot.
        width: columns of the plot.
        height: rows of the plot.
        x_range: left and right end of x.
        sticky: remembers the y range between frames.
        without_outliers: whether the y axis leaves out what lies far from most of its curve, as the end
            of a divergence does: a still picture has no other stretch of x to look at.
    """
    low, high = _envelopes(chart, x_range, width * dots.DOTS_X)
    limits = None
    if sticky.close:
        limits = _limits(without_theory(chart), low, high, without_outliers)
    limits = limits or _limits(chart, low, high, without_outliers)
    if limits is None:
        return None
    floor = 0.0 if chart.scale.kind == "linear" and limits[0] >= 0 else -math.inf
    return Layout(Frame(left, width, height, *x_range, *sticky.fit(*limits, floor)), low, high)


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
            last = curve.y[-1] if curve.coming is None else curve.coming
            last = last if abs(last) < dots.LARGEST else np.nan
            low[index, max(passed, 0) :] = high[index, max(passed, 0) :] = last
    dots.join(low, high)
    return chart.scale.forward(low), chart.scale.forward(high)


def without_theory(chart: Chart) -> Chart:
    """Return a chart whose y axis makes room for what was measured alone, not for thresholds."""
    curves = [replace(curve, ranged=curve.ranged and not curve.yields) for curve in chart.curves]
    return replace(chart, curves=curves)


def _limits(
    chart: Chart, low: FloatArray, high: FloatArray, without_outliers: bool
) -> tuple[float, float] | None:
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
        if without_outliers and curve.yields == "far" and found is not None:
            reach = chart.scale.forward(np.array([_FAR * chart.scale.backward(found[1])]))[0]
            places = places[~(places > reach)]
            if not len(places):
                continue
        ends = float(places.min()), float(places.max())
        if without_outliers and chart.scale.kind != "log" and not curve.yields:
            ends = _usual(places)
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


def _usual(places: FloatArray) -> tuple[float, float]:
    """Return the ends of the places without those far outside the middle four fifths."""
    low, high = np.percentile(places, (10, 90)).tolist()
    reach = max(_OUTLYING * (high - low), abs(low), abs(high))
    return max(float(places.min()), low - reach), min(float(places.max()), high + reach)


def y_ticks(frame: Frame, scale: Scale, room: int) -> list[tuple[int, str]]:
    """Return the row of each round value of a y axis, and its text; "" where it has no room."""
    values = np.array(scale.ticks(frame.bottom, frame.top, max(frame.height // 3, 2)))
    places = scale.forward(values)
    known = np.isfinite(places)  # no power of ten lies below the least number above 0
    rows = [frame.row(place) for place in places[known].tolist()]
    return list(zip(rows, tick_texts(values[known].tolist(), room), strict=True))


@dataclass(frozen=True)
class Tick:
    """A place on the x axis: of a round value, or of a mark; the text is "" where it has no room."""

    column: int
    text: str
    mark: Mark | None = None


def x_ticks(
    frame: Frame,
    marks: list[Mark],
    counts: str,
    room: int,
    places: Sequence[tuple[float, str]] = (),
) -> list[Tick]:
    """Return the ticks of an x axis; no two texts touch, marks' own go first.

    Args:
        frame: of the plot.
        marks: on the axis.
        counts: what x counts.
        room: columns that the texts may take, from the left end of the picture.
        places: what stands there in place of round values.
    """
    taken = np.zeros(room + 1, dtype=bool)
    ticks = []
    for mark in reversed(marks):  # where labels would touch, the newest is told
        column = frame.column(mark.x)
        if column is not None:
            # an older one in the place of one that has no room would be taken for it
            fits = _takes(taken, column, len(mark.text), room, keep=True)
            ticks.append(Tick(column, mark.text if fits else "", mark))
    marked = {tick.column for tick in ticks}
    values = linear_ticks(frame.x0, frame.x1, max(frame.width // 9, 2), whole=counts == STEPS)
    for value, text in places or zip(values, tick_texts(values), strict=True):
        column = frame.column(value)
        if column is not None and column not in marked:
            fits = _takes(taken, column, len(text), room)
            ticks.append(Tick(column, text if fits else ""))
    return ticks


def text_start(column: int, length: int, room: int) -> int:
    """Return where a text begins that is centred under a column, within so many columns."""
    return min(max(column - length // 2, 0), max(room - length, 0))


def _takes(
    taken: NDArray[np.bool_], column: int, length: int, room: int, *, keep: bool = False
) -> bool:
    """Take the columns of a text unless it would touch another; `keep` its place free then."""
    start = text_start(column, length, room)
    fits = not taken[max(start - 1, 0) : start + length + 1].any()
    if fits or keep:
        taken[start : start + length] = True
    return fits


@dataclass(frozen=True)
class Label:
    """A curve's name with its last value in sight, and the row beside which it stands."""

    row: int
    text: str
    curve: Curve


def labels(layout: Layout, chart: Chart, least_digits: int = 0) -> list[Label]:
    """Return the label of each curve at the height where it ends, one a row, with its value there.

    A label tells what is beside it: the last value up to the right end of x, of curves of which there
    are dots.

    Args:
        layout: of the chart.
        chart: the same.
        least_digits: of values that have digits, so many at least.
    """
    frame = layout.frame
    wanted = []
    for curve, seen in zip(chart.curves, np.isfinite(layout.low), strict=True):
        upto = int(np.searchsorted(curve.x, frame.x1, side="right"))
        told = last_told(curve, upto) if curve.label and seen.any() else None
        if told is not None:
            place = float(chart.scale.forward(np.array([told.value]))[0])
            if math.isfinite(place):
                beyond = " ↑" if place > frame.top else " ↓" if place < frame.bottom else ""
                digits = max(curve.digits, least_digits) if curve.digits else 0
                text = labelled(told, digits, LABEL_ROOM, beyond)
                wanted.append((place, text, curve))
    wanted.sort(key=lambda item: -item[0])
    rows = _spread([frame.row(place) for place, _, _ in wanted], frame.height)
    return [
        Label(row, text, curve)
        for row, (_, text, curve) in zip(rows, wanted[len(wanted) - len(rows) :], strict=True)
    ]


class Told(NamedTuple):
    """What a label tells of a curve: a value, and whether it is one that is coming."""

    curve: Curve
    value: float
    coming: bool = False


def last_told(curve: Curve, upto: int) -> Told | None:
    """Return what a label tells of the first `upto` points of a curve: the last finite value, or at its
    end the one that is coming; None without any."""
    if curve.coming is not None and upto == len(curve.x):
        return Told(curve, curve.coming, coming=True)
    finite = last_finite(curve.y[:upto])
    return Told(curve, float(finite[0])) if len(finite) else None


def labelled(told: Told, digits: int, room: int, beyond: str = "") -> str:
    """Return a curve's name and a value of it, with as many digits as there is room for.

    Its short name where the other has no room even without a value; what has none either is cut, but not
    within or right after a number: one with fewer digits would be another.
    """
    gap, texts = "→" if told.coming else " ", []
    for name in filter(None, (told.curve.label, told.curve.short)):
        counts = range(digits, 1, -1)
        texts += [f"{name}{gap}{compact(told.value, count)}{beyond}" for count in counts]
        texts.append(f"{name}{beyond}")
    cut = f"{_AT_END.sub('', told.curve.label[: room - len(beyond) - 1])}…{beyond}"
    return next((text for text in texts if len(text) <= room), cut)


def last_finite(values: FloatArray) -> FloatArray:
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
