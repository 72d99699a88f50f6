"""A still picture of a run as text, for `eostui plot`: curvature, loss, drives and norm by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import plotext
from numpy.typing import NDArray

from eostui.runs.run import Run
from eostui.runs.series import FloatArray

GRID_WIDTH = 110  # from this width on, the panels stand 2×2
SMALLEST_CHART = (30, 6)  # below these columns and rows there are only the titles
OWN_AXIS_HEIGHT = 9  # lower panels share the step axis of the bottom one
MEDIAN_STEPS = 25  # the running median of κ takes in at least so many steps
FAR_ABOVE = 4.0  # a stability line so many times above the curvature doesn't stretch the axis
LINEAR_PART = 1e-3  # drives below this share of the largest lie in the linear part of their axis
LARGEST = 1e150  # what is larger counts as not finite: arithmetic on an axis would overflow

#: Marker and colour: the accent is the curvature, warm sharpens, cool flattens, grey is theory.
SHARPNESS, CURVATURE = ("•", "magenta+"), ("braille", "magenta")
SHARPENS, FLATTENS = ("▴", "orange"), ("braille", "blue+")
EDGE, EDGE_WITH_DECAY, PLAIN = ("╌", "gray"), ("┈", "gray"), ("braille", None)


class _Trace(NamedTuple):
    """A band of finite values over steps, each array of shape (n,); in a curve low equals high.

    Points of the marker `braille` are joined, those of a character are not.
    """

    title: str
    style: tuple[str, str | None]
    step: FloatArray
    low: FloatArray
    high: FloatArray


class _Axis(NamedTuple):
    """A y axis: the map from values to places, and the values of its ends and ticks."""

    place: Callable[[Any], Any]
    low: float
    high: float
    ticks: list[float]


class _Panel(NamedTuple):
    """One chart; earlier traces lie over later ones."""

    name: str
    traces: list[_Trace]
    axis: _Axis


def render(run: Run, *, width: int, height: int, color: bool) -> str:
    """Draw sharpness, loss, drives and parameter norm of a run against the step.

    In a low picture the last panels are left out; a tiny one is the titles alone.

    Args:
        width: columns, never exceeded.
        height: rows, never exceeded.
        color: with terminal colours; without, the text has no escape sequence at all.

    Returns:
        At most `height` lines, without a newline at the end.
    """
    across = 2 if width >= GRID_WIDTH else 1
    columns, down = width // across, max(min((height - 2) // 3, 4 // across), 1)
    below = 0 if height // down >= OWN_AXIS_HEIGHT else 2  # rows of a shared step axis
    tall, left = divmod(height - below, down)
    panels = [panel(run, columns, tall) for panel in (_curvature, _loss, _drives, _norm)]
    if width < SMALLEST_CHART[0] or height < SMALLEST_CHART[1]:
        rows = [_title(panel, width) for panel in panels[: max(height, 0)]]
    else:
        margin = max(len(_short(y)) for panel in panels for y in panel.axis.ticks) + across - 1
        rows = []
        for i in range(down):
            size = columns, tall + left * (i == 0) + below * (i == down - 1)
            shared = below > 0 and i < down - 1
            row = panels[i * across : (i + 1) * across]
            drawn = [_draw(panel, run.last_step, size, margin, shared) for panel in row]
            rows.append(drawn[0].hstack(drawn[1]) if across == 2 else drawn[0])
    lines = [line for row in rows for line in row.string(colorless=not color).splitlines()]
    return "\n".join(line.rstrip() for line in lines)


def _curvature(run: Run, columns: int, rows: int) -> _Panel:
    steps, measured = run.steps, run.measured
    sharpness = _band("• S", measured["sharpness"], measured["step"], columns // 2, SHARPNESS)
    kappa = _running_median("⠒ median κ", steps["path_curvature"], 2 * columns)
    edge = _band("╌ 2/η", steps["two_over_eta"], steps["step"], columns, EDGE)
    lower = _band("┈ 2/η−λ", steps["stability_threshold"], steps["step"], columns, EDGE_WITH_DECAY)
    edges = [edge, lower] if steps["weight_decay"].any() else [edge]
    ends = _ends(_values(sharpness, kappa), _values(*edges))
    return _Panel("sharpness", [sharpness, kappa, *edges], _axis(*ends, rows))


def _loss(run: Run, columns: int, rows: int) -> _Panel:
    band = _every_step("L", run, "loss", 2 * columns)
    values = _values(band)
    if not len(values) or values.min() <= 0:
        return _Panel("loss (symlog), min to max", [band], _symlog(values, rows))
    axis = _axis(values.min() / 1.1, values.max() * 1.1, rows, unit=values.min() / 100)
    return _Panel("loss (log), min to max", [band], axis)


def _drives(run: Run, columns: int, rows: int) -> _Panel:
    step, up, down = (run.measured[name] for name in ("step", "beta_alpha", "lambda_g"))
    sharpens = _band("▴ βα", up, step, columns // 2, SHARPENS)
    flattens = _band("⠒ λg", down, step, 2 * columns, FLATTENS)
    axis = _symlog(_values(sharpens, flattens), rows)
    return _Panel("drives (symlog)", [sharpens, flattens], axis)


def _norm(run: Run, columns: int, rows: int) -> _Panel:
    band = _every_step("‖θ‖", run, "theta_norm", 2 * columns)
    return _Panel("parameter norm", [band], _axis(*_ends(_values(band)), rows))


def _finite(values: FloatArray) -> NDArray[np.bool_]:
    return np.abs(values) < LARGEST


def _values(*traces: _Trace) -> FloatArray:
    return np.concatenate([end for trace in traces for end in (trace.low, trace.high)])


def _newest(symbol: str, values: FloatArray) -> str:
    finite = values[_finite(values)]
    return f"{symbol} {finite[-1]:.4g}" if len(finite) else f"{symbol}: no data"


def _groups(rows: int, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first row of each of at most `most` even groups of rows, and the row after it."""
    ends = np.linspace(0, rows, min(rows, most) + 1).astype(np.int64)
    return ends[:-1], ends[1:]


def _band(
    symbol: str, values: FloatArray, step: FloatArray, most: int, style: tuple[str, str | None]
) -> _Trace:
    """Return the smallest and the largest finite value in each of at most `most` groups of rows."""
    first, after = _groups(len(values), most)
    title, values = _newest(symbol, values), np.where(_finite(values), values, np.nan)
    low = np.fmin.reduceat(values, first) if len(first) else values
    high = np.fmax.reduceat(values, first) if len(first) else values
    known = np.isfinite(low)
    return _Trace(title, style, step[(first + after - 1) // 2][known], low[known], high[known])


def _every_step(symbol: str, run: Run, name: str, most: int) -> _Trace:
    """Return the band of a column that has a value in every row, unless the run diverged."""
    values = run.steps[name]
    band = _band(symbol, values, run.steps["step"], most, PLAIN)
    whole = not len(band.step) or _finite(values[-1:]).all()
    return band if whole else band._replace(title=f"{band.title}, then not finite")


def _running_median(symbol: str, values: FloatArray, most: int) -> _Trace:
    """Return at most `most` running medians, each over its group of rows or MEDIAN_STEPS of them."""
    points = []
    for first, after in zip(*_groups(len(values), most), strict=True):
        more = max(MEDIAN_STEPS - (after - first), 0) // 2
        window = values[max(first - more, 0) : after + more]
        window = window[_finite(window)]
        if len(window):
            points.append(((first + after - 1) / 2, np.median(window)))
    step, median = np.array(points).reshape(-1, 2).T
    return _Trace(_newest(symbol, median), CURVATURE, step, median, median)


def _ends(values: FloatArray, levels: FloatArray | tuple[()] = ()) -> tuple[float, float]:
    """Return the ends of a linear axis: around levels that aren't far off, and values but outliers.

    The last steps of a divergence would flatten everything else.
    """
    low, high = np.inf, -np.inf
    if len(values):
        low, high = np.percentile(values, (5, 95))
        reach = 3 * (high - low)
        low, high = max(values.min(), low - reach), min(values.max(), high + reach)
        levels = [level for level in levels if level <= FAR_ABOVE * high]
    low, high = min([low, *levels]), max([high, *levels])
    low, high = (low, high) if low <= high else (0.0, 1.0)
    room = 0.04 * (high - low) or 0.1 * abs(low) or 1.0
    return low - room, high + room


def _symlog(values: FloatArray, rows: int) -> _Axis:
    """Return an axis that holds zero and is logarithmic away from it, to both sides."""
    sizes = np.abs(values[values != 0]) if values.any() else np.ones(1)
    unit = max(np.percentile(sizes, 10), LINEAR_PART * sizes.max())
    low, high = min([0.0, *values]), max([0.0, *values])
    return _axis(1.3 * low - 0.3 * unit, 1.3 * high + 0.3 * unit, rows, unit)


def _axis(low: float, high: float, rows: int, unit: float | None = None) -> _Axis:
    """Return a linear axis or, with a unit, one that is linear within ±unit, logarithmic outside."""

    def place(value: Any) -> Any:
        return np.asarray(value) if unit is None else np.arcsinh(value / max(unit, 1 / LARGEST))

    round_values = list(_round_values(low, high, max(rows // 3, 2)))
    if unit is not None:
        powers = 10.0 ** np.arange(-150, 151)
        sizes = np.outer([1.0, 5.0, 2.0], powers[powers >= unit / 2]).ravel()
        round_values = [0.0, *sizes, *-sizes, *round_values]
    gap = 2 * (place(high) - place(low)) / rows
    ticks: list[float] = []
    for tick in round_values:
        apart = all(abs(place(tick) - place(other)) >= gap for other in ticks)
        if low <= tick <= high and apart:
            ticks.append(tick)
    return _Axis(place, low, high, ticks)


def _round_values(low: float, high: float, most: int) -> FloatArray:
    """Return at most `most` round values inside a range: multiples of 1, 2 or 5 times 10^k."""
    decade = 10.0 ** np.floor(np.log10((high - low) / most))
    for step in decade * np.array([1.0, 2.0, 5.0, 10.0, 20.0]):
        values: FloatArray = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        if len(values) <= most:
            break
    return values + 0.0  # no −0


def _short(value: float) -> str:
    """Return a tick's label: 250, 2.5k, 1e12."""
    for size, sign in ((1e9, ""), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.6g}{sign}" if sign else f"{value:.2g}".replace("e+", "e")
    return f"{value:.6g}"


def _title(panel: _Panel, width: int) -> Any:
    """Return a panel's title as one row of `width` columns; its name goes first if room is short."""
    axis, values = panel.axis, _values(*panel.traces)
    pieces = [(panel.name, None), *((trace.title, trace.style[1]) for trace in panel.traces)]
    if ((values < axis.low) | (values > axis.high)).any():
        pieces.append(("(axis cut)", None))
    for first, gap in ((0, 2), (0, 1), (1, 2), (1, 1)):
        if sum(len(text) + gap for text, _ in pieces[first:]) <= width:
            break
    row, at = plotext.matrix(width, 1, plotext.pixel()), 0
    for text, colour in pieces[first:]:
        row.insert(at, 0, plotext.colorize(text[: max(width - at, 0)], colour))
        at += len(text) + gap
    return row


def _draw(panel: _Panel, last: int, size: tuple[int, int], margin: int, shared: bool) -> Any:
    """Return a panel as a plotext matrix of `size` columns and rows.

    Args:
        last: the last step of the run.
        margin: columns for the labels of the y axis.
        shared: the step axis stands below another panel.
    """
    plotext.terminal.limit(False, False)
    figure = plotext.figure.clear()
    figure.theme("colorless").plot_size(*size).title(_title(panel, size[0]))
    figure.axes(False, side=1).axes(not shared, axis="x", side=0)
    place, low, high, ticks = panel.axis
    ends = place(low), place(high)
    figure.ruler("y").lim(*ends).ticks(place(ticks), [_short(y).rjust(margin) for y in ticks])
    steps = _round_values(0, max(last, 1), max(size[0] // 12, 2))
    figure.ruler("x").lim(0, max(last, 1))
    figure.ruler("x").ticks([] if shared else steps, [_short(step) for step in steps])
    if not shared:
        figure.label("step")
    for trace in panel.traces[::-1]:
        _draw_trace(figure, trace, place, ends)
    return figure.build()


def _draw_trace(
    figure: Any, trace: _Trace, place: Callable[[Any], Any], ends: tuple[float, float]
) -> None:
    """Draw a band clipped to the ends of the axis, or those points that lie between them."""
    marker = plotext.marker(*trace.style)
    low, high = place(trace.low), place(trace.high)
    if trace.style[0] == "braille":
        bottom = figure.signal(trace.step, low.clip(*ends), marker=marker)
        top = figure.signal(trace.step, high.clip(*ends), marker=marker)
        figure.draw(top.fill(bottom).density("full").lines())
        return
    for y in (low, high):
        inside = (y >= ends[0]) & (y <= ends[1])
        figure.draw(figure.signal(trace.step[inside], y[inside], marker=marker))
