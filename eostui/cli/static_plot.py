"""A still picture of a run as text, for `eostui plot`: the panels that the terminal application shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eostui.charts.levels import bars
from eostui.figures.wanted import Wanted, check_name
from eostui.panels import PANELS
from eostui.panels.panel import Panel, chart_of, in_last_place, title_of
from eostui.panels.still import SMALLEST, Still, draw_stills
from eostui.panels.view import RunView
from eostui.runs.analysis.bounce import in_words, median_cosine, median_cosines
from eostui.runs.run import Run


def render(run: Run, wanted: Sequence[Wanted] = (), *, width: int, height: int, color: bool) -> str:
    """Draw the panels of a run against the step, and its step cosine.

    Args:
        run: of any state.
        wanted: its panels; those that the live view shows side by side if left out.
        width: columns, never exceeded.
        height: rows, never exceeded.
        color: with terminal colours; without, the text has no escape sequence at all.

    Returns:
        At most `height` lines, without a newline at the end. A low picture lacks the last panels,
        a tiny one is the titles alone.

    Raises:
        InputError: if there is no such panel.
    """
    view = RunView(run, run.state)
    by_name = {panel.name: panel for panel in PANELS}
    for each in wanted:
        check_name(each, by_name, (), "this run")
    usual = [panel.name for panel in PANELS if panel.own_place]
    usual.append(in_last_place(PANELS, view).name)
    charts = wanted or [Wanted(name) for name in usual]
    stills = [_still(by_name[each.name], view, each.scale) for each in charts]
    last_line = _cosines(run, width) if height > SMALLEST[1] + 1 else ""
    picture = draw_stills(
        stills,
        (0.0, float(max(run.last_step, 1))),
        width=width,
        height=height - bool(last_line),
        color=color,
    )
    return f"{picture}\n{last_line}" if last_line else picture


def _still(panel: Panel, view: RunView, scale: str) -> Still:
    """Return a panel with the scale wanted, or the first of its own that can show all values."""
    for kind in (scale,) if scale else panel.scales:
        chart = chart_of(panel, view, kind)
        if kind != "log" or not any((curve.y <= 0).any() for curve in chart.curves if curve.label):
            break
    own_x = panel.own_x(view) if panel.own_x else None
    return Still(title_of(panel, view, kind), chart, own_x)


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
