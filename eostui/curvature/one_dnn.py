"""Linear layers by oneDNN's matrix products, which PyTorch has on a CPU beside those of its BLAS.

PyTorch's own products of float32 matrices on a CPU are MKL's, and MKL uses a processor that isn't Intel's
at half its speed: on an AMD EPYC with AVX-512 a Hessian product by oneDNN takes 0.50 (`cifar5k-mlp`, 1000
samples) to 0.70 (`digits-mlp`) of the time. A step keeps the products that it always had, to the bit;
what is measured at it may round otherwise.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from eostui.curvature.layers import Coefficient, Dense


def by_one_dnn(sample: Tensor) -> Dense | None:
    """Return the form of nn.Linear by oneDNN on inputs like this one; None where there isn't one."""
    if sample.device.type != "cpu" or sample.dtype is not torch.float32 or not _is_there():
        return None
    return OneDnnDense()


@cache
def _is_there() -> bool:
    """Whether oneDNN is, and its layer is called as here: it is PyTorch's compiler's, and may change."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    x, weight = torch.ones((1, 2), dtype=torch.float32), torch.eye(2, dtype=torch.float32)
    weight[0, 1] = 3.0
    try:
        one, other = _linear(x, weight, x[0]), _linear_onto(x, weight.T, x)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return torch.equal(one, x @ weight.T + x) and torch.equal(other, x @ weight + x)


def _linear(x: Tensor, weight: Tensor, bias: Coefficient = None) -> Tensor:
    """Return x Wᵀ + b."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result


def _linear_onto(x: Tensor, weight: Tensor, onto: Tensor) -> Tensor:
    """Return x Wᵀ + `onto`."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, onto, weight, None, "add")
    return result


class OneDnnDense(Dense):
    """nn.Linear on inputs of shape (N, features), as Dense but for rounding."""

    def apply(self, x: Tensor, weight: Tensor, bias: Coefficient, onto: Coefficient) -> Tensor:
        return _linear(x, weight, bias) if onto is None else _linear_onto(x, weight, onto)

    def transpose(self, delta: Tensor, weight: Tensor, x: Tensor, onto: Coefficient) -> Tensor:
        return _linear(delta, weight.T) if onto is None else _linear_onto(delta, weight.T, onto)

    def outer(
        self, delta: Tensor, x: Tensor, weight: Tensor, bias: Coefficient, *, add: bool
    ) -> None:
        share = _linear(delta.T, x.T)
        weight.add_(share) if add else weight.copy_(share)
        if bias is not None:
            torch.sum(delta, 0, out=bias)
