"""Still pictures of charts as text: the charts of the panels, drawn by plotext.

Where everything lies is said by `charts.layout`, as for the terminal application; plotext sets the dots,
signs, axes and colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import plotext
from rich.cells import cell_len
from rich.color import Color, ColorSystem

from eostui.charts import dots
from eostui.charts.chart import Chart
from eostui.charts.layout import (
    LABEL_ROOM,
    Frame,
    Layout,
    labelled,
    labels,
    last_told,
    lay_out,
    x_ticks,
    y_ticks,
)
from eostui.charts.palette import COLOURS
from eostui.charts.picture import AXIS, TITLE, plot_columns
from eostui.charts.scales import Scale, StickyRange
from eostui.charts.shades import Shades, colours, signs

#: From this width on, the charts stand two by two.
GRID_WIDTH = 110
#: Below these columns and rows there are only the titles.
SMALLEST = (30, 6)
#: Rows of the x axis, which stands below the bottom charts: line, values, and what it counts.
_AXIS = 3
#: From this height on, other charts have the line of that axis too.
_LINE_HEIGHT = 12
#: Of the rows, from top to bottom, by charts side by side; more rows of charts have the last one's.
_SHARES = {1: (8, 5, 5, 4), 2: (6, 5)}
#: Colours that are near white, for a dark screen: what has them has the terminal's own.
_PLAIN = (AXIS, TITLE, "loss")
#: Digits of a value beside its curve, where there is room for them.
_DIGITS = 4


class Still(NamedTuple):
    """A chart with its title, in parts, the most important first; with ends of x of its own, or not."""

    title: tuple[str, ...]
    chart: Chart
    x_range: tuple[float, float] | None = None


def draw_stills(
    stills: Sequence[Still], x_range: tuple[float, float], *, width: int, height: int, color: bool
) -> str:
    """Draw charts that share their x, two by two where the width allows it.

    Args:
        stills: from left to right, then down.
        x_range: left and right end of x.
        width: columns, never exceeded.
        height: rows, never exceeded.
        color: with terminal colours; without, the text has no escape sequence at all.

    Returns:
        At most `height` lines, without a newline at the end. A low picture lacks the last charts, a
        tiny one is the titles alone.
    """
    if width < SMALLEST[0] or height < SMALLEST[1]:
        shown = stills[: max(height, 0)]
        titles = [_title(still, _notes(still.chart, values=True), width) for still in shown]
        return _text(titles, color)
    across = 2 if width >= GRID_WIDTH and len(stills) > 1 else 1
    down = max(min((height - _AXIS) // 3, -(-len(stills) // across)), 1)
    shares = [*_SHARES[across], *[_SHARES[across][-1]] * down][:down]
    ends = np.round(np.cumsum(shares) / sum(shares) * (height - _AXIS)).astype(int)
    heights = np.diff(ends, prepend=0) + _AXIS * (np.arange(down) == down - 1)
    rows = []
    for index, tall in enumerate(heights.tolist()):
        size, bottom = (width // across, tall), index == down - 1
        row = stills[index * across : (index + 1) * across]
        below = stills[(index + 1) * across : (index + 2) * across]
        # an axis that the charts below don't share is written, where it leaves half of the height
        own = any(still.x_range is not None for still in (*row, *below)) and tall >= 2 * _AXIS
        first, *others = [_draw(still, x_range, size, bottom=bottom or own) for still in row]
        rows.append(first.hstack(others[0]) if others else first)
    return _text(rows, color)


def _text(rows: Sequence[Any], color: bool) -> str:
    lines = [line for row in rows for line in row.string(colorless=not color).splitlines()]
    return "\n".join(line.rstrip() for line in lines)


def _draw(
    still: Still, x_range: tuple[float, float], size: tuple[int, int], *, bottom: bool
) -> Any:
    """Return a chart as a matrix of `size` columns and rows, with the x axis if at the bottom."""
    chart, (width, height) = still.chart, size
    x_range = still.x_range or x_range
    line = bottom or height >= _LINE_HEIGHT
    left, columns = plot_columns(width)
    rows = max(height - 1 - (_AXIS if bottom else line), 1)
    layout = lay_out(chart, left, columns, rows, x_range, StickyRange(), without_outliers=True)
    if layout is None:
        return _waiting(still, size)
    beside = left + columns < width
    notes = _notes(chart, values=not beside)
    if layout.cuts(chart):
        notes.append(("(axis cut)", TITLE))
    plotext.terminal.limit(False, False)
    figure = plotext.figure.clear()
    figure.theme("colorless").plot_size(*size).title(_title(still, notes, width))
    figure.axes(False, side=1).axes(line, axis="x", side=0)
    figure.label(chart.counts if bottom else None)
    for axis, side, end in (("x", 0, columns), ("y", 0, rows), ("y", 1, rows)):
        figure.ruler(axis, side).lim(0, end).alignment(lim="edge")
    _ticks(figure, layout.frame, chart, width if bottom else 0)
    _labels(figure, layout, chart, LABEL_ROOM + 1 if beside else 0)
    if chart.shades is not None:
        _shades(figure, layout.frame, chart.shades, chart.scale)
    _curves(figure, layout, chart)
    return figure.build()


def _ticks(figure: Any, frame: Frame, chart: Chart, width: int) -> None:
    """Set the ticks of y, and those of x where they have so many columns, not 0."""
    room = frame.left - 1
    values = [(row, text.rjust(room)) for row, text in y_ticks(frame, chart.scale, room) if text]
    values = values or [(0, _coloured(" " * room, AXIS))]
    figure.ruler("y", 0).ticks(*_at_rows(frame, values))
    ticks = x_ticks(frame, chart.marks, chart.counts, width, chart.places) if width else []
    texts = {
        tick.column: _coloured(tick.text, tick.mark.colour if tick.mark else AXIS)
        for tick in ticks
        if tick.text
    }
    figure.ruler("x", 0).ticks([column - frame.left + 0.5 for column in texts], [*texts.values()])


def _labels(figure: Any, layout: Layout, chart: Chart, room: int) -> None:
    """Set the labels beside the plot, in so many columns, which are kept where no curve has one."""
    texts = [(0, _coloured(" " * room, AXIS))] if room else []
    for label in labels(layout, chart, _DIGITS) if room else ():
        text = f" {label.curve.sign}{label.text}".ljust(room)[:room]
        texts.append((label.row, _coloured(text, label.curve.colour)))
    figure.ruler("y", 1).ticks(*_at_rows(layout.frame, texts))


def _shades(figure: Any, frame: Frame, shaded: Shades, scale: Scale) -> None:
    """Draw the cells that have a value, those of one sign and colour together."""
    values = frame.shaded(shaded, scale)
    codes, names = signs(values, unicode=True), colours(values)
    for code, name in sorted({*zip(codes[codes > 0].tolist(), names[codes > 0], strict=True)}):
        rows = np.argwhere((codes == code) & (names == name)).tolist()
        cells = [(row, frame.left + column) for row, column in rows]
        _signs(figure, frame, cells, chr(code), name)


def _curves(figure: Any, layout: Layout, chart: Chart) -> None:
    """Draw the marks, the curves above them, and the spots above these."""
    frame = layout.frame
    for mark in chart.marks:
        if (column := frame.column(mark.x)) is not None:
            cells = [(row, column) for row in range(frame.height)]
            _signs(figure, frame, cells, "┊", mark.colour)
    for curve, points in zip(chart.curves, layout.dots(chart.curves), strict=True):
        if curve.sign:
            found = dots.cells(frame.dots(curve.x, chart.scale.forward(curve.y)))
            cells = [(row, frame.left + column) for row, column in np.argwhere(found).tolist()]
            _signs(figure, frame, cells, curve.sign, curve.colour)
        else:
            down, along = np.nonzero(points)
            x, y = (along + 0.5) / dots.DOTS_X, frame.height - (down + 0.5) / dots.DOTS_Y
            _mark(figure, x.tolist(), y.tolist(), "braille", curve.colour)
    for spot in chart.spots:
        if (cell := layout.cell(chart, spot)) is not None:
            _signs(figure, frame, [cell], spot.sign, spot.colour)


def _at_rows(frame: Frame, texts: Iterable[tuple[int, Any]]) -> tuple[list[float], list[Any]]:
    """Return the heights and the texts of ticks that stand in rows counted from the top."""
    pairs = [(frame.height - row - 0.5, text) for row, text in texts]
    return [height for height, _ in pairs], [text for _, text in pairs]


def _signs(
    figure: Any, frame: Frame, cells: Sequence[tuple[int, int]], sign: str, colour: str
) -> None:
    """Draw a sign in cells, each a row and a column of the picture."""
    x = [column - frame.left + 0.5 for _, column in cells]
    _mark(figure, x, [frame.height - row - 0.5 for row, _ in cells], sign, colour)


def _mark(figure: Any, x: list[float], y: list[float], sign: str, colour: str) -> None:
    if x:
        marker = plotext.marker(sign, _terminal_colour(colour))
        figure.draw(figure.signal(x, y, marker=marker))


def _waiting(still: Still, size: tuple[int, int]) -> Any:
    """Return the title, and in the middle what there is instead of a chart."""
    width, height = size
    matrix = plotext.matrix(width, height, plotext.pixel())
    matrix.insert(0, 0, _title(still, _notes(still.chart, values=False), width))
    message = (still.chart.waiting or "nothing to show")[:width]
    if height > 1:
        matrix.insert((width - len(message)) // 2, height // 2, message)
    return matrix


#: A text and the name of its colour.
_Piece = tuple[str, str]


def _notes(chart: Chart, *, values: bool) -> list[_Piece]:
    """Return what a title says of curves: which have no data or end in none, and their last values.

    Those that lie above the others come first.
    """
    notes = []
    for curve in reversed(chart.curves):
        newest = last_told(curve, len(curve.x))
        if not curve.label:
            continue
        if newest is None:
            if curve.ranged:
                notes.append((f"{curve.sign}{curve.label}: no data", curve.colour))
            continue
        ended = "" if np.isfinite(curve.y[-1]) else ", then not finite"
        if values:
            digits = max(curve.digits, _DIGITS) if curve.digits else 0
            text = labelled(newest, digits, LABEL_ROOM)
            notes.append((f"{curve.sign}{text}{ended}", curve.colour))
        elif ended:
            notes.append((f"{curve.label}{ended}", curve.colour))
    return notes


def _title(still: Still, notes: list[_Piece], width: int) -> Any:
    """Return a title as one row of `width` columns; where room is short, its last parts go first, then
    the last of the notes."""
    parts = [(part, TITLE) for part in still.title]
    choices = [[*parts[:count], *notes] for count in range(len(parts), -1, -1)]
    choices += [notes[:count] for count in range(len(notes) - 1, 0, -1)]
    fitting = (
        (pieces, gap)
        for pieces in choices
        for gap in (2, 1)
        if pieces and sum(cell_len(text) + gap for text, _ in pieces) - gap <= width
    )
    pieces, gap = next(fitting, (notes or parts, 1))
    row, at = plotext.matrix(width, 1, plotext.pixel()), 0
    for text, colour in pieces:
        row.insert(at, 0, _coloured(text[: max(width - at, 0)], colour))
        at += cell_len(text) + gap
    return row


def _coloured(text: str, colour: str) -> Any:
    return plotext.colorize(text, _terminal_colour(colour))


def _terminal_colour(name: str) -> int | None:
    """Return the nearest to a colour of the palette among the 256 that every terminal has."""
    return None if name in _PLAIN else _nearest(COLOURS[name])


@cache
def _nearest(colour: str) -> int:
    number = Color.parse(colour).downgrade(ColorSystem.EIGHT_BIT).number
    assert number is not None
    return number
