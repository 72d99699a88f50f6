"""The figure of one run: the panels of the live view, and any column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eostui.charts.chart import FLOW_TIME, STEPS, Chart, Curve
from eostui.charts.scales import FloatArray, Scale, linear_part
from eostui.figures.picture import Entry, Picture, Points, Subplot
from eostui.figures.wanted import OF_SEVERAL, Wanted, check_name, check_range, command_words
from eostui.panels import PANELS
from eostui.panels.compare.charts import is_curvature, scales_of_column, title_of
from eostui.panels.overlay import short
from eostui.panels.panel import Panel, chart_of, in_last_place
from eostui.panels.view import RunView

#: Columns are drawn as what is measured, or as what is known at every step, is.
_MEASURED, _STEPS = "sharpness", "norm"


def usual_panels(view: RunView) -> list[Wanted]:
    """Return the panels that stand side by side in the live view."""
    own = [panel.name for panel in PANELS if panel.own_place]
    return [Wanted(name) for name in (*own, in_last_place(PANELS, view).name)]


def picture_of_run(
    view: RunView,
    wanted: Sequence[Wanted] = (),
    x_range: tuple[float | None, float | None] = (None, None),
) -> Picture:
    """Return the figure of a run.

    Args:
        view: the run, on the x axis that is wanted.
        wanted: its charts; those of the live view if left out.
        x_range: ends of x; None for the run's own.

    Raises:
        InputError: if the run has no such panel or column.
    """
    charts = wanted or usual_panels(view)
    run = view.run
    columns = {column.name: column.unit for column in run.exported()}
    for each in charts:
        several = f"`{each.name}` is of several runs: name them, or say --filter or --group"
        check_name(
            each, [panel.name for panel in PANELS], columns, "this run",
            several if each.name in OF_SEVERAL else "",
        )  # fmt: skip
    left, right = x_range
    last = float(view.x[-1]) if len(view.x) else 0.0
    check_range(x_range, (0.0, last), "this run")
    ends = (0.0 if left is None else left, last if right is None else right)
    subplots = [
        _of_column(view, each, columns[each.name])
        if each.is_column
        else _of_panel(view, next(panel for panel in PANELS if panel.name == each.name), each.scale)
        for each in charts
    ]
    legend: tuple[Entry, ...] = ()
    if view.overlay is not None:
        other = f"{view.overlay.word} {short(view.overlay.view.run)}"
        legend = (Entry(short(run), "title", ""), Entry(other, "title dim", "", "pointed"))
    axis = ("--axis", "flow") if view.flow_time else ()
    command = command_words((run.path.name,), wanted, x_range, *axis)
    return Picture(subplots, ends, (run.path.name,), legend, command=command)


def _of_panel(view: RunView, panel: Panel, scale: str) -> Subplot:
    """Return a panel with the scale wanted, or the first that can show all values."""
    for kind in (scale,) if scale else panel.scales:
        chart = chart_of(panel, view, kind)
        if kind != "log" or not _is_cut(chart):
            break
    own_x = panel.own_x(view) if panel.own_x else None
    return _subplot(view, panel.name, panel.title(view)[0], _with_linear_part(chart), own_x)


def _of_column(view: RunView, wanted: Wanted, unit: str) -> Subplot:
    x, y = _column(view, wanted.name)
    every_step = wanted.name in view.run.steps
    for kind in (wanted.scale,) if wanted.scale else scales_of_column(wanted.name):
        if kind != "log" or not (y <= 0).any():
            break
    curves = [Curve(x, y, _STEPS if every_step else _MEASURED, sign="" if every_step else "•")]
    if is_curvature(wanted.name):
        curves = [
            Curve(view.x, threshold, "theory", "dashed", label, yields="far", extended=True)
            for threshold, label, _ in view.thresholds()
        ] + curves
    chart = Chart(
        curves if len(y) else [],
        Scale(kind),
        view.marks(),
        waiting=f"no value of {wanted.name}",
        counts=FLOW_TIME if view.flow_time else STEPS,
    )
    title = title_of(wanted.name)
    label = title if unit in ("", "1") or title != wanted.name else f"{title}  [{unit}]"
    return _subplot(view, wanted.name, label, _with_linear_part(chart))


def _column(view: RunView, name: str) -> tuple[FloatArray, FloatArray]:
    """Return x and y of an exported column; of what isn't known at every step, where it is known."""
    run = view.run
    if name in run.steps:
        y = run.steps[name]
        # of the newest step what it did isn't known yet, which is no gap
        rows = len(y) - 1 if len(y) and np.isnan(y[-1]) else len(y)
        return view.x[:rows], y[:rows]
    calibrated = run.calibrations.rows
    if name in calibrated:
        x, y = view.x[calibrated["step"].astype(np.int64)], calibrated[name]
    elif name in run.measured:
        x, y = view.x_measured, run.measured[name]
    else:  # a number of an array: `name_1`
        array, _, number = name.rpartition("_")
        values = run.measured[array]
        x, y = view.x_measured, values.reshape(len(values), -1)[:, int(number) - 1]
    known = ~np.isnan(y)
    return x[known], y[known]


def _with_linear_part(chart: Chart) -> Chart:
    """Return the chart with its symlog linear below most values, where its panel didn't say where."""
    if chart.scale.kind != "symlog" or chart.scale.threshold != 1.0 or not chart.curves:
        return chart
    return replace(chart, scale=Scale("symlog", linear_part(*(c.y for c in chart.curves))))


def _is_cut(chart: Chart) -> bool:
    return any((curve.y <= 0).any() for curve in chart.curves if curve.label)


def _subplot(
    view: RunView, name: str, label: str, chart: Chart, own_x: tuple[float, float] | None = None
) -> Subplot:
    """Return a chart with its data: each curve under its label, or the meaning of its colour."""
    run = view.run.path.name
    data = [Points(curve.label or curve.colour, run, curve.x, curve.y) for curve in chart.curves]
    return Subplot(name, label, chart, own_x, data)
