"""x of an orbit as two strands within the envelope that theory predicts."""

from __future__ import annotations

import math

import numpy as np

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.panels.orbit.panel import OrbitPanel
from eostui.panels.orbit.view import DIGITS, NOTHING, OrbitView

_DECADES = 3


def bounce_chart(view: OrbitView, kind: str) -> tuple[Chart, str]:
    """Return the chart of x as two strands within ±A, and its title."""
    orbit, sane, steps = view.orbit, view.sane, view.steps
    unit, said = view.unit
    centre = view.summary["leading_order"]["centre"]
    at, amplitude = view.predicted
    curves = [
        Curve(
            at, (centre + sign * amplitude) / unit, "theory", "dotted", label, DIGITS, ranged=False
        )
        for sign, label in ((1, "c+A" if centre else "A"), (-1, ""))
    ]
    x = orbit.x[sane] / unit
    for first, colour, pattern, name in (
        (1, "norm", "stippled", "odd"),
        (0, "loss", "solid", "even"),
    ):
        strand = x[first::2]
        curves.append(Curve(steps[sane][first::2], strand, colour, pattern, name, DIGITS))
    largest = max(float(np.abs(x).max()), NOTHING)
    scale = Scale(kind, 10.0 ** (math.floor(math.log10(largest)) - _DECADES))
    title = f"bounce x{said}" + ("" if kind == "linear" else f" ({kind})")
    return Chart(curves, scale, view.marks()), title


BOUNCE = OrbitPanel(
    "x",
    "x⁺ = −(1 + ηλ + ηy)x − ηλg_x bounces from side to side: even steps are a line, odd ones are "
    "stippled. Dotted is ±A of the envelope equations, dA/dt = η(λ + y)A, about the centre −½ηλg_x; "
    "the cycle rests at A² = 2(α + (λ² − λg)/β).",
    kinds=("linear", "symlog"),
    chart=bounce_chart,
)
