"""How many samples a chunk may have on a GPU, from its free memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from eostui.problems.batch import LossFunction

#: Share of the free memory that the kept graphs may take; gradients on their way take the like again.
GRAPH_SHARE = 0.4

#: Sizes of the two small batches whose difference tells what one sample more takes.
_TRIAL = (4, 12)


def automatic_chunk_size(
    loss_of: Callable[[int], LossFunction],
    theta: Tensor,
    samples: int,
    free: int,
    beside: int = 0,
) -> int:
    """Return the samples a chunk for which ∇S fits into `free` bytes; 0 if all of them do.

    Args:
        loss_of: n ↦ the loss of the first n samples.
        theta: θ₀, shape (P,), on the same device as these losses.
        samples: N.
        free: bytes.
        beside: bytes that a sample takes beside the graph's, such as `unfolded_bytes`.
    """
    small, large = (min(n, samples) for n in _TRIAL)
    if small == large:
        return 0
    few, more = (kept_bytes(loss_of(n), theta) for n in (small, large))
    per_sample = max((more - few) / (large - small), 1.0) + beside
    fixed = max(few - (per_sample - beside) * small, 0.0)
    fitting = int(max(GRAPH_SHARE * free - fixed, 0.0) / per_sample)
    return 0 if fitting >= samples else max(fitting, 1)


def unfolded_bytes(module: nn.Module, sample: Tensor) -> int:
    """Return the bytes that a sample's unfolded images take at once, as D³L[v, v, ·] needs them.

    For each convolution those of its input and of its first two derivatives, and of one error.

    Args:
        module: with convolutions.
        sample: an input of it, shape (1, …), on its device.
    """
    elements = 0

    def count(convolution: nn.Module, _: object, output: Tensor) -> None:
        nonlocal elements
        assert isinstance(convolution, nn.Conv2d)
        elements += convolution.weight[0].numel() * output[0, 0].numel()

    found = [each for each in module.modules() if isinstance(each, nn.Conv2d)]
    hooks = [each.register_forward_hook(count) for each in found]
    try:
        with torch.no_grad():
            module(sample)
    finally:
        for hook in hooks:
            hook.remove()
    return 4 * elements * sample.element_size()


def kept_bytes(loss: LossFunction, theta: Tensor) -> int:
    """Return the bytes that the graphs of L, ∇L and Hv keep for D³L[v, v, ·], each storage once."""
    storages: dict[
        int, Any
    ] = {}  # holding them keeps a freed address from being counted as another's

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage
        return tensor

    leaf = theta.detach().requires_grad_()
    vector = torch.ones_like(leaf)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = loss(leaf)
        for _ in range(2):
            if not value.requires_grad:
                break
            (derivative,) = torch.autograd.grad(
                value, leaf, create_graph=True, materialize_grads=True
            )
            value = derivative @ vector
    return sum(storage.nbytes() for storage in storages.values())
