"""Kernels in Triton that move the numbers of images about: each reads and writes memory once.

Images come as (N, channels, height, width) and lie in memory pixel by pixel (channels-last). A program
has a tile of pixels × channels. Each element of a result is written by one program, and nothing is added
up, so that the results are the same to the bit at every call, and those of PyTorch's own functions.

Only `eostui/curvature/image_kernels.py` imports this module, where there is a GPU for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Elements in a tile, and the most of them that are channels: those of further ones lie in other tiles.
#: A float32 of each of 32 channels is 128 bytes, what a GPU reads at once.
POOL_TILE, SPREAD_TILE, PICK_TILE, UNFOLD_TILE = 1024, 1024, 1024, 2048
CHANNELS = 128
#: Warps, of 32 threads each, that work at a tile.
POOL_WARPS, SPREAD_WARPS, PICK_WARPS, UNFOLD_WARPS = 4, 4, 4, 4

#: What changes from chunk to chunk: a kernel isn't compiled anew for it.
_VARIES = ["pixels"]


def pooled(x: Tensor, window: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the largest element of each window, and which it is: max-pooling by windows side by side.

    Args:
        x: images, shape (N, channels, height, width), float32 or float64.
        window: its height and width, of at most 256 elements. Rows and columns after the last whole
            window are in none.

    Returns:
        The elements, and their numbers within the windows, row by row, as uint8: the first of equal
        ones, the last NaN where there is one, as PyTorch has it. Shape (N, channels, height', width').
    """
    source = _by_pixels(x)
    samples, height, width, channels = source.shape
    shape = (samples, height // window[0], width // window[1], channels)
    output, codes = source.new_empty(shape), source.new_empty(shape, dtype=torch.uint8)
    _launch(
        _pool, output, shape, POOL_TILE, POOL_WARPS, source, output, codes,
        sizes=(height, width, *window),
    )  # fmt: skip
    return _as_images(output), _as_images(codes)


def spread(error: Tensor, codes: Tensor, window: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return each window's error at its largest element, and zero elsewhere.

    Args:
        error: shape (N, channels, height', width').
        codes: of the largest elements, as `pooled` returns them.
        window: its height and width.
        size: height and width of the image that was pooled.
    """
    source, chosen = _by_pixels(error), _by_pixels(codes)
    samples, rows, columns, channels = source.shape
    result = source.new_empty(samples, *size, channels)
    # those that are cut off by the edges too: zeros are written there
    windows = (samples, *(_parts(length, side) for length, side in zip(size, window, strict=True)))
    _launch(
        _spread, result, (*windows, channels), SPREAD_TILE, SPREAD_WARPS, source, chosen, result,
        sizes=(*size, *window, rows, columns),
    )  # fmt: skip
    return _as_images(result)


def picked(images: Tensor, codes: Tensor, window: tuple[int, int]) -> Tensor:
    """Return of each window the element that its code names.

    Args:
        images: shape (N, channels, height, width), of the size that was pooled.
        codes: as `pooled` returns them.
        window: its height and width.
    """
    source, chosen = _by_pixels(images), _by_pixels(codes)
    result = source.new_empty(chosen.shape)
    _launch(
        _pick, result, chosen.shape, PICK_TILE, PICK_WARPS, source, chosen, result,
        sizes=(source.shape[1], source.shape[2], *window),
    )  # fmt: skip
    return _as_images(result)


def unfolded(
    x: Tensor, kernel: tuple[int, int], padding: tuple[int, int], *, ones: int, columns: int
) -> Tensor:
    """Return what lies under a kernel, pixel by pixel.

    Args:
        x: images, shape (N, channels, height, width).
        kernel: its height and width.
        padding: zeros above and below, left and right; less than the kernel's sides.
        ones: columns of ones after the others.
        columns: how many there are in all: those after the ones are zeros.

    Returns:
        A tensor of shape (N, height', width', columns).
    """
    source = _by_pixels(x)
    samples, height, width, channels = source.shape
    rows = height + 2 * padding[0] - kernel[0] + 1
    places = width + 2 * padding[1] - kernel[1] + 1
    result = source.new_empty(samples, rows, places, columns)
    tail = columns - kernel[0] * kernel[1] * channels
    _launch(
        _unfold, result, (samples, rows, places, channels), UNFOLD_TILE, UNFOLD_WARPS, source, result,
        sizes=(height, width, *kernel, *padding, ones, tail, _power(max(tail, 1))),
    )  # fmt: skip
    return result


# The last arguments of a kernel are the number of all pixels (of the result, or windows) of which tiles
# are made, then, as constants that it is compiled for, their rows and columns in an image, the channels,
# and a tile's pixels and channels. Within a tile offsets fit into 32 bits; where its image begins needs
# 64.


@triton.jit
def _tile(
    pixels,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, PIXELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return a tile's first pixel, the image in which that lies, where the tile's pixels are from that
    image's first on, their channels, and which of the pixels there are."""
    first = tl.program_id(0).to(tl.int64) * PIXELS
    image = first // (ROWS * COLUMNS)
    place = (first - image * (ROWS * COLUMNS)).to(tl.int32) + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    return first, image, place, channel, tl.arange(0, PIXELS) < pixels - first


@triton.jit(do_not_specialize=_VARIES)
def _pool(
    source, output, codes,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr,
    pixels,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first, image, place, channel, known = _tile(pixels, ROWS, COLUMNS, PIXELS, BLOCK)
    inside = known[:, None] & (channel < CHANNELS)[None, :]

    row, column = place // COLUMNS, place % COLUMNS  # the rows of all images count on
    corner = ((row // ROWS * HEIGHT + row % ROWS * TALL) * WIDTH + column * WIDE) * CHANNELS
    corners = source + image * (HEIGHT * WIDTH * CHANNELS) + (corner[:, None] + channel[None, :])
    best = tl.load(corners, mask=inside)
    code = tl.full([PIXELS, BLOCK], 0, tl.int32)
    for number in tl.static_range(1, TALL * WIDE):
        ahead = (number // WIDE * WIDTH + number % WIDE) * CHANNELS
        value = tl.load(corners + ahead, mask=inside)
        larger = (value > best) | (value != value)  # NaN alone isn't itself
        best = tl.where(larger, value, best)
        code = tl.where(larger, number, code)

    here = first * CHANNELS + (tl.arange(0, PIXELS)[:, None] * CHANNELS + channel[None, :])
    tl.store(output + here, best, mask=inside)
    tl.store(codes + here, code.to(tl.uint8), mask=inside)


@triton.jit(do_not_specialize=_VARIES)
def _spread(
    source, codes, result,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr,
    WHOLE_ROWS: tl.constexpr, WHOLE_COLUMNS: tl.constexpr,
    pixels,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    _first, image, place, channel, known = _tile(pixels, ROWS, COLUMNS, PIXELS, BLOCK)
    inside = known[:, None] & (channel < CHANNELS)[None, :]

    beyond, row, column = place // (ROWS * COLUMNS), place // COLUMNS % ROWS, place % COLUMNS
    whole = inside & ((row < WHOLE_ROWS) & (column < WHOLE_COLUMNS))[:, None]
    window = (beyond * WHOLE_ROWS + row) * WHOLE_COLUMNS + column
    here = image * (WHOLE_ROWS * WHOLE_COLUMNS * CHANNELS)
    here += window[:, None] * CHANNELS + channel[None, :]
    error = tl.load(source + here, mask=whole, other=0.0)
    code = tl.load(codes + here, mask=whole, other=0).to(tl.int32)

    corner = ((beyond * HEIGHT + row * TALL) * WIDTH + column * WIDE) * CHANNELS
    corners = result + image * (HEIGHT * WIDTH * CHANNELS) + (corner[:, None] + channel[None, :])
    for down in tl.static_range(TALL):
        for right in tl.static_range(WIDE):
            value = tl.where(code == down * WIDE + right, error, 0.0)
            there = (row * TALL + down < HEIGHT) & (column * WIDE + right < WIDTH)
            ahead = (down * WIDTH + right) * CHANNELS
            tl.store(corners + ahead, value, mask=inside & there[:, None])


@triton.jit(do_not_specialize=_VARIES)
def _pick(
    source, codes, result,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr,
    pixels,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first, image, place, channel, known = _tile(pixels, ROWS, COLUMNS, PIXELS, BLOCK)
    inside = known[:, None] & (channel < CHANNELS)[None, :]

    here = first * CHANNELS + (tl.arange(0, PIXELS)[:, None] * CHANNELS + channel[None, :])
    code = tl.load(codes + here, mask=inside, other=0).to(tl.int32)
    row, column = place // COLUMNS, place % COLUMNS  # the rows of all images count on
    corner = ((row // ROWS * HEIGHT + row % ROWS * TALL) * WIDTH + column * WIDE) * CHANNELS
    corners = source + image * (HEIGHT * WIDTH * CHANNELS) + (corner[:, None] + channel[None, :])
    # rows of channels are read whole: what is between them would be read with them
    found = tl.load(corners, mask=inside)
    for number in tl.static_range(1, TALL * WIDE):
        ahead = (number // WIDE * WIDTH + number % WIDE) * CHANNELS
        found = tl.where(code == number, tl.load(corners + ahead, mask=inside), found)
    tl.store(result + here, found, mask=inside)


@triton.jit(do_not_specialize=_VARIES)
def _unfold(
    source, result,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr,
    TOP: tl.constexpr, LEFT: tl.constexpr,
    ONES: tl.constexpr, TAIL: tl.constexpr, TAIL_BLOCK: tl.constexpr,
    pixels,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first, image, place, channel, known = _tile(pixels, ROWS, COLUMNS, PIXELS, BLOCK)
    inside = known[:, None] & (channel < CHANNELS)[None, :]

    beyond, row, column = place // (ROWS * COLUMNS), place // COLUMNS % ROWS, place % COLUMNS
    top, left = row - TOP, column - LEFT
    corner = ((beyond * HEIGHT + top) * WIDTH + left) * CHANNELS
    corners = source + image * (HEIGHT * WIDTH * CHANNELS) + (corner[:, None] + channel[None, :])
    SIZE: tl.constexpr = TALL * WIDE * CHANNELS
    rows = result + first * (SIZE + TAIL)
    starts = tl.arange(0, PIXELS)[:, None] * (SIZE + TAIL)
    for down in tl.static_range(TALL):
        for right in tl.static_range(WIDE):
            there = (top + down >= 0) & (top + down < HEIGHT)
            there = there & (left + right >= 0) & (left + right < WIDTH)
            ahead = (down * WIDTH + right) * CHANNELS
            value = tl.load(corners + ahead, mask=inside & there[:, None], other=0.0)
            into = starts + (down * WIDE + right) * CHANNELS + channel[None, :]
            tl.store(rows + into, value, mask=inside)
    if TAIL > 0:
        after = tl.arange(0, TAIL_BLOCK)[None, :]
        value = tl.where(after < ONES, 1.0, 0.0)
        last = known[:, None] & (after < TAIL) & (tl.program_id(1) == 0)
        tl.store(rows + (starts + SIZE + after), value, mask=last)


def _launch(
    kernel: Any,
    like: Tensor,
    shape: Sequence[int],
    tile: int,
    warps: int,
    *tensors: Tensor,
    sizes: Sequence[int],
) -> None:
    """Have a kernel work at all tiles.

    Args:
        kernel: to launch on the current stream.
        like: a tensor on the device.
        shape: of what is cut into tiles, (N, rows, columns, channels).
        tile: about how many elements a tile has.
        warps: that work at one.
        tensors: the kernel's own arguments.
        sizes: the constants after them.
    """
    samples, rows, columns, channels = shape
    pixels = samples * rows * columns
    if not pixels * channels:
        return
    block = min(_power(channels), CHANNELS)
    height = max(tile // block, 1)
    grid = (_parts(pixels, height), _parts(channels, block))
    with torch.cuda.device_of(like):
        kernel[grid](
            *tensors, *sizes, pixels, rows, columns, channels, height, block, num_warps=warps
        )


def _parts(length: int, part: int) -> int:
    """Return how many parts cover a length."""
    return -(-length // part)


def _power(number: int) -> int:
    """Return the next power of two."""
    return 1 << (number - 1).bit_length()


def _by_pixels(images: Tensor) -> Tensor:
    """Return images as (N, height, width, channels), in that order in memory."""
    return images.permute(0, 2, 3, 1).contiguous()


def _as_images(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2)
