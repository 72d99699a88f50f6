"""How far Ritz pairs are from eigenpairs, by their residuals: estimates, from above.

Let θ₁ ≥ θ₂ ≥ … be Ritz values, rᵢ = ‖Huᵢ − θᵢuᵢ‖, and b the largest eigenvalue outside the first j of
them. Seen at the energy θᵢ > b, eliminating all outside (the Schur complement) leaves diag(θ) + E on
the span of u₁ … uⱼ, with |E_lm| ≤ r_l r_m/δ and δ = θᵢ − b. So θᵢ is low by at most |Eᵢᵢ| and what the
others add, uᵢ lacks a part rᵢ/δ of the outside, and is mixed with u_m by |E_im|/|θᵢ − θ_m|. With j = i
these are the textbook bounds r²/gap and r/gap; a larger j takes near neighbours inside, where the
Rayleigh–Ritz step has parted them: the parting is as good as r², not r, over the gap. Any j will do, so
the best is taken. An eigenvalue lies within rᵢ of θᵢ in any case.

b isn't known but estimated: as θ_{j+1} and its own error, and after the last pair as what the search
has glimpsed or remembers there. The estimates are as good as that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Errors(NamedTuple):
    """Estimated errors of Ritz pairs.

    Attributes:
        values: of each value, in its units, shape (m,).
        first_vector: sine of the angle between the first vector and its eigenvector, 1 at most.
        blocks: with how many of the pairs inside each value is known best, shape (m,); 0 where that is
            its residual alone.
        vector_block: the same for the first vector; 0 where nothing is known of it.
    """

    values: FloatArray
    first_vector: float
    blocks: NDArray[np.int64]
    vector_block: int


def errors_of(
    values: FloatArray, residuals: FloatArray, beyond: float, rounding: float, inside: int
) -> Errors:
    """Estimate the errors of Ritz pairs.

    Args:
        values: the first Ritz values in falling order, shape (m,) with m ≥ 1.
        residuals: of each, shape (m,).
        beyond: the eigenvalue after them, as far as it is known; NaN if nothing is, −∞ if there is none.
        inside: how many of the pairs may be taken together inside: b is measured only up to the last.
        rounding: error of the projected matrix, by which Ritz vectors are mixed at the least.
    """
    count = len(values)
    found = residuals.copy()
    blocks = np.zeros(count, dtype=np.int64)
    outside = np.append(values, beyond)  # the largest eigenvalue outside the first j, at place j
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for index in reversed(range(count)):
            above = np.append(0.0, np.cumsum(found[index + 1 :]))
            rest = values[index] - outside[index + 1 :] - above
            distance = np.abs(values - values[index])
            coupling = np.outer(1 / rest, residuals[index] * residuals)  # [j, m]
            added = np.fmin(coupling, coupling**2 / distance)
            added[:, index] = coupling[:, index]
            shift = np.diagonal(np.cumsum(added, axis=1), offset=index).copy()
            shift[~(rest > 0) | np.isnan(shift)] = np.inf
            shift[max(inside - index, 1) :] = np.inf
            if shift.min() < found[index]:
                found[index], blocks[index] = shift.min(), index + 1 + shift.argmin()
            outside[index] += found[index]
        apart = np.maximum(values[0] - outside[1:count], 0.0)
        rest = values[0] - outside[1:] - np.append(0.0, np.cumsum(found[1:]))
        mixing = residuals[1:] / apart
        rounded = rounding / apart[:1].repeat(count - 1)
        first = residuals[0] / rest * np.append(1.0, 1 + np.cumsum(mixing)) + np.append(0, rounded)
        first[~(rest > 0) | np.isnan(first)] = np.inf
        first[max(inside, 1) :] = np.inf
    best = int(first.argmin())
    known = bool(np.isfinite(first[best]))
    return Errors(found, min(float(first[best]), 1.0), blocks, best + 1 if known else 0)
