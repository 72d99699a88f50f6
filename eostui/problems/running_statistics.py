"""Statistics by which batch normalisation takes samples that it isn't trained on.

PyTorch averages them over the steps of a training; here they are those of the training samples at one θ,
and so a function of θ: a test says the same of a θ whichever way a run came there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from eostui.problems.batch import Supervised, function_of_theta
from eostui.problems.norms import GhostBatchNorm


def tracked_layers(module: nn.Module) -> dict[str, GhostBatchNorm]:
    """Return the layers of a module that have running statistics, by name."""
    return {name: m for name, m in module.named_modules() if isinstance(m, GhostBatchNorm)}


def group_sizes(module: nn.Module) -> set[int]:
    """Return how many samples its layers normalise together, 0 where all."""
    return {layer.group_size for layer in tracked_layers(module).values()}


def by_statistics(module: nn.Module) -> nn.Module:
    """Return the module as it takes other samples: a copy that normalises by its running statistics, or
    itself where it has none."""
    if not tracked_layers(module):
        return module
    # the tensors stay the same ones: they are many, and stood in for wherever it is called
    kept = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    found = copy.deepcopy(module, kept)
    for layer in tracked_layers(found).values():
        layer.eval()
    return found


def outputs_by_statistics(
    module: nn.Module, parts: Sequence[Supervised], theta: Tensor
) -> Callable[[Tensor], Tensor]:
    """Return inputs ↦ outputs at θ, by the running statistics of the training samples there.

    Args:
        module: as `by_statistics` returns it.
        parts: of the loss, with the samples that it is trained on.
        theta: shape (P,).
    """
    outputs, statistics = function_of_theta(module), running_statistics(parts, theta)
    return lambda inputs: outputs(theta, inputs, statistics)


@torch.no_grad()
def running_statistics(parts: Sequence[Supervised], theta: Tensor) -> dict[str, Tensor]:
    """Return the running statistics of training samples at θ, by the names of the module's buffers.

    They are what those of PyTorch's layers with `momentum=None` are after the groups came one by one:
    the means over groups of their means and of their unbiased variances, each group counting once.

    Args:
        parts: of a loss, each one of whole groups in the order of the samples.
        theta: shape (P,).
    """
    layers = tracked_layers(parts[0].module)
    counts = dict.fromkeys(layers, 0)
    found: dict[str, Tensor] = {}

    def see(name: str, layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        assert isinstance(layer, GhostBatchNorm)
        means, variances = layer.group_statistics(arguments[0])
        counts[name] += len(means)
        for buffer, values in (("running_mean", means), ("running_var", variances)):
            key = f"{name}.{buffer}".lstrip(".")
            before = found.get(key, torch.zeros_like(values[0]))
            found[key] = before + (values - before).sum(0) / counts[name]

    hooks = [m.register_forward_pre_hook(partial(see, name)) for name, m in layers.items()]
    try:
        for part in parts if layers else ():
            part.outputs(theta, part.inputs)
    finally:
        for hook in hooks:
            hook.remove()
    tracked = {f"{name}.num_batches_tracked".lstrip("."): n for name, n in counts.items()}
    return {**found, **{name: torch.tensor(n, device=theta.device) for name, n in tracked.items()}}
