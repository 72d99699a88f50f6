"""A prediction that lasts: the bounce's centre and radius as a trajectory beside the run (MATH §3.5)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.centre import Bounce
from eostui.curvature.directions import random_direction
from eostui.curvature.eigenpairs import Target, leading_eigenpairs
from eostui.curvature.point import Point, plain_gradient
from eostui.curvature.sums import accurate_norm
from eostui.probes.probe import Moment, Probe, Reading, refuse_impossible
from eostui.probes.sharpness import Sharpness, sharpness_of
from eostui.problems import Problem
from eostui.runs.analysis.remarks import CENTRE_LOST
from eostui.runs.store.columns import Column

#: The prediction has lost the run once its centre is off by more than this share of the way it went, and
#: by more than the bounce.
LOST = 0.1
#: What departs from the centre is a bounce if its overlap with u is larger, else the bend of the path.
ESTABLISHED = 0.7
_PREDICTED = "predicted from the step at which the prediction began"


class Centre(Probe):
    """Moves centre and bounce on from the first reading of S at its threshold or above.

    From there on the run isn't looked at but for its η and λ, and to say how far the prediction is off:
    it is carried on through the steps since the last reading whenever one is due, and whenever a control
    changes.

    Attributes:
        step: of `bounce`; −1 before it begins.
        bounce: where the prediction is.
        origin: the centre at which it began, shape (P,).
        controls: η and λ that move it on from `step`.
        eigenvectors: of the Hessian at the predicted centre, from which the next search starts.
        lost: whether it was told that the prediction has lost the run.
        escaped: whether it isn't finite any more: then there is no more of it.
    """

    name = "centre"
    columns = (
        Column("centre_sharpness", "L/θ²", f"S at the centre of the bounce, {_PREDICTED}"),
        Column("centre_radius", "θ", f"ρ, the bounce's distance from its centre, {_PREDICTED}"),
        Column("centre_secant", "L/θ²", f"q, the curvature that the bounce meets, {_PREDICTED}"),
        Column("centre_loss", "L", f"L at the centre, {_PREDICTED}"),
        Column("centre_distance", "θ", "from that centre to the run's own, (θ_{t−1} + 2θ_t + θ_{t+1})/4"),
        Column("centre_way", "θ", "how far the run's centre is from where the prediction began"),
    )  # fmt: skip
    cost = "many products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        refuse_impossible(config, self.name)
        super().__init__(config, problem)
        self.step = -1
        self.bounce: Bounce | None = None
        self.origin: Tensor | None = None
        self.controls: dict[str, float] = {}
        self.eigenvectors: Tensor | None = None
        self.lost = self.escaped = False

    def due(self, moment: Moment) -> bool:
        """With S; and once it began where a control changes, to go on with the new one from there."""
        if self.escaped:
            return False
        changed = self.step >= 0 and moment.changed_at == moment.step
        return changed or sharpness_of(moment).due(moment)

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Begin if S is at the edge, or catch up with the run and tell how far off the prediction is."""
        del point
        here, ahead, behind = moment.theta, moment.displacement, moment.behind
        if here is None or ahead is None or behind is None:
            return Reading()
        measured = Bounce.about(here - behind, here, here + ahead)
        if self.bounce is None:
            if not self._at_edge(moment):
                return Reading()
            self.bounce = self._begun(measured, moment)
            self.origin, self.step = measured.centre, moment.step
        products = self._catch_up(moment)
        if not self.bounce.finite:  # nothing of the run's own is to fail for it
            self.escaped = True
            return Reading(remarks=[(CENTRE_LOST, {"escaped": True})], products=products)
        reading = self._compared(measured, moment)
        reading.products += products
        return reading

    @staticmethod
    def _begun(measured: Bounce, moment: Moment) -> Bounce:
        """Return the bounce that is there, or is to begin along u where it is but the path's bend."""
        eigenvectors = sharpness_of(moment).eigenvectors
        if eigenvectors is None:
            return measured
        overlap = abs(float(eigenvectors[0].to(measured.direction) @ measured.direction))
        return measured if overlap > ESTABLISHED else measured.unbegun(eigenvectors[0])

    def _at_edge(self, moment: Moment) -> bool:
        reading = moment.readings.get(Sharpness.name)
        sharpness = math.nan if reading is None else reading.values.get("sharpness", math.nan)
        return float(sharpness) >= moment.threshold

    def _catch_up(self, moment: Moment) -> int:
        """Move the prediction on to the step of the moment, by the controls since the last one.

        Returns:
            Hessian products spent on that.
        """
        assert self.bounce is not None
        spent = 0
        for _ in range(moment.step - self.step):
            spent += self.bounce.products
            self.bounce = self.bounce.moved(
                self.controls["eta"],
                self.controls["weight_decay"],
                lambda theta: plain_gradient(self.problem.loss, theta)[1],
                lambda theta: Point(self.problem.loss, theta),
                self.problem.decayed,
            )
        self.step, self.controls = moment.step, dict(moment.controls)
        return spent

    def _compared(self, measured: Bounce, moment: Moment) -> Reading:
        bounce, origin = self.bounce, self.origin
        assert bounce is not None
        assert origin is not None
        centre = Point(self.problem.loss, bounce.centre)
        try:
            sharpness, products = self._sharpness(centre, moment)
        finally:
            centre.release()
        distance = float(accurate_norm(bounce.centre - measured.centre))
        way = float(accurate_norm(measured.centre - origin))
        reading = Reading(
            {
                "centre_sharpness": sharpness,
                "centre_radius": float(bounce.radius),
                "centre_secant": float(bounce.secant),
                "centre_loss": float(centre.loss),
                "centre_distance": distance,
                "centre_way": way,
            },
            products,
        )
        if not self.lost and distance > max(LOST * way, float(measured.radius)):
            self.lost = True
            told = {"distance": distance, "way": way}
            reading.remarks.append((CENTRE_LOST, told))
        return reading

    def _sharpness(self, centre: Point, moment: Moment) -> tuple[float, int]:
        """Return S at the predicted centre, and the products spent on it."""
        known = self.eigenvectors
        if known is None:
            known = sharpness_of(moment).eigenvectors
        fresh = random_direction(centre.theta, self.config.seed, moment.step)[None]
        pairs = leading_eigenpairs(
            moment.operator(centre),
            fresh if known is None else torch.cat([known, fresh]),
            Target(wanted=1, value_tolerance=self.config.tolerance, vector_tolerance=None),
        )
        self.eigenvectors = torch.cat([pairs.vectors, pairs.guard_vectors])
        return pairs.values[0], pairs.products

    def state(self) -> dict[str, Any]:
        """Return where the prediction is, and what moves it on."""
        bounce = self.bounce
        return {
            "step": self.step,
            "controls": self.controls,
            "origin": self.origin,
            "eigenvectors": self.eigenvectors,
            "lost": self.lost,
            "escaped": self.escaped,
            "centre": bounce and bounce.centre,
            "direction": bounce and bounce.direction,
            "radius": bounce and bounce.radius,
            "secant": bounce and bounce.secant,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.step, self.controls, self.lost = state["step"], dict(state["controls"]), state["lost"]
        self.origin, self.eigenvectors = state["origin"], state["eigenvectors"]
        self.escaped = state["escaped"]
        self.bounce = None
        if state["centre"] is not None:
            self.bounce = Bounce(
                *(state[name] for name in ("centre", "direction", "radius", "secant"))
            )

    def forget(self) -> None:
        """Start the next search cold."""
        self.eigenvectors = None
