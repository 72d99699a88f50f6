"""Convolutions: by the device's own kernels in either layout, or as matrix products of unfolded images.

All give the same up to rounding. Per step of `cifar5k-cnn` with 5000 images (two 3×3 convolutions, 3 → 32
at 32×32 and 32 → 32 at 16×16) the arithmetic is 89 GFLOP, 1.7 ms at the 51.6 TFLOP/s that float32 matrix
products reach on an H100, where cuDNN's deterministic kernels take 17.3 ms. Unfolded, in ms, measured:

    first layer, 5.1e6 rows of 28:    forward 0.64, its weights 0.47
    second layer, 1.3e6 rows of 292:  forward 0.78, its weights 0.73, its input 0.78;
                                      unfolding its input 1.28 and its errors 0.70
    pooling:                          forward 0.35 + 0.11, backward 0.36 + 0.12
    the rest                          about 1
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from eostui.curvature.image_kernels import kernels_for
from eostui.curvature.layers import Bilinear, Coefficient, laid_out, summed_outer

#: What matrix kernels read at once: rows of so many elements, or of a multiple, are aligned.
_ALIGNED = 4

#: The widest elements that a device copies at once.
_WIDEST = torch.complex128


class Convolution(Bilinear):
    """nn.Conv2d with zero padding, on inputs of shape (N, channels, height, width)."""

    def __init__(self, module: nn.Conv2d, layout: torch.memory_format) -> None:
        assert not isinstance(module.padding, str)
        self.settings = (module.stride, module.padding, module.dilation)
        self.groups, self.layout = module.groups, layout

    def apply(self, x: Tensor, weight: Tensor, bias: Coefficient, onto: Coefficient) -> Tensor:
        result = functional.conv2d(x, weight, bias, *self.settings, self.groups)
        return laid_out(result, self.layout) if onto is None else onto.add_(result)

    def transpose(self, delta: Tensor, weight: Tensor, x: Tensor, onto: Coefficient) -> Tensor:
        result = self._backward(delta, x, weight, (True, False, False))[0]
        return laid_out(result, self.layout) if onto is None else onto.add_(result)

    def outer(
        self, delta: Tensor, x: Tensor, weight: Tensor, bias: Coefficient, *, add: bool
    ) -> None:
        result = self._backward(delta, x, weight, (False, True, False))[1]
        weight.add_(result) if add else weight.copy_(result)
        if bias is not None:
            torch.sum(delta, (0, 2, 3), out=bias)

    def _backward(
        self, delta: Tensor, x: Tensor, weight: Tensor, mask: tuple[bool, bool, bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
            delta, x, weight, None, *self.settings, False, (0, 0), self.groups, mask
        )
        return gradients


class UnfoldedConvolution(Bilinear):
    """nn.Conv2d of stride 1 as products of matrices with a row for each pixel of the output.

    A row has the pixels under the kernel and a one for the bias, so that the bias is a row of the
    weights' matrix. All tensors are channels-last, which makes a matrix of an image without a copy.
    Nothing adds in an order of its own: copies and matrix products alone.
    """

    def __init__(self, module: nn.Conv2d, constant: Tensor | None) -> None:
        """Take the settings of a convolution that `can_unfold`.

        Args:
            module: the convolution.
            constant: an input that comes at every θ, unfolded once for all of them.
        """
        assert not isinstance(module.padding, str)
        self.kernel = (module.kernel_size[0], module.kernel_size[1])
        self.padding = (module.padding[0], module.padding[1])
        self._kept = None if constant is None else (constant, self._with_ones(constant))

    def prepared(self, x: Tensor) -> Tensor:
        """Return the rows, shape (N, height, width, columns) with the output's height and width."""
        if self._kept is not None and x is self._kept[0]:
            return self._kept[1]
        return self._with_ones(x)

    def _with_ones(self, x: Tensor) -> Tensor:
        return unfolded(x, self.kernel, self.padding, ones=1)

    def apply(self, x: Tensor, weight: Tensor, bias: Coefficient, onto: Coefficient) -> Tensor:
        matrix = weight.new_zeros(x.shape[-1], len(weight))
        size = weight[0].numel()
        matrix[:size].view(*self.kernel, -1, len(weight)).copy_(weight.permute(2, 3, 1, 0))
        if bias is not None:
            matrix[size] = bias
        return _images(x, matrix, onto)

    def transpose(self, delta: Tensor, weight: Tensor, x: Tensor, onto: Coefficient) -> Tensor:
        # the convolution of the errors with the kernel turned by half
        (height, width), (top, left) = self.kernel, self.padding
        rows = unfolded(delta, self.kernel, (height - 1 - top, width - 1 - left), ones=0)
        size = weight.numel() // weight.shape[1]
        matrix = weight.new_zeros(rows.shape[-1], weight.shape[1])
        turned = weight.flip(2, 3).permute(2, 3, 0, 1)
        matrix[:size].view(*self.kernel, len(weight), -1).copy_(turned)
        return _images(rows, matrix, onto)

    def outer(
        self, delta: Tensor, x: Tensor, weight: Tensor, bias: Coefficient, *, add: bool
    ) -> None:
        product = summed_outer(_matrix(delta), x.flatten(0, 2))
        size = weight[0].numel()
        result = product[:, :size].view(len(weight), *self.kernel, -1).permute(0, 3, 1, 2)
        weight.add_(result) if add else weight.copy_(result)
        if bias is not None:
            bias.copy_(product[:, size])


def can_unfold(module: nn.Conv2d) -> bool:
    """Whether a convolution can be an `UnfoldedConvolution`."""
    return (
        module.stride == (1, 1)
        and module.dilation == (1, 1)
        and module.groups == 1
        and not isinstance(module.padding, str)
        and all(side < size for side, size in zip(module.padding, module.kernel_size, strict=True))
    )


def unfolded(x: Tensor, kernel: tuple[int, int], padding: tuple[int, int], *, ones: int) -> Tensor:
    """Return what lies under a kernel, pixel by pixel.

    Args:
        x: images, shape (N, channels, height, width).
        kernel: its height and width.
        padding: zeros above and below, left and right.
        ones: columns of ones after the others.

    Returns:
        A tensor of shape (N, height', width', columns): kernel height × kernel width × channels, the
        ones, and zeros up to whole groups of four.
    """
    samples, channels, height, width = x.shape
    (tall, wide), (top, left) = kernel, padding
    size = tall * wide * channels
    columns = _aligned(size + ones)
    kernels = kernels_for(x, kernel)
    if kernels is not None:
        return kernels.unfolded(x, kernel, padding, ones=ones, columns=columns)
    padded = x.new_zeros(samples, height + 2 * top, width + 2 * left, channels)
    padded[:, top : top + height, left : left + width].copy_(x.permute(0, 2, 3, 1))
    shape = (samples, height + 2 * top - tall + 1, width + 2 * left - wide + 1)
    sample, row, pixel, _ = padded.stride()
    # the pixels of a kernel's row lie side by side
    windows = padded.as_strided((*shape, tall, wide * channels), (sample, row, pixel, row, 1))
    result = x.new_empty(*shape, columns)
    into = result[..., :size].view(*shape, tall, -1)
    if channels * x.element_size() % _WIDEST.itemsize == 0:  # bits are copied, whatever they mean
        into, windows = into.view(_WIDEST), windows.view(_WIDEST)
    into.copy_(windows)
    result[..., size : size + ones].fill_(1.0)
    result[..., size + ones :].zero_()
    return result


def _aligned(columns: int) -> int:
    """Return the next multiple of four."""
    return -(-columns // _ALIGNED) * _ALIGNED


def _matrix(images: Tensor) -> Tensor:
    """Return the pixels as rows: shape (N·height·width, channels)."""
    return images.permute(0, 2, 3, 1).flatten(0, 2)


def _images(rows: Tensor, matrix: Tensor, onto: Coefficient) -> Tensor:
    """Return the product as images, or add it to `onto`."""
    if onto is not None:
        _matrix(onto).addmm_(rows.flatten(0, 2), matrix)
        return onto
    return (rows.flatten(0, 2) @ matrix).view(*rows.shape[:3], -1).permute(0, 3, 1, 2)
