"""The smallest eigenvalue: how far the loss curves down anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.directions import random_direction
from eostui.curvature.eigenpairs import Target, leading_eigenpairs
from eostui.curvature.point import Point
from eostui.probes.probe import Moment, Probe, Reading, measured_columns
from eostui.probes.sharpness import sharpness_of
from eostui.problems import Problem


class SmallestEigenvalue(Probe):
    """Finds the smallest eigenvalue, if the config asks for it: the largest of −H, negated.

    Attributes:
        eigenvectors: those of the smallest eigenvalues last found, shape (m, P), first its own.
    """

    name = "smallest_eigenvalue"
    columns = measured_columns("eig_min")
    cost = "many products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self.eigenvectors: Tensor | None = None

    def due(self, moment: Moment) -> bool:
        """Whether it is asked for, and S measured."""
        return self.config.smallest_eigenvalue and sharpness_of(moment).due(moment)

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Search from where it was last, audited together with S."""
        product = moment.operator(point)

        def direction(number: int) -> Tensor:
            return random_direction(point.theta, self.config.seed, moment.step, number)

        start = direction(0)[None] if self.eigenvectors is None else self.eigenvectors
        cold = self.eigenvectors is None or sharpness_of(moment).audits
        pairs = leading_eigenpairs(
            lambda vector: -product(vector),
            start,
            Target(wanted=1, value_tolerance=self.config.tolerance, vector_tolerance=None),
            fresh=lambda number: direction(1 + number),
            known=0 if cold else len(start),
        )
        self.eigenvectors = torch.cat([pairs.vectors, pairs.guard_vectors])
        return Reading({"eig_min": -pairs.values[0]}, pairs.products)

    def state(self) -> dict[str, Any]:
        """Return where the next search starts."""
        return {"eigenvectors": self.eigenvectors}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.eigenvectors = state.get("eigenvectors")

    def forget(self) -> None:
        """Start the next search cold."""
        self.eigenvectors = None
