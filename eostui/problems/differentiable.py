"""Tries a loss before it is trained on: is it a function of θ that PyTorch differentiates rightly?

∇S needs third derivatives. A layer for which PyTorch gets them wrong makes βα, g and α wrong without
any error, so such a problem is refused as a whole, also where only S would be looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eostui.errors import InputError
from eostui.problems.batch import LossFunction


class _Flaw(NamedTuple):
    operation: str
    wrong: str
    instead: str
    layers: tuple[type[nn.Module], ...]


_BATCH_NORM = _Flaw(
    "batch_norm with the statistics of the batch",
    "third derivative (pytorch issue 186256)",
    "eostui.problems.ElementaryBatchNorm, nn.GroupNorm, or .eval() for fixed statistics",
    (nn.modules.batchnorm._NormBase,),
)
_FLAWS = {
    "NativeLayerNormBackward": _Flaw(
        "the fused layer_norm",
        "third derivative (pytorch issue 175754)",
        "eostui.problems.ElementaryLayerNorm",
        (nn.LayerNorm,),
    ),
    "NativeBatchNormBackward": _BATCH_NORM,
    "CudnnBatchNormBackward": _BATCH_NORM,
    "MiopenBatchNormBackward": _BATCH_NORM,
    # in no issue found, but finite differences of the gradient say so
    "WeightNormInterfaceBackward": _Flaw(
        "the fused weight_norm", "second derivative", "weights g·v/‖v‖ written out", ()
    ),
}


def examine(loss: LossFunction, theta: Tensor, module: nn.Module | None = None) -> Tensor:
    """Evaluate `loss` at θ and differentiate it three times; return its value, detached.

    Args:
        loss: θ ↦ scalar.
        theta: where, shape (P,).
        module: whose buffers must stay as they are, and whose layers are named in the error.

    Raises:
        InputError: if the loss draws random numbers, changes its module's buffers, doesn't depend on θ,
            or holds an operation whose second or third derivative PyTorch lacks or gets wrong.
    """
    leaf = theta.detach().requires_grad_()
    buffers = {} if module is None else {n: b.clone() for n, b in module.named_buffers()}
    before = _random_state(leaf.device)
    value = loss(leaf)
    if not torch.equal(before, _random_state(leaf.device)):
        raise InputError(
            "the loss draws random numbers (dropout in train mode?), but full-batch descent needs the "
            "same function at every step: call .eval() on the module"
        )
    if not isinstance(value, Tensor) or value.ndim != 0:
        raise InputError("its loss must be a scalar tensor")
    if not value.requires_grad:
        raise InputError("its loss doesn't depend on θ by differentiable operations")
    for node in _nodes(value):
        _refuse_flawed(node, module)
    for name, buffer in {} if module is None else dict(module.named_buffers()).items():
        if not torch.equal(buffers[name], buffer):
            raise InputError(
                f"the module changes its buffer `{name}` in each forward pass, so its loss isn't a "
                "function of θ alone: call .eval() on the module, or leave the buffer out"
            )
    _differentiate_thrice(value, leaf)
    return value.detach()


def equal_to_rounding(one: Tensor, other: Tensor) -> bool:
    """Return whether two results of the same sums in another order agree to half their digits."""
    if one.shape != other.shape:
        return False
    allowed = torch.finfo(one.dtype).eps ** 0.5 * max(float(one.norm()), 1.0)
    return bool((one - other).norm() <= allowed)


def _nodes(value: Tensor) -> Iterator[Any]:
    """Yield every node of the graph that computed `value`."""
    seen, waiting = set(), [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
            yield node


def _refuse_flawed(node: Any, module: nn.Module | None) -> None:
    flaw = _FLAWS.get(node.name().rstrip("0123456789"))
    if flaw is None or (flaw is _BATCH_NORM and not node._saved_training):
        return
    layers = [] if module is None else list(module.named_modules())
    named = [f"`{name}`, {type(m).__name__}" for name, m in layers if isinstance(m, flaw.layers)]
    where = f" ({'; '.join(named[:3])}{'; …' if len(named) > 3 else ''})" if named else ""
    raise InputError(
        f"the problem uses {flaw.operation}{where}, whose {flaw.wrong} PyTorch doesn't get right, "
        f"so ∇S would be wrong: use {flaw.instead}"
    )


def _differentiate_thrice(value: Tensor, leaf: Tensor) -> None:
    """Take ∇L, Hv and D³L[v, v, ·], for what PyTorch says about them."""
    vector = torch.full_like(leaf, leaf.numel() ** -0.5)
    try:
        for order in range(3):
            (derivative,) = torch.autograd.grad(
                value, leaf, create_graph=order < 2, materialize_grads=True
            )
            value = derivative @ vector
            if not value.requires_grad:  # a polynomial: all further derivatives are 0
                return
    except RuntimeError as error:
        text = str(error).splitlines()[0]
        if not re.search("derivative|differentia", text):
            raise
        raise InputError(
            f"PyTorch can't differentiate the problem three times, as ∇S needs ({text}): use another "
            "operation (for attention, torch.nn.attention.sdpa_kernel(SDPBackend.MATH))"
        ) from None


def _random_state(device: torch.device) -> Tensor:
    """Return the state of the generators that a forward pass on `device` could draw from."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return torch.cat([state.view(-1) for state in states])
