"""The stable reference: gradient flow by small steps beside the run, from the same θ (MATH §6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.directions import random_direction
from eostui.curvature.eigenpairs import Target, leading_eigenpairs
from eostui.curvature.point import Point, plain_gradient
from eostui.curvature.sums import accurate_norm
from eostui.dynamics.gradient_descent import descend
from eostui.probes.probe import Moment, Probe, Reading, refuse_impossible
from eostui.probes.sharpness import Sharpness, sharpness_of
from eostui.problems import Problem
from eostui.runs.analysis.remarks import FLOW_COARSE
from eostui.runs.store.columns import Column


class Flow(Probe):
    """Goes on from the run's θ at a step by `flow_substeps` steps of η/`flow_substeps` for each of its.

    So it is where plain descent with so small an η comes to in the same time, decay included. From there
    on the run isn't looked at but for its η and λ: no intervention acts on it. It is carried on through
    the steps since the last reading whenever one is due, and whenever a control changes.

    Attributes:
        step: of the run, of the same time as `theta`; −1 before it begins.
        theta: where the flow is, shape (P,).
        controls: η and λ that move it on from `step`.
        eigenvectors: of the Hessian there, from which the next search starts, shape (k, P).
        coarse: whether it was told that its steps are too large to be a flow.
        escaped: whether it isn't finite any more: then there is no more of it.
    """

    name = "flow"
    columns = (
        Column("flow_sharpness", "L/θ²", "S where the small-step flow is by now"),
        Column("flow_loss", "L", "L there"),
        Column("flow_distance", "θ", "from there to the run's θ_t"),
    )
    cost = "many products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        refuse_impossible(config, self.name)
        super().__init__(config, problem)
        self.step = -1
        self.theta: Tensor | None = None
        self.controls: dict[str, float] = {}
        self.eigenvectors: Tensor | None = None
        self.coarse = self.escaped = False

    def due(self, moment: Moment) -> bool:
        """With S, at the step named, and once it began where a control changes."""
        if self.escaped:
            return False
        changed = self.step >= 0 and moment.changed_at == moment.step
        begins = self.step < 0 and moment.step == self.config.flow_at
        return changed or begins or sharpness_of(moment).due(moment)

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Begin if it is time to, or catch up with the run; tell S and L there."""
        del point
        here = moment.theta
        if here is None or (self.theta is None and not self._begins(moment)):
            return Reading()
        if self.theta is None:
            self.theta, self.step = here.clone(), moment.step
        self._catch_up(moment)
        if not bool(torch.isfinite(self.theta).all()):  # nothing of the run's own is to fail for it
            self.escaped = True
            return Reading(remarks=[(FLOW_COARSE, {"escaped": True})])
        there = Point(self.problem.loss, self.theta)
        try:
            sharpness, products = self._sharpness(there, moment)
        finally:
            there.release()
        reading = Reading(
            {
                "flow_sharpness": sharpness,
                "flow_loss": float(there.loss),
                "flow_distance": float(accurate_norm(self.theta - here)),
            },
            products,
        )
        limit = self._limit(moment)
        if not self.coarse and sharpness >= limit:
            self.coarse = True
            reading.remarks.append((FLOW_COARSE, {"sharpness": sharpness, "limit": limit}))
        return reading

    def _begins(self, moment: Moment) -> bool:
        if self.config.flow_at != "edge":
            return moment.step >= self.config.flow_at
        reading = moment.readings.get(Sharpness.name)
        sharpness = math.nan if reading is None else reading.values.get("sharpness", math.nan)
        return float(sharpness) >= moment.threshold

    def _limit(self, moment: Moment) -> float:
        """Return up to which S its own steps are stable."""
        small = moment.controls["eta"] / self.config.flow_substeps
        return float(moment.stability.threshold({**moment.controls, "eta": small}))

    def _catch_up(self, moment: Moment) -> None:
        """Move on to the step of the moment, by the controls since the last one."""
        assert self.theta is not None
        for _ in range((moment.step - self.step) * self.config.flow_substeps):
            gradient = plain_gradient(self.problem.loss, self.theta)[1]
            small = self.controls["eta"] / self.config.flow_substeps
            self.theta = descend(
                self.theta, gradient, small, self.controls["weight_decay"], self.problem.decayed
            )
        self.step, self.controls = moment.step, dict(moment.controls)

    def _sharpness(self, there: Point, moment: Moment) -> tuple[float, int]:
        """Return S where the flow is, and the products spent on it."""
        known = self.eigenvectors
        if known is None:
            known = sharpness_of(moment).eigenvectors
        fresh = random_direction(there.theta, self.config.seed, moment.step)[None]
        pairs = leading_eigenpairs(
            moment.operator(there),
            fresh if known is None else torch.cat([known, fresh]),
            Target(wanted=1, value_tolerance=self.config.tolerance, vector_tolerance=None),
        )
        self.eigenvectors = torch.cat([pairs.vectors, pairs.guard_vectors])
        return pairs.values[0], pairs.products

    def state(self) -> dict[str, Any]:
        """Return where the flow is, and what moves it on."""
        return {name: getattr(self, name) for name in _KEPT}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        for name in _KEPT:
            setattr(self, name, state[name])
        self.controls = dict(self.controls)

    def forget(self) -> None:
        """Start the next search cold."""
        self.eigenvectors = None


_KEPT = ("step", "theta", "controls", "eigenvectors", "coarse", "escaped")
