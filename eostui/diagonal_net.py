"""Where u points in a diagonal net L = z(Θ), Θ = ∏θ_i, in closed form (INST §3, App. C; MATH §6)."""

from __future__ import annotations

import math


def orientation(theta: list[float], slope: float, sharpness: float) -> float:
    """Return |u_s/u_f| of the components along the smallest and the largest |θ|, s and f, from S.

    By INST's eq. 8, (S + z′Θ/θ_k²) u_k θ_k is the same for every k. The paper goes on from an approximate
    S; with S itself the ratio is exact.

    Args:
        theta: the parameters, two or more, none of them 0.
        slope: z′(Θ).
        sharpness: S, the largest eigenvalue of the Hessian.
    """
    product = slope * math.prod(theta)
    small, large = min(theta, key=abs), max(theta, key=abs)
    along_small = small * (sharpness + product / small**2)
    along_large = large * (sharpness + product / large**2)
    return abs(along_large / along_small) if along_small else math.inf


def imbalance(theta: list[float], slope: float, bend: float) -> float:
    """Return b = |z″(θ₂² − θ₁²)/(2(z′ + z″Θ))| of two parameters: the ratio above is b + √(b² + 1).

    Args:
        theta: θ₁ and θ₂.
        slope: z′(Θ).
        bend: z″(Θ).
    """
    first, second = theta
    below = 2 * (slope + bend * first * second)
    return abs(bend * (second**2 - first**2) / below) if below else math.inf


def growth(theta: list[float], slope: float, eta: float, decay: float) -> float:
    """Return by what a step multiplies |θ₂² − θ₁²|/|Θ|, to which b is proportional for z = Θ^q: INST's
    γ_β.

    That is |1 − η²z′²|/|1 − sηz′ + η²z′²| with s = θ₁/θ₂ + θ₂/θ₁; decay shrinks the 1 to (1 − ηλ)², and
    s to (1 − ηλ)s.

    Args:
        theta: θ₁ and θ₂, neither of them 0.
        slope: z′(Θ).
        eta: the learning rate.
        decay: the weight decay λ.
    """
    ratio = theta[0] / theta[1]
    shrink, moved = 1 - eta * decay, eta * slope
    below = shrink**2 - shrink * (ratio + 1 / ratio) * moved + moved**2
    return abs((shrink**2 - moved**2) / below) if below else math.inf
