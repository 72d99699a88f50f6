"""The two-layer linear network f(x) = AᵀWx/√m in closed form: its NTK, and how a step changes it.

Everything is for L = ‖D‖²/(2n), D = F − Y, whose NTK is M = JJᵀ/n; REV's loss and M are twice these,
and descent on its loss with η is descent on this one with 2η. X has a sample in each column, Σ = XᵀX,
and with decay s = 1 − ηλ shrinks θ first, so that REV's Lemmas 4 and 5 are the case s = 1 (MATH §5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TwoLayerLinear:
    """The network at one θ, on its training samples.

    Attributes:
        hidden: W, shape (m, d).
        output: A, shape (m,).
        inputs: X, shape (d, n).
        targets: Y, shape (n,).
    """

    hidden: Tensor
    output: Tensor
    inputs: Tensor
    targets: Tensor

    @property
    def width(self) -> int:
        """The number m of hidden units."""
        return len(self.output)

    @property
    def samples(self) -> int:
        """The number n of samples."""
        return len(self.targets)

    @property
    def data(self) -> Tensor:
        """Σ = XᵀX, shape (n, n)."""
        return self.inputs.T @ self.inputs

    @property
    def activations(self) -> Tensor:
        """XᵀWᵀWX, shape (n, n)."""
        seen: Tensor = self.hidden @ self.inputs
        return torch.mm(seen.T, seen)

    @property
    def outputs(self) -> Tensor:
        """F, shape (n,)."""
        return self.output @ self.hidden @ self.inputs / math.sqrt(self.width)

    @property
    def residual(self) -> Tensor:
        """D = F − Y, shape (n,)."""
        return self.outputs - self.targets

    @property
    def output_norm(self) -> Tensor:
        """‖A‖², a scalar."""
        return self.output @ self.output

    @property
    def kernel(self) -> Tensor:
        """M = (‖A‖²Σ + XᵀWᵀWX)/(mn) = JJᵀ/n, shape (n, n)."""
        return (self.output_norm * self.data + self.activations) / (self.width * self.samples)

    def residual_after(self, eta: float, decay: float) -> Tensor:
        """Return D one step on, by Lemma 4: s²F − Y − sηMD + η²⟨F, D⟩ΣD/(n²m), shape (n,).

        The lemma is this for s = 1; it prints D as a row.
        """
        shrink, outputs, residual = 1 - eta * decay, self.outputs, self.residual
        second = eta**2 * (outputs @ residual) / (self.samples**2 * self.width)
        return (
            shrink**2 * outputs
            - self.targets
            - shrink * eta * self.kernel @ residual
            + second * self.data @ residual
        )

    def kernel_after(self, eta: float, decay: float) -> Tensor:
        """Return M one step on, by Lemma 5 with the + that its proof has (MATH §5), shape (n, n)."""
        shrink, outputs, residual = 1 - eta * decay, self.outputs, self.residual
        data, width, samples = self.data, self.width, self.samples
        across = torch.outer(outputs, data @ residual)
        first = 2 * (outputs @ residual) * data + across + across.T
        moved = (self.hidden @ self.inputs @ residual).square().sum()
        along = data @ residual
        second = moved * data + self.output_norm * torch.outer(along, along)
        return (
            shrink**2 * self.kernel
            - shrink * eta / (samples**2 * width) * first
            + eta**2 / (samples**3 * width**2) * second
        )

    @property
    def ratio(self) -> Tensor:
        """κ of the rank-one form M ∝ Σ + κ ŷŷᵀ, ŷ = F/‖F‖: m‖F‖²/‖A‖⁴, a scalar in units of Σ.

        Where W = A wᵀ has rank one, XᵀWᵀWX is (m/‖A‖²)FFᵀ.
        """
        outputs = self.outputs
        return self.width * torch.dot(outputs, outputs) / self.output_norm.square()

    @property
    def rank_one_defect(self) -> Tensor:
        """‖XᵀWᵀWX − (m/‖A‖²)FFᵀ‖_F/‖XᵀWᵀWX‖_F: 0 where the rank-one form is exact."""
        outputs, activations = self.outputs, self.activations
        wanted = self.width / self.output_norm * torch.outer(outputs, outputs)
        norm = torch.linalg.matrix_norm
        share: Tensor = norm(activations - wanted) / norm(activations)
        return share


def most_aligned(kernel: Tensor, target: Tensor) -> tuple[int, float]:
    """Return which eigenvector has the largest share of a target, 1 for the leading one, and its share.

    Those of the eigenvalue 0, which are no particular ones, don't count.

    Args:
        kernel: symmetric and positive semidefinite, shape (n, n), not 0.
        target: shape (n,), not 0.
    """
    values, vectors = torch.linalg.eigh(kernel)
    shares = (vectors.T @ target).square() / (target @ target)
    shares[values <= len(values) * torch.finfo(values.dtype).eps * values[-1]] = 0.0
    index = int(shares.argmax())
    return len(target) - index, float(shares[index])
