"""S of an orbit, or y = S − 2/η, with the levels at which it rests."""

from __future__ import annotations

import math

import numpy as np

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.panels.orbit.panel import OrbitPanel
from eostui.panels.orbit.view import DIGITS, OrbitView
from eostui.stability import GRADIENT_DESCENT

#: Two levels closer than this share of what S spans look the same.
_SAME = 0.02


def sharpness_chart(view: OrbitView, kind: str) -> tuple[Chart, str]:
    """Return the chart of S, or of y = S − 2/η, with its resting levels, and its title."""
    orbit, p, summary = view.orbit, view.parameters, view.summary
    decay = float(p.weight_decay)
    controls = {"eta": float(p.eta), "weight_decay": decay}
    undecayed = float(GRADIENT_DESCENT.undecayed(controls))
    shift = undecayed if kind == "y" else 0.0
    values, steps, sane = orbit.sharpness - shift, view.steps, view.sane
    leading, exact = summary["leading_order"], summary["exact"]
    span = max(float(np.ptp(values[sane])), decay)
    levels = [(GRADIENT_DESCENT.undecayed_label, undecayed - shift, "dashed")]
    if decay and kind == "y":
        levels.append(("−λ", -decay, "dashed"))
    elif decay:
        threshold = float(GRADIENT_DESCENT.threshold(controls))
        levels.append((GRADIENT_DESCENT.label, threshold, "dashed"))
    if not leading["cycles"] and math.isfinite(leading["sharpness"]):
        levels.append(("rest", leading["sharpness"] - shift, "dotted"))
    if exact and abs(exact["sharpness"] - leading["sharpness"]) > _SAME * span:
        levels.append(("exact", exact["sharpness"] - shift, "dotted"))
    curves = [
        Curve(steps[[0, -1]], np.full(2, level), "theory", pattern, name, DIGITS, extended=True)
        for name, level, pattern in levels
    ]
    if orbit.escape_step is not None:
        curves.append(Curve(steps, values, "sharpness", ranged=False))
    curves.append(Curve(steps[sane], values[sane], "sharpness", label=kind, digits=DIGITS))
    title = "sharpness S = 2/η + y" if kind == "S" else "y = S − 2/η"
    return Chart(curves, Scale(), view.marks()), title


SHARPNESS = OrbitPanel(
    "sharpness",
    "y⁺ = (1 − ηλ)y + ηβ(α − ½x²) − ηλg moves the sharpness S = 2/η + y; ‹scale› shows the "
    "one or the other. Dashed are 2/η and the cycle's 2/η − λ of leading order, dotted the collapsed "
    "level 2/η + βα/λ − g and, where it can be told from them, the exact level of the map.",
    kinds=("S", "y"),
    chart=sharpness_chart,
)
