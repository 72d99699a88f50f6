"""A still picture of a run as text, for `eostui plot`: the panels that the terminal application shows."""

from __future__ import annotations

import numpy as np

from eostui.charts.levels import bars
from eostui.panels import PANELS
from eostui.panels.panel import Panel, chart_of, in_last_place, title_of
from eostui.panels.still import SMALLEST, Still, draw_stills
from eostui.panels.view import RunView
from eostui.runs.analysis.bounce import in_words, median_cosine, median_cosines
from eostui.runs.run import Run


def render(run: Run, *, width: int, height: int, color: bool) -> str:
    """Draw the panels of a run against the step, and its step cosine.

    Args:
        run: of any state.
        width: columns, never exceeded.
        height: rows, never exceeded.
        color: with terminal colours; without, the text has no escape sequence at all.

    Returns:
        At most `height` lines, without a newline at the end. A low picture lacks the last panels,
        a tiny one is the titles alone.
    """
    view = RunView(run, run.state)
    panels = [panel for panel in PANELS if panel.own_place] + [in_last_place(PANELS, view)]
    stills = [_still(panel, view) for panel in panels]
    last_line = _cosines(run, width) if height > SMALLEST[1] + 1 else ""
    picture = draw_stills(
        stills,
        (0.0, float(max(run.last_step, 1))),
        width=width,
        height=height - bool(last_line),
        color=color,
    )
    return f"{picture}\n{last_line}" if last_line else picture


def _still(panel: Panel, view: RunView) -> Still:
    """Return a panel with the first of its scales, or the next if that can't show all values."""
    for kind in panel.scales:
        chart = chart_of(panel, view, kind)
        if kind != "log" or not any((curve.y <= 0).any() for curve in chart.curves if curve.label):
            break
    return Still(title_of(panel, view, kind), chart)


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
