"""Random directions that a replay draws again."""

from __future__ import annotations

import torch
from torch import Tensor


def random_direction(like: Tensor, seed: int, step: int, number: int = 0) -> Tensor:
    """Return a direction keyed by seed, step and number, normally distributed, shaped as `like`."""
    key = (seed * 1_000_003 + step + number * 7_368_787_000_003) % 2**63
    generator = torch.Generator().manual_seed(key)
    return torch.randn(like.numel(), generator=generator, dtype=torch.float64).to(like)
