"""The same curvature by the field's usual means: SciPy's eigsh on rebuilt products, curvlinops."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from eostui.curvature.graph import GraphDerivatives
from eostui.errors import InputError
from eostui.problems.batch import Chunk, LossFunction, parts_of, trained_parameters
from eostui.problems.losses import cross_entropy, half_squared_error

FloatArray = NDArray[np.float64]
Product = Callable[[Tensor], Tensor]

#: Our losses as PyTorch's modules; squared errors differ by a factor that costs no time.
_LOSS_MODULES = {half_squared_error: nn.MSELoss, cross_entropy: nn.CrossEntropyLoss}


def rebuilt_product(loss: LossFunction, theta: Tensor) -> Product:
    """Return v ↦ Hv by automatic differentiation, forward and backward recomputed at every call."""

    def product(vector: Tensor) -> Tensor:
        first, *others = (
            GraphDerivatives(part, theta).hessian_product(vector) for part in parts_of(loss)
        )
        return sum(others, start=first)

    return product


class Found(NamedTuple):
    """What an eigensolver found: S, the products that it spent, and u, shape (P,)."""

    sharpness: float
    products: int
    vector: Tensor

    def residual(self, product: Product) -> float:
        """Return ‖Hu − Su‖/|S|, at the cost of a product."""
        defect = product(self.vector) - self.sharpness * self.vector
        return float(defect.norm()) / abs(self.sharpness) if self.sharpness else 0.0


def scipy_sharpness(product: Product, theta: Tensor, *, tolerance: float, seed: int = 0) -> Found:
    """Find the largest eigenvalue by `scipy.sparse.linalg.eigsh` from a random start.

    Args:
        product: v ↦ Hv.
        theta: the point.
        tolerance: eigsh's `tol`; 0 is its default, machine precision.
        seed: of the start vector.

    Raises:
        InputError: if eigsh gives up.
    """
    import torch
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    count = 0

    def counted(vector: FloatArray) -> FloatArray:
        nonlocal count
        count += 1
        image: FloatArray = product(torch.from_numpy(vector).to(theta)).double().cpu().numpy()
        return image

    size = theta.numel()
    operator = LinearOperator((size, size), matvec=counted, dtype=np.float64)
    start = np.random.default_rng(seed).normal(size=size)
    try:
        values, vectors = eigsh(operator, k=1, which="LA", tol=tolerance, v0=start)
    except ArpackError as error:
        raise InputError(f"SciPy's eigsh found no eigenvalue to compare with: {error}") from None
    return Found(float(values[0]), count, torch.from_numpy(vectors[:, 0]).to(theta))


def curvlinops_product(chunk: Chunk, theta: Tensor) -> Product | None:
    """Return v ↦ Hv by curvlinops' HessianLinearOperator; None where it isn't installed or can't."""
    made_of = chunk.supervised
    if made_of is None or made_of.loss not in _LOSS_MODULES:
        return None
    try:
        from curvlinops import HessianLinearOperator
    except ImportError:
        return None
    module = copy.deepcopy(made_of.module)
    trained = list(trained_parameters(module).values())
    nn.utils.vector_to_parameters(theta, trained)
    operator = HessianLinearOperator(
        module,
        _LOSS_MODULES[made_of.loss](),
        trained,
        [(made_of.inputs, made_of.targets)],
        check_deterministic=False,
    )

    def product(vector: Tensor) -> Tensor:
        image: Tensor = operator @ vector
        return image.detach()

    return product
