"""The losses as functions of the network's outputs: their gradient and its derivatives along a curve."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from eostui.problems.losses import cross_entropy, half_squared_error

Coefficient = Tensor | None


class OutputLoss(ABC):
    """Some samples' share of L at their outputs f, shape (n, C): `value`, and δ = ∂L/∂f in `delta`."""

    value: Tensor
    delta: Tensor

    @abstractmethod
    def first(self, df: Tensor) -> Tensor:
        """Return δ̇, how δ changes along outputs that move by ḟ: H_out ḟ."""

    @abstractmethod
    def second(self, df: Tensor, ddf: Tensor) -> Tensor:
        """Return δ̈ along outputs that move with ḟ and f̈."""


class HalfSquaredError(OutputLoss):
    """½ squared error, mean over samples: δ = (f − y)/N."""

    def __init__(self, outputs: Tensor, targets: Tensor, share: float) -> None:
        self.weight = share / len(outputs)
        errors = outputs - targets
        self.value = 0.5 * errors.square().sum() * self.weight
        self.delta = errors.mul_(self.weight)

    def first(self, df: Tensor) -> Tensor:
        return df * self.weight

    def second(self, df: Tensor, ddf: Tensor) -> Tensor:
        return ddf * self.weight


class CrossEntropy(OutputLoss):
    """Cross-entropy, mean over samples: δ = (p Σy − y)/N with p = softmax(f)."""

    def __init__(self, outputs: Tensor, targets: Tensor, share: float) -> None:
        self.value = cross_entropy(outputs, targets) * share
        self.probabilities = functional.softmax(outputs, dim=1)
        self.weights = targets.sum(1, keepdim=True) * (share / len(outputs))
        self.delta = self.probabilities * self.weights - targets * (share / len(outputs))

    def first(self, df: Tensor) -> Tensor:
        return self.weights * self._moved(self.probabilities, df)

    def second(self, df: Tensor, ddf: Tensor) -> Tensor:
        p = self.probabilities
        dp = self._moved(p, df)
        centred = df - (p * df).sum(1, keepdim=True)
        drift = (dp * df).sum(1, keepdim=True)
        return self.weights * (dp * centred + self._moved(p, ddf) - p * drift)

    @staticmethod
    def _moved(p: Tensor, df: Tensor) -> Tensor:
        """Return ṗ of the softmax along ḟ."""
        return p * (df - (p * df).sum(1, keepdim=True))


#: By the loss function: (outputs, targets, share of the samples in L) ↦ the loss with its derivatives.
OUTPUT_LOSSES: dict[
    Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor, float], OutputLoss]
] = {half_squared_error: HalfSquaredError, cross_entropy: CrossEntropy}
