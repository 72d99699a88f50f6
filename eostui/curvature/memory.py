"""What is remembered of the Hessian from one measurement to the next."""

from __future__ import annotations

import torch
from torch import Tensor

#: Directions kept, those of the largest remembered eigenvalues.
KEPT = 16
#: A direction with less than this share of its square left after orthogonalisation is rounding.
DEPENDENT = 1e-6
#: Nearest that a remembered eigenvalue may come to the shift, as a share of it.
CLEARANCE = 0.02


class HessianMemory:
    """A low-rank picture of H, H ≈ QᵀΘQ, made of the products that measurements paid for.

    θ moves little from one measurement to the next, so the eigenvectors beside the leading one are
    nearly what they were. Where Lanczos would add the residual r to its search space, their picture
    gives the correction that a Jacobi–Davidson step asks for (Sleijpen & van der Vorst, SIAM J. Matrix
    Anal. Appl. 17, 1996), at the cost of no product: a few products less for every measurement. Each new
    product then replaces what the picture said of its direction, as secant updates do.

    Attributes:
        vectors: Q, orthonormal rows, shape (m, P).
        values: Θ, remembered eigenvalues in falling order, shape (m,), float64 on the CPU.
    """

    def __init__(self) -> None:
        self.vectors: Tensor | None = None
        self.values = torch.empty(0, dtype=torch.float64)

    def learn(self, vectors: Tensor, images: Tensor, projected: Tensor) -> None:
        """Take in products: what was remembered of the span of `vectors` gives way to them.

        Args:
            vectors: orthonormal rows V, shape (k, P).
            images: their products, W = VH, shape (k, P).
            projected: V H Vᵀ, shape (k, k), float64 on the CPU.
        """
        basis, matrix = vectors, projected
        if self.vectors is not None:
            rest, inside = self._outside(vectors)
            cross = _small(rest @ images.T)
            old = (inside * self.values) @ inside.T
            basis = torch.cat([vectors, rest])
            matrix = torch.cat(
                [torch.cat([projected, cross.T], dim=1), torch.cat([cross, old], dim=1)]
            )
        if not torch.isfinite(matrix).all():
            return
        values, coefficients = torch.linalg.eigh(matrix)
        self.values = values.flip(0)[:KEPT].clone()
        self.vectors = coefficients.flip(1).T[:KEPT].to(basis) @ basis

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
        distance = torch.where(distance.abs() < nearest, nearest, distance)
        # (μ − H)⁻¹ where H is remembered as Θ, and 1/μ elsewhere, where it counts as 0
        inner = _small(both @ self.vectors.T) * (1 / distance - 1 / value)
        solved_r, solved_u = both / value + inner.to(both) @ self.vectors
        direction: Tensor = solved_r - solved_u * (vector @ solved_r) / (vector @ solved_u)
        return direction

    def next_value(self, vector: Tensor) -> float:
        """Return the largest remembered eigenvalue across a unit vector; −∞ with nothing remembered."""
        if self.vectors is None:
            return float("-inf")
        shares = _small(self.vectors @ vector)
        length = float(shares.norm())
        matrix = torch.diag(self.values)
        if length > 0:
            along = torch.eye(len(shares), dtype=torch.float64)
            along -= torch.outer(shares, shares) / length**2
            matrix = along @ matrix @ along
        return float(torch.linalg.eigvalsh(matrix)[-1])

    def _outside(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return an orthonormal basis of what Q adds to `vectors`, and its coordinates in Q."""
        assert self.vectors is not None
        rest = self.vectors
        for _ in range(2):
            rest = rest - (rest @ vectors.T) @ vectors
        lengths, mix = torch.linalg.eigh(_small(rest @ rest.T))
        kept = lengths > DEPENDENT
        mix = (mix[:, kept] / lengths[kept].sqrt()).T
        basis = mix.to(rest) @ rest
        return basis, _small(basis @ self.vectors.T)


def _small(matrix: Tensor) -> Tensor:
    """Return a small matrix in float64 on the CPU: eigenproblems are solved there."""
    return matrix.double().cpu()
