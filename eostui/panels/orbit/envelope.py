"""A = ½|x⁺ − x| of an orbit, beside that of the envelope equations."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.panels.orbit.panel import OrbitPanel
from eostui.panels.orbit.view import DIGITS, OrbitView


def envelope_chart(view: OrbitView, kind: str) -> tuple[Chart, str]:
    """Return the chart of the envelope, measured and predicted, and its title."""
    at, predicted = view.predicted
    envelope, sane = view.orbit.envelope, view.sane
    curves = [
        Curve(at, predicted, "theory", "dotted", "predicted", 0, ranged=False),
        Curve(view.steps[sane][:-1], envelope[sane][:-1], "path", label="A", digits=DIGITS),
    ]
    return Chart(curves, Scale(kind), view.marks()), "envelope A = ½|x⁺ − x|"


ENVELOPE = OrbitPanel("envelope", kinds=("linear",), chart=envelope_chart)
