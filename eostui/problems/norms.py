"""Normalisation layers from elementary operations, whose derivatives are right to every order.

PyTorch's fused layer_norm and batch_norm (in train mode) keep mean and deviation from the forward pass
as constants, so differentiating through their double backward gives wrong third derivatives (pytorch
issues 175754, 186256); newer versions raise an error for batch_norm. Here every operation is
differentiable by itself. `nn.GroupNorm` and `nn.RMSNorm` are right as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ElementaryLayerNorm(nn.Module):
    """The same function and parameters as `nn.LayerNorm`.

    Args:
        normalized_shape: the last dimensions, over which mean and variance are taken.
        eps: added to the variance.
        elementwise_affine: whether to scale and shift by learned `weight` and `bias`.
        bias: whether there is a `bias`.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
        self.normalized_shape = tuple(shape)
        self.eps = eps
        self.weight = (
            nn.Parameter(torch.ones(self.normalized_shape)) if elementwise_affine else None
        )
        has_bias = elementwise_affine and bias
        self.bias = nn.Parameter(torch.zeros(self.normalized_shape)) if has_bias else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise `inputs`, shape (…, *normalized_shape)."""
        dims = tuple(range(-len(self.normalized_shape), 0))
        return _affine(_normalize(inputs, dims, self.eps), self.weight, self.bias)


class ElementaryBatchNorm(nn.Module):
    """The same function and parameters as `nn.BatchNorm1d`, `2d` and `3d` in train mode.

    Mean and variance are always those of the batch it is given; there are no running statistics.
    So the loss is a function of the full batch as a whole: it can't be summed in chunks.

    Args:
        num_features: channels, the second dimension of the inputs.
        eps: added to the variance.
        affine: whether to scale and shift by learned `weight` and `bias`.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise each channel of `inputs`, shape (N, num_features, …), over all else."""
        dims = (0, *range(2, inputs.ndim))
        shape = (-1, *[1] * (inputs.ndim - 2))
        weight, bias = (None if p is None else p.view(shape) for p in (self.weight, self.bias))
        return _affine(_normalize(inputs, dims, self.eps), weight, bias)


def _normalize(inputs: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    centred = inputs - inputs.mean(dims, keepdim=True)
    return centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt()


def _affine(normalized: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scaled = normalized if weight is None else normalized * weight
    return scaled if bias is None else scaled + bias
