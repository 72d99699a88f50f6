"""Max-pooling as a layer that Taylor coefficients can be pushed through."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from eostui.curvature.image_kernels import ImageKernels, kernels_for
from eostui.curvature.layers import Selection, laid_out


class Pool:
    """nn.MaxPool2d: linear, once it is known which elements are the largest."""

    def __init__(self, module: nn.MaxPool2d, *, by_windows: bool = False) -> None:
        """Take the settings of a pooling.

        Args:
            module: the pooling.
            by_windows: whether errors are spread by comparisons alone where no windows overlap: no
                kernel then adds in an order of its own, and it is faster on a GPU.
        """
        sizes = (module.kernel_size, module.stride, module.padding, module.dilation)
        self.settings = (*(_pair(size) for size in sizes), module.ceil_mode)
        tiles = self.settings == (*[_pair(module.kernel_size)] * 2, (0, 0), (1, 1), False)
        self.window = _pair(module.kernel_size) if by_windows and tiles else None

    def at(self, x: Tensor, theta: Tensor) -> PoolNode | CodedPoolNode:
        """Return the node at input x."""
        kernels = None if self.window is None else kernels_for(x, self.window)
        if self.window is None or kernels is None:
            return PoolNode(self, x)
        return CodedPoolNode(kernels, self.window, x)


def _pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


class PoolNode(Selection):
    """y = x at the largest element of each window, the first of them."""

    def __init__(self, pool: Pool, x: Tensor) -> None:
        self.pool, self.x = pool, x
        self.output, self.indices = _largest(x, pool)

    def push(self, dx: Tensor) -> Tensor:
        if not _is_channels_last(self.indices):
            return dx.flatten(2).gather(2, self.indices.flatten(2)).view_as(self.output)
        taken = _pixels(dx).gather(1, _pixels(self.indices))
        samples, channels, height, width = self.output.shape
        return taken.view(samples, height, width, channels).permute(0, 3, 1, 2)

    def transpose(self, error: Tensor) -> Tensor:
        if self.pool.window is not None:
            return _spread(error, self.indices, self.pool.window, self.x.shape[2:])
        spread: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            error, self.x, *self.pool.settings, self.indices
        )
        return spread


class CodedPoolNode(Selection):
    """The same of windows side by side, by kernels of ours: which element it is takes a byte."""

    def __init__(self, kernels: ImageKernels, window: tuple[int, int], x: Tensor) -> None:
        self.kernels, self.window = kernels, window
        self.size = (x.shape[2], x.shape[3])
        self.output, self.codes = kernels.pooled(x, window)

    def push(self, dx: Tensor) -> Tensor:
        return self.kernels.picked(dx, self.codes, self.window)

    def transpose(self, error: Tensor) -> Tensor:
        return self.kernels.spread(error, self.codes, self.window, self.size)


def _largest(x: Tensor, pool: Pool) -> tuple[Tensor, Tensor]:
    """Return the largest element of each window, and where it is."""
    kernel = torch.ops.aten.max_pool2d_with_indices
    if x.device.type == "cpu" and x.is_contiguous():
        # the same elements, by the CPU's faster kernel, with its way to that layout and back
        output, indices = kernel(laid_out(x, torch.channels_last), *pool.settings)
        return output.contiguous(), indices.contiguous()
    output, indices = kernel(x, *pool.settings)
    return output, indices


def _is_channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def _pixels(images: Tensor) -> Tensor:
    """Return images (N, C, height, width) as (N, height·width, C)."""
    return images.permute(0, 2, 3, 1).flatten(1, 2)


def _spread(error: Tensor, indices: Tensor, window: tuple[int, ...], size: torch.Size) -> Tensor:
    """Return each window's error at its largest element, zero elsewhere: channels-last images.

    Args:
        error: shape (N, C, height, width).
        indices: of the largest elements in the input, row by row; of the same shape.
        window: its height and width.
        size: height and width of the input, whose last rows and columns may be in no window.
    """
    (tall, wide), (height, width) = window, size
    rows, columns = error.shape[2:]
    numbers = torch.arange(height * width, device=error.device).view(height, width)
    numbers = numbers[: rows * tall, : columns * wide].reshape(1, rows, tall, columns, wide, 1)

    def by_window(images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1)[:, :, None, :, None]

    spread = torch.where(by_window(indices) == numbers, by_window(error), 0.0)
    found = spread.flatten(3, 4).flatten(1, 2)
    beside = (0, 0, 0, width - columns * wide, 0, height - rows * tall)
    if any(beside):
        found = functional.pad(found, beside)
    return laid_out(found.permute(0, 3, 1, 2), torch.channels_last)
