"""What a panel is: a chart's name, title, scales and content, from a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from eostui.charts.chart import FLOW_TIME, STEPS, Chart, Curve
from eostui.charts.palette import DIMMED
from eostui.panels.overlay import lay_under
from eostui.panels.view import RunView

#: Before the label of a median of several points, and what a title says of it.
_SMOOTH = "~"


@dataclass(frozen=True)
class Panel:
    """What one chart shows of a run.

    Attributes:
        name: of its tab, and of its widget.
        title: in parts, the most important first.
        scales: kinds of its y scale, in the order of the toggle.
        build: returns the chart, with a y scale of this kind.
        comparable: whether the same panel of another run can be laid under it.
        own_place: whether it has a place of its own among four charts; the others share the last one.
        claims_place: whether it takes that last place while no panel is chosen; of several that do the
            last of the table.
        meaning: what the help says of it.
        columns: of the export, what the crosshair reads first where this panel is shown alone.
        own_x: its ends of x, of one that isn't drawn against the steps: it shows one step alone.
        probes: it draws what these measure, and has no tab in runs that have none of them; () if it has
            something to draw of any run.
    """

    name: str
    title: Callable[[RunView], tuple[str, ...]]
    scales: tuple[str, ...]
    build: Callable[[RunView, str], Chart]
    comparable: Callable[[RunView, RunView], bool] = lambda _, __: True
    own_place: bool = False
    claims_place: Callable[[RunView], bool] = lambda _: False
    meaning: str = ""
    columns: tuple[str, ...] = ()
    own_x: Callable[[RunView], tuple[float, float]] | None = None
    probes: tuple[str, ...] = ()

    def is_of(self, view: RunView | None) -> bool:
        """Return whether there can be something to draw of a run, if there is one yet."""
        asked = () if view is None else view.run.probes
        return not self.probes or any(probe in asked for probe in self.probes)


def in_last_place(
    panels: Sequence[Panel], view: RunView | None, chosen: Panel | None = None
) -> Panel:
    """Return which panel takes the place that several share.

    Args:
        panels: the table, at least one of them without a place of its own.
        view: the run, if there is one yet.
        chosen: the panel that someone looks at.
    """
    sharing = [panel for panel in panels if not panel.own_place]
    if chosen in sharing:
        return chosen
    claiming = [panel for panel in sharing if view is not None and panel.claims_place(view)]
    return [*sharing[:1], *claiming][-1]


def title_of(panel: Panel, view: RunView, kind: str, chart: Chart | None = None) -> tuple[str, ...]:
    """Return a panel's title in parts, with the kind of its y scale unless it is linear.

    Of its `chart` it says too what that has medians of.
    """
    first, *others = panel.title(view)
    if chart is not None and any(curve.label.startswith(_SMOOTH) for curve in chart.curves):
        others = [f"{_SMOOTH} median of {view.smoothing} points", *others]
    return (first if kind == "linear" else f"{first} ({kind})", *others)


def chart_of(panel: Panel, view: RunView, kind: str) -> Chart:
    """Return what a panel shows of a run, with the run that is laid under it.

    Args:
        panel: which.
        view: the run.
        kind: of the y scale.
    """
    chart = panel.build(view, kind)
    if panel.own_x is None:
        chart = replace(chart, counts=FLOW_TIME if view.flow_time else STEPS)
    if view.smoothing:
        curves = [each for curve in chart.curves for each in _smoothed(panel, view, curve)]
        chart = replace(chart, curves=curves)
    overlay = view.overlay
    if overlay is None or not chart.curves or not panel.comparable(view, overlay.view):
        return chart
    apart = overlay.parted is None or panel.own_x is not None
    left = -math.inf if apart else view.x_at(overlay.parted or 0)
    return lay_under(chart, panel.build(overlay.view, kind), left)


def _smoothed(panel: Panel, view: RunView, curve: Curve) -> list[Curve]:
    """Return a curve as it is, or stippled below medians of it; these begin and end within a block."""
    if not curve.smooths or len(curve.y) < view.smoothing:
        return [curve]
    rows, medians = view.smoothed(f"{panel.name} {curve.label}", curve.y)
    colour = f"{curve.colour} dim" if curve.colour in DIMMED else curve.colour
    raw = replace(curve, pattern="stippled", colour=colour, label="")
    return [raw, replace(curve, x=curve.x[rows], y=medians, label=f"{_SMOOTH}{curve.label}")]
