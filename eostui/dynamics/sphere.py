"""Mini-batch SGD projected onto the unit sphere, for scale-invariant networks (MATH §7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import Point, plain_gradient
from eostui.dynamics.sgd import SGD
from eostui.problems import Problem
from eostui.runs.analysis.remarks import NOT_INVARIANT
from eostui.stability import SPHERE

#: From this cosine between ∇L and θ on, or change of L by doubled weights, L isn't scale-invariant. In
#: float32 rounding makes about 1e-6 of both.
INVARIANT = 1e-4


class SphereSGD(SGD):
    """θ⁺ = (θ − η(∇L_B + λθ)) with its length put to 1 every `project_every` steps, from θ₀/‖θ₀‖ on.

    **Up to which sharpness it is stable,** where L(cθ) = L(θ): then ⟨∇L, θ⟩ = 0, and on the sphere about
    a rest point a deviation δ along an eigendirection of T H T, T the projection onto the tangent space
    and s the curvature, moves by δ⁺ = (1 − ηλ − ηs)δ/(1 − ηλ): the length is put back from 1 − ηλ. So all
    batches alike it is stable while s < **2/η − 2λ**. Where they differ, it is as with SGD.
    """

    name = "sphere-sgd"
    stability = SPHERE

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        every = config.project_every
        self._every = self.batches.per_epoch if every == "epoch" else every
        self._projects = True

    @classmethod
    def prepared(cls, config: RunConfig, problem: Problem) -> Problem:
        """Begin on the sphere, and state how far L is from scale-invariant, if it is.

        Raises:
            InputError: as that of SGD.
        """
        problem = super().prepared(config, problem)
        initial, eps = problem.initial, torch.finfo(problem.initial.dtype).eps
        if abs(float(initial.norm()) - 1) > 8 * eps:  # to do so twice changes no bit
            problem = replace(problem, initial=initial / initial.norm())
        if NOT_INVARIANT not in problem.facts and (text := not_invariant(problem)):
            problem = replace(problem, facts={**problem.facts, NOT_INVARIANT: text})
        return problem

    def batch(self, step: int) -> Tensor | None:
        """Return the rows of the samples that this step sees; its number says whether it is projected."""
        self._projects = (step + 1) % self._every == 0
        return super().batch(step)

    @torch.no_grad()
    def step(self, theta: Tensor, gradient: Tensor, controls: Mapping[str, float]) -> Tensor:
        """Return θ_{t+1}, shape (P,), of length 1 where this step is projected."""
        moved: Tensor = super().step(theta, gradient, controls)
        if self._projects:
            moved = moved / moved.norm()
        return moved

    def operator(self, point: Point) -> Callable[[Tensor], Tensor]:
        """Return v ↦ T H T v, T the projection onto the space tangent to the sphere at θ."""
        outward: Tensor = point.theta / point.theta.norm()

        def tangent(vector: Tensor) -> Tensor:
            return vector - outward * torch.dot(outward, vector)

        return lambda vector: tangent(point.hessian_product(tangent(vector)))


def not_invariant(problem: Problem) -> str:
    """Return how far L is from L(cθ) = L(θ), in words, by its start; "" where rounding may do as much."""
    theta = problem.initial
    loss, gradient = plain_gradient(problem.loss, theta)
    twice, _ = plain_gradient(problem.loss, 2 * theta)
    product = float(torch.dot(gradient.double().cpu(), theta.double().cpu()))
    lengths = float(gradient.norm() * theta.norm())
    cosine = abs(product) / lengths if lengths else 0.0
    change = abs(float(twice) - float(loss)) / max(abs(float(loss)), 1e-300)
    if cosine <= INVARIANT and change <= INVARIANT:
        return ""
    return (
        f"twice the weights change L from {float(loss):.4g} to {float(twice):.4g}, and ∇L has the cosine "
        f"{product / lengths if lengths else 0.0:.2g} with θ, not 0: on the sphere it is another problem"
    )
