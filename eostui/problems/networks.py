"""The networks, with PyTorch's default initialisation where they don't say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod

from torch import nn

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.network_stages import STAGES, Stages
from eostui.problems.norms import GhostBatchNorm
from eostui.problems.resnets import preact_resnet, resnet, scale_invariant_resnet
from eostui.problems.vgg import Images, Norm, normalised_vgg, plain_vgg

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
}

Make = Callable[[Images, Stages, int, Norm, type[nn.Module]], nn.Module]

_OF_PAPERS: dict[str, Make] = {
    "vgg10": normalised_vgg,
    "vgg16": plain_vgg,
    "vgg19": normalised_vgg,
    "resnet20": resnet,
    "preact-resnet18": preact_resnet,
    "preact-resnet34": preact_resnet,
    "scale-invariant-resnet18": scale_invariant_resnet,
}


def build_network(config: RunConfig, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build the configured network for inputs of `input_shape` (without the sample axis).

    The caller seeds torch; weights are drawn in the order of the layers, in float32.

    Raises:
        InputError: if a CNN is asked for inputs that aren't images, or too small for its pooling.
    """
    if config.network == "mlp":
        return _mlp(config, prod(input_shape), outputs)
    if len(input_shape) != 3:
        raise InputError(
            f'`network` is "{config.network}", but the data has samples of shape {input_shape}: '
            "it needs images (channels, height, width)"
        )
    if config.network == "cnn":
        return _cnn(config, input_shape, outputs)
    return _of_a_paper(config, input_shape, outputs)


def _of_a_paper(config: RunConfig, images: Images, outputs: int) -> nn.Module:
    """A network by its name in a paper, of `stages` of one's own where those are given."""
    make = _OF_PAPERS[config.network]

    def norm(channels: int) -> nn.Module:
        affine = make is not scale_invariant_resnet
        return GhostBatchNorm(channels, config.batch_norm_group, affine=affine)

    stages = config.stages or STAGES[config.network]
    return make(images, stages, outputs, norm, ACTIVATIONS[config.activation])


def _mlp(config: RunConfig, inputs: int, outputs: int) -> nn.Module:
    """Linear layers of equal width with activations between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    sizes = [inputs, *[config.width] * config.depth]
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after, bias=config.bias), ACTIVATIONS[config.activation]()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs, bias=config.bias))


def _cnn(config: RunConfig, input_shape: Images, outputs: int) -> nn.Module:
    """Convolutions that keep the size, each with activation and 2×2 max-pooling; a linear head."""
    channels, height, width = input_shape
    layers: list[nn.Module] = []
    for before, after in pairwise((channels, *config.channels)):
        layers += [
            nn.Conv2d(before, after, config.kernel, padding=config.kernel // 2, bias=config.bias),
            ACTIVATIONS[config.activation](),
            nn.MaxPool2d(2),
        ]
        height, width = height // 2, width // 2
    if not height or not width:
        raise InputError(
            f"`channels` has {len(config.channels)} convolutions, each of which halves the image, "
            f"but the images are {input_shape[1]}×{input_shape[2]}: use fewer"
        )
    features = (config.channels[-1] if config.channels else channels) * height * width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, outputs, bias=config.bias))
