"""Draws the charts of a figure by matplotlib, as the panels say them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eostui.charts import dots
from eostui.charts.chart import FLOW_TIME, STEPS, Chart, Curve, Mark, Spot
from eostui.charts.layout import Layout, lay_out
from eostui.charts.palette import RAMP
from eostui.charts.scales import Scale, StickyRange
from eostui.charts.shades import Shades
from eostui.errors import printable
from eostui.figures.picture import Picture, Subplot
from eostui.figures.style import SIDE_BY_SIDE, ink
from eostui.figures.thinning import alone, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Points of all curves of a chart at most: of very many curves each is drawn on fewer columns of pixels,
#: not on fewer than the least.
MOST_POINTS, _LEAST_COLUMNS = 120_000, 150
#: Columns of pixels on an inch.
_COLUMNS_PER_INCH = 300
#: Of a chart's width: the height of one that stands alone, and of one of several.
_ALONE, _AMONG = 0.66, 0.45
#: Inches that the legend takes, a row; and a letter, about.
_LEGEND_ROW, _LETTER = 0.16, 0.06
#: Width of a letter, as a share of its size: of texts on the x axis, with some room.
_WIDTH = 0.65
#: A dash and its gap, of patterns of curves, in line widths; and the share of the usual width.
_DASHES: dict[str, tuple[Any, float]] = {
    "solid": ("-", 1.0),
    "dashed": ((0, (5, 2.5)), 0.9),
    "dotted": ((0, (1, 1.6)), 1.1),
    "stippled": ((0, (2.5, 1, 0.8, 1)), 0.8),
    "pointed": ((0, (3, 1, 1, 1)), 0.8),
}
#: Signs as matplotlib's markers, and whether they are filled.
_MARKERS = {
    "✕": ("x", True), "•": ("o", True), "·": (".", True), "▴": ("^", True),
    "●": ("o", True), "○": ("o", False), "◆": ("D", True), "◇": ("D", False),
    "■": ("s", True), "□": ("s", False), "▲": ("^", True), "△": ("^", False),
    "◌": ("8", False),
}  # fmt: skip
#: Cells of shades along each side, at most.
_SHADES = 400
#: Signs along one curve.
_SIGNS = 8
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class _Margins(StickyRange):
    """A range with a little room around what it shows; that of a live chart is made to stay."""

    def fit(self, low: float, high: float, floor: float = -math.inf) -> tuple[float, float]:
        """Return a range that holds [low, high], not below `floor` for room's sake alone."""
        room = 0.05 * (high - low) or max(0.05 * abs(high), 1e-12)
        return max(low - room, min(low, floor)), high + room


def draw(
    picture: Picture, width: float, height: float | None = None, most_points: int = MOST_POINTS
) -> Figure:
    """Return a figure of matplotlib's.

    Args:
        picture: what it shows, one chart at least.
        width, height: inches; where no height is given it is that of the charts.
        most_points: of all curves of a chart, about.
    """
    from matplotlib.figure import Figure

    across = 2 if width >= SIDE_BY_SIDE and len(picture.subplots) > 1 else 1
    down = math.ceil(len(picture.subplots) / across)
    per_row = _entries_per_row(picture, width)
    if height is None:
        share = _ALONE if len(picture.subplots) == 1 else _AMONG
        rows = math.ceil(len(picture.legend) / per_row)
        height = down * share * width / across + 0.25 + _LEGEND_ROW * rows
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, hspace=0.02, wspace=0.04)  # type: ignore[union-attr,call-arg]
    grid = figure.add_gridspec(down, across)
    columns = math.ceil(width / across * _COLUMNS_PER_INCH)
    for number, subplot in enumerate(picture.subplots):
        axes = figure.add_subplot(grid[number // across, number % across])
        below = picture.subplots[number + across : number + across + 1]
        shared = bool(below) and subplot.own_x is None and below[0].own_x is None
        _draw_subplot(
            axes, subplot, picture.x_range, columns, height / down, most_points, shared=shared
        )
    figure.align_ylabels()
    if picture.legend:
        _legend(figure, picture, per_row)
    return figure


def _entries_per_row(picture: Picture, width: float) -> int:
    """Return how many lines of the legend fit side by side."""
    longest = max((len(entry.label) for entry in picture.legend), default=1)
    return max(min(int(width / (_LETTER * longest + 0.45)), max(len(picture.legend), 1)), 1)


def _draw_subplot(
    axes: Axes,
    subplot: Subplot,
    x_range: tuple[float, float],
    columns: int,
    height: float,
    most_points: int,
    *,
    shared: bool,
) -> None:
    """Draw a chart on `columns` of pixels, `height` inches high; where x is shared it stands below."""
    chart = subplot.chart
    left, right = subplot.own_x or x_range
    right = right if right > left else left + 1.0
    axes.set_xlim(left, right)
    axes.set_ylabel(printable(subplot.label))
    cells = max(columns // dots.DOTS_X, 1)
    # on the other scales what is far away flattens nothing
    linear = chart.scale.kind == "linear"
    layout = lay_out(chart, 0, cells, 10, (left, right), _Margins(), without_outliers=linear)
    _x_axis(axes, chart, shared)
    if layout is None:
        text = printable(chart.waiting or "nothing to show")
        room = max(int(columns / _COLUMNS_PER_INCH / _LETTER * 0.7), 8)
        text = textwrap.fill(text, room)
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
        axes.set_yticks([])
        return
    if _is_cut(chart, layout):
        axes.set_ylabel(f"{printable(subplot.label)} (cut)")
    bottom, top = layout.frame.bottom, layout.frame.top
    _y_axis(axes, chart.scale, bottom, top)
    if chart.shades is not None:
        _draw_shades(axes, chart.shades, layout, cells, chart.scale)
    for mark in chart.marks:
        _draw_mark(axes, mark, left, right)
    points = 4 * max(len(chart.curves), 1)
    fewer = min(columns, max(most_points // points, min(_LEAST_COLUMNS, most_points // 40)))
    for order, curve in enumerate(chart.curves):
        _draw_curve(axes, curve, (left, right), fewer, 2 + order * 0.001)
    for spot in chart.spots:
        _draw_spot(axes, spot)
    _labels(axes, chart, (left, right), (bottom, top), height)


def _draw_shades(axes: Axes, shaded: Shades, layout: Layout, columns: int, scale: Scale) -> None:
    """Draw shades below all else, with the ramp's colours on paper."""
    from matplotlib.colors import ListedColormap

    frame = replace(layout.frame, width=min(columns, _SHADES), height=_SHADES)
    x = np.linspace(frame.x0, frame.x1, frame.width + 1)
    y = [scale.backward(at) for at in np.linspace(frame.bottom, frame.top, frame.height + 1)]
    inks = ListedColormap([ink(f"ramp {index}") for index in range(len(RAMP))])
    values = np.ma.masked_invalid(frame.shaded(shaded, scale)[::-1])
    axes.pcolormesh(x, y, values, cmap=inks, vmin=0, vmax=1, zorder=0.5, rasterized=True)
    for line in shaded.lines:
        middles = [(np.add(ends[1:], ends[:-1]) / 2) for ends in (x, y)]
        drawn = axes.contour(
            *middles, values, [line.value], colors="white", linewidths=1.2, zorder=1
        )
        axes.clabel(drawn, fmt={line.value: printable(line.label)}, fontsize="x-small")


def _x_axis(axes: Axes, chart: Chart, shared: bool) -> None:
    if chart.places:
        places = _uncrowded(chart.places, axes)
        axes.set_xticks([at for at, _ in places], [printable(text) for _, text in places])
    elif chart.counts == STEPS:
        axes.xaxis.set_major_locator(_locator(4 if axes.get_xlim()[1] >= 1e5 else 5, integer=True))
        axes.xaxis.set_major_formatter(lambda value, _: _grouped(value))
    else:
        axes.xaxis.set_major_locator(_locator())
    if shared:
        axes.tick_params(labelbottom=False)
    else:
        named = {STEPS: "step", FLOW_TIME: "flow time ηt"}
        axes.set_xlabel(printable(named.get(chart.counts, chart.counts)))


def _is_cut(chart: Chart, layout: Layout) -> bool:
    """Whether a curve for which the axis should make room, come what may, reaches beyond it."""
    kept = [curve.ranged and not curve.yields for curve in chart.curves]
    highest = np.nanmax(layout.high[kept], initial=-np.inf)
    lowest = np.nanmin(layout.low[kept], initial=np.inf)
    return bool(highest > layout.frame.top or lowest < layout.frame.bottom)


def _uncrowded(places: Sequence[tuple[float, str]], axes: Axes) -> list[tuple[float, str]]:
    """Leave out places whose text would touch the one before."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    left, right = axes.get_xlim()
    wide = axes.bbox.width / axes.figure.dpi * 72  # points
    letter = _WIDTH * FontProperties(size=rcParams["xtick.labelsize"]).get_size_in_points()
    kept: list[tuple[float, str]] = []
    end = -math.inf
    for at, text in places:
        middle = (at - left) / (right - left) * wide
        half = len(text) * letter / 2
        if middle - half >= end:
            kept.append((at, text))
            end = middle + half + letter
    return kept


def _locator(most: int = 5, *, integer: bool = False) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], integer=integer)


def _grouped(value: float) -> str:
    """Return a step as 12 500, with narrow spaces; many millions as 2.5 × 10⁷."""
    if abs(value) >= 1e7:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{float(mantissa):g} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return f"{value:,.0f}".replace(",", " ").replace("-", "−")


def _y_axis(axes: Axes, scale: Scale, bottom: float, top: float) -> None:
    """Set the scale, its ends (places on it), and its ticks."""
    from matplotlib.ticker import FixedLocator, NullFormatter

    if scale.kind == "log":
        axes.set_yscale("log")
    elif scale.kind == "symlog":
        axes.set_yscale("asinh", linear_width=scale.threshold)
    axes.set_ylim(scale.backward(bottom), scale.backward(top))
    if scale.kind == "linear":
        axes.yaxis.set_major_locator(_locator())
        return
    axes.yaxis.set_major_locator(FixedLocator(scale.ticks(bottom, top, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: _power(value))
    if scale.kind == "symlog":
        axes.yaxis.set_minor_locator(FixedLocator([]))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _power(value: float) -> str:
    """Return a tick of a logarithmic axis: 10⁻³, −10², 0, 0.5."""
    if not value:
        return "0"
    exponent = math.log10(abs(value))
    if abs(exponent - round(exponent)) > 1e-9:
        return f"{value:g}".replace("-", "−")
    sign = "−" if value < 0 else ""
    if -2 <= round(exponent) <= 2:
        return f"{sign}{abs(value):g}"
    return f"{sign}10{str(round(exponent)).translate(_SUPERSCRIPTS)}"


def _draw_curve(
    axes: Axes, curve: Curve, ends: tuple[float, float], columns: int, order: float
) -> None:
    """Draw a curve: a band filled, the spread of one in a thin line, others by their pattern."""
    from matplotlib import rcParams

    colour = ink(curve.colour)
    if curve.colour.endswith(" band"):
        low, high = dots.extremes(curve.x, curve.y, *ends, columns)
        centres = ends[0] + (np.arange(columns) + 0.5) * (ends[1] - ends[0]) / columns
        known = np.isfinite(low) & np.isfinite(high)
        axes.fill_between(
            centres, low, high, where=known.tolist(), color=colour, linewidth=0, zorder=1, alpha=0.7
        )
        return
    signs = _signs(curve, ends) if curve.sign else np.empty(0, dtype=np.int64)
    rows = np.union1d(thinned(curve.x, curve.y, *ends, columns), signs)
    if not len(rows):
        return
    x, y = curve.x[rows], curve.y[rows]
    y = np.where(np.abs(y) < dots.LARGEST, y, np.nan)
    if curve.extended and x[-1] < ends[1]:
        x, y = np.append(x, ends[1]), np.append(y, y[-1])
    style, share = _DASHES[curve.pattern]
    if curve.pattern == "stippled" and not curve.label:
        style, share, order = "-", 0.4, order - 1
    width = share * rcParams["lines.linewidth"] * (1.6 if curve.colour == "baseline" else 1)
    (line,) = axes.plot(
        x, y, linestyle=style, color=colour, linewidth=width, zorder=order,
        solid_capstyle="round", solid_joinstyle="round", dash_capstyle="butt",
    )  # fmt: skip
    places = alone(y) if curve.pattern != "stippled" else np.empty(0, dtype=np.int64)
    marker, filled = _MARKERS.get(curve.sign, (".", True))
    places = np.union1d(places, np.searchsorted(rows, signs))
    if len(places):
        line.set(marker=marker, markevery=places.tolist(), markeredgewidth=0.6 * width)
        line.set_markerfacecolor(colour if filled else "white")


def _signs(curve: Curve, ends: tuple[float, float]) -> NDArray[np.int64]:
    """Return the rows of a curve nearest to evenly spaced x, of those that are in sight."""
    seen = np.flatnonzero(np.isfinite(curve.y) & (curve.x >= ends[0]) & (curve.x <= ends[1]))
    if not len(seen):
        return seen
    x = curve.x[seen]
    at = ends[0] + (np.arange(_SIGNS) + 0.5) * (ends[1] - ends[0]) / _SIGNS
    nearest = np.searchsorted(x, at[(at >= x[0]) & (at <= x[-1])])
    return np.unique(seen[np.minimum(nearest, len(seen) - 1)])


def _draw_mark(axes: Axes, mark: Mark, left: float, right: float) -> None:
    """Draw where a control changed, its new value along the line."""
    from matplotlib import rcParams

    if not left <= mark.x <= right:
        return
    colour = ink(mark.colour)
    width = 0.7 * rcParams["lines.linewidth"]
    axes.axvline(mark.x, color=colour, linewidth=width, linestyle=(0, (1, 1.2)), zorder=1.5)
    axes.annotate(
        printable(mark.text), (mark.x, 1), xycoords=("data", "axes fraction"), xytext=(2, -2),
        textcoords="offset points", rotation=90, ha="left", va="top", color=colour,
        fontsize=rcParams["xtick.labelsize"], clip_on=True, annotation_clip=False,
    )  # fmt: skip


def _draw_spot(axes: Axes, spot: Spot) -> None:
    """Draw a point with its sign; one that is a letter as that."""
    from matplotlib import rcParams

    colour = ink(spot.colour)
    if spot.sign in _MARKERS:
        marker, filled = _MARKERS[spot.sign]
        axes.plot(
            [spot.x], [spot.y], linestyle="", marker=marker, color=colour, zorder=4,
            markerfacecolor=colour if filled else "white",
            markeredgewidth=0.7 * rcParams["lines.linewidth"],
            markersize=rcParams["lines.markersize"] * (1.3 if marker == "x" else 1.0),
        )  # fmt: skip
        return
    axes.text(
        spot.x, spot.y, printable(spot.sign), color=colour, ha="center", va="center", zorder=4,
        fontsize=0.8 * rcParams["xtick.labelsize"], clip_on=True,
        bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "linewidth": 0},
    )  # fmt: skip


def _labels(
    axes: Axes,
    chart: Chart,
    ends: tuple[float, float],
    limits: tuple[float, float],
    height: float,
) -> None:
    """Write the curves' names at their right ends, none on another; those of runs are in the legend."""
    from matplotlib import rcParams

    bottom, top = limits
    wanted: list[tuple[float, str, Curve]] = []
    for curve in chart.curves:
        if curve.label and not curve.colour.startswith(("ramp ", "baseline")):
            inside = curve.y[: np.searchsorted(curve.x, ends[1], side="right")]
            finite = inside[np.isfinite(inside)][-1:]
            place = float(chart.scale.forward(finite)[0]) if len(finite) else math.nan
            if math.isfinite(place):
                beyond = " ↑" if place > top else " ↓" if place < bottom else ""
                share = min(max((place - bottom) / (top - bottom), 0.0), 1.0)
                wanted.append((share, f"{curve.label}{beyond}", curve))
    size = rcParams["ytick.labelsize"]
    apart = 1.15 * float(size) / 72 / max(0.75 * height, 0.1)
    wanted.sort(key=lambda each: each[0])
    places = _apart([share for share, _, _ in wanted], apart)
    for place, (_, label, curve) in zip(places, wanted, strict=True):
        axes.annotate(
            printable(label), (1, place), xycoords="axes fraction", xytext=(3, 0),
            textcoords="offset points", color=ink(curve.colour), fontsize=size, ha="left",
            va="center", annotation_clip=False,
        )  # fmt: skip


def _apart(places: list[float], least: float) -> list[float]:
    """Move rising places at least so far apart, within [0, 1] where there is room."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + least) if moved else place)
    limit = max(1.0, least * (len(places) - 1))
    for index in range(len(moved) - 1, -1, -1):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - least
    return moved


def _legend(figure: Figure, picture: Picture, per_row: int) -> None:
    """Write above all which curve is whose."""
    from matplotlib.lines import Line2D

    handles: list[Any] = []
    for entry in picture.legend:
        marker, filled = _MARKERS.get(entry.sign, ("", True))
        colour = ink(entry.colour)
        handles.append(
            Line2D(
                [], [], color=colour, marker=marker, linestyle=_DASHES[entry.pattern][0],
                markerfacecolor=colour if filled else "white",
            )
        )  # fmt: skip
    letters = [e.sign if e.sign and e.sign not in _MARKERS else "" for e in picture.legend]
    labels = [
        f"{letter}  {entry.label}"
        if letter
        else f" {entry.label}"  # one with _ first would be none
        for letter, entry in zip(letters, picture.legend, strict=True)
    ]
    figure.legend(
        handles, labels, title=picture.legend_title or None, loc="outside upper left",
        ncols=per_row, alignment="left", borderaxespad=0.2,
    )  # fmt: skip
