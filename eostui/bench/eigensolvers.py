"""The sharpness of the same points by the field's usual means: SciPy's eigsh, cold, products rebuilt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eostui.curvature.point import LossFunction, Point

FloatArray = NDArray[np.float64]


def rebuilt_product(loss: LossFunction, theta: Tensor) -> Callable[[FloatArray], FloatArray]:
    """Return v ↦ Hv on numpy vectors, forward and backward recomputed at every call."""

    def product(vector: FloatArray) -> FloatArray:
        point = Point(loss, theta)
        direction = torch.from_numpy(vector.astype(np.float64)).to(theta)
        image: FloatArray = point.hessian_product(direction).double().cpu().numpy()
        return image

    return product


def scipy_sharpness(
    loss: LossFunction, theta: Tensor, *, tolerance: float, seed: int = 0
) -> tuple[float, int]:
    """Return the largest eigenvalue by `scipy.sparse.linalg.eigsh` from a random start, and products.

    Args:
        loss: θ ↦ L(θ).
        theta: the point.
        tolerance: eigsh's `tol`; 0 is its default, machine precision.
        seed: of the start vector.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    count = 0
    product = rebuilt_product(loss, theta)

    def counted(vector: FloatArray) -> FloatArray:
        nonlocal count
        count += 1
        return product(vector)

    size = theta.numel()
    operator = LinearOperator((size, size), matvec=counted, dtype=np.float64)
    start = np.random.default_rng(seed).normal(size=size)
    values = eigsh(operator, k=1, which="LA", tol=tolerance, v0=start, return_eigenvectors=False)
    return float(values[0]), count
