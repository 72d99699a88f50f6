"""What a dynamics is: how a point moves, by which controls, and up to which sharpness it is stable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.capture import is_captured_on
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

    @classmethod
    def prepared(cls, config: RunConfig, problem: Problem) -> Problem:
        """Return the problem as it is trained, before there is a run.

        Raises:
            InputError: if the dynamics can't be had on it.
        """
        del config
        return problem

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

    def preconditioner(self) -> Tensor | None:
        """Return the diagonal of P, shape (P,), where `operator` is P^{-1/2} H P^{-1/2}; else None.

        It is that of the newest step taken. κ and the drives are then taken in its metric too.
        """
        return None

    def state(self) -> dict[str, Any]:
        """Return what outlives a step, by name: tensors, and values that JSON can hold."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""


#: A number by which θ moves: the host's, or a scalar on the device.
Factor = float | Tensor


class ProgramDynamics(Dynamics):
    """A dynamics whose step is tensors and a few factors alone, so that it can be captured.

    The controls reach it as factors, which the host computes when the controls change. Where steps are
    captured they lie on the device, and a step reads them there: a captured step goes on as its viewers
    steer it. What it carries from step to step is tensors, always as many once there was a step.
    """

    _set: Mapping[str, float] | None = None
    _factors: tuple[Factor, ...] = ()

    @abstractmethod
    def factors(self, controls: Mapping[str, float]) -> tuple[float, ...]:
        """Return the factors of a step, as many as ever."""

    @abstractmethod
    def move(self, theta: Tensor, gradient: Tensor, factors: Sequence[Factor]) -> Tensor:
        """Return θ_{t+1}, shape (P,), as `step` does, without a look at any value on the device."""

    def carried(self) -> tuple[Tensor, ...]:
        """Return what is carried to the next step."""
        return ()

    def carry(self, carried: tuple[Tensor, ...]) -> None:
        """Take up what `carried` returned."""

    def set(self, controls: Mapping[str, float]) -> None:
        """Let the steps from here on be by these controls."""
        if controls == self._set:
            return
        self._set, factors = dict(controls), self.factors(controls)
        theta = self.problem.initial
        if not is_captured_on(theta.device):
            self._factors = factors
            return
        self._factors = self._factors or tuple(theta.new_empty(()) for _ in factors)
        for place, factor in zip(self._factors, factors, strict=True):
            assert isinstance(place, Tensor)
            place.fill_(factor)

    def advance(self, theta: Tensor, gradient: Tensor) -> Tensor:
        """Return θ_{t+1} by the controls that were set."""
        return self.move(theta, gradient, self._factors)

    @torch.no_grad()
    def step(self, theta: Tensor, gradient: Tensor, controls: Mapping[str, float]) -> Tensor:
        """Return θ_{t+1}, shape (P,), and take in whatever the next step needs."""
        self.set(controls)
        return self.advance(theta, gradient)
