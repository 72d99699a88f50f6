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
from eostui.probes.probe import Moment, Probe, Reading, built_in_columns
from eostui.probes.sharpness import relative, sharpness_of
from eostui.problems import Problem


class SmallestEigenvalue(Probe):
    """Finds the smallest eigenvalue, if the config asks for it: the largest of −H, negated.

    Attributes:
        eigenvectors: those of the smallest eigenvalues last found, shape (m, P), first its own.
        unconverged: whether the last search ended before it was good enough.
    """

    name = "smallest_eigenvalue"
    columns = built_in_columns("smallest_eigenvalue")
    cost = "many products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self.eigenvectors: Tensor | None = None
        self.unconverged = False

    def due(self, moment: Moment) -> bool:
        """Whether it is asked for, and S measured."""
        return self.config.smallest_eigenvalue and sharpness_of(moment).due(moment)

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Search from where it was last, audited together with S."""
        product = moment.operator(point)

        def direction(number: int) -> Tensor:
            return random_direction(point.theta, self.config.seed, moment.step, number)

        start = direction(0)[None] if self.eigenvectors is None else self.eigenvectors
        cold = self.eigenvectors is None or sharpness_of(moment).audited
        pairs = leading_eigenpairs(
            lambda vector: -product(vector),
            start,
            Target(wanted=1, value_tolerance=self.config.tolerance, vector_tolerance=None),
            fresh=lambda number: direction(1 + number),
            known=0 if cold else len(start),
            independent=True,
        )
        self.eigenvectors = torch.cat([pairs.vectors, pairs.guard_vectors])
        residual = relative(pairs.residuals[0], sharpness_of(moment).sharpness or pairs.values[0])
        reading = Reading(
            {"eig_min": -pairs.values[0], "eig_min_residual": residual}, pairs.products
        )
        if not pairs.converged and not self.unconverged:
            told = {"products": pairs.products, "eigenvalues": 1, "residual": residual}
            reading.remarks.append(("unconverged", {**told, "smallest": True}))
        self.unconverged = not pairs.converged
        return reading

    def state(self) -> dict[str, Any]:
        """Return where the next search starts, and how the last one ended."""
        return {"eigenvectors": self.eigenvectors, "unconverged": self.unconverged}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.eigenvectors = state.get("eigenvectors")
        self.unconverged = state.get("unconverged", False)

    def forget(self) -> None:
        """Start the next search cold."""
        self.eigenvectors = None
