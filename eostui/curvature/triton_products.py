"""Products of float32 matrices on a GPU's tensor cores, in Triton.

Tensor cores multiply numbers of 8 bits (bfloat16) some fifteen times as fast as a GPU otherwise does
those of 24 (float32), and add in 32. A float32 is the sum of three bfloat16, a = a₁ + a₂ + a₃,
each at most 2⁻⁸ of the one before. Of the nine products in (a₁ + a₂ + a₃)(b₁ + b₂ + b₃) the six that are
about 2⁻¹⁶ of the first or more are taken, the smallest first; the rest is what float32 rounds away
(Henry, Tang & Heinecke, arXiv 1904.06376). Tensor cores cut off what they add where others round, which
over a long sum comes to 10⁻⁵ of it. So they add up STRIP terms at a time, and the strips are added in
float32 as usual.

Each element of a result is written by one program, and sums have one order: the results are the same to
the bit at every call.

Only `eostui/curvature/tensor_cores.py` imports this module, where there is a GPU for it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Rows and columns of a result that a program has, terms that tensor cores add up, warps of 32 threads,
#: and strips that are on their way from memory.
ROWS, COLUMNS, STRIP, WARPS, STAGES = 64, 128, 32, 4, 3
#: Pieces are padded to multiples of it: 32 bytes, what is read at once.
SIDE = 16
#: Programs for each multiprocessor of a GPU, two of which it has at a time.
_SHARE = 3.6
#: Elements that a program cuts.
_CUT = 1024


def cut(x: Tensor) -> Tensor:
    """Return the three pieces of a matrix, the largest first.

    Their sum is the matrix exactly, but where elements are below 1e-33 or above 3.3e38: of those the last
    bits are lost, or they aren't finite.

    Args:
        x: shape (rows, columns), float32.

    Returns:
        Shape (3, rows′, columns′), bfloat16: rows and columns up to a multiple of SIDE, zeros there.
    """
    x, (rows, columns) = x.contiguous(), x.shape
    pieces = x.new_empty(3, _padded(rows), _padded(columns), dtype=torch.bfloat16)
    size = pieces[0].numel()
    with torch.cuda.device_of(x):
        _cut[(triton.cdiv(size, _CUT),)](
            x, pieces, rows, columns, pieces.shape[2], size, _CUT, num_warps=4
        )
    return pieces


def by_rows(a: Tensor, b: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return A Bᵀ as shares of it, whose sum over the first dimension it is.

    Args:
        a: pieces of A, shape (3, m, k).
        b: pieces of B, shape (3, n, k).
        shape: of A Bᵀ without the padding.
    """
    return _shares(a, b, shape, 1, 2)


def by_columns(a: Tensor, b: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return AᵀB likewise, of pieces of shapes (3, k, m) and (3, k, n)."""
    return _shares(a, b, shape, 2, 1)


def _shares(a: Tensor, b: Tensor, shape: tuple[int, int], side: int, term: int) -> Tensor:
    """Return shares of a product, each of a part of its terms: enough for all multiprocessors.

    `side` is the dimension of `a` that the result has rows of, and of `b` that it has columns of, `term`
    the one that is summed over.
    """
    m, n, k = a.shape[side], b.shape[side], a.shape[term]
    across = triton.cdiv(n, COLUMNS)
    tiles = triton.cdiv(m, ROWS) * across
    parts = _parts(tiles, k, a.device)
    length = triton.cdiv(triton.cdiv(k, parts), STRIP) * STRIP
    result = torch.empty(parts, *shape, device=a.device, dtype=torch.float32)
    with torch.cuda.device_of(a):
        _multiply[(tiles, parts)](
            a, b, result, m, n, k, length, across, *shape,
            a.stride(0), a.stride(side), a.stride(term),
            b.stride(0), b.stride(term), b.stride(side),
            ROWS, COLUMNS, STRIP, num_warps=WARPS, num_stages=STAGES,
        )  # fmt: skip
    return result


def _parts(tiles: int, k: int, device: torch.device) -> int:
    """Return into how many parts the terms go, of eight strips at least."""
    processors = 1
    if device.type == "cuda":
        processors = torch.cuda.get_device_properties(device).multi_processor_count
    return max(1, min(round(_SHARE * processors / tiles), k // (8 * STRIP)))


def _padded(length: int) -> int:
    return -(-length // SIDE) * SIDE


@triton.jit
def _cut(x, pieces, rows, columns, width, size, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    row, column = place // width, place % width
    inside = place < size
    there = inside & (row < rows) & (column < columns)
    value = tl.load(x + row * columns + column, mask=there, other=0.0)
    first = value.to(tl.bfloat16)
    rest = value - first.to(tl.float32)
    second = rest.to(tl.bfloat16)
    third = (rest - second.to(tl.float32)).to(tl.bfloat16)
    tl.store(pieces + place, first, mask=inside)
    tl.store(pieces + size + place, second, mask=inside)
    tl.store(pieces + size + (place + size), third, mask=inside)


@triton.jit
def _multiply(
    a, b, result, m, n, k, length, across, rows, columns,
    a_piece, a_row, a_term, b_piece, b_term, b_column,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, STRIP: tl.constexpr,
):  # fmt: skip
    tile, part = tl.program_id(0), tl.program_id(1)
    row = (tile // across) * ROWS + tl.arange(0, ROWS)
    column = (tile % across) * COLUMNS + tl.arange(0, COLUMNS)
    term = tl.arange(0, STRIP)
    first = part * length
    a_first = a + row[:, None] * a_row + (first + term)[None, :] * a_term
    b_first = b + (first + term)[:, None] * b_term + column[None, :] * b_column
    a_second, a_third = a_first + a_piece, a_first + 2 * a_piece
    b_second, b_third = b_first + b_piece, b_first + 2 * b_piece
    total = tl.full((ROWS, COLUMNS), 0.0, tl.float32)
    for begin in range(first, min(first + length, k), STRIP):
        there = begin + term < k
        of_a, of_b = (row < m)[:, None] & there[None, :], there[:, None] & (column < n)[None, :]
        a1 = tl.load(a_first, mask=of_a, other=0.0)
        b1 = tl.load(b_first, mask=of_b, other=0.0)
        a2 = tl.load(a_second, mask=of_a, other=0.0)
        b2 = tl.load(b_second, mask=of_b, other=0.0)
        a3 = tl.load(a_third, mask=of_a, other=0.0)
        b3 = tl.load(b_third, mask=of_b, other=0.0)
        strip = tl.dot(a1, b3)
        strip = tl.dot(a3, b1, strip)
        strip = tl.dot(a2, b2, strip)
        strip = tl.dot(a1, b2, strip)
        strip = tl.dot(a2, b1, strip)
        strip = tl.dot(a1, b1, strip)
        total += strip
        a_first += STRIP * a_term
        a_second += STRIP * a_term
        a_third += STRIP * a_term
        b_first += STRIP * b_term
        b_second += STRIP * b_term
        b_third += STRIP * b_term
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    place = part.to(tl.int64) * rows * columns + row[:, None] * columns + column[None, :]
    tl.store(result + place, total, mask=inside)
