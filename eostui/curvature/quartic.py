"""The fourth derivative of the loss along the sharpest direction: D⁴L[u, u, u, u]."""

from __future__ import annotations

import math

from torch import Tensor

from eostui.curvature.point import LossFunction, Point

#: The differences reach as far as the x at which √β x, which has the unit of S, is this share of S.
REACH = 0.02
#: Both quotients agree to this share of the fourth derivative, or there is none.
AGREEMENT = 0.1


def quartic_along(loss: LossFunction, theta: Tensor, axes: Tensor, product: Tensor) -> float:
    """Return D⁴L(θ)[u, u, u, u], from second differences of uᵀH(θ ± εu)u.

    ε = REACH·S/‖∇S‖ is about the amplitude at which the map works, so what rounding leaves in D⁴, a few
    units in the last place of S over ε², is as little beside S in D⁴x²/6. The quotients at ε and ε/2 also
    tell the leading part of their own error, which is taken off (Richardson).

    Where the two disagree the loss has no fourth derivative at this scale (each kink of a ReLU makes
    uᵀHu jump, and the quotients are of any size and sign), or only what rounding leaves. Then this is
    0, as where S or ∇S is 0, and the map is the paper's.

    Args:
        loss: L.
        theta: θ, shape (P,), in the precision to differentiate in.
        axes: u and ∇S, shape (2, P), in the precision to sum up in.
        product: Hu at θ, shape (P,), as exact as `axes`.
    """
    direction, sharpness_gradient = axes
    slope = math.sqrt(float(sharpness_gradient @ sharpness_gradient))
    curvature = float(direction @ product)
    if slope == 0 or curvature == 0:
        return 0.0
    reach = REACH * abs(curvature) / slope

    def quotient(distance: float) -> float:
        sides = sum(_curvature(loss, theta, direction, way) for way in (distance, -distance))
        return (sides - 2 * curvature) / distance**2

    far, near = quotient(reach), quotient(reach / 2)
    if not abs(far - near) <= AGREEMENT * abs(near):
        return 0.0
    return (4 * near - far) / 3


def _curvature(loss: LossFunction, theta: Tensor, direction: Tensor, distance: float) -> float:
    """Return uᵀHu at θ + distance·u."""
    point = Point(loss, (theta.to(direction) + distance * direction).to(theta))
    product = point.hessian_product(direction.to(theta))
    point.release()
    return float(direction @ product.to(direction))
