"""The density of the whole spectrum, at chosen steps."""

from __future__ import annotations

from eostui.curvature.density import lanczos_quadrature
from eostui.curvature.directions import random_signs
from eostui.curvature.point import Point
from eostui.probes.probe import Moment, Probe, Reading
from eostui.runs.store.columns import Column

#: Random starts, and steps of Lanczos from each: as many products as both together.
DRAWS, STEPS = 4, 64
#: Their numbers, beside those that searches draw.
FIRST_DRAW = 20_000


class SpectralDensity(Probe):
    """Estimates the density by stochastic Lanczos quadrature [SLQ]."""

    name = "spectral_density"
    columns = (
        Column(
            "density_nodes",
            "L/θ²",
            f"nodes of the density of the Hessian's spectrum: of {DRAWS} random starts in turn {STEPS} "
            "each, rising; empty beyond those that a start reaches",
            optional=True,
            shape=(DRAWS, STEPS),
        ),
        Column(
            "density_weights",
            "1",
            "their weights: share of all eigenvalues that a node stands for; of each start they sum to 1",
            optional=True,
            shape=(DRAWS, STEPS),
        ),
    )
    cost = "many products"

    def due(self, moment: Moment) -> bool:
        """Whether it is one of the chosen steps."""
        cadence, at = self.config.density_cadence, self.config.density_at
        return moment.step in at or bool(cadence and moment.step % cadence == 0)

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Estimate it at a point."""
        seed = self.config.seed
        found = lanczos_quadrature(
            moment.operator(point),
            lambda number: random_signs(point.theta, seed, moment.step, FIRST_DRAW + number),
            DRAWS,
            STEPS,
        )
        values = {"density_nodes": found.nodes, "density_weights": found.weights}
        return Reading({**values}, found.products)
