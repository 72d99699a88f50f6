"""Sums over long float32 vectors against float64, and S of a large Hessian against its closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eostui.curvature.eigenpairs import Target, leading_eigenpairs
from eostui.curvature.hessian_memory import HessianMemory
from eostui.curvature.sums import accurate_norm, inner_products

pytestmark = pytest.mark.usefixtures("one_thread")

#: Not to be divided into pieces evenly.
LONG = 700_001


@pytest.mark.parametrize("width", [1, 4096, 20_000, 20_001, 20_480, LONG])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_are_as_accurate_as_what_is_summed(width: int, dtype: torch.dtype) -> None:
    """Rows that lie apart, as those of a search do, and some shares that are all of one sign."""
    torch.manual_seed(0)
    pairs = torch.rand(3, 2, width, dtype=dtype)
    pairs[1] -= 0.5
    rows, others = pairs[:, 1], torch.cat([pairs[:, 0], pairs[:, 1]])
    exact = rows.double() @ others.double().T
    lengths = torch.outer(*(each.double().norm(dim=1) for each in (rows, others)))
    allowed = 16 * torch.finfo(dtype).eps
    assert ((inner_products(rows, others) - exact).abs() <= allowed * lengths).all()
    norms = accurate_norm(rows, dim=1)
    assert norms.dtype is dtype
    assert torch.allclose(norms.double(), rows.double().norm(dim=1), rtol=allowed, atol=0)
    assert float(accurate_norm(rows[0])) == pytest.approx(float(norms[0]), rel=allowed)
    assert accurate_norm(rows, dim=1, keepdim=True).shape == (3, 1)


def test_sharpness_of_many_parameters_is_as_accurate_as_of_few() -> None:
    """H = ½ + 16wwᵀ + 14w'w'ᵀ, orthonormal w and w': its products are rounded to float32, no more."""
    torch.manual_seed(0)
    w = torch.linalg.qr(torch.randn(LONG, 2, dtype=torch.float64)).Q.T
    shifts = torch.tensor([16.0, 14.0], dtype=torch.float64)

    def product(vector: Tensor) -> Tensor:
        v = vector.double()
        return (0.5 * v + (shifts * (w @ v)) @ w).float()

    start = torch.randn(1, LONG)
    memory = HessianMemory()
    for _ in range(2):
        found = leading_eigenpairs(product, start, Target(1, value_tolerance=1e-6), memory=memory)
        (value,), (u,) = found.values, found.vectors
        assert value == pytest.approx(16.5, rel=1e-6)
        assert float(u.double() @ u.double()) == pytest.approx(1.0, abs=1e-6)
        start = found.vectors
