"""Another run beside the one shown: the parent of a fork, or any run of the shelf."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eostui.charts.chart import Chart, Curve
from eostui.charts.numbers import grouped
from eostui.charts.palette import DIMMED
from eostui.errors import printable
from eostui.panels.view import Overlay
from eostui.runs.run import Run

#: Patterns of what was measured; predictions, thresholds and spreads of the other run are left out.
_MEASURED = ("solid", "dashed")
#: Before the labels of the other run: what its curves are made of.
_SIGN = "·"
#: Characters of a run's name beside other words.
_LONGEST_NAME = 20


def legend(overlay: Overlay, run: Run, *, unicode: bool) -> tuple[str, ...]:
    """Return which curves are whose, in parts."""
    lines, points = ("━━", "···") if unicode else ("--", "ooo")
    curves = f"{lines} {short(run)}  {points} {overlay.word} {short(overlay.view.run)}"
    return (
        (curves,) if overlay.parted is None else (curves, f"from step {grouped(overlay.parted)} on")
    )


def lay_under(chart: Chart, other: Chart, left: float) -> Chart:
    """Return a chart with the measured curves of the same panel of the other run below its own.

    Args:
        chart: the panel of the run shown.
        other: the same panel of the run laid under it.
        left: the position from which on they differ: before it only one of them is drawn.
    """
    curves = [
        _dimmed(curve, left)
        for curve in other.curves
        if curve.pattern in _MEASURED and curve.colour in DIMMED
    ]
    marks = [
        replace(mark, text=_SIGN + mark.text, colour="theory")
        for mark in other.marks
        if mark.x > left
    ]
    return replace(chart, curves=[*curves, *chart.curves], marks=[*marks, *chart.marks])


def short(run: Run) -> str:
    """Return a run's name, as much of it as there is room for, or the end of its id."""
    name = printable(run.facts.get("name", "")) or printable(run.path.name.rpartition("-")[2])
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _dimmed(curve: Curve, left: float) -> Curve:
    """Return a curve from `left` on in its dim colour, as points; it starts where it still was one."""
    first = max(int(np.searchsorted(curve.x, left, side="right")) - 1, 0)
    label = _SIGN + curve.label if curve.label else ""
    return replace(
        curve,
        x=curve.x[first:],
        y=curve.y[first:],
        colour=f"{curve.colour} dim",
        pattern="pointed",
        label=label,
        ranged=True,  # the spread that made room for it is left out
    )
