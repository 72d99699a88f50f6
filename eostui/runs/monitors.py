"""Which assumptions of the theory hold at the newest measurement (WD, Assumptions 1–3; MATH §2)."""

from __future__ import annotations

import math
from typing import NamedTuple

from eostui.runs.series import Series

#: Alignments below this count as small.
SMALL = 0.1
#: η·λ₂ above this: a second direction is about to bounce too.
SECOND_DIRECTION = 1.9


class Monitor(NamedTuple):
    """One assumption: whether it holds now, None where it wasn't measured."""

    name: str
    holds: bool | None
    reading: str


def monitors(measured: Series) -> list[Monitor]:
    """Judge the newest row of a run's measured columns; [] before the first."""
    known = [row for row in range(len(measured))[-8:] if not math.isnan(measured["beta"][row])]
    if not known:
        return []

    def value(name: str) -> float:
        return float(measured[name][known[-1]])

    limit = SECOND_DIRECTION / value("eta")
    return [
        _monitor("one direction", value("eig_2") < limit, value("eig_2"), f" < {limit:.3g}", "λ₂ "),
        _monitor("∇S ⟂ u", value("sharpness_gradient_u") < SMALL, value("sharpness_gradient_u")),
        _monitor("∇L ⟂ u", value("gradient_u") < SMALL, value("gradient_u")),
        _monitor("βα > 0", value("beta_alpha") > 0, value("beta_alpha")),
    ]


def _monitor(name: str, holds: bool, reading: float, after: str = "", before: str = "") -> Monitor:
    if math.isnan(reading):
        return Monitor(name, None, "not measured")
    return Monitor(
        name, holds, f"{before}{reading:.2g}{after if holds else after.replace('<', '≥')}"
    )
