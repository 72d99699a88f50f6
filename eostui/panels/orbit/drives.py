"""What moves the sharpness of an orbit: progressive sharpening, decay, the bounce."""

from __future__ import annotations

import numpy as np

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale, linear_part
from eostui.panels.orbit.panel import OrbitPanel
from eostui.panels.orbit.view import DIGITS, OrbitView


def drives_chart(view: OrbitView, kind: str) -> tuple[Chart, str]:
    """Return the chart of the drives, and its title."""
    orbit, steps, sane = view.orbit, view.steps[view.sane], view.sane
    sharpens = np.full(len(steps), float(view.parameters.beta * view.parameters.alpha))
    flattens, bounce = orbit.decay_drive[sane], orbit.bounce_drive[sane]
    curves = [
        Curve(steps, bounce, "norm", "stippled", "½βx²", DIGITS),
        Curve(steps, sharpens, "warm", label="βα", digits=DIGITS, sign="▴"),
        Curve(steps, flattens, "cool", "dashed", "λ(g+q)", DIGITS),
    ]
    scale = Scale(kind, linear_part(sharpens, flattens))
    return Chart(curves, scale, view.marks()), f"drives ({kind})"


DRIVES = OrbitPanel("drives", kinds=("symlog",), chart=drives_chart)
