"""A frame of the Compare screen, over copies of one run."""

from __future__ import annotations

import time
from dataclasses import replace

from eostui.charts.dots import DOTS_X
from eostui.charts.picture import draw, plot_columns
from eostui.charts.scales import StickyRange
from eostui.panels.compare.charts import PANELS, chart_of
from eostui.panels.compare.member import Member
from eostui.panels.compare.view import ComparisonView
from eostui.runs.run import Run
from eostui.runs.shelf import read_entry

RUNS = 20


def compared(run: Run) -> ComparisonView:
    """Return a comparison of RUNS runs, each with the rows of this one and a setting of its own."""
    entry = read_entry(run.path)
    entries = [
        replace(entry, id=f"{entry.id}-{n}", config=entry.config.changed({"seed": n}))
        for n in range(RUNS)
    ]
    view = ComparisonView(entries)
    member = Member.of(run, entry, view.wanted)
    for place, each in enumerate(entries):
        columns = {
            name: replace(column, values=column.values.copy())
            for name, column in member.columns.items()
        }
        view.take(place, replace(member, entry=each, columns=columns))
    return view


def frame(view: ComparisonView, width: int, height: int, first: float) -> float:
    """Draw the four charts from a step on, as after a key that pans; return the seconds that took.

    Args:
        view: the comparison.
        width, height: cells of a chart.
        first: where x begins.
    """
    start = time.perf_counter()
    x_range = (first, view.ends()[1])
    for panel in PANELS:
        stretch = panel.own_x(view) if panel.own_x else x_range
        kind = panel.scales(view)[0]
        chart = chart_of(panel, view, kind, stretch, plot_columns(width)[1] * DOTS_X)
        draw(chart, width, height, stretch, StickyRange())
    return time.perf_counter() - start
