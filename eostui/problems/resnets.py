"""Residual networks: blocks in stages, each of which but the first begins with half the image.

Structures are those by which the papers' numbers of parameters are met: INST's ResNet20 (He et al.
2016a), the pre-activation networks of WHY's code (He et al. 2016b), and its scale-invariant one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from eostui.errors import InputError
from eostui.network_stages import Stages
from eostui.problems.vgg import Images, Norm


class _Place(NamedTuple):
    """Where a block is: what it takes and makes, and by how much it thins the image out."""

    before: int
    channels: int
    stride: int


def resnet(
    images: Images, stages: Stages, outputs: int, norm: Norm, activation: type[nn.Module]
) -> nn.Module:
    """He et al.'s for CIFAR: no biases but the head's, shortcuts without parameters (their option A)."""
    places = _places(images, stages, stages[0][0])
    return nn.Sequential(
        _convolution(images[0], stages[0][0]), norm(stages[0][0]), activation(),
        *(_Block(place, norm, activation) for place in places),
        _MeanOfImage(), nn.Linear(stages[-1][0], outputs),
    )  # fmt: skip


def preact_resnet(
    images: Images, stages: Stages, outputs: int, norm: Norm, activation: type[nn.Module]
) -> nn.Module:
    """WHY's: the inputs are normalised too; a 1×1 convolution of what is activated is the shortcut
    wherever channels or size change."""
    return _preact(images, stages, outputs, norm, activation)


def scale_invariant_resnet(
    images: Images, stages: Stages, outputs: int, norm: Norm, activation: type[nn.Module]
) -> nn.Module:
    """WHY's on the sphere: as `preact_resnet`, but convolutions have biases, a shortcut's input is
    normalised, and the head stays as it begins: it isn't trained.

    With a `norm` without scale and shift the outputs don't change if all that is trained is multiplied
    by one factor, but for what is added to variances.
    """
    network = _preact(images, stages, outputs, norm, activation, scale_invariant=True)
    network[-1].requires_grad_(False)
    return network


def _preact(
    images: Images,
    stages: Stages,
    outputs: int,
    norm: Norm,
    activation: type[nn.Module],
    *,
    scale_invariant: bool = False,
) -> nn.Sequential:
    first, last = stages[0][0], stages[-1][0]
    return nn.Sequential(
        norm(images[0]), _convolution(images[0], first, bias=scale_invariant),
        *(
            _PreactBlock(place, norm, activation, scale_invariant=scale_invariant)
            for place in _places(images, stages, first)
        ),
        norm(last), activation(), _MeanOfImage(), nn.Linear(last, outputs),
    )  # fmt: skip


class _Block(nn.Module):
    """Two normalised convolutions; what came in is added before the last activation."""

    def __init__(self, place: _Place, norm: Norm, activation: type[nn.Module]) -> None:
        super().__init__()
        before, channels, stride = self.place = place
        self.residual = nn.Sequential(
            _convolution(before, channels, stride=stride), norm(channels), activation(),
            _convolution(channels, channels), norm(channels),
        )  # fmt: skip
        self.activation = activation()

    def forward(self, inputs: Tensor) -> Tensor:
        before, channels, stride = self.place
        shortcut = inputs[:, :, ::stride, ::stride]
        if before != channels:  # zeros on both sides of the channels
            more = channels - before
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, more // 2, more - more // 2))
        result: Tensor = self.activation(self.residual(inputs) + shortcut)
        return result


class _PreactBlock(nn.Module):
    """Two convolutions, before each of them normalisation and activation."""

    def __init__(
        self, place: _Place, norm: Norm, activation: type[nn.Module], *, scale_invariant: bool
    ) -> None:
        super().__init__()
        before, channels, stride = place
        self.first = nn.Sequential(norm(before), activation())
        self.residual = nn.Sequential(
            _convolution(before, channels, stride=stride, bias=scale_invariant),
            norm(channels), activation(),
            _convolution(channels, channels, bias=scale_invariant),
        )  # fmt: skip
        self.shortcut: nn.Module | None = None
        if before != channels or stride != 1:
            normalised = [norm(before)] if scale_invariant else []
            self.shortcut = nn.Sequential(
                *normalised, nn.Conv2d(before, channels, 1, stride, bias=scale_invariant)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        activated = self.first(inputs)
        shortcut = inputs if self.shortcut is None else self.shortcut(activated)
        result: Tensor = self.residual(activated) + shortcut
        return result


class _MeanOfImage(nn.Module):
    """Each channel's mean: 4×4 average pooling where the last stage has 4×4 images."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.mean(inputs, (2, 3))


def _convolution(before: int, channels: int, *, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(before, channels, 3, stride, padding=1, bias=bias)


def _places(images: Images, stages: Stages, before: int) -> list[_Place]:
    halvings = len(stages) - 1
    if min(images[1:]) < 2**halvings:
        raise InputError(
            f"the network has {len(stages)} stages, each but the first of which halves the image, but "
            f"the images are {images[1]}×{images[2]}: set `stages` to fewer"
        )
    places = []
    for number, (channels, blocks) in enumerate(stages):
        for block in range(blocks):
            places.append(_Place(before, channels, 2 if number and not block else 1))
            before = channels
    return places
