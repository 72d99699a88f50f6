"""One trial of a loss: what it leaves as it is, what it depends on, whether it has three derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

from eostui.errors import InputError
from eostui.problems.differentiable import differentiate_thrice, leaves, random_state, refuse_flaws
from eostui.problems.subject import Subject


def look(subject: Subject) -> bool:
    """Evaluate a loss at θ₀ and differentiate it three times.

    Returns:
        Whether a share of ∇L can't be differentiated again.

    Raises:
        InputError: if the loss draws random numbers, changes what it is evaluated on, isn't a scalar,
            doesn't depend on θ or depends on other leaves, or holds an operation whose second or third
            derivative PyTorch lacks or gets wrong.
    """
    leaf = subject.theta.detach().clone().requires_grad_()
    kept = _Kept(subject, leaf)
    before = random_state(leaf.device)
    try:
        value = subject.loss(leaf)
    except RuntimeError as error:
        if "modified inplace" in str(error):  # what torch says of a view of θ
            raise InputError(_CHANGED_THETA) from None
        raise
    if not torch.equal(before, random_state(leaf.device)):
        raise InputError(
            "the loss draws random numbers (dropout in train mode?), but full-batch descent needs the "
            "same function at every step: call .eval() on the module"
        )
    kept.refuse_changes()
    if not isinstance(value, Tensor) or value.ndim != 0:
        raise InputError(f"its loss must be a scalar tensor, but is {form_of(value)}")
    if not value.requires_grad:
        raise InputError("its loss doesn't depend on θ by differentiable operations")
    refuse_flaws(value, subject.module)
    cut = differentiate_thrice(value, leaf)
    kept.refuse_changes()
    others = {id(other): other for other in leaves(value) if other is not leaf}
    if others:  # those made anew in each evaluation are the loss's own business
        again = {id(other) for other in leaves(subject.loss(leaf))}
        _refuse_leaves([o for key, o in others.items() if key in again], subject)
    return cut


class _Kept:
    """What an evaluation must leave as it is, with copies of its values."""

    def __init__(self, subject: Subject, leaf: Tensor) -> None:
        module = subject.module
        named = [
            (leaf, _CHANGED_THETA),
            *((tensor, _CHANGED_DATA.format(name)) for name, tensor in subject.data.items()),
        ]  # fmt: skip
        if module is not None:
            buffers = dict(module.named_buffers())
            named += [(b, _CHANGED_BUFFER.format(name)) for name, b in buffers.items()]
            parameters = dict(module.named_parameters())
            named += [(p, _CHANGED_PARAMETER.format(name)) for name, p in parameters.items()]
        self._kept = [(t, t.detach().clone(), t._version, told) for t, told in named]

    def refuse_changes(self) -> None:
        """Raise InputError if something was changed."""
        for tensor, values, version, told in self._kept:
            # an operation in place counts the version up even where it changes no value yet
            touched = tensor._version != version and not told.startswith(_BUFFER)
            if touched or not _equal(tensor.detach(), values):
                raise InputError(told)


_CHANGED_THETA = (
    "the loss changes θ itself in place (an Embedding with max_norm?), beside gradient descent: use "
    "the operation that returns a new tensor, as weight / weight.norm(dim=1, keepdim=True) would"
)
_CHANGED_DATA = (
    "the loss changes its {} in place, so that the data would be others after each step: "
    "copy them first, or use the operation that returns a new tensor"
)
_BUFFER = "the module changes its buffer"
_CHANGED_BUFFER = (
    _BUFFER + " `{}` in each forward pass, so its loss isn't a "
    "function of θ alone: call .eval() on the module, or leave the buffer out"
)
_CHANGED_PARAMETER = (
    "the module changes its parameter `{}` in place in each forward pass, so its loss isn't a "
    "function of θ alone: leave that out"
)


def _refuse_leaves(others: list[Tensor], subject: Subject) -> None:
    """Raise InputError for leaves that belong neither to θ nor to the data."""
    data = {id(tensor) for tensor in subject.data.values()}
    others = [other for other in others if id(other) not in data]
    if not others:
        return
    known = {} if subject.module is None else dict(subject.module.named_parameters())
    names = [f"`{name}`" for name, p in known.items() if any(p is other for other in others)]
    if names:
        raise InputError(
            f"the loss uses the module's own {listed(names)} beside θ (a penalty over "
            "module.parameters()?): they stay as they are while θ moves, and aren't differentiated; "
            "let the module's forward pass return what the loss needs of them"
        )
    shapes = [str(tuple(other.shape)) for other in others]
    raise InputError(
        f"the loss depends on tensors that require gradients but aren't part of θ, of shape "
        f"{listed(shapes)}: they would stay as they are; put them into θ, or, if they are constants, "
        "use .detach()"
    )


def _equal(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors hold the same, NaN where NaN is."""
    if one.shape != other.shape:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())


def form_of(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    text = repr(value)
    return f"{text} ({type(value).__name__})" if len(text) < 30 else type(value).__name__


def listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
