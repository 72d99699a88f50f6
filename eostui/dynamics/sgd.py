"""Mini-batch stochastic gradient descent with coupled decay (MATH §7)."""

from __future__ import annotations

from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.batches import batches_of
from eostui.dynamics.gradient_descent import GradientDescent
from eostui.problems import Problem
from eostui.stability import SGD as STABILITY_OF_SGD


class SGD(GradientDescent):
    """θ⁺ = θ − η(∇L_B + λθ), B the batch of the step.

    On a quadratic with one curvature s in all batches it is stable while s < 2/η − λ. Where batches
    differ no threshold of the full batch's sharpness decides: Andreyev & Beneventano (arXiv 2412.20553)
    find the batch sharpness E_B[⟨∇L_B, H_B∇L_B⟩/‖∇L_B‖²] at 2/η − λ, while S stays below.
    """

    name = "sgd"
    stability = STABILITY_OF_SGD

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self.batches = batches_of(config, problem)

    @classmethod
    def prepared(cls, config: RunConfig, problem: Problem) -> Problem:
        """Refuse what has no such batches."""
        batches_of(config, problem)
        return problem

    def batch(self, step: int) -> Tensor | None:
        """Return the rows of the samples that this step sees; None for all."""
        return self.batches.rows(step)
