"""VGG networks: convolutions in stages, each of which ends in pooling, and dense layers.

Structures are those by which the papers' numbers of parameters are met: INST's, and that of WHY's code.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from eostui.errors import InputError
from eostui.network_stages import Stages

Images = tuple[int, int, int]
#: channels ↦ a layer that normalises them.
Norm = Callable[[int], nn.Module]


def normalised_vgg(
    images: Images, stages: Stages, outputs: int, norm: Norm, activation: type[nn.Module]
) -> nn.Module:
    """INST's: 3×3 convolutions with biases, each normalised; one normalised dense layer, and a head."""
    width = stages[-1][0]
    layers, features = _convolutions(images, stages, activation, norm)
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(features, width), norm(width), activation(),
        nn.Linear(width, outputs),
    )  # fmt: skip


def plain_vgg(
    images: Images, stages: Stages, outputs: int, _: Norm, activation: type[nn.Module]
) -> nn.Module:
    """WHY's: 3×3 convolutions that nothing normalises, two dense layers, and a head.

    Convolutions begin with weights of N(0, 2/(9 · output channels)) and biases of 0. Without the dropout
    that such networks usually have: full-batch descent needs one function.
    """
    width = stages[-1][0]
    layers, features = _convolutions(images, stages, activation)
    for layer in layers:
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.normal_(layer.weight, std=(2 / (9 * layer.out_channels)) ** 0.5)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(features, width), activation(), nn.Linear(width, width),
        activation(), nn.Linear(width, outputs),
    )  # fmt: skip


def _convolutions(
    images: Images, stages: Stages, activation: type[nn.Module], norm: Norm | None = None
) -> tuple[list[nn.Module], int]:
    """Return the layers of all stages, and how many features a sample has after them."""
    before, height, width = images
    layers: list[nn.Module] = []
    for channels, count in stages:
        for _ in range(count):
            layers.append(nn.Conv2d(before, channels, 3, padding=1))
            layers += [] if norm is None else [norm(channels)]
            layers.append(activation())
            before = channels
        layers.append(nn.MaxPool2d(2))
        height, width = height // 2, width // 2
    if not height or not width:
        raise InputError(
            f"the network has {len(stages)} stages, each of which halves the image, but the images are "
            f"{images[1]}×{images[2]}: set `stages` to fewer"
        )
    return layers, before * height * width
