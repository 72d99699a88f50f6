"""Sums over long vectors, to the precision of what is summed.

A CPU adds up float32 in float32, in a few running sums that soon are much larger than what is added:
‖v‖² of 655,000 equal shares comes out wrong by 5e-5, of two millions by 2e-4. So they are summed in
pieces, and the pieces in float64. A GPU adds in a tree, which costs no digits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.linalg import vector_norm

#: Terms that float32 adds up to a few units in its last place.
_PIECE = 4096
#: Terms that it adds up to a millionth, which pieces would cost more to better than it is worth.
_SHORT = 20_000


def accurate_norm(vectors: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return ‖v‖, of one vector or along the last dimension, in the precision of the vectors."""
    if _is_accurate(vectors):
        plain: Tensor = vector_norm(vectors, dim=dim, keepdim=keepdim)
        return plain
    pieces, rest = _pieces(vectors)
    parts = torch.cat([vector_norm(pieces, dim=-1), vector_norm(rest, dim=-1, keepdim=True)], -1)
    found: Tensor = vector_norm(parts, dim=-1, keepdim=keepdim, dtype=torch.float64)
    return found.to(vectors.dtype)


def inner_products(rows: Tensor, others: Tensor) -> Tensor:
    """Return ⟨a, b⟩ of each row with each of others, shapes (n, P) and (m, P), as (n, m).

    In float64 where float32 alone would be off by more than a millionth of their lengths.
    """
    if _is_accurate(rows):
        return rows @ others.T
    (left, rest), (right, other_rest) = _pieces(rows), _pieces(others)
    found = torch.bmm(left.transpose(0, 1), right.permute(1, 2, 0)).sum(0, dtype=torch.float64)
    return found + rest @ other_rest.T


def _pieces(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return views of vectors of shape (…, P) in pieces, (…, count, _PIECE), and of what is left."""
    count = vectors.shape[-1] // _PIECE
    whole, rest = vectors.tensor_split([count * _PIECE], dim=-1)
    return torch.unflatten(whole, -1, (count, _PIECE)), rest


def _is_accurate(vectors: Tensor) -> bool:
    """Whether these are summed well enough as they are."""
    short = vectors.shape[-1] <= _SHORT
    return short or vectors.dtype != torch.float32 or vectors.device.type != "cpu"
