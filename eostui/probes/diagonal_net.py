"""Where u points in a diagonal net, measured and in closed form, and how a step turns it (MATH §6)."""

from __future__ import annotations

import math

from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.diagonal_net import growth, imbalance, orientation
from eostui.probes.probe import Moment, Probe, Reading, refuse_impossible
from eostui.probes.sharpness import sharpness_of
from eostui.problems import Problem
from eostui.runs.store.columns import Column


class DiagonalNet(Probe):
    """Follows R = |u_s/u_f| of the toy diagonal-net where S is measured, and of two parameters γ_β."""

    name = "diagonal_net"
    columns = (
        Column("orientation", "1", "R = |u_s/u_f| of u along the smallest |θ| and the largest"),
        Column("orientation_closed", "1", "the same in closed form from θ and S, of a single product"),
        Column("imbalance", "1", "b = |z″(θ₂² − θ₁²)/(2(z′ + z″Θ))| of two θ: R = b + √(b² + 1)"),
        Column("imbalance_growth", "1", "γ_β: b after the step over b before it"),
        Column("imbalance_growth_closed", "1", "the same by INST's formula, exact for z = Θ^degree"),
    )  # fmt: skip
    cost = "pass"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        refuse_impossible(config, self.name)
        self._degree = int(config.problem_arguments["degree"])
        self._single = len(config.problem_arguments["terms"]) < 2

    def due(self, moment: Moment) -> bool:
        """Whether S is measured."""
        return sharpness_of(moment).due(moment)

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Compare u with the closed form here, and b here with b after the step from θ_t."""
        values: dict[str, float] = {}
        sizes = point.theta.abs()
        eigenvectors = sharpness_of(moment).eigenvectors
        if eigenvectors is not None:
            u = eigenvectors[0].abs()
            along, across = float(u[sizes.argmin()]), float(u[sizes.argmax()])
            values["orientation"] = along / across if across else math.inf
        reading = moment.readings.get("sharpness")
        if self._single and bool(sizes.all()) and reading and "sharpness" in reading.values:
            theta = point.theta.tolist()
            sharpness = float(reading.values["sharpness"])
            values["orientation_closed"] = orientation(theta, self._slope(theta), sharpness)
        if self._single and len(sizes) == 2:
            values |= self._of_two(point.theta, moment)
        return Reading({name: value for name, value in values.items() if math.isfinite(value)})

    def _of_two(self, here: Tensor, moment: Moment) -> dict[str, float]:
        values = {"imbalance": self._imbalance(here.tolist())}
        if moment.theta is None or moment.displacement is None or not bool(moment.theta.all()):
            return values
        theta = moment.theta.tolist()
        before, after = (
            self._imbalance(at.tolist())
            for at in (moment.theta, moment.theta + moment.displacement)
        )
        eta, decay = moment.controls["eta"], moment.controls["weight_decay"]
        if before:
            values["imbalance_growth"] = after / before
        values["imbalance_growth_closed"] = growth(theta, self._slope(theta), eta, decay)
        return values

    def _slope(self, theta: list[float]) -> float:
        return self._degree * float(math.prod(theta)) ** (self._degree - 1)

    def _imbalance(self, theta: list[float]) -> float:
        bend = self._degree * (self._degree - 1) * math.prod(theta) ** (self._degree - 2)
        return imbalance(theta, self._slope(theta), bend)
