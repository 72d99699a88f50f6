"""Linear layers on inputs that never change, on the tensor cores of a GPU.

The first layer of a network on images is most of its arithmetic, and its input is the same at every θ: it
is cut into pieces for tensor cores once (`eostui/curvature/triton_products.py`). Of `cifar5k-mlp` (5000 ×
3072 by 200) on an H200, in µs: forward 177 by PyTorch's float32 products and 90 so, its weights 165 and
101, with 5 to 10 for cutting and adding up; the root mean square of the errors, relative to that of the
result, 5.7e-7 and 1.3e-7.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from eostui.curvature.layers import Coefficient, Dense, is_view_of
from eostui.curvature.triton_trial import Refused, outcome, require_headers

#: Multiplications of a product from which on it is worth it to cut what isn't cut yet.
_WORTH = 2_000_000_000
#: A kernel finds its elements by numbers of 32 bits.
_MOST = 2**31 - 1
#: Of the sum of the absolute values of a product's terms: how far its elements may be off.
_CLOSE = 1e-6


class Products(Protocol):
    """What `eostui/curvature/triton_products.py` has, and says more of."""

    def cut(self, x: Tensor) -> Tensor:
        """Return the pieces of a matrix."""

    def by_rows(self, a: Tensor, b: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return shares of A Bᵀ of the pieces of A and B."""

    def by_columns(self, a: Tensor, b: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return shares of AᵀB of the pieces of A and B."""


class InPieces(Dense):
    """nn.Linear on one input of shape (N, features) that never changes; on any other as Dense."""

    def __init__(self, constant: Tensor, products: Products) -> None:
        self._products, self._pieces = products, products.cut(constant)
        self._constant = constant  # held: no other tensor comes to lie there

    def apply(self, x: Tensor, weight: Tensor, bias: Coefficient, onto: Coefficient) -> Tensor:
        if onto is not None or not is_view_of(x, self._constant):
            return super().apply(x, weight, bias, onto)
        products = self._products
        shares = products.by_rows(self._pieces, products.cut(weight), (len(x), len(weight)))
        result = shares.sum(0)
        return result if bias is None else result.add_(bias)

    def outer(
        self, delta: Tensor, x: Tensor, weight: Tensor, bias: Coefficient, *, add: bool
    ) -> None:
        if not is_view_of(x, self._constant):
            super().outer(delta, x, weight, bias, add=add)
            return
        products = self._products
        shape = (delta.shape[1], x.shape[1])
        shares = products.by_columns(products.cut(delta), self._pieces, shape)
        if add:
            weight.add_(shares.sum(0))
        else:
            torch.sum(shares, 0, out=weight)
        if bias is not None:
            torch.sum(delta, 0, out=bias)


def in_pieces(constant: Tensor, outputs: int) -> InPieces | None:
    """Return the form of nn.Linear on such an input where that is faster, else None.

    Args:
        constant: the input, shape (N, features): no one may write into it.
        outputs: features of the layer's output.
    """
    if constant.numel() * outputs < _WORTH or constant.dtype is not torch.float32:
        return None
    rows, columns = constant.shape
    sides = (rows, columns, outputs)
    largest = max(one * other for one, other in itertools.combinations(map(_padded, sides), 2))
    if 3 * largest > _MOST:
        return None
    found = _found(constant.device)
    return None if isinstance(found, str) else InPieces(constant, found)


def _padded(length: int) -> int:
    """Return the most that a side may be padded to."""
    return length + 16


@cache
def _found(device: torch.device) -> Products | str:
    return outcome(device, lambda: tried(device))


def tried(device: torch.device) -> Products:
    """Return the products, once they were as near as float32 has them.

    Raises:
        Refused: if they weren't, or the GPU hasn't the tensor cores, or there is nothing to compile with.
        Exception: whatever else kept them from it.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        raise Refused("its tensor cores don't take bfloat16")
    require_headers(device)
    from eostui.curvature import triton_products

    compare(triton_products, device)
    return triton_products


@torch.no_grad()
def compare(products: Products, device: torch.device) -> None:
    """Multiply two small matrices both ways.

    Raises:
        Refused: if an element is further off than float32 has it.
    """
    generator = torch.Generator().manual_seed(0)
    a, b = (
        torch.randn(rows, 301, generator=generator, dtype=torch.float32).to(device)
        for rows in (70, 150)
    )
    shape = (len(a), len(b))
    for found in (
        products.by_rows(products.cut(a), products.cut(b), shape),
        products.by_columns(products.cut(a.T), products.cut(b.T), shape),
    ):
        exact, size = a.double() @ b.double().T, a.double().abs() @ b.double().abs().T
        if not bool(((found.double().sum(0) - exact).abs() <= _CLOSE * size).all()):
            raise Refused("they are further off than products in float32")
