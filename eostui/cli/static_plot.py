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
LARGEST, SMALLEST = 1e150, 1e-150  # beyond these, arithmetic on an axis would overflow

#: The accent is the curvature, warm sharpens, cool flattens, grey is theory.
ACCENT, PALE_ACCENT, WARM, COOL, GREY = "magenta+", "magenta", "orange", "blue+", "gray"


class _Trace(NamedTuple):
    """A band of finite values over steps, each array of shape (n,); in a curve low equals high.

    Points of the marker `braille` are joined, those of a character are not.
    """

    step: FloatArray
    low: FloatArray
    high: FloatArray
    marker: str = "braille"
    colour: str | None = None


class _Axis(NamedTuple):
    """A y axis: the map from values to places, and the values of its ends and ticks."""

    place: Callable[[Any], Any]
    low: float
    high: float
    ticks: FloatArray


class _Panel(NamedTuple):
    """One chart; its title is the name and then the pieces, each a text and its colour."""

    name: str
    pieces: list[tuple[str, str | None]]
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
    sharpness = _band(measured["step"], measured["sharpness"], columns // 2, "•", ACCENT)
    kappa = _running_median(steps["path_curvature"], 2 * columns)
    edges = [("╌ 2/η", "two_over_eta"), ("┈ 2/η−λ", "stability_threshold")]
    edges = edges if steps["weight_decay"].any() else edges[:1]
    lines = [_band(steps["step"], steps[name], columns, mark[0], GREY) for mark, name in edges]
    low, high = _trimmed(_values([kappa, sharpness]))
    levels = _values(lines)
    levels = levels[levels <= FAR_ABOVE * high] if low <= high else levels
    pieces = [
        (_newest("• S", measured["sharpness"]), ACCENT),
        (_newest("⠒ median κ", kappa.low), PALE_ACCENT),
        *((_newest(mark, steps[name]), GREY) for mark, name in edges),
    ]
    axis = _linear(min([low, *levels]), max([high, *levels]), rows)
    return _Panel("sharpness", pieces, [*lines[::-1], kappa, sharpness], axis)


def _loss(run: Run, columns: int, rows: int) -> _Panel:
    band = _band(run.steps["step"], run.steps["loss"], 2 * columns)
    values, kind = _values([band]), "log"
    if len(values) and values.min() > 0:
        axis = _decades(values.min() / 1.1, values.max() * 1.1, values.min() / 100, rows)
    else:
        axis, kind = _symlog(values, rows), "symlog"
    pieces = [(_newest("L", run.steps["loss"], every_row=True), None)]
    return _Panel(f"loss ({kind}), min to max", pieces, [band], axis)


def _drives(run: Run, columns: int, rows: int) -> _Panel:
    step, up, down = (run.measured[name] for name in ("step", "beta_alpha", "lambda_g"))
    flattens = _band(step, down, 2 * columns, colour=COOL)
    traces = [flattens, _band(step, up, columns // 2, "▴", WARM)]
    pieces = [(_newest("▴ βα", up), WARM), (_newest("⠒ λg", down), COOL)]
    return _Panel("drives (symlog)", pieces, traces, _symlog(_values(traces), rows))


def _norm(run: Run, columns: int, rows: int) -> _Panel:
    band = _band(run.steps["step"], run.steps["theta_norm"], 2 * columns)
    pieces = [(_newest("‖θ‖", run.steps["theta_norm"], every_row=True), None)]
    axis = _linear(*_trimmed(_values([band])), rows)
    return _Panel("parameter norm", pieces, [band], axis)


def _newest(symbol: str, values: FloatArray, *, every_row: bool = False) -> str:
    """Return a symbol and its last finite value; with `every_row` a hole at the end is told."""
    finite = values[_finite(values)]
    if not len(finite):
        return f"{symbol}: no data"
    broken = every_row and not _finite(values[-1:]).all()
    return f"{symbol} {finite[-1]:.4g}" + (", then not finite" if broken else "")


def _finite(values: FloatArray) -> NDArray[np.bool_]:
    return np.abs(values) < LARGEST


def _values(traces: list[_Trace]) -> FloatArray:
    return np.concatenate([end for trace in traces for end in (trace.low, trace.high)])


def _groups(rows: int, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first row of each of at most `most` even groups of rows, and the row after it."""
    ends = np.linspace(0, rows, min(rows, most) + 1).astype(np.int64)
    return ends[:-1], ends[1:]


def _band(
    step: FloatArray,
    values: FloatArray,
    most: int,
    marker: str = "braille",
    colour: str | None = None,
) -> _Trace:
    """Return the smallest and the largest finite value in each of at most `most` groups of rows."""
    first, after = _groups(len(values), most)
    values = np.where(_finite(values), values, np.nan)
    low = np.fmin.reduceat(values, first) if len(first) else values
    high = np.fmax.reduceat(values, first) if len(first) else values
    known = np.isfinite(low)
    return _Trace(step[(first + after - 1) // 2][known], low[known], high[known], marker, colour)


def _running_median(values: FloatArray, most: int) -> _Trace:
    """Return at most `most` running medians, each over its group of rows or MEDIAN_STEPS of them."""
    points = []
    for first, after in zip(*_groups(len(values), most), strict=True):
        more = max(MEDIAN_STEPS - (after - first), 0) // 2
        window = values[max(first - more, 0) : after + more]
        window = window[_finite(window)]
        if len(window):
            points.append(((first + after - 1) / 2, np.median(window)))
    step, median = np.array(points).reshape(-1, 2).T
    return _Trace(step, median, median, colour=PALE_ACCENT)


def _trimmed(values: FloatArray) -> tuple[float, float]:
    """Return the range of values without what lies far out, like the last steps of a divergence."""
    if not len(values):
        return np.inf, -np.inf
    low, high = np.percentile(values, (5, 95))
    reach = 3 * (high - low)
    return max(values.min(), low - reach), min(values.max(), high + reach)


def _linear(low: float, high: float, rows: int) -> _Axis:
    """Return a linear axis; an empty range gets one from 0 to 1."""
    low, high = (low, high) if low <= high else (0.0, 1.0)
    room = 0.04 * (high - low) or 0.1 * abs(low) or 1.0
    low, high = low - room, high + room
    return _Axis(np.asarray, low, high, _round_values(low, high, max(rows // 3, 2)))


def _symlog(values: FloatArray, rows: int) -> _Axis:
    """Return an axis that holds zero and is logarithmic away from it, to both sides."""
    sizes = np.abs(values[values != 0]) if values.any() else np.ones(1)
    unit = max(np.percentile(sizes, 10), LINEAR_PART * sizes.max())
    low, high = min([0.0, *values]), max([0.0, *values])
    return _decades(1.3 * low - unit, 1.3 * high + unit, unit, rows)


def _decades(low: float, high: float, unit: float, rows: int) -> _Axis:
    """Return an axis that is linear within ±unit and logarithmic outside."""
    unit = max(unit, SMALLEST)

    def place(value: Any) -> Any:
        return np.arcsinh(value / unit)

    gap = 2.5 * (place(high) - place(low)) / rows
    powers = 10.0 ** np.arange(np.ceil(np.log10(unit)), np.log10(max(-low, high)))
    for digits in ([1.0], [1.0, 2.0, 5.0]):
        ticks = [0.0]
        for tick in np.outer(powers, digits).ravel():
            ticks += [tick] if low <= 0 and place(tick) - place(ticks[-1]) > gap else []
    return _Axis(place, low, high, np.array(ticks))
