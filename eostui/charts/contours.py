"""A map over the plane as a grid of characters: shades, contours, a path, axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eostui.charts import dots
from eostui.charts.dots import BoolArray
from eostui.charts.layout import Frame
from eostui.charts.picture import GUTTER_LEFT, Grid, x_axis, y_axis
from eostui.charts.scales import FloatArray, Scale

#: From low to high; as many shades as there are bands of equal area.
SHADES, ASCII_SHADES = " ░▒▓█", " .:*#"
#: Newest points of a path that are joined by lines.
_JOINED = 12
_RIGHT_MARGIN = 1


@dataclass(frozen=True)
class Contour:
    """A line where the map has this value; stippled contours are dotted."""

    value: float
    colour: str
    stippled: bool = False


@dataclass(frozen=True)
class Map:
    """What to draw.

    Attributes:
        values: on a regular grid, shape (rows, columns), y rising with the row; NaN stays blank.
        region: left, right, bottom, top: where the outermost grid points lie.
        path: points (x, y) in the order they were visited, shape (n, 2).
        contours: lines on the map; later ones lie above earlier ones.
        colours: of the shades below and above the first contour, or of all if they are the same.
    """

    values: FloatArray
    region: tuple[float, float, float, float]
    path: FloatArray
    contours: Sequence[Contour] = field(default_factory=tuple)
    colours: tuple[str, str] = ("shade", "shade")


def bands(values: FloatArray) -> FloatArray:
    """Return the four values that part a map into five bands of equal area."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.full(len(SHADES) - 1, np.nan)
    return np.quantile(known, np.arange(1, len(SHADES)) / len(SHADES))


def draw_map(drawn: Map, width: int, height: int, *, unicode: bool = True) -> Grid:
    """Draw a map into a grid of `width` × `height` cells, the two lowest rows being the x axis."""
    grid = Grid.blank(width, height)
    columns, rows = width - GUTTER_LEFT - _RIGHT_MARGIN, height - 2
    if columns < 4 or rows < 1:
        return grid
    left, right, bottom, top = drawn.region
    frame = Frame(GUTTER_LEFT, columns, rows, left, right, bottom, top)
    _shade(grid, frame, drawn, unicode)
    for contour in drawn.contours:
        lay(grid, frame, _contour_dots(drawn, contour, frame), contour.colour, unicode)
    y_axis(grid, frame, Scale())
    x_axis(grid, frame, [], unicode)
    _path(grid, frame, drawn, unicode)
    return grid


def _sampled(values: FloatArray, rows: int, columns: int) -> FloatArray:
    """Return the map at the centres of a rows × columns raster, top row first, interpolated."""
    high, wide = values.shape
    at_y = (1 - (np.arange(rows) + 0.5) / rows) * (high - 1)
    at_x = (np.arange(columns) + 0.5) / columns * (wide - 1)
    y, x = at_y.astype(int), at_x.astype(int)  # both below the last index
    up, along = (at_y - y)[:, None], (at_x - x)[None, :]
    lower = values[y][:, x] * (1 - along) + values[y][:, x + 1] * along
    upper = values[y + 1][:, x] * (1 - along) + values[y + 1][:, x + 1] * along
    sampled: FloatArray = lower * (1 - up) + upper * up
    return sampled


def _shade(grid: Grid, frame: Frame, drawn: Map, unicode: bool) -> None:
    sampled = _sampled(drawn.values, frame.height, frame.width)
    shades = np.array([ord(c) for c in (SHADES if unicode else ASCII_SHADES)], dtype=np.uint32)
    level = np.searchsorted(bands(drawn.values), np.nan_to_num(sampled), side="right")
    inside = (slice(0, frame.height), slice(frame.left, frame.left + frame.width))
    grid.codes[inside] = np.where(np.isfinite(sampled), shades[level], ord(" "))
    below, above = drawn.colours
    edge = drawn.contours[0].value if drawn.contours else np.inf
    grid.colours[inside] = np.where(sampled > edge, above, below)


def _contour_dots(drawn: Map, contour: Contour, frame: Frame) -> BoolArray:
    """Return the dots on whose right or lower side the map passes the value."""
    rows, columns = frame.height * dots.DOTS_Y, frame.width * dots.DOTS_X
    sampled = _sampled(drawn.values, rows, columns)
    above, known = sampled > contour.value, np.isfinite(sampled)
    line: BoolArray = np.zeros((rows, columns), dtype=bool)
    line[:-1] |= (above[:-1] != above[1:]) & known[:-1] & known[1:]
    line[:, :-1] |= (above[:, :-1] != above[:, 1:]) & known[:, :-1] & known[:, 1:]
    if contour.stippled:
        line &= np.add.outer(np.arange(rows), np.arange(columns)) % 4 < 2
    return line


def _path(grid: Grid, frame: Frame, drawn: Map, unicode: bool) -> None:
    """Draw where the path went, its newest steps joined, and where it is."""
    path = drawn.path[np.isfinite(drawn.path).all(axis=1)]
    if not len(path):
        return
    lay(grid, frame, frame.dots(*path.T), "path", unicode)
    newest = path[-_JOINED:]
    lay(grid, frame, frame.dots(*_joined(newest, frame).T), "loss", unicode)
    x, y = newest[-1]
    column = frame.column(x)
    if column is not None and frame.bottom <= y <= frame.top:
        grid.write(frame.row(y), column, "●" if unicode else "@", "mark")


def _joined(points: FloatArray, frame: Frame) -> FloatArray:
    """Return points so dense along the lines between the given ones that no dot is left out."""
    pieces = np.linspace(0, 1, max(frame.width * dots.DOTS_X, frame.height * dots.DOTS_Y))
    steps = points[:-1, None] + pieces[None, :, None] * np.diff(points, axis=0)[:, None]
    return np.concatenate([steps.reshape(-1, 2), points[-1:]])


def lay(grid: Grid, frame: Frame, points: BoolArray, colour: str, unicode: bool) -> None:
    """Write dots over what is there; cells without dots stay as they are."""
    codes: NDArray[np.uint32] = dots.braille(points) if unicode else dots.ascii_art(points)
    inside = (slice(0, frame.height), slice(frame.left, frame.left + frame.width))
    grid.codes[inside] = np.where(codes > 0, codes, grid.codes[inside])
    grid.colours[inside] = np.where(codes > 0, colour, grid.colours[inside])
