"""A still picture of a run as text, for `eostui plot`: curvature, loss, drives and norm by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import plotext
from numpy.typing import NDArray

from eostui.charts.levels import bars
from eostui.runs.analysis.bounce import in_words, median_cosine, median_cosines
from eostui.runs.analysis.remarks import OF_TRUSTED, trusted_gradient
from eostui.runs.run import Run
from eostui.runs.series import FloatArray

GRID_WIDTH = 110  # from this width on, the panels stand 2×2
SMALLEST_CHART = (30, 6)  # below these columns and rows there are only the titles
AXIS = 3  # rows of the step axis, which stands below the bottom panels
LINE_HEIGHT = 12  # from this height on, other panels have the line of that axis too
SHARES = {1: (8, 4, 5, 4), 2: (6, 5)}  # of the rows, from top to bottom, by panels side by side
MEDIAN_STEPS = 25  # the running median of κ takes in at least so many steps
FAR_ABOVE = 4.0  # a stability line so many times above the curvature doesn't stretch the axis
LINEAR_PART = 1e-3  # drives below this share of large ones lie in the linear part of their axis
LARGEST = 1e150  # what is larger counts as not finite: arithmetic on an axis would overflow
#: Marker and colour: the accent is the curvature, warm sharpens, cool flattens, grey is theory.
SHARPNESS, CURVATURE = ("•", "magenta+"), ("braille", "magenta")
SHARPENS, FLATTENS = ("▴", "orange"), ("braille", "blue+")
EDGE, EDGE_WITH_DECAY, PLAIN = ("╌", "gray"), ("┈", "gray"), ("braille", None)
POINTS = "•▴"
Style = tuple[str, str | None]


class Trace(NamedTuple):
    """A band of finite values, arrays of shape (n,), joined unless its marker is one of POINTS."""

    title: str
    style: Style
    step: FloatArray
    low: FloatArray
    high: FloatArray


class Axis(NamedTuple):
    """A y axis: the map from values to places, and the values of its ends and ticks."""

    place: Callable[[Any], Any]
    low: float
    high: float
    ticks: list[float]


#: Name, traces (earlier ones lie over later ones) and y axis.
Panel = tuple[str, list[Trace], Axis]


def render(run: Run, *, width: int, height: int, color: bool) -> str:
    """Draw sharpness, loss, drives and parameter norm of a run against the step, and its step cosine.

    Args:
        width: columns, never exceeded.
        height: rows, never exceeded.
        color: with terminal colours; without, the text has no escape sequence at all.

    Returns:
        At most `height` lines, without a newline at the end. A low picture lacks the last panels,
        a tiny one is the titles alone.
    """
    last_line = _cosines(run, width) if height > SMALLEST_CHART[1] + 1 else ""
    picture = draw_panels(
        lambda columns, rows: _panels(run, columns, rows),
        max(run.last_step, 1), width=width, height=height - bool(last_line), color=color,
    )  # fmt: skip
    return f"{picture}\n{last_line}" if last_line else picture


def _cosines(run: Run, width: int) -> str:
    """Return a line on the step cosine: its newest running median, and it along all steps.

    Empty where there is no room for it, or an older run has none.
    """
    cosines = run.steps["step_cosine"]
    median = median_cosine(cosines)
    label = f"step cosine {median:.2f}: {in_words(median)}  "
    room = width - len(label)
    if np.isnan(median) or room < 10:
        return ""
    medians = median_cosines(run.steps["step"], cosines, np.linspace(0, len(cosines) - 1, room + 1))
    return (label + bars(medians, -1.0, 1.0, unicode=True)).rstrip()


def draw_panels(
    panels_for: Callable[[int, int], list[Panel]],
    last: int,
    *,
    width: int,
    height: int,
    color: bool,
) -> str:
    """Draw four panels against the steps 0 … `last`, 2×2 where the width allows it.

    Args:
        panels_for: returns the panels for about so many columns and rows each.
        last: the last step on the axis, at least 1.
        width, height, color: as in `render`.

    Returns:
        The text, as `render` does.
    """
    across = 2 if width >= GRID_WIDTH else 1
    columns, down = max(width // across, 2), max(min((height - AXIS) // 3, 4 // across), 1)
    parts = np.cumsum(SHARES[across][:down])
    ends = np.round(parts / parts[-1] * (height - AXIS)).astype(int)
    heights = np.diff(ends, prepend=0) + AXIS * (np.arange(down) == down - 1)
    panels = panels_for(columns, max(int(heights.mean()), 3))
    if width < SMALLEST_CHART[0] or height < SMALLEST_CHART[1]:
        rows = [_title(panel, width) for panel in panels[: max(height, 0)]]
    else:
        margin = max(len(_short(y)) for _, _, axis in panels for y in axis.ticks) + across - 1
        rows = []
        for i, tall in enumerate(heights):
            row = panels[i * across : (i + 1) * across]
            drawn = [_draw(panel, last, (columns, tall), margin, i == down - 1) for panel in row]
            rows.append(drawn[0].hstack(drawn[1]) if across == 2 else drawn[0])
    lines = [line for row in rows for line in row.string(colorless=not color).splitlines()]
    return "\n".join(line.rstrip() for line in lines)


def _panels(run: Run, columns: int, rows: int) -> list[Panel]:
    """Return the four panels, for about so many columns and rows."""
    steps, every, fine = run.steps, run.steps["step"], 2 * columns
    sharpness = band("•S", *_measured(run, "sharpness"), columns // 2, SHARPNESS)
    kappa = _running_median("⠒κ median", steps["path_curvature"], fine)
    lines = [("╌2/η", "two_over_eta", EDGE), ("┈2/η−λ", "stability_threshold", EDGE_WITH_DECAY)]
    lines = lines[: 2 if steps["weight_decay"].any() else 1]
    edges = [band(symbol, steps[name], every, columns, style) for symbol, name, style in lines]
    levels = pooled(*edges).tolist()
    curvature = make_axis(*span(pooled(sharpness), pooled(kappa), levels=levels), rows)
    loss = band("L", steps["loss"], every, fine, PLAIN)
    kind, loss_axis = "symlog", symlog_axis(rows, pooled(loss))
    if len(loss.low) and loss.low.min() > 0:
        low = loss.low.min() / 1.1
        kind, loss_axis = "log", make_axis(low, 1.1 * loss.high.max(), rows, unit=low / 100)
    whose = f" {OF_TRUSTED}" if trusted_gradient(run.facts) else ""
    sharpens = band("▴βα", *_measured(run, "beta_alpha"), columns // 2, SHARPENS)
    flattens = band("⠒λg", *_measured(run, "lambda_g"), fine, FLATTENS)
    drives = symlog_axis(rows, pooled(sharpens), pooled(flattens))
    norm = band("‖θ‖", steps["theta_norm"], every, fine, PLAIN)
    return [
        (f"sharpness{whose}", [sharpness, kappa, *edges], curvature),
        (f"loss ({kind}), min to max", [loss], loss_axis),
        ("drives (symlog)", [sharpens, flattens], drives),
        ("parameter norm", [norm], make_axis(*span(pooled(norm)), rows)),
    ]


def _measured(run: Run, name: str) -> tuple[FloatArray, FloatArray]:
    """Return what was measured of a column, and at which steps."""
    known = ~np.isnan(run.measured[name])
    return run.measured[name][known], run.measured["step"][known]


def _finite(values: FloatArray) -> NDArray[np.bool_]:
    return np.abs(values) < LARGEST


def pooled(*traces: Trace) -> FloatArray:
    return np.concatenate([end for trace in traces for end in (trace.low, trace.high)])


def _newest(symbol: str, values: FloatArray) -> str:
    finite = _finite(values)
    if not finite.any():
        return f"{symbol}: no data"
    return f"{symbol} {values[finite][-1]:.4g}{'' if finite[-1] else ', then not finite'}"


def band(symbol: str, values: FloatArray, step: FloatArray, most: int, style: Style) -> Trace:
    """Return the smallest and the largest finite value in each of at most `most` groups of rows."""
    title, values = _newest(symbol, values), np.where(_finite(values), values, np.nan)
    bounds = np.linspace(0, len(values), min(len(values), most) + 1).astype(np.int64)
    low = np.fmin.reduceat(values, bounds[:-1]) if len(values) else values
    high = np.fmax.reduceat(values, bounds[:-1]) if len(values) else values
    known, middle = np.isfinite(low), (bounds[:-1] + bounds[1:] - 1) // 2
    return Trace(title, style, step[middle][known], low[known], high[known])


def _running_median(symbol: str, values: FloatArray, most: int) -> Trace:
    """Return at most `most` running medians, each over its share of rows or MEDIAN_STEPS of them."""
    points, known = [], values[_finite(values)]
    newest = [np.median(known[-MEDIAN_STEPS:])] if len(known) else []
    wide = max(len(values) / most, MEDIAN_STEPS)
    for middle in np.linspace(0, len(values) - 1, min(len(values), most)):
        window = values[max(round(middle - wide / 2), 0) : round(middle + wide / 2)]
        window = window[_finite(window)]
        if len(window):
            points.append((middle, np.median(window)))
    step, median = np.array(points).reshape(-1, 2).T
    return Trace(_newest(symbol, np.array(newest)), CURVATURE, step, median, median)


def span(*parts: FloatArray, levels: Sequence[float] = ()) -> tuple[float, float]:
    """Return the ends of an axis that holds each part but its outliers, and levels not far above."""
    ends = []
    for values in filter(len, parts):
        low, high = np.percentile(values, (10, 90))
        reach = max(3 * (high - low), abs(low), abs(high))
        ends += [max(values.min(), low - reach), min(values.max(), high + reach)]
    ends += [level for level in levels if level <= FAR_ABOVE * max([min(levels), *ends])]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    room = 0.04 * (high - low) or 0.1 * abs(low) or 1.0
    return low - room, high + room


def symlog_axis(rows: int, *parts: FloatArray) -> Axis:
    """Return an axis that holds zero and is logarithmic away from it, to both sides."""
    sizes = np.abs(np.concatenate(parts))
    sizes = sizes[sizes > 0] if sizes.any() else np.ones(1)
    small, large = np.percentile(sizes, (10, 90))
    unit = max(small, LINEAR_PART * large)
    low, high = unit * np.sinh(span(*(np.arcsinh(part / unit) for part in parts)))
    return make_axis(min(low, -unit / 10), max(high, unit / 10), rows, unit)


def make_axis(low: float, high: float, rows: int, unit: float | None = None) -> Axis:
    """Return a linear axis or, with a unit, one that is linear within ±unit, logarithmic outside."""

    def place(value: Any) -> Any:
        return np.asarray(value) if unit is None else np.arcsinh(value / max(unit, 1 / LARGEST))

    choice = list(_round_values(low, high, max(rows // 3, 2)))
    if unit is not None:
        sizes = np.outer([1.0, 5.0, 2.0], 10.0 ** np.arange(-150, 151)).ravel()
        choice = [0.0, *sizes, *-sizes, *choice]
    gap = (1 + rows / 16) * (place(high) - place(low)) / rows
    ticks: list[float] = []
    for tick in choice:
        if low <= tick <= high and (np.abs(place(np.array(ticks)) - place(tick)) >= gap).all():
            ticks.append(tick)
    return Axis(place, low, high, ticks)


def _round_values(low: float, high: float, most: int) -> FloatArray:
    """Return at most `most` round values inside a range: multiples of 1, 2 or 5 times 10^k."""
    decade = 10.0 ** np.floor(np.log10((high - low) / most))
    for step in decade * np.array([1.0, 2.0, 5.0, 10.0, 20.0]):
        values: FloatArray = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        if len(values) <= most:
            break
    return values + 0.0  # no −0


def _short(value: float) -> str:
    """Return a tick's label: 250, 2.5k, 1e+12."""
    return f"{value / 1e3:.6g}k" if 1e3 <= abs(value) < 1e9 else f"{value:.6g}"


def _title(panel: Panel, width: int) -> Any:
    """Return a panel's title as one row of `width` columns; its name goes first if room is short."""
    name, traces, axis = panel
    pieces = [(name, None), *((trace.title, trace.style[1]) for trace in traces)]
    if any((y < axis.low) | (y > axis.high) for y in pooled(*traces)):
        pieces.append(("(axis cut)", None))
    for first, gap in ((0, 2), (0, 1), (1, 2), (1, 1)):
        if sum(len(text) + gap for text, _ in pieces[first:]) <= width:
            break
    row, at = plotext.matrix(width, 1, plotext.pixel()), 0
    for text, colour in pieces[first:]:
        row.insert(at, 0, plotext.colorize(text[: max(width - 1 - at, 0)], colour))
        at += len(text) + gap
    return row


def _draw(panel: Panel, last: int, size: tuple[int, int], margin: int, bottom: bool) -> Any:
    """Return a panel as a matrix of `size` columns and rows, with the step axis if at the bottom."""
    plotext.terminal.limit(False, False)
    figure = plotext.figure.clear()
    figure.theme("colorless").plot_size(*size).title(_title(panel, size[0]))
    figure.axes(False, side=1).label("step" if bottom else None)
    figure.axes(bottom or size[1] >= LINE_HEIGHT, axis="x", side=0)
    _, traces, (place, low, high, ticks) = panel
    labels = [_short(tick).rjust(margin) for tick in ticks]
    figure.ruler("y").lim(place(low), place(high)).ticks(place(np.array(ticks)), labels)
    steps = _round_values(0, last, max(size[0] // 12, 2))[: None if bottom else 0]
    figure.ruler("x").lim(0, last).ticks(steps, [_short(step) for step in steps])
    for trace in traces[::-1]:
        joined, marker = trace.style[0] not in POINTS, plotext.marker(*trace.style)
        pair = [place(np.clip(y, low, high) if joined else y) for y in (trace.low, trace.high)]
        lower, upper = (figure.signal(trace.step, y, marker=marker) for y in pair)
        for signal in [upper.fill(lower).density("full").lines()] if joined else [lower, upper]:
            figure.draw(signal)
    return figure.build()
