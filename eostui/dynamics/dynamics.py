"""What a dynamics is: how a point moves, by which controls, and up to which sharpness it is stable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.problems import Problem
from eostui.stability import Stability


class Dynamics(ABC):
    """How θ moves, made anew for each run; what it carries from step to step is its state.

    Class attributes:
        name: as a config's `dynamics` gives it.
        stability: its controls and its threshold.
    """

    name: ClassVar[str]
    stability: ClassVar[Stability]

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        """Take what it needs to know of the run."""
        self.config, self.problem = config, problem

    @abstractmethod
    def step(self, theta: Tensor, gradient: Tensor, controls: Mapping[str, float]) -> Tensor:
        """Return θ_{t+1}, shape (P,), and take in whatever the next step needs.

        Rows record the θ at which ∇L is taken next, and that is the θ to return: a scheme that looks
        ahead, such as Nesterov's, returns the point that it looks from, and keeps the other as its state.

        Args:
            theta: θ_t, shape (P,).
            gradient: ∇L(θ_t) of the batch of this step, shape (P,).
            controls: by name.
        """

    def batch(self, step: int) -> Tensor | None:
        """Return the rows of the samples that this step sees, by seed and step; None for all."""
        del step
        return None

    def operator(self, point: Point) -> Callable[[Tensor], Tensor]:
        """Return v ↦ the product with the symmetric operator whose largest eigenvalue counts: H v."""
        return point.hessian_product

    def state(self) -> dict[str, Any]:
        """Return what outlives a step, by name: tensors, and values that JSON can hold."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
