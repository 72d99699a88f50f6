"""What the graph of a loss says about its derivatives, and which operations PyTorch gets wrong.

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


def equal_to_rounding(one: Tensor, other: Tensor) -> bool:
    """Return whether two results of the same sums in another order agree to half their digits."""
    if one.shape != other.shape:
        return False
    allowed = torch.finfo(one.dtype).eps ** 0.5 * max(float(one.norm()), 1.0)
    return bool((one - other).norm() <= allowed)


def nodes(value: Tensor) -> Iterator[Any]:
    """Yield every node of the graph that computed `value`."""
    seen, waiting = set(), [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
            yield node


def leaves(value: Tensor) -> list[Tensor]:
    """Return the tensors that `value` was computed from and that require a gradient."""
    return [n.variable for n in nodes(value) if n.name().endswith("AccumulateGrad")]


def custom_functions(value: Tensor) -> list[str]:
    """Return the names of the `torch.autograd.Function`s in the graph of `value`."""
    kind = torch.autograd.function.BackwardCFunction
    kinds: list[type[Any]] = [type(node) for node in nodes(value)]
    custom = [each.__name__ for each in kinds if issubclass(each, kind)]
    return list(dict.fromkeys(name.removesuffix("Backward") for name in custom))


def refuse_flaws(value: Tensor, module: nn.Module | None) -> None:
    """Raise InputError if the graph of `value` holds an operation of `_FLAWS`; name its layers."""
    for node in nodes(value):
        _refuse_flawed(node, module)


def differentiate_thrice(value: Tensor, leaf: Tensor) -> bool:
    """Take ∇L, Hv and D³L[v, v, ·], for what PyTorch says about them.

    Returns:
        Whether ∇L holds a share that can't be differentiated again (`once_differentiable`): PyTorch
        leaves it out of Hv without a word, since no path to θ is left there.

    Raises:
        InputError: if one can't be had.
    """
    vector = torch.full_like(leaf, leaf.numel() ** -0.5)
    cut = False
    try:
        for order in range(3):
            (derivative,) = torch.autograd.grad(
                value, leaf, create_graph=order < 2, materialize_grads=True
            )
            value = derivative @ vector
            cut = cut or any(node.name().endswith("autograd::Error") for node in nodes(value))
            if not value.requires_grad:  # a polynomial: all further derivatives are 0
                break
    except RuntimeError as error:
        text = str(error).splitlines()[0]
        if "checkpoint" in text:
            raise InputError(
                "torch.utils.checkpoint recomputes with the module's own parameters, which stay at θ₀ as "
                "θ moves: leave it out, and set `chunk_size` if memory is short"
            ) from None
        if not re.search("derivative|differentia", text):
            raise
        raise InputError(
            f"PyTorch can't differentiate the problem three times, as ∇S needs ({text}): use another "
            "operation (for attention, torch.nn.attention.sdpa_kernel(SDPBackend.MATH))"
        ) from None
    return cut


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


def random_state(device: torch.device) -> Tensor:
    """Return the state of the generators that a forward pass on `device` could draw from."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return torch.cat([state.view(-1) for state in states])
