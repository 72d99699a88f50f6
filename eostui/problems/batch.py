"""The full batch as one function of θ, or as chunks of samples whose losses add up to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from eostui.errors import InputError

LossFunction = Callable[[Tensor], Tensor]

#: How the convolutions of a plain network are computed: by the device's own kernels on images that lie
#: in memory channel by channel or pixel by pixel, or as matrix products of what lies under the kernel.
Convolutions = Literal["native", "channels-last", "unfolded"]


@dataclass(frozen=True, eq=False)
class Supervised:
    """What a share of L is made of: share · loss(module(inputs), targets).

    Attributes:
        module: maps inputs to outputs; θ is its trained parameters in their order.
        outputs: (θ, inputs) ↦ the module's outputs with these parameters.
        loss: (outputs, targets) ↦ their mean loss, a scalar.
        inputs: shape (n, …).
        targets: shape (n, …).
        share: of these samples in L.
        convolutions: how those of the module are computed where its derivatives are derived by hand.
        accuracy: (outputs, targets) ↦ the share of samples that is right, a scalar tensor that is had
            without a look at a value; None where a step can't have it.
        lasting: whether it is of these samples at every step: then what is made of them is kept.
    """

    module: nn.Module
    outputs: Callable[[Tensor, Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    inputs: Tensor
    targets: Tensor
    share: float
    convolutions: Convolutions = "native"
    accuracy: Callable[[Tensor, Tensor], Tensor] | None = None
    lasting: bool = True

    @torch.no_grad()
    def accuracy_share(self, outputs: Tensor) -> Tensor:
        """Return what these samples add to the accuracy of all, a scalar, in float64 where there is that.

        Raises:
            InputError: if there is no accuracy.
        """
        if self.accuracy is None:
            raise InputError("the problem has no accuracy")
        right = self.accuracy(outputs.detach(), self.targets).reshape(())
        right = right.to(torch.float32 if right.device.type == "mps" else torch.float64)
        return right if self.share == 1.0 else self.share * right


@dataclass(frozen=True)
class Chunk:
    """The share of some samples in L, as a function of θ that knows the network's outputs.

    Attributes:
        outputs: θ of shape (P,) ↦ the outputs for these samples, shape (n, …).
        output_loss: these outputs ↦ their share of L, a scalar.
        supervised: what both are made of, where that is a module on data.
    """

    outputs: Callable[[Tensor], Tensor]
    output_loss: Callable[[Tensor], Tensor]
    supervised: Supervised | None = None

    def __call__(self, theta: Tensor) -> Tensor:
        """Return the share of L(θ), a scalar."""
        return self.output_loss(self.outputs(theta))

    def output_slopes(self, outputs: Tensor) -> Tensor:
        """Return ∂L/∂f at these outputs, of their shape: 1/N of what each sample's own loss has."""
        at = outputs.detach().requires_grad_()
        with torch.enable_grad():
            (slopes,) = torch.autograd.grad(self.output_loss(at), at, materialize_grads=True)
        return slopes


@dataclass(frozen=True)
class SummedLoss:
    """L(θ) = Σ part(θ): a loss whose derivatives are taken part by part, to save memory.

    Attributes:
        parts: functions θ ↦ share of L; those that are a `Chunk` know their outputs too.
    """

    parts: tuple[LossFunction, ...]

    def __call__(self, theta: Tensor) -> Tensor:
        """Return L(θ), a scalar."""
        total = self.parts[0](theta)
        for part in self.parts[1:]:
            total = total + part(theta)
        return total


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that θ holds: those that require gradients, shared ones once."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


class FunctionOfTheta(Protocol):
    """(θ, inputs) ↦ outputs; buffers by name stand in for the module's own."""

    def __call__(
        self, theta: Tensor, batch: Tensor, buffers: Mapping[str, Tensor] = ..., /
    ) -> Tensor: ...


def function_of_theta(module: nn.Module, dtype: torch.dtype | None = None) -> FunctionOfTheta:
    """Return (θ, inputs) ↦ outputs.

    Args:
        module: maps inputs to outputs.
        dtype: of its buffers and frozen parameters, where that isn't as they are.
    """
    parameters = trained_parameters(module)
    shapes = [parameter.shape for parameter in parameters.values()]
    sizes = [parameter.numel() for parameter in parameters.values()]
    constants = {} if dtype is None else constants_of(module)
    held = {name: c.to(dtype) if c.is_floating_point() else c for name, c in constants.items()}
    places = _places(module)

    def outputs(
        theta: Tensor, batch: Tensor, buffers: Mapping[str, Tensor] = MappingProxyType({}), /
    ) -> Tensor:
        # one split: its backward pass is one concatenation, whatever the number of layers
        pieces = torch.split(theta, sizes)
        views = {
            name: piece.view(shape)
            for name, piece, shape in zip(parameters, pieces, shapes, strict=True)
        }
        values = {**views, **held, **buffers}
        placed = {place: values[name] for place, name in places.items() if name in values}
        # tied by hand: PyTorch would put a module that comes twice back in the wrong order, and leave
        # the last θ in it
        result: Tensor = functional_call(module, placed, (batch,), tie_weights=False)
        return result

    return outputs


def _places(module: nn.Module) -> dict[str, str]:
    """Return each place in a module that holds a parameter or a buffer, once, and the name of that.

    A shared one has several places, and one name; so has a place in a module that comes twice.
    """
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    names = {id(tensor): name for name, tensor in tensors.items()}
    return {
        f"{path}.{own}".lstrip("."): names[id(tensor)]
        for path, part in module.named_modules()
        for own, tensor in (
            *part.named_parameters(recurse=False, remove_duplicate=False),
            *part.named_buffers(recurse=False, remove_duplicate=False),
        )
    }


def constants_of(module: nn.Module) -> dict[str, Tensor]:
    """Return what a module computes with beside θ and its inputs: buffers and frozen parameters."""
    frozen = {name: p.detach() for name, p in module.named_parameters() if not p.requires_grad}
    return {**dict(module.named_buffers()), **frozen}


def parts_of(loss: LossFunction) -> tuple[LossFunction, ...]:
    """Return the functions that `loss` is the sum of: itself alone, unless it is a `SummedLoss`."""
    return loss.parts if isinstance(loss, SummedLoss) else (loss,)


def supervised_parts(loss: LossFunction) -> list[Supervised]:
    """Return what the parts of a loss are made of; [] unless all of them are a module on data."""
    made_of = [p.supervised if isinstance(p, Chunk) else None for p in parts_of(loss)]
    return [] if None in made_of else [m for m in made_of if m is not None]


def has_accuracy(loss: LossFunction) -> bool:
    """Return whether a step knows the share of training samples that is right."""
    made_of = supervised_parts(loss)
    return bool(made_of) and all(each.accuracy is not None for each in made_of)


def loss_of_rows(
    loss: LossFunction, rows: Tensor, chunk_size: int = 0, of: int = 0
) -> LossFunction:
    """Return θ ↦ the mean loss of some samples alone, for a loss made of a module on data.

    Args:
        loss: over the full batch.
        rows: their numbers, shape (n,); one that comes twice counts twice.
        chunk_size: of them in one part; 0 for all.
        of: samples that the mean is over, where these are only some of them; 0 for n.

    Raises:
        InputError: if it is a function of θ alone: it has no samples.
    """
    known = supervised_parts(loss)
    if not known:
        raise InputError("the problem is a function of θ alone: it has no samples to choose from")
    first, rows = known[0], rows.to(known[0].inputs.device)
    starts = list(itertools.accumulate((len(part.inputs) for part in known), initial=0))
    inputs = first.inputs.new_empty((len(rows), *first.inputs.shape[1:]))
    targets = first.targets.new_empty((len(rows), *first.targets.shape[1:]))
    for part, start, end in zip(known, starts, starts[1:], strict=False):
        here = (rows >= start) & (rows < end)
        inputs[here], targets[here] = (
            data[rows[here] - start] for data in (part.inputs, part.targets)
        )
    chosen = batch_loss(
        first.outputs, first.loss, inputs, targets, chunk_size, first.module, first.convolutions, of,
        first.accuracy,
    )  # fmt: skip
    return _with(chosen, lasting=False)


def with_convolutions(loss: LossFunction, convolutions: Convolutions) -> LossFunction:
    """Return the same loss, of a module on data, with its convolutions computed in this way."""
    return _with(loss, convolutions=convolutions)


def _with(loss: LossFunction, **changes: Any) -> LossFunction:
    """Return the same loss with other attributes of what it is made of, where it is a module on data."""
    if isinstance(loss, SummedLoss):
        return SummedLoss(tuple(_with(part, **changes) for part in loss.parts))
    if not isinstance(loss, Chunk) or loss.supervised is None:
        return loss
    return replace(loss, supervised=replace(loss.supervised, **changes))


def batch_loss(
    outputs: Callable[[Tensor, Tensor], Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    chunk_size: int,
    module: nn.Module | None = None,
    convolutions: Convolutions = "native",
    of: int = 0,
    accuracy: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> LossFunction:
    """Return θ ↦ loss(outputs(θ, inputs), targets), in chunks weighted by their share of the samples.

    Args:
        outputs: (θ, inputs) ↦ outputs, each sample by itself.
        loss: (outputs, targets) ↦ their mean loss, a scalar.
        inputs: shape (N, …).
        targets: shape (N, …).
        chunk_size: samples a chunk, the last one smaller; 0 for all in one.
        module: what `outputs` calls, if the chunks should know it.
        convolutions: how those of the module are computed.
        of: samples of which these N are only some, and which the mean is over; 0 for N.
        accuracy: as of `Supervised`.
    """
    chunks = [
        _chunk(outputs, loss, inputs[rows], targets[rows], share, module, convolutions, accuracy)
        for rows, share in slices(len(inputs), chunk_size, of)
    ]
    return chunks[0] if len(chunks) == 1 else SummedLoss(tuple(chunks))


def slices(samples: int, chunk_size: int, of: int = 0) -> Sequence[tuple[slice, float]]:
    """Return each chunk's rows and its share of all samples, `of` if there are more than these; one
    chunk if `chunk_size` is 0."""
    size = chunk_size or samples
    return [
        (slice(start, start + size), (min(start + size, samples) - start) / (of or samples))
        for start in range(0, samples, size)
    ]


def _chunk(
    outputs: Callable[[Tensor, Tensor], Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    share: float,
    module: nn.Module | None,
    convolutions: Convolutions,
    accuracy: Callable[[Tensor, Tensor], Tensor] | None,
) -> Chunk:
    def output_loss(found: Tensor) -> Tensor:
        value = loss(found, targets)
        return value if share == 1.0 else share * value

    supervised = (
        None
        if module is None
        else Supervised(module, outputs, loss, inputs, targets, share, convolutions, accuracy)
    )
    return Chunk(lambda theta: outputs(theta, inputs), output_loss, supervised)
