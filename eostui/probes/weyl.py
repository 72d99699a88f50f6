"""How far sharpness may be from the NTK's largest eigenvalue, and is: Weyl, on the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.directions import random_direction
from eostui.curvature.eigenpairs import Eigenpairs, Target, leading_eigenpairs
from eostui.curvature.point import Point
from eostui.curvature.weyl import is_half_squared_error, kernel_product, residual_product
from eostui.errors import InputError
from eostui.probes.probe import Moment, Probe, Reading, hessian, refuse_impossible
from eostui.probes.sharpness import relative, sharpness_of
from eostui.problems import Problem
from eostui.problems.batch import supervised_parts
from eostui.runs.analysis.possible_probes import NO_OUTPUTS, NOT_HALF_SQUARED
from eostui.runs.store.columns import Column

#: ‖R‖₂ is a bound, and looked at as one: more digits of it would cost as much again.
_RESIDUAL_TOLERANCE = 1e-3
#: What is searched, by where the search begins: K, and both ends of R's spectrum.
_SEARCHES = ("kernel", "highest", "lowest")


class Weyl(Probe):
    """Finds λ₁(K) and ‖R‖₂ where S is measured, every `ntk_cadence` steps, without forming a matrix.

    Attributes:
        eigenvectors: those last found by each search, shape (m, P), by its name.
    """

    name = "weyl"
    columns = (
        Column("ntk_batch", "L/θ²", "largest eigenvalue of the full NTK J Jᵀ/N on the whole batch"),
        Column("ntk_batch_residual", "1", "‖Gv − λ₁v‖ of it as a share of it"),
        Column(
            "residual_norm", "L/θ²",
            "‖R‖₂ of R = H − G, what the Hessian has beside the Gauss–Newton matrix, to 0.1 %",
        ),
        Column(
            "weyl_gap", "L/θ²",
            "|S − λ₁(K)| of the full NTK on the whole batch: ‖R‖₂ at most, for half squared error",
        ),
    )  # fmt: skip
    cost = "many products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        refuse_impossible(config, self.name)
        if not supervised_parts(problem.loss):
            raise InputError(NO_OUTPUTS)
        if not is_half_squared_error(problem.loss, problem.initial):
            raise InputError(NOT_HALF_SQUARED)
        self.eigenvectors: dict[str, Tensor] = {}

    def due(self, moment: Moment) -> bool:
        """Whether it is time for it, and S measured."""
        return moment.step % self.config.ntk_cadence == 0 and sharpness_of(moment).due(moment)

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Search K, and R at both ends, from where each was last."""
        if moment.operator(point) != hessian(point):
            raise InputError(
                "S is that of the dynamics' own operator here, not the Hessian's: Weyl bounds nothing"
            )
        residual = residual_product(point)
        tolerance = max(_RESIDUAL_TOLERANCE, self.config.tolerance)
        kernel = self._search(
            "kernel", kernel_product(point), self.config.tolerance, point, moment.step
        )
        highest = self._search("highest", residual, tolerance, point, moment.step)
        lowest = self._search("lowest", lambda v: -residual(v), tolerance, point, moment.step)
        values = {
            "ntk_batch": kernel.values[0],
            "ntk_batch_residual": relative(kernel.residuals[0], kernel.values[0]),
            "residual_norm": max(highest.values[0], lowest.values[0], 0.0),
        }
        sharpness = moment.readings.get("sharpness")
        if sharpness is not None and "sharpness" in sharpness.values:
            values["weyl_gap"] = abs(float(sharpness.values["sharpness"]) - kernel.values[0])
        # a product with R is one with H and one with G
        return Reading({**values}, kernel.products + 2 * (highest.products + lowest.products))

    def _search(
        self,
        name: str,
        product: Callable[[Tensor], Tensor],
        tolerance: float,
        point: Point,
        step: int,
    ) -> Eigenpairs:
        first = 1000 * (1 + _SEARCHES.index(name))  # the directions of each search are its own
        before = self.eigenvectors.get(name)

        def direction(number: int) -> Tensor:
            return random_direction(point.theta, self.config.seed, step, first + number)

        pairs = leading_eigenpairs(
            product,
            direction(0)[None] if before is None else before,
            Target(wanted=1, value_tolerance=tolerance, vector_tolerance=None),
            fresh=lambda look: direction(1 + look),
            known=0 if before is None else len(before),
            independent=True,
        )
        self.eigenvectors[name] = torch.cat([pairs.vectors, pairs.guard_vectors])
        return pairs

    def state(self) -> dict[str, Any]:
        """Return where each search starts next."""
        return dict(self.eigenvectors)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.eigenvectors = {name: state[name] for name in _SEARCHES if name in state}

    def forget(self) -> None:
        """Start the next searches cold."""
        self.eigenvectors = {}
