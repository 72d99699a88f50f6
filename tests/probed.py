"""Single probes measured at single points, as a run measures them with all that it keeps between."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.probes.probe import Moment
from eostui.probes.probe_set import ProbeSet
from eostui.problems import Problem

#: Of what the sharpness probe keeps, what tests read and plant.
KEPT = (
    "readings", "sharpness", "eigenvectors", "guards", "earlier", "others", "memory", "unconverged",
    "degenerate",
)  # fmt: skip


class Probed:
    """A run's probes at a step; what the sharpness probe keeps can be read and planted.

    Attributes:
        probes: the set.
        events: what the probes had to say, (kind, payload), until it is taken away.
        products: Hessian products at the step so far.
    """

    def __init__(self, config: RunConfig, problem: Problem, step: int = 0, **kept: Any) -> None:
        self.probes = ProbeSet(config, problem)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.products = 0
        self.at(step, config.eta, config.weight_decay)
        for name, value in kept.items():
            setattr(self, name, value)

    def at(self, step: int, eta: float, weight_decay: float) -> None:
        self.moment: Moment = self.probes.moment(step, {"eta": eta, "weight_decay": weight_decay})

    def measure(self, point: Point | Tensor, *names: str) -> dict[str, Any]:
        """Measure with these probes, where they are due."""
        values: dict[str, Any] = {}
        if isinstance(point, Tensor):
            point = Point(self.probes.sharpness.problem.loss, point)
        for name in names:
            probe = self.probes.probes[name]
            settings = {"drives": probe.config.measure == "drives"}
            settings["smallest_eigenvalue"] = probe.config.smallest_eigenvalue
            if not settings.get(name, True):
                continue
            reading = probe.measure(point, self.moment)
            self.events += reading.remarks
            self.products = reading.products + (0 if name == "sharpness" else self.products)
            values |= reading.values
            if reading.products:
                values["hessian_products"] = self.products
        return values

    def forget(self) -> None:
        self.probes.forget()

    def __getattr__(self, name: str) -> Any:
        if name in KEPT:
            return getattr(self.probes.sharpness, name)
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in KEPT:
            setattr(self.probes.sharpness, name, value)
        else:
            super().__setattr__(name, value)


def measure_sharpness(point: Point, probed: Probed) -> dict[str, Any]:
    return probed.measure(point, "sharpness")


def measure_smallest(point: Point, probed: Probed) -> dict[str, Any]:
    return probed.measure(point, "smallest_eigenvalue")


def measure_drives(point: Point, probed: Probed) -> dict[str, Any]:
    return probed.measure(point, "drives")
