"""What is remembered of the Hessian from one measurement to the next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.float64]

#: Directions kept, those of the largest remembered eigenvalues.
KEPT = 16
#: A direction with less than this share of its square left after orthogonalisation is rounding.
DEPENDENT = 1e-2
#: Nearest that a remembered eigenvalue may come to the shift, as a share of it.
CLEARANCE = 0.02


class _Rest(NamedTuple):
    """What Q adds to orthonormal V: the directions X(Q − CV), by their small matrices.

    Attributes:
        shared: C = QVᵀ, shape (m, k).
        mix: X, shape (r, m).
        values: what is remembered of H in these directions, shape (r, r).
    """

    shared: FloatArray
    mix: FloatArray
    values: FloatArray


class HessianMemory:
    """A low-rank picture of H, H ≈ QᵀΘQ, made of the products that measurements paid for.

    θ moves little from one measurement to the next, so the eigenvectors beside the leading one are
    nearly what they were. Where Lanczos would add the residual r to its search space, their picture
    gives the correction that a Jacobi–Davidson step asks for (Sleijpen & van der Vorst, SIAM J. Matrix
    Anal. Appl. 17, 1996), at the cost of no product: a few products less for every measurement. Each new
    product then replaces what the picture said of its direction, as secant updates do.

    Attributes:
        vectors: Q, orthonormal rows, shape (m, P).
        values: Θ, remembered eigenvalues in falling order, shape (m,).
    """

    def __init__(self) -> None:
        self.vectors: Tensor | None = None
        self.values: FloatArray = np.empty(0)

    def learn(self, vectors: Tensor, images: Tensor, projected: FloatArray) -> None:
        """Take in products: what was remembered of the span of `vectors` gives way to them.

        The long vectors are touched as little as can be: what Q adds to V, X(Q − CV) with C = QVᵀ, is
        never formed, only the small matrices that it would give.

        Args:
            vectors: orthonormal rows V, shape (k, P).
            images: their products, W = VH, shape (k, P).
            projected: V H Vᵀ, shape (k, k).
        """
        if not np.isfinite(projected).all():
            return
        if self.vectors is None:
            values, coefficients = np.linalg.eigh(projected)
            self.values = values[::-1][:KEPT]
            self.vectors = _like(coefficients.T[::-1][:KEPT], vectors) @ vectors
            return
        rest = self._rest(vectors)
        seen = _small(images @ self.vectors.T).T
        cross = rest.mix @ (seen - rest.shared @ projected)
        values, coefficients = np.linalg.eigh(
            np.block([[projected, cross.T], [cross, rest.values]])
        )
        self.values = values[::-1][:KEPT]
        coefficients = coefficients.T[::-1][:KEPT]
        of_new, of_rest = np.split(coefficients, [len(projected)], axis=1)
        of_rest = of_rest @ rest.mix
        new = _like(of_rest, vectors) @ self.vectors
        self.vectors = new.addmm_(_like(of_new - of_rest @ rest.shared, vectors), vectors)

    def next_value(self, vectors: Tensor) -> float:
        """Return the largest remembered eigenvalue outside the span of orthonormal rows, shape (k, P).

        −∞ if nothing is remembered there.
        """
        if self.vectors is None:
            return float("-inf")
        values = self._rest(vectors).values
        return float(np.linalg.eigvalsh(values)[-1]) if len(values) else float("-inf")

    def _rest(self, vectors: Tensor) -> _Rest:
        assert self.vectors is not None
        shared = _small(vectors @ self.vectors.T).T
        outside = _small(self.vectors @ self.vectors.T) - shared @ shared.T
        lengths, mix = np.linalg.eigh(outside)
        kept = lengths > DEPENDENT
        mix = (mix[:, kept] / np.sqrt(lengths[kept])).T
        inside = mix @ outside
        return _Rest(shared, mix, (inside * self.values) @ inside.T)

    def correction(self, residual: Tensor, vector: Tensor, value: float) -> Tensor | None:
        """Return the direction in which to correct a Ritz pair, or None with nothing remembered.

        It solves (I − uuᵀ)(H − μ)(I − uuᵀ)t = −r with the remembered H.

        Args:
            residual: r = Hu − μu, shape (P,).
            vector: u, shape (P,).
            value: μ.
        """
        if self.vectors is None or value == 0.0:
            return None
        both = torch.stack([residual, vector])
        distance = value - self.values
        nearest = CLEARANCE * abs(value)
        distance = np.where(np.abs(distance) < nearest, nearest, distance)
        # (μ − H)⁻¹ where H is remembered as Θ, and 1/μ elsewhere, where it counts as 0
        inner = _small(both @ self.vectors.T) * (1 / distance - 1 / value)
        solved_r, solved_u = torch.addmm(both, _like(inner, both), self.vectors, beta=1 / value)
        direction: Tensor = solved_r - solved_u * (vector @ solved_r) / (vector @ solved_u)
        return direction


def _small(matrix: Tensor) -> FloatArray:
    """Return a small matrix in float64 for numpy: eigenproblems are solved there."""
    found: FloatArray = matrix.double().cpu().numpy()
    return found


def _like(matrix: FloatArray, like: Tensor) -> Tensor:
    return torch.from_numpy(matrix.copy()).to(like)
