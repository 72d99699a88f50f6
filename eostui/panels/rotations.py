"""How far the leading eigenvectors have turned in T steps, and since the pinned step (MATH §6)."""

from __future__ import annotations

import math

import numpy as np

from eostui.charts.chart import Chart, Curve, Mark
from eostui.charts.scales import Scale
from eostui.panels.crosshair import nth
from eostui.panels.panel import Panel
from eostui.panels.view import RunView

#: Of the pinned eigenvectors in turn: colours, and what their points are where there are no colours.
_COLOURS = ("sharpness", "warm", "cool")
_SIGNS = "•▴▪"
#: Of the spans T steps apart that are drawn: T, colour and sign. What jumps with the bounce is stippled.
_APART = ((1, "test", "◦"), (2, "path", "✶"))
#: T of ρ.
_OF_RHO = "similarity_after_2"


def waiting(view: RunView) -> str:
    """Return what a chart of rotations waits for, or why there is none."""
    if "pinned_step" not in view.run.measured:
        return f"the probe rotations isn't on: {view.way_to('rotations')}"
    return view.waiting()


def _chart(view: RunView, kind: str) -> Chart:
    measured, curves, marks = view.run.measured, [], view.marks()
    if "pinned_step" not in measured:
        return Chart([], Scale(kind), waiting=waiting(view))
    for lag, colour, sign in _APART:
        x, values = view.readings(f"span_similarity_after_{lag}")
        if len(x):
            pattern = "stippled" if lag % 2 else "solid"
            curves.append(Curve(x, values, colour, pattern, f"T={lag}", sign=sign))
    x, span, pinned = view.readings("pinned_span_similarity", "pinned_step")
    if len(x):
        each = measured["pinned_similarity"][~np.isnan(measured["pinned_span_similarity"])]
        for k, (colour, sign) in enumerate(zip(_COLOURS, _SIGNS, strict=True)):
            if np.isfinite(each[:, k]).any():
                curves.append(Curve(x, each[:, k], colour, label=nth("u", k + 1), sign=sign))
        curves.append(Curve(x, span, "loss", label="span", sign="+"))
        marks += [Mark(view.x_at(int(step)), "t₀") for step in np.unique(pinned)]
    return Chart(curves, Scale(kind), marks, waiting=waiting(view))


def _title(view: RunView) -> tuple[str, ...]:
    parts = ["rotations: similarity to t₀", "of spans T steps apart, odd T jumps with the bounce"]
    if not math.isnan(rho := _rho(view)):
        parts.insert(1, f"ρ = {rho:.4f}")
    return tuple(parts)


def _rho(view: RunView) -> float:
    """Return the mean of |⟨u₁(t), u₁(t−2)⟩| over what is drawn; NaN where it isn't known."""
    if _OF_RHO not in view.seen.measured:
        return math.nan
    values = view.seen.measured[_OF_RHO][:, 0]
    known = ~np.isnan(values)
    return float(values[known].mean()) if known.any() else math.nan


_MEANING = """\
|⟨u_k(t), u_k(t₀)⟩| of the first three eigenvectors with those of the pinned step t₀ (`pin_at`), and the
similarity of their spans, cos √(Σθ²/3) of the principal angles: 1 where nothing turned, 0 across. T = 1
and 2: of the spans at t and t − T. The bounce takes u to and fro, so that odd T jump where even ones
are smooth. Two eigenvalues that cross change the names of their vectors, not the span. `u_errors` of the
export bounds how far each may be off. ρ is the mean of |⟨u₁(t), u₁(t−2)⟩| so far; its paper defines none.
"""

ROTATIONS = Panel(
    "rotations",
    _title,
    ("linear",),
    _chart,
    meaning=_MEANING,
    columns=("pinned_span_similarity", "span_similarity_after_2", "span_similarity_after_1"),
    probes=("rotations",),
)
