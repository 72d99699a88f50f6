"""Whether images are pooled and unfolded by kernels in Triton: where it compiles, on a CUDA GPU.

Their results are those of PyTorch's functions to the bit, so that a record of one way replays on the
other.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from eostui.curvature.triton_trial import Refused, outcome, require_headers

#: Elements of a window or a kernel up to which one is unrolled in Triton: it takes long to compile more.
MOST = 64


class ImageKernels(Protocol):
    """What `eostui/curvature/triton_kernels.py` has, and says more of."""

    def pooled(self, x: Tensor, window: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the largest element of each window, and its code."""

    def spread(
        self, error: Tensor, codes: Tensor, window: tuple[int, int], size: tuple[int, int]
    ) -> Tensor:
        """Return each window's error at the element that its code names, zero elsewhere."""

    def picked(self, images: Tensor, codes: Tensor, window: tuple[int, int]) -> Tensor:
        """Return of each window the element that its code names."""

    def unfolded(
        self,
        x: Tensor,
        kernel: tuple[int, int],
        padding: tuple[int, int],
        *,
        ones: int,
        columns: int,
    ) -> Tensor:
        """Return what lies under a kernel, pixel by pixel, then ones, then zeros."""


def kernels_for(x: Tensor, window: tuple[int, int]) -> ImageKernels | None:
    """Return the kernels for such an image and window; None where PyTorch's functions are taken."""
    if x.device.type != "cuda" or window[0] * window[1] > MOST:
        return None
    found = _found(x.device, x.dtype)
    return None if isinstance(found, str) else found


def refusal(device: torch.device, dtype: torch.dtype) -> str | None:
    """Return why a device hasn't the kernels, as a sentence's end; None where it has them."""
    found = _found(device, dtype)
    return found if isinstance(found, str) else None


@cache
def _found(device: torch.device, dtype: torch.dtype) -> ImageKernels | str:
    if dtype not in (torch.float32, torch.float64):
        return "they are for float32 and float64"
    return outcome(device, lambda: tried(device, dtype))


def tried(device: torch.device, dtype: torch.dtype) -> ImageKernels:
    """Return the kernels, once they gave what PyTorch's functions give.

    Raises:
        Refused: if they didn't, or there is nothing to compile them with.
        Exception: whatever else kept them from it.
    """
    require_headers(device)
    from eostui.curvature import triton_kernels

    compare(triton_kernels, device, dtype)
    return triton_kernels


@torch.no_grad()
def compare(kernels: ImageKernels, device: torch.device, dtype: torch.dtype) -> None:
    """Have all kernels work on a tiny image.

    Raises:
        Refused: if one gives anything else than PyTorch's functions.
    """
    samples, channels, height, width, window = 2, 4, 5, 4, (2, 2)
    count = samples * channels * height * width
    x = torch.arange(count, dtype=dtype, device=device) * 7 % 5  # few values: windows tie
    x = x.view(samples, channels, height, width).contiguous(memory_format=torch.channels_last)
    wanted, places = functional.max_pool2d(x, window, return_indices=True)
    output, codes = kernels.pooled(x, window)
    error = 1 + torch.arange(wanted.numel(), dtype=dtype, device=device).view_as(wanted)
    back = torch.zeros_like(x).flatten(2).scatter_(2, places.flatten(2), error.flatten(2))
    spread = kernels.spread(error, codes, window, (height, width))
    rows = functional.unfold(x, 3, padding=1).view(samples, channels, 9, height, width)
    rows = rows.permute(0, 3, 4, 2, 1).flatten(3)
    unfolded = kernels.unfolded(x, (3, 3), (1, 1), ones=1, columns=40)
    same = (
        torch.equal(output, wanted)
        and torch.equal(kernels.picked(x, codes, window), wanted)
        and torch.equal(spread, back.view_as(x))
        and torch.equal(unfolded, functional.pad(functional.pad(rows, (0, 1), value=1.0), (0, 3)))
    )
    if not same:
        raise Refused("they give other numbers than PyTorch's functions")
