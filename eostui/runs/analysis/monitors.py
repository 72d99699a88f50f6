"""Which assumptions of the theory hold at the newest measurement (WD, Assumptions 1–3; MATH §2)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eostui.runs.series import Series
from eostui.stability import UNDECAYED

#: Alignments below this count as small.
SMALL = 0.1
#: The gap below S, as a share of it, from which on u counts as standing apart.
APART = 0.02
#: λ₂ above this share of the threshold without decay: a second direction is about to bounce too.
SECOND_DIRECTION = 0.95


#: What each assumption is for: what its failing means for the theory.
MEANINGS = {
    "one direction": "theory follows a single unstable direction u; once η·λ₂ comes near 2 a second one "
    "bounces too, and its predictions of x, y and of the resting sharpness need no longer hold.",
    "u stands apart": "∇S belongs to a simple eigenvalue; with λ₂ this close u turns easily, and β, βα "
    "and g with it; “one of several”: u isn't told from its neighbours at all, and they are those of one "
    "of them. The columns that end in _perp are of ∇S without its part along u.",
    "∇S ⟂ u": "theory takes the sharpness to change along ∇S while the bounce goes along u; where they "
    "align, the bounce itself moves S at every step and x and y are not separate.",
    "∇L ⟂ u": "theory takes the slope along u to be nothing but the bounce; a slope that stays moves the "
    "bounce's centre, so its period-2 cycle isn't centred where theory has it.",
    "βα > 0": "theory takes training to sharpen by itself; where βα isn't above 0 nothing drives S to "
    "the edge, and theory has neither a cycle there nor a self-stabilisation to explain.",
}


class Monitor(NamedTuple):
    """One assumption: whether it holds now, None where that can't be judged."""

    name: str
    holds: bool | None
    reading: str


def monitors(
    steps: Series,
    measured: Series,
    reading: str,
    vector_tolerance: float = 0.02,
    *,
    bouncing: bool = False,
    derived: bool = True,
) -> list[Monitor]:
    """Judge the newest row of a run's measured columns; [] before the first.

    On the bounce ∇L of a raw reading lies along u and βα is forced negative: those two assumptions can
    then not be judged, except at midpoints.

    Args:
        steps: a run's columns of every step.
        measured: its measured columns.
        reading: where they were taken, `raw` or `midpoint`.
        vector_tolerance: error of u, as a sine, above which u is one direction among several.
        bouncing: whether the steps up to it undo each other (see `analysis.bounce`).
        derived: whether the theory is derived for the run's dynamics: else there are readings alone.
    """
    rows = np.flatnonzero(~np.isnan(measured["sharpness"]))  # others may be of other probes
    if not len(rows):
        return []

    def value(name: str) -> float:
        return float(measured[name][rows[-1]])

    limit = SECOND_DIRECTION * float(steps[UNDECAYED][int(value("step"))])
    on_bounce = bouncing and reading == "raw"
    second, along_s = value("eig_2"), value("sharpness_gradient_u")
    along_l, drive = value("gradient_u"), value("beta_alpha")
    apart = value("sharpness_gap") / abs(value("sharpness") or math.nan)
    gap = f"gap {100 * apart:.2g} %"
    if value("u_error") > vector_tolerance:
        apart, gap = 0.0, "one of several"
    sign, digits = "<" if second < limit else "≥", 3
    while f"{second:.{digits}g}" == f"{limit:.{digits}g}" and second != limit and digits < 17:
        digits += 1
    found = [
        _monitor(
            "one direction", second < limit, f"λ₂ {second:.{digits}g} {sign} {limit:.{digits}g}"
        ),
        _monitor("u stands apart", apart >= APART, gap),
        _monitor("∇S ⟂ u", along_s < SMALL, f"{along_s:.2g}"),
        _monitor("∇L ⟂ u", along_l < SMALL, f"{along_l:.2g}", unknown=on_bounce),
        _monitor("βα > 0", drive > 0, f"{drive:.2g}", unknown=on_bounce),
    ]
    return found if derived else [monitor._replace(holds=None) for monitor in found]


def _monitor(name: str, holds: bool, reading: str, *, unknown: bool = False) -> Monitor:
    if unknown or "nan" in reading:
        return Monitor(name, None, f"{reading} on the bounce" if unknown else "not measured")
    return Monitor(name, holds, reading)
