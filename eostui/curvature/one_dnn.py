"""Linear layers by oneDNN's matrix products, which PyTorch has on a CPU beside those of its BLAS.

PyTorch's own products of float32 matrices on a CPU are MKL's, and MKL uses a processor that isn't Intel's
at half its speed: on an AMD EPYC with AVX-512 a Hessian product by oneDNN takes 0.50 (`cifar5k-mlp`, 1000
samples) to 0.70 (`digits-mlp`) of the time. A step keeps the products that it always had, to the bit;
what is measured at it may round otherwise.
"""

from __future__ import annotations

from functools import cache, cached_property

import torch
from torch import Tensor

from eostui.curvature.layers import Coefficient, Dense, is_view_of

#: Columns on the other side of a sum from which on laying one side so is worth it for six such sums.
_WORTH_LAYING = 32
#: Bytes up to which inputs that never change are kept feature by feature too.
_KEPT_TWICE = 1 << 28


def by_one_dnn(sample: Tensor, constant: Tensor | None = None) -> Dense | None:
    """Return the form of nn.Linear by oneDNN on inputs like `sample`; None where there isn't one.

    Args:
        sample: of the inputs.
        constant: all of them, shape (N, features), where they never change.
    """
    if sample.device.type != "cpu" or sample.dtype is not torch.float32 or not _is_there():
        return None
    return OneDnnDense(constant)


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
    """nn.Linear on inputs of shape (N, features), as Dense but for rounding.

    oneDNN is fastest where its first matrix lies row by row. A sum over the samples has that where one of
    its sides lies feature by feature in memory (`by_columns`): that of 1000 × 100 by 100 takes 104 µs for
    146, on one core with AVX-512, and laying it so 39.
    """

    def __init__(self, constant: Tensor | None = None) -> None:
        """Make the form.

        Args:
            constant: the layer's input, shape (N, features), where it never changes.
        """
        self._constant = constant

    def by_columns(self, rows: Tensor, others: int) -> Tensor:
        constant = self._constant
        if constant is not None and is_view_of(rows, constant):
            return self._columns if constant.nbytes <= _KEPT_TWICE else rows
        return rows.T.contiguous().T if others >= _WORTH_LAYING else rows

    @cached_property
    def _columns(self) -> Tensor:
        assert self._constant is not None
        return self._constant.T.contiguous().T

    def apply(self, x: Tensor, weight: Tensor, bias: Coefficient, onto: Coefficient) -> Tensor:
        return _linear(x, weight, bias) if onto is None else _linear_onto(x, weight, onto)

    def transpose(self, delta: Tensor, weight: Tensor, x: Tensor, onto: Coefficient) -> Tensor:
        return _linear(delta, weight.T) if onto is None else _linear_onto(delta, weight.T, onto)

    def outer(
        self, delta: Tensor, x: Tensor, weight: Tensor, bias: Coefficient, *, add: bool
    ) -> None:
        if x.T.is_contiguous() and not delta.T.is_contiguous():
            share = _linear(x.T, delta.T).T
        else:
            share = _linear(delta.T, x.T)
        weight.add_(share) if add else weight.copy_(share)
        if bias is not None:
            torch.sum(delta, 0, out=bias)
