"""What the crosshair reads of a comparison: the value of every curve at one x."""

from __future__ import annotations

import math

import numpy as np

from eostui.charts.chart import FLOW_TIME, STEPS
from eostui.panels.compare.view import SINCE_ONSET, ComparisonView
from eostui.panels.crosshair import Value


def values_at(view: ComparisonView, name: str, at: float) -> list[Value]:
    """Return the value of each curve of a column at an x, in the order of the curves.

    A curve has its value of the last point at or before; one that ends before has none.
    """
    values = []
    for number, (line, look) in enumerate(zip(view.lines(name), view.looks(), strict=True)):
        entries = [view.entries[place] for place in line.members]
        longest = max((entry.last_step for entry in entries), default=0)
        # what is measured now and then holds up to the run's end
        end = max(line.trace.right, longest) if view.axis == STEPS else line.trace.right
        if not len(line.trace) or not line.trace.left <= at <= end:
            continue
        x, y = line.trace.within(at, at, 1)
        row = int(np.searchsorted(x, at, side="right")) - 1
        step = round(float(x[row])) if view.axis == STEPS else round(at)
        symbol = f"{look.sign} {look.label}".strip()
        value = float(y[row]) if row >= 0 else math.nan
        values.append(Value(str(number), symbol, value, step, look.colour))
    return values


def steps_at(view: ComparisonView, at: float) -> dict[int, int]:
    """Return the step of each run at an x, by its place, of those that have one there.

    It is the nearest at which the run was; one that isn't read yet has none.
    """
    found = {}
    for place, member in enumerate(view.members):
        if member is None:
            continue
        if view.axis == FLOW_TIME:
            flow = member.columns.get("flow_time")
            if flow is None or not len(flow.values) or at > flow.values[-1]:
                continue
            steps = np.arange(len(flow.values)) if flow.steps is None else flow.steps
            step = round(float(np.interp(at, flow.values, steps)))
        else:
            start = member.onset if view.axis == SINCE_ONSET else 0
            if start is None:
                continue
            step = round(at) + start
        if 0 <= step <= member.entry.last_step:
            found[place] = step
    return found
