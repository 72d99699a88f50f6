"""What attracts at each (λ, g), with the point of an orbit."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from eostui.charts.chart import Curve, Spot
from eostui.charts.numbers import compact
from eostui.charts.plane import Background, Plane, Region
from eostui.charts.scales import nice_above
from eostui.oscillator import Parameters, regime
from eostui.panels.orbit.panel import OrbitPanel
from eostui.panels.orbit.view import OrbitView

#: Signs and colours of the regimes, in the order of `KINDS`; the signs are those of `simulate --grid`.
KINDS = ("cycle", "collapse", "both", "neither")
_REGIME_SIGNS = (
    ("o", "path spread"), (".", "cool spread"), ("%", "shade"), ("~", "warm spread")
)  # fmt: skip


class RegimeMap:
    """The regimes over (λ, g); its axes stay while the point is well inside."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start the axes anew."""
        self._right = self._top = 0.0

    def plane(self, view: OrbitView) -> tuple[Plane, str]:
        """Return the plane of (λ, g), and its title."""
        p = view.parameters
        region = self._region(p)
        decay = np.linspace(region[0], region[1], 400)[1:]
        line = decay + float(p.beta * p.alpha) / decay + float(p.offset)
        fixed = (p.eta, p.alpha, p.beta, p.g_x, p.gradient_u, p.sharpness)
        background = Background(
            lambda columns, rows: regimes(fixed, region, columns, rows), _REGIME_SIGNS
        )
        plane = Plane(
            region,
            background,
            curves=[Curve(decay, line, "sharpness")],
            spots=[Spot(float(p.weight_decay), float(p.g), "mark", "●")],
        )
        here = f"λ {compact(float(p.weight_decay))}, g {compact(float(p.g))}"
        return plane, f"regimes: g over λ · {here}: {view.summary['regime']}"

    def _region(self, p: Parameters) -> Region:
        """Return λ from 0 and g from or to 0, so far that the point and the line can be seen."""
        decay, g, drive = float(p.weight_decay), float(p.paper_g), abs(float(p.beta * p.alpha))
        crossing = (g - math.sqrt(g * g - 4 * drive)) / 2 if g * g > 4 * drive and g > 0 else 0.0
        wanted = max(2 * decay, 4 * (crossing or 2 * float(p.eta) * drive), 1e-9)
        self._right = _end(self._right, decay, wanted)
        right = min(self._right, 0.999 / float(p.eta))
        g = abs(float(p.g))
        self._top = _end(self._top, g, max(2 * g, 1.5 * (right / 2 + 2 * drive / right)))
        return (0.0, right, 0.0, self._top) if float(p.g) >= 0 else (0.0, right, -self._top, 0.0)


def _end(before: float, value: float, wanted: float) -> float:
    """Return where an axis from 0 ends: where it did, unless that hides the value or squeezes it."""
    fits = before > 0 and value <= 0.9 * before and wanted > 0.2 * before
    return before if fits else nice_above(wanted)


@lru_cache(maxsize=8)
def regimes(fixed: tuple[float, ...], region: Region, columns: int, rows: int) -> NDArray[np.intp]:
    """Return the index in KINDS of what attracts at the centre of each cell, shape (rows, columns).

    Args:
        fixed: η, α, β, g_x, ⟨∇L, u⟩ and S* (or None), the same in all cells.
        region: of λ to the right and g upwards; the top row has the largest g.
        columns, rows: cells.
    """
    left, right, bottom, top = region
    eta, alpha, beta, g_x, gradient_u, sharpness = fixed
    decay = left + (np.arange(columns) + 0.5) / columns * (right - left)
    g = top - (np.arange(rows)[:, None] + 0.5) / rows * (top - bottom)
    found = regime(Parameters(eta, decay, alpha, beta, g, g_x, gradient_u, sharpness))
    kinds: NDArray[np.intp] = np.argmax(found[..., None] == np.array(KINDS), axis=-1)
    return kinds


REGIMES = OrbitPanel(
    "regimes",
    "What attracts at each (λ, g), by the exact solutions' eigenvalues, with α, β, η and g_x as they "
    "are: o the 2-cycle, . the collapsed point, % both, ~ neither; ● is here. The line is the "
    "paper's crossing βα = λ(g − λ): above it no cycle exists to leading order.",
    plane=RegimeMap,
    signs=("o cycle  . collapse  % both  ~ neither",) * 2,
)
