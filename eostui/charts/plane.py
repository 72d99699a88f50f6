"""A plane of two quantities as a grid of characters: a background of signs, lines, strands of points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eostui.charts import dots
from eostui.charts.chart import Curve, Spot
from eostui.charts.contours import lay
from eostui.charts.layout import Frame
from eostui.charts.picture import GUTTER_LEFT, Grid, x_axis, y_axis
from eostui.charts.scales import FloatArray, Scale

#: left, right, bottom, top.
Region = tuple[float, float, float, float]
_RIGHT_MARGIN = 1
#: What stands for a sign on terminals without Unicode.
ASCII_SIGNS = {"●": "@", "○": "O", "×": "x"}


@dataclass(frozen=True)
class Strand:
    """Points of one kind, unjoined.

    Attributes:
        points: (x, y), shape (n, 2); what isn't finite or lies outside isn't drawn.
        colour: name of its colour in the palette.
        sign: a character for every cell that has a point, "" for fine dots.
    """

    points: FloatArray
    colour: str
    sign: str = ""


@dataclass(frozen=True)
class Background:
    """A sign for every cell.

    Attributes:
        kinds: from (columns, rows) to the kind of each cell, shape (rows, columns), y falling.
        signs: the sign and the colour of each kind.
    """

    kinds: Callable[[int, int], NDArray[np.intp]]
    signs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Plane:
    """What to draw: the background, then curves, strands and spots, each above those before."""

    region: Region
    background: Background | None = None
    curves: Sequence[Curve] = field(default_factory=tuple)
    strands: Sequence[Strand] = field(default_factory=tuple)
    spots: Sequence[Spot] = field(default_factory=tuple)


def draw_plane(plane: Plane, width: int, height: int, *, unicode: bool = True) -> Grid:
    """Draw a plane into a grid of `width` × `height` cells, the two lowest rows being the x axis."""
    grid = Grid.blank(width, height)
    columns, rows = width - GUTTER_LEFT - _RIGHT_MARGIN, height - 2
    if columns < 4 or rows < 1:
        return grid
    frame = Frame(GUTTER_LEFT, columns, rows, *plane.region)
    inside = (slice(0, rows), slice(frame.left, frame.left + columns))
    if plane.background is not None:
        kinds = plane.background.kinds(columns, rows)
        signs, colours = zip(*plane.background.signs, strict=True)
        grid.codes[inside] = np.array([ord(sign) for sign in signs], dtype=np.uint32)[kinds]
        grid.colours[inside] = np.array(colours, dtype=object)[kinds]
    for curve in plane.curves:
        lay(grid, frame, _curve_dots(curve, frame), curve.colour, unicode)
    for strand in plane.strands:
        _strand(grid, frame, strand, unicode)
    y_axis(grid, frame, Scale())
    x_axis(grid, frame, [], unicode)
    for spot in plane.spots:
        column = frame.column(spot.x)
        if column is not None and frame.bottom <= spot.y <= frame.top:
            grid.write(frame.row(spot.y), column, _sign(spot.sign, unicode), spot.colour)
    return grid


def _curve_dots(curve: Curve, frame: Frame) -> dots.BoolArray:
    columns, rows = frame.width * dots.DOTS_X, frame.height * dots.DOTS_Y
    low, high = dots.envelope(curve.x, curve.y, frame.x0, frame.x1, columns)
    first, last = dots.spans(low, high, frame.bottom, frame.top, rows)
    return dots.curve(first, last, rows, curve.pattern)


def _strand(grid: Grid, frame: Frame, strand: Strand, unicode: bool) -> None:
    found = frame.dots(*strand.points.T)
    if not strand.sign:
        lay(grid, frame, found, strand.colour, unicode)
        return
    cells = dots.cells(found)
    inside = (slice(0, frame.height), slice(frame.left, frame.left + frame.width))
    grid.codes[inside] = np.where(cells, ord(_sign(strand.sign, unicode)), grid.codes[inside])
    grid.colours[inside] = np.where(cells, strand.colour, grid.colours[inside])


def _sign(sign: str, unicode: bool) -> str:
    return sign if unicode else ASCII_SIGNS.get(sign, sign)
