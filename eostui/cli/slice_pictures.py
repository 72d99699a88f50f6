"""Still pictures of slices as text: charts of lines, two maps of a plane."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from eostui.charts.contours import Map, draw_map
from eostui.charts.palette import COLOURS
from eostui.charts.picture import Grid
from eostui.cli.streams import sayable, speaks_unicode
from eostui.panels.slices import loss_chart, plane_map, plane_titles, sharpness_chart, title_of
from eostui.panels.still import GRID_WIDTH, Still, draw_stills
from eostui.slices import Plane, Slice


def of_slices(
    cuts: Sequence[Slice],
    *,
    width: int,
    height: int | None,
    rows: int,
    axis: int,
    log: bool,
    color: bool,
) -> str:
    """Draw L and S of slices, side by side where the width allows it, one slice below the other.

    Args:
        cuts: one at least.
        width: columns, never exceeded.
        height: lines; None for `rows` of each row of charts, and `axis` more.
        log: whether y is logarithmic.
        color: with terminal colours; without, the text has no escape sequence at all.
    """
    kind = "log" if log else "linear"
    stills = []
    for cut in cuts:
        ends = float(cut.x[0]), float(cut.x[-1])
        stills.append(Still(title_of(cut, "L"), loss_chart(cut, kind), ends))
        stills.append(Still(title_of(cut, "S"), sharpness_chart(cut, kind), ends))
    down = len(cuts) if width >= GRID_WIDTH else len(stills)
    ends = stills[0].x_range or (0.0, 1.0)
    lines = height or rows * down + axis
    return draw_stills(stills, ends, width=width, height=lines, color=color)


def of_plane(plane: Plane, *, width: int, height: int, color: bool) -> None:
    """Print the maps of L and S over a plane, side by side where the width allows it."""
    titles, unicode = plane_titles(plane), speaks_unicode(sys.stdout)
    across = 2 if width >= GRID_WIDTH else 1
    maps = (
        plane_map(plane, plane.loss, thresholds=False),
        plane_map(plane, plane.sharpness, thresholds=True),
    )
    drawn = [
        _lines(title, shown, width // across - (across - 1), height, unicode)
        for title, shown in zip(titles, maps, strict=True)
    ]
    console = Console(width=width, no_color=not color, highlight=False, soft_wrap=True)
    if across == 1:
        lines = [line for each in drawn for line in each]
    else:
        lines = [Text(" ").join(pair) for pair in zip(*drawn, strict=True)]
    for line in lines:
        line.rstrip()
        console.print(line if color else Text(sayable(line.plain, cells=True)))


def _lines(title: str, shown: Map, width: int, height: int, unicode: bool) -> list[Text]:
    """Return a map below its title, as lines of `width` columns."""
    grid: Grid = draw_map(shown, width, height, unicode=unicode)
    lines = [Text(title[:width].ljust(width), style="bold")]
    for codes, colours in zip(grid.codes, grid.colours, strict=True):
        line = Text()
        for code, colour in zip(codes.tolist(), colours.tolist(), strict=True):
            line.append(chr(code), COLOURS[colour])
        lines.append(line)
    return lines
