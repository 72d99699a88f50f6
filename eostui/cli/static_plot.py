"""A still picture of a run as text, for `eostui plot`: curvature, loss, drives and norm by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotext

from eostui.runs.run import Run
from eostui.runs.series import FloatArray

#: From this width on, the four panels stand 2×2.
GRID_WIDTH = 110
#: From this height on, a panel has its own step axis; lower ones share that of the bottom panel.
OWN_AXIS_HEIGHT = 9
#: Below these columns and rows there are only the titles.
SMALLEST_CHART = (30, 6)
#: The running median of κ takes in at least this many steps.
MEDIAN_STEPS = 25
#: Values this much smaller than the largest lie in the linear part of a symlog axis.
LINEAR_PART = 1e-3

#: The accent is the curvature, warm sharpens, cool flattens, grey is theory.
ACCENT, PALE_ACCENT, WARM, COOL, GREY = "magenta+", "magenta", "orange", "blue+", "gray"


@dataclass(frozen=True)
class _Trace:
    """A band, curve or cloud of one panel, small enough to draw.

    Attributes:
        step: shape (n,).
        low, high: the range of values around each step, shape (n,), finite; equal in a curve.
        marker: the character of a point, or `braille`: points are joined to a band.
        label: written where the trace begins.
    """

    step: FloatArray
    low: FloatArray
    high: FloatArray
    marker: str = "braille"
    colour: str | None = None
    label: str = ""


@dataclass(frozen=True)
class _Axis:
    """A y axis: where values are drawn, its two ends (values), and the values that get a tick."""

    forward: Callable[[Any], Any]
    low: float
    high: float
    ticks: FloatArray


@dataclass(frozen=True)
class _Panel:
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
        color: with terminal colours; without them the text has no escape sequence at all.

    Returns:
        At most `height` lines, without a newline at the end.
    """
    across = 2 if width >= GRID_WIDTH else 1
    columns = width // across
    panels = [panel(run, columns) for panel in (_curvature, _loss, _drives, _norm)]
    if width < SMALLEST_CHART[0] or height < SMALLEST_CHART[1]:
        rows = [_title(panel, width) for panel in panels[: max(height, 0)]]
    else:
        down = min((height - 2) // 3, len(panels) // across)
        end = max(run.last_step, 1)
        rows = [
            _row(panels[i * across : (i + 1) * across], columns, tall, end, i == down - 1)
            for i, tall in enumerate(_heights(height, down))
        ]
    text = "\n".join(row.string(colorless=not color).rstrip("\n") for row in rows)
    return "\n".join(line.rstrip() for line in text.split("\n"))


def _curvature(run: Run, columns: int) -> _Panel:
    steps, measured = run.steps, run.measured
    sharp = _band(measured["step"], measured["sharpness"], columns // 2, "•", ACCENT)
    kappa = _running_median(steps["path_curvature"], 2 * columns)
    edges = [("2/η", "╌", "two_over_eta")]
    if (steps["weight_decay"] != 0).any():
        edges.insert(0, ("2/η−λ", "┈", "stability_threshold"))
    drawn = _values([sharp, kappa])
    low, high = _trimmed(drawn)
    lines = []
    for symbol, marker, name in edges:
        line = _sampled(steps[name], 2 * columns, marker, symbol)
        near = line.low[line.low <= 4 * high] if len(drawn) else line.low
        low, high = min([low, *near]), max([high, *near])
        lines.append(line)
    pieces = [
        ("• " + _newest("S", measured["sharpness"]), ACCENT),
        ("⠒ " + _newest("median κ", kappa.low), PALE_ACCENT),
        *((f"{mark} {_newest(symbol, steps[name])}", GREY) for symbol, mark, name in edges[::-1]),
    ]
    return _panel("sharpness", pieces, [*lines, kappa, sharp], _linear(low, high))


def _loss(run: Run, columns: int) -> _Panel:
    loss = run.steps["loss"]
    band = _band(run.steps["step"], loss, 2 * columns)
    kind, axis = _log(_values([band]))
    pieces = [(_newest("L", loss, every_row=True), None)]
    return _panel(f"loss, min to max ({kind})", pieces, [band], axis)


def _drives(run: Run, columns: int) -> _Panel:
    measured = run.measured
    sharpens = _band(measured["step"], measured["beta_alpha"], columns // 2, "▴", WARM)
    flattens = _band(measured["step"], measured["lambda_g"], 2 * columns, colour=COOL)
    pieces = [
        ("▴ " + _newest("βα", measured["beta_alpha"]), WARM),
        ("⠒ " + _newest("λg", measured["lambda_g"]), COOL),
    ]
    axis = _symlog(_values([flattens, sharpens]))
    return _panel("drives (symlog)", pieces, [flattens, sharpens], axis)


def _norm(run: Run, columns: int) -> _Panel:
    norm = run.steps["theta_norm"]
    band = _band(run.steps["step"], norm, 2 * columns)
    pieces = [(_newest("‖θ‖", norm, every_row=True), None)]
    return _panel("parameter norm", pieces, [band], _linear(*_trimmed(_values([band]))))


def _panel(
    name: str, pieces: list[tuple[str, str | None]], traces: list[_Trace], axis: _Axis
) -> _Panel:
    """Put a panel together; its title says whether values lie beyond its axis."""
    values = _values(traces)
    if len(values) and (values.min() < axis.low or values.max() > axis.high):
        pieces = [*pieces, ("(axis cut)", GREY)]
    return _Panel(name, pieces, traces, axis)


def _newest(symbol: str, values: FloatArray, *, every_row: bool = False) -> str:
    """Return a symbol with its last finite value; `every_row` if a hole at the end means trouble."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return f"{symbol}: no data"
    broken = every_row and not np.isfinite(values[-1])
    return f"{symbol} {finite[-1]:.4g}" + (", then not finite" if broken else "")


def _values(traces: list[_Trace]) -> FloatArray:
    return np.concatenate([end for trace in traces for end in (trace.low, trace.high)])


def _groups(rows: int, most: int) -> tuple[FloatArray, FloatArray]:
    """Return the first row of each of at most `most` even groups of rows, and the row after it."""
    ends = np.unique(np.linspace(0, rows, min(rows, most) + 1).astype(np.int64))
    return ends[:-1], ends[1:]


def _band(
    step: FloatArray, values: FloatArray, most: int, marker: str = "braille", colour: str | None = None
) -> _Trace:
    """Return the smallest and largest finite value of each of at most `most` groups of rows."""
    values = np.where(np.isfinite(values), values, np.nan)
    first, after = _groups(len(values), most)
    if not len(first):
        return _Trace(step, values, values, marker, colour)
    low, high = np.fmin.reduceat(values, first), np.fmax.reduceat(values, first)
    known = np.isfinite(low)
    middle = step[(first + after - 1) // 2]
    return _Trace(middle[known], low[known], high[known], marker, colour)
