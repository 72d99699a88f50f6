"""The density of the spectrum at one step, on two logarithmic axes, with what stands alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eostui.charts.chart import Chart, Curve, Mark, Spot
from eostui.charts.numbers import compact, grouped
from eostui.charts.scales import Scale
from eostui.panels.panel import Panel
from eostui.panels.view import RunView
from eostui.quadrature import Quadrature
from eostui.runs.series import FloatArray
from eostui.stability import THRESHOLD

#: The density at λ is of what lies within so many decades of it.
WIDTH = 0.05
#: Positions at which it is evaluated.
_POINTS = 400
#: Fewer eigenvalues a decade aren't drawn: one alone has 1/(2 WIDTH) = 10 where it is found exactly.
_LEAST = 0.5


class Density(NamedTuple):
    """The quadrature of one reading, and where it was taken."""

    step: int
    quadrature: Quadrature
    threshold: float

    @property
    def largest(self) -> float:
        """The largest node in size; 0 where all are."""
        nodes = self.quadrature.nodes
        return float(np.nanmax(np.abs(nodes), initial=0.0))


def density_of(view: RunView) -> Density | None:
    """Return the last density at or before the step that is read: that of the crosshair, or in sight."""
    measured = view.run.measured
    if "density_nodes" not in measured:
        return None
    last = view.seen.last_step if view.at is None else view.at
    rows = np.flatnonzero(
        (measured["step"] <= last) & np.isfinite(measured["density_nodes"][:, 0, 0])
    )
    if not len(rows):
        return None
    row = int(rows[-1])
    step = int(measured["step"][row])
    nodes, weights = measured["density_nodes"][row], measured["density_weights"][row]
    quadrature = Quadrature(nodes, weights, int(view.run.facts["parameters"]))
    return Density(step, quadrature, float(view.run.steps[THRESHOLD][step]))


def a_decade(quadrature: Quadrature, at: FloatArray, sign: int = 1) -> FloatArray:
    """Return how many eigenvalues there are a decade.

    Args:
        quadrature: of the spectrum.
        at: log₁₀ |λ|, shape (n,).
        sign: 1 of those above 0, −1 of those below.
    """
    inner, outer = (quadrature.count_below(sign * 10.0**ends) for ends in (at - WIDTH, at + WIDTH))
    return np.asarray(np.abs(outer - inner) / (2 * WIDTH))


def _own_x(view: RunView) -> tuple[float, float]:
    """Return log₁₀ of the smallest size that is told from 0, and of the largest."""
    found = density_of(view)
    if found is None or not found.largest:
        return -1.0, 0.0
    right = math.log10(max(found.largest, found.threshold)) + 2 * WIDTH
    smallest = max(found.quadrature.resolution, 1e-9 * found.largest)
    return min(math.log10(smallest), right - 1), right


def _chart(view: RunView, kind: str) -> Chart:
    found = density_of(view)
    if found is None:
        return Chart([], Scale(kind), waiting=_waiting(view))
    if not found.largest:
        return Chart(
            [], Scale(kind), waiting=f"all eigenvalues are 0 at step {grouped(found.step)}"
        )
    left, right = _own_x(view)
    at, spots, curves = np.linspace(left, right, _POINTS), [], []
    outliers = found.quadrature.outliers()
    for sign, colour, label in ((-1, "cool", "λ < 0"), (1, "sharpness", "λ > 0")):
        density = a_decade(found.quadrature, at, sign)
        drawn = np.flatnonzero(density >= _LEAST)
        if len(drawn):
            rows = slice(drawn[0], drawn[-1] + 1)
            y = np.where(density < _LEAST, np.nan, density)[rows]
            curves.append(Curve(at[rows], y, colour, label=label, digits=0))
        alone = np.log10(sign * outliers[sign * outliers > 10**left])
        heights = a_decade(found.quadrature, alone, sign)
        spots += [Spot(x, y, colour) for x, y in zip(alone.tolist(), heights.tolist(), strict=True)]
    marks = []
    if found.threshold > 0 and left < math.log10(found.threshold) < right:
        marks.append(Mark(math.log10(found.threshold), view.thresholds()[-1][1]))
    places = tuple((float(n), f"1e{n}") for n in range(math.ceil(left), math.floor(right) + 1))
    return Chart(curves, Scale(kind), marks, spots, counts="|λ|", places=places)


def _waiting(view: RunView) -> str:
    if "density_nodes" not in view.run.measured:
        return f"no density: {view.way_to('spectral_density')}"
    return view.waiting()


def _title(view: RunView) -> tuple[str, ...]:
    found = density_of(view)
    if found is None:
        return ("spectral density",)
    rule = found.quadrature
    trace, error = rule.moment(1)
    near = rule.count_below(np.array([-rule.resolution, rule.resolution]))
    untold = f"{near[1] - near[0]:.0f} of {rule.size} within ±{compact(rule.resolution, 2)}"
    return (
        f"eigenvalues a decade at step {grouped(found.step)}",
        f"{len(rule.outliers())} alone (✕)",
        *((untold,) if rule.resolution else ()),
        f"tr H {compact(trace)} ± {compact(error, 2)}",
    )


_MEANING = """\
How many eigenvalues of the Hessian there are in each decade of |λ|, by stochastic Lanczos quadrature
(probe spectral_density), positive and negative ones. ✕ are eigenvalues that stand alone: every random
start found them. How many are nearer to 0 than can be told from it the title says. It is the last density
up to the crosshair's step, or to the newest in sight.
"""

DENSITY = Panel(
    "density",
    _title,
    ("log", "linear"),
    _chart,
    meaning=_MEANING,
    own_x=_own_x,
    probes=("spectral_density",),
)
