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
    So the loss is a function of the full batch as a whole: it can be neither summed in chunks nor tested
    on other samples. `GhostBatchNorm` can.

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
        return _affine(_normalize(inputs, dims, self.eps), *self._parameters_of(inputs))

    def _parameters_of(self, inputs: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return scale and shift, shaped to act on channels of `inputs`."""
        shape = (-1, *[1] * (inputs.ndim - 2))
        weight, bias = (None if p is None else p.view(shape) for p in (self.weight, self.bias))
        return weight, bias


class GhostBatchNorm(ElementaryBatchNorm):
    """Batch normalisation over groups of samples in their order, with running statistics.

    In train mode it is to each group what `nn.BatchNorm1d`, `2d` and `3d` are to a batch; the last group
    has what is left. Parameters and buffers are theirs, but a forward pass changes no buffer, so that the
    outputs are a function of θ: `running_statistics` measures what eval mode normalises by.
    Groups in data order: Hoffer, Hubara and Soudry 2017, as INST uses them.

    Args:
        num_features: channels, the second dimension of the inputs.
        group_size: samples in a group; 0 for all of a batch in one.
        eps: added to the variance.
        affine: whether to scale and shift by learned `weight` and `bias`.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, num_features: int, group_size: int = 0, eps: float = 1e-5, affine: bool = True
    ) -> None:
        super().__init__(num_features, eps, affine)
        self.group_size = group_size
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise each channel of `inputs`, shape (N, num_features, …), over its group and all else."""
        weight, bias = self._parameters_of(inputs)
        if not self.training:
            shape = (-1, *[1] * (inputs.ndim - 2))
            mean, variance = self.running_mean.view(shape), self.running_var.view(shape)
            return _affine((inputs - mean) * (variance + self.eps).rsqrt(), weight, bias)
        pieces = [
            _normalize(groups, _of_a_group(groups), self.eps).flatten(0, 1)
            for groups in self._groups(inputs)
        ]
        return _affine(pieces[0] if len(pieces) == 1 else torch.cat(pieces), weight, bias)

    def group_statistics(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return each group's means and unbiased variances, both of shape (groups, num_features)."""
        moments = [
            (groups.mean(dims), groups.var(dims))
            for groups in self._groups(inputs)
            for dims in [_of_a_group(groups)]
        ]
        means, variances = zip(*moments, strict=True)
        return torch.cat(means), torch.cat(variances)

    def _groups(self, inputs: Tensor) -> list[Tensor]:
        """Return views of shape (groups, samples, num_features, …): of whole groups, and what is left."""
        samples = len(inputs)
        size = min(self.group_size or samples, samples)
        whole = samples - samples % size
        found = [inputs[:whole].reshape(-1, size, *inputs.shape[1:])]
        return found if whole == samples else [*found, inputs[None, whole:]]


def _of_a_group(groups: Tensor) -> tuple[int, ...]:
    """Return the dimensions of (groups, samples, channels, …) that statistics are taken over."""
    return (1, *range(3, groups.ndim))


def _normalize(inputs: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    centred = inputs - inputs.mean(dims, keepdim=True)
    return centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt()


def _affine(normalized: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scaled = normalized if weight is None else normalized * weight
    return scaled if bias is None else scaled + bias
