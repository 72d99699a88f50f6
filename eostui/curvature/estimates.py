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

That δ is the least there is outside, while most of a residual lies further down. Where H is remembered,
and u has hardly turned since, each rᵢ is therefore given as long as it would have to be at the b after
the last pair to do as much (`Recall.lengths_at`): r² is to r² at b as δ to where it lies. For j < the
number of pairs this still counts θᵢ − θ_{j+1} as its distance, where no residual lies: from above, if
that b isn't above the pairs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eostui.curvature.host import FloatArray


class Errors(NamedTuple):
    """Estimated errors of Ritz pairs.

    Attributes:
        values: of each value, in its units, shape (m,).
        first_vector: sine of the angle between the first vector and its eigenvector, 1 at most.
    """

    values: FloatArray
    first_vector: float


def errors_of(
    values: FloatArray,
    residuals: FloatArray,
    beyond: float,
    rounding: float,
    inside: int,
    at_beyond: FloatArray | None = None,
) -> Errors:
    """Estimate the errors of Ritz pairs.

    Args:
        values: the first Ritz values in falling order, shape (m,) with m ≥ 1.
        residuals: of each, shape (m,).
        beyond: the eigenvalue after them, as far as it is known; NaN if nothing is, −∞ if there is none.
        inside: how many of the pairs may be taken together inside: b is measured only up to the last.
        rounding: error of the projected matrix, by which Ritz vectors are mixed at the least.
        at_beyond: how long residuals at `beyond` would have to be to do as much, shape (m,); None for as
            long as they are.
    """
    # few numbers, asked for at every product: plain loops, which end where a sum is too large already
    theta, found = values.tolist(), residuals.tolist()
    lengths = list(found) if at_beyond is None else at_beyond.tolist()
    count = len(theta)
    outside = [*theta, beyond]  # the largest eigenvalue outside the first j, at place j
    for index in reversed(range(count)):
        value, residual, best, above = theta[index], lengths[index], found[index], 0.0
        for last in range(index, max(inside, index + 1)):
            rest = value - outside[last + 1] - above
            if rest > 0:  # NaN isn't
                shift = residual * residual / rest
                for other in range(last + 1):
                    if shift >= best:
                        break
                    if other != index:
                        coupling, distance = (
                            residual * lengths[other] / rest,
                            abs(theta[other] - value),
                        )
                        shift += min(
                            coupling, coupling * coupling / distance if distance else math.inf
                        )
                best = min(best, shift)
            above += found[last + 1] if last + 1 < count else 0.0
        found[index] = best
        outside[index] += best
    first, above, mixing = math.inf, 0.0, 1.0
    for last in range(max(inside, 1)):
        if last:
            apart = theta[0] - outside[last]
            mixing += lengths[last] / apart if apart > 0 else math.inf
            above += found[last]
        rest = theta[0] - outside[last + 1] - above
        if rest > 0 and math.isfinite(mixing):
            error = lengths[0] / rest * mixing
            error += rounding / (theta[0] - outside[1]) if last else 0.0
            first = min(first, error)
    return Errors(np.array(found), min(first, 1.0))
