"""Random directions that a replay draws again."""

from __future__ import annotations

import torch
from torch import Tensor


def random_direction(like: Tensor, seed: int, step: int, number: int = 0) -> Tensor:
    """Return a direction keyed by seed, step and number, normally distributed, shaped as `like`."""
    generator = keyed(seed, step, number)
    return torch.randn(like.numel(), generator=generator, dtype=torch.float64).to(like)


def random_signs(like: Tensor, seed: int, step: int, number: int = 0) -> Tensor:
    """Return a vector of ±1 at random, keyed by seed, step and number, shaped as `like`.

    Of all vectors whose mean zzᵀ is the identity these estimate a trace best: what zᵀHz varies by has
    no part from the diagonal of H.
    """
    signs = torch.randint(0, 2, (like.numel(),), generator=keyed(seed, step, number))
    return (2 * signs - 1).to(like)


def keyed(seed: int, step: int, number: int) -> torch.Generator:
    """Return a generator on the host whose draws are those of seed, step and number."""
    key = (seed * 1_000_003 + step + number * 7_368_787_000_003) % 2**63
    return torch.Generator().manual_seed(key)
