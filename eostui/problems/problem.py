"""Problem: the one form in which everything that can be trained reaches the engine."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from eostui.errors import InputError
from eostui.problems.batch import (
    Convolutions,
    LossFunction,
    Supervised,
    batch_loss,
    function_of_theta,
    slices,
    supervised_parts,
    trained_parameters,
)
from eostui.problems.differentiable import equal_to_rounding
from eostui.problems.losses import accuracy as classes_told_right
from eostui.problems.memory import automatic_chunk_size, unfolded_bytes
from eostui.problems.running_statistics import (
    by_statistics,
    group_sizes,
    outputs_by_statistics,
    running_statistics,
)
from eostui.problems.subject import Subject
from eostui.problems.trial import look

#: Test samples that are tried before a run.
_FEW = 32
#: Shapes of one value a sample, by their dimensions.
_FORMS = {1: "(N,)", 2: "(N, 1)"}


class Evaluation(NamedTuple):
    """Loss and, for classification, the share of samples that are right."""

    loss: float
    accuracy: float | None


@dataclass(frozen=True, eq=False)
class HeldOutSamples:
    """A module's loss and accuracy on held-out samples.

    Attributes:
        outputs: θ ↦ (inputs ↦ the module's outputs).
        loss: (outputs, targets) ↦ their mean loss.
        accuracy: (outputs, targets) ↦ the share that is right, or None.
        inputs: shape (n, …).
        targets: shape (n, …).
        chunk_size: samples evaluated at a time; 0 for all.
    """

    outputs: Callable[[Tensor], Callable[[Tensor], Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    accuracy: Callable[[Tensor, Tensor], Tensor] | None
    inputs: Tensor
    targets: Tensor
    chunk_size: int = 0

    @torch.no_grad()
    def __call__(self, theta: Tensor) -> Evaluation:
        """Evaluate the module at θ."""
        value, right, outputs = 0.0, 0.0, self.outputs(theta)
        for rows, share in slices(len(self.inputs), self.chunk_size):
            predicted, wanted = outputs(self.inputs[rows]), self.targets[rows]
            value += share * float(self.loss(predicted, wanted))
            if self.accuracy is not None:
                right += share * float(self.accuracy(predicted, wanted))
        return Evaluation(value, None if self.accuracy is None else right)

    def tried(self, theta: Tensor) -> Evaluation:
        """Evaluate the module on the first samples alone. Raises InputError if one isn't finite."""
        for name, data in (("inputs", self.inputs), ("targets", self.targets)):
            if not torch.isfinite(data).all():
                raise InputError(f"its test {name} aren't finite")
        inputs, targets = self.inputs[:_FEW].clone(), self.targets[:_FEW].clone()
        return replace(self, inputs=inputs, targets=targets, chunk_size=0)(theta)


@dataclass(frozen=True)
class Problem:
    """A function to minimise and where to start.

    Attributes:
        initial: θ₀, one flat vector of shape (P,), on the device and in the precision to train in.
        loss: θ ↦ L(θ), a scalar over the full batch, three times differentiable (almost everywhere); a
            `SummedLoss` of several parts is differentiated part by part.
        convention: one line that fixes the scale of the loss.
        test: θ ↦ Evaluation on held-out samples, or None.
        decayed: 1 for the parameters that weight decay acts on and 0 for the others, shape (P,); None
            for all.
        facts: anything else to be kept with the run.
        chunk_size: samples in each part of the loss, the last one fewer; 0 for one part.
        trust_gradients: whether gradients that aren't the loss's own are meant: estimators.
        arrays: what the loss and the test compute with, by name, as `inputs` and `targets`: a run keeps
            their fingerprints, so that it isn't gone on with on other data unnoticed.
    """

    initial: Tensor
    loss: LossFunction
    convention: str
    test: Callable[[Tensor], Evaluation] | None = None
    decayed: Tensor | None = None
    facts: dict[str, str] = field(default_factory=dict)
    chunk_size: int = 0
    trust_gradients: bool = False
    arrays: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        inputs: Tensor,
        targets: Tensor,
        *,
        convention: str,
        test: tuple[Tensor, Tensor] | None = None,
        accuracy: Callable[[Tensor, Tensor], Tensor] | None = None,
        decay_biases: bool = True,
        chunk_size: int | Literal["auto"] = "auto",
        trust_gradients: bool = False,
        convolutions: Convolutions = "native",
    ) -> Problem:
        """Make a problem of any module that is a function of its parameters alone, on one full batch.

        The module and its loss are tried on the first two samples, and examined as a whole before
        a run.

        Args:
            module: maps inputs to outputs; its parameters that require gradients give θ₀, the others
                stay as they are.
            loss: (outputs, targets) ↦ scalar, the mean over samples.
            inputs: the full batch.
            targets: what `loss` compares the outputs with.
            convention: one line that fixes the scale of the loss.
            test: held-out inputs and targets.
            accuracy: (outputs, targets) ↦ share that is right: of test samples, and at every step
                of those that it is trained on, unless it looks at values, which a step would wait for.
            decay_biases: whether weight decay acts on parameters of one dimension too.
            chunk_size: samples whose graph is in memory at a time; 0 for all, "auto" for all on a CPU
                and on a GPU what its free memory allows.
            trust_gradients: whether gradients that aren't the loss's own are meant: estimators.
            convolutions: how they are computed where the module is an `nn.Sequential` of plain layers;
                the same up to rounding.

        Raises:
            InputError: if the module's third derivatives can't be had or would be wrong, if it isn't a
                function of θ alone, can't be summed in chunks, or doesn't fit the samples.
        """
        trained = trained_parameters(module)
        if not trained:
            raise InputError("the module has no parameters that require gradients")
        initial = torch.cat([p.detach().reshape(-1) for p in trained.values()])
        outputs = function_of_theta(module)
        _refuse_samples(inputs, targets, test)
        made_of = Supervised(module, outputs, loss, inputs, targets, share=1.0)
        _look_at_first(made_of, initial)
        _refuse_broadcast(made_of, initial)
        if chunk_size == "auto":
            fitting = _automatic(module, loss, inputs, targets, convolutions)
            chunk_size = _of_whole_groups(module, fitting)
        if chunk_size >= len(inputs):
            chunk_size = 0
        if chunk_size:
            _refuse_torn_groups(module, chunk_size)
        tested_as = by_statistics(module)
        alone = function_of_theta(tested_as)
        if chunk_size or test is not None:
            _refuse_coupling(alone, inputs, initial)
        if chunk_size and not is_mean(replace(made_of, outputs=alone), initial):
            raise InputError(
                "the loss isn't a mean over samples, so it can't be summed in chunks: set `chunk_size` "
                "to 0, or divide the loss by the number of samples"
            )
        tested = {} if test is None else {"test_inputs": test[0], "test_targets": test[1]}
        facts = _frozen(module)
        of_every_step = accuracy is not None and _is_of_every_step(accuracy, made_of, initial)
        if accuracy is not None and not of_every_step:
            facts["train_accuracy"] = "not recorded: `accuracy` must be a tensor of tensors alone"
        decayed = None
        if not decay_biases:
            masks = [torch.full((p.numel(),), float(p.ndim > 1)) for p in trained.values()]
            decayed = torch.cat(masks).to(initial)
        summed = batch_loss(
            outputs,
            loss,
            inputs,
            targets,
            chunk_size,
            module,
            convolutions,
            accuracy=accuracy if of_every_step else None,
        )
        held_out = None
        if test is not None:
            seen = partial(outputs_by_statistics, tested_as, supervised_parts(summed))
            held_out = HeldOutSamples(seen, loss, accuracy, *test, chunk_size=chunk_size)
        return cls(
            initial=initial,
            loss=summed,
            convention=convention,
            test=held_out,
            decayed=decayed,
            facts=facts,
            chunk_size=chunk_size,
            trust_gradients=trust_gradients,
            arrays={"inputs": inputs, "targets": targets, **tested},
        )

    def module(self, theta: Tensor) -> nn.Module:
        """Return a copy of the module that this was made from, with θ as its trained parameters, and the
        running statistics of the training samples there if it has any.

        Args:
            theta: shape (P,).

        Raises:
            InputError: if it is made of a function of θ alone, or the module can't be copied.
        """
        parts = supervised_parts(self.loss)
        if not parts:
            raise InputError("its loss is a function of θ alone: there is no module in it")
        supervised = parts[0]
        parameters = trained_parameters(supervised.module).values()
        pieces = torch.split(theta.detach(), [parameter.numel() for parameter in parameters])
        placed = {
            id(parameter): nn.Parameter(piece.view_as(parameter).clone())
            for parameter, piece in zip(parameters, pieces, strict=True)
        }
        try:
            module = copy.deepcopy(supervised.module, placed)
        except Exception as error:
            raise InputError(f"its module can't be copied: {error}") from None
        module.load_state_dict(running_statistics(parts, theta.detach()), strict=False)
        return module


@torch.no_grad()
def _is_of_every_step(
    accuracy: Callable[[Tensor, Tensor], Tensor], made_of: Supervised, theta: Tensor
) -> bool:
    """Return whether an accuracy can be had of every step: a scalar tensor, without a look at a value.

    Tensors of the device `meta` have no values to look at. This project's own doesn't look, and isn't
    asked there: PyTorch's ways to `meta` load its compiler, which takes longer than all else here.
    """
    here = made_of.inputs.device if accuracy is classes_told_right else torch.device("meta")
    for count in (2, len(made_of.inputs)):  # a module may be made for one size of batch
        try:
            found = made_of.outputs(theta, made_of.inputs[:count])
            right = accuracy(found.to(here), made_of.targets[:count].to(here))
        except Exception:  # the user's code may raise anything; what is wrong with it the tests say
            continue
        return isinstance(right, Tensor) and right.numel() == 1
    return False


def _frozen(module: nn.Module) -> dict[str, str]:
    """Return as facts which parameters stay as they are, if any do."""
    parameters = dict(module.named_parameters())
    frozen = {name: p.numel() for name, p in parameters.items() if not p.requires_grad}
    if not frozen:
        return {}
    total = sum(p.numel() for p in parameters.values())
    return {"frozen_parameters": f"{sum(frozen.values())} of {total}: {', '.join(frozen)}"}


def _refuse_samples(inputs: Tensor, targets: Tensor, test: tuple[Tensor, Tensor] | None) -> None:
    """Raise InputError if samples and targets don't belong together."""
    if len(inputs) != len(targets) or not len(inputs):
        raise InputError(
            f"there are {len(inputs)} inputs and {len(targets)} targets, but each sample needs both"
        )
    if test is None:
        return
    if not isinstance(test, tuple | list) or len(test) != 2:
        raise InputError("`test` must be a pair of held-out inputs and targets")
    if len(test[0]) != len(test[1]) or not len(test[0]):
        raise InputError(
            f"`test` has {len(test[0])} inputs and {len(test[1])} targets, but each sample needs both"
        )
    if test[1].shape[1:] != targets.shape[1:] or test[0].ndim != inputs.ndim:
        name, index = ("targets", 1) if test[0].ndim == inputs.ndim else ("inputs", 0)
        raise InputError(
            f"`test` has {name} of shape {tuple(test[index].shape)}, but those to train on have shape "
            f"{tuple((inputs, targets)[index].shape)}: give both the same form"
        )


def _look_at_first(made_of: Supervised, theta: Tensor) -> None:
    """Try the loss of two samples, or of all for a module that is made for one size of batch."""
    try:
        look(Subject.of(made_of, theta, made_of.inputs[:2], made_of.targets[:2]))
    except InputError:
        raise
    except Exception:  # if all samples fail too, they tell why
        look(Subject.of(made_of, theta, made_of.inputs, made_of.targets))


@torch.no_grad()
def _refuse_broadcast(made_of: Supervised, theta: Tensor) -> None:
    """Raise InputError if outputs (n, 1) and targets (n,) are compared each with each."""
    targets = made_of.targets[:2]
    if len(targets) < 2 or not targets.is_floating_point() or targets.ndim > 2:
        return
    try:
        found = made_of.outputs(theta, made_of.inputs[:2])
        value = made_of.loss(found, targets)
        if {found.shape, targets.shape} != {torch.Size((2, 1)), torch.Size((2,))}:
            return
        meant = made_of.loss(found.flatten(), targets.flatten())
    except Exception:  # one that takes no other form, or not two samples, means what it does
        return
    if not equal_to_rounding(value, meant):
        raise InputError(
            f"the loss of outputs of shape {_FORMS[found.ndim]} and targets of shape "
            f"{_FORMS[targets.ndim]} isn't that of the two in one shape: they are broadcast, "
            "each output compared with each target; give both the same shape"
        )


def _automatic(
    module: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    convolutions: Convolutions,
) -> int:
    """Return the chunk size for the device of `inputs`; 0 off the GPU."""
    if inputs.device.type != "cuda":
        return 0
    # sizes are tried on the CPU: the graphs are the same, and the GPU's memory stays as it is
    module = copy.deepcopy(module).cpu()
    outputs = function_of_theta(module)
    return automatic_chunk_size(
        lambda n: batch_loss(outputs, loss, inputs[:n].cpu(), targets[:n].cpu(), 0),
        torch.cat([p.detach().reshape(-1) for p in trained_parameters(module).values()]).cpu(),
        len(inputs),
        torch.cuda.mem_get_info(inputs.device)[0],
        unfolded_bytes(module, inputs[:1].cpu()) if convolutions == "unfolded" else 0,
    )


def _of_whole_groups(module: nn.Module, chunk_size: int) -> int:
    """Return the chunk of whole groups nearest below a size, of one at least; 0 where that is all."""
    groups = group_sizes(module)
    if not chunk_size or not groups or 0 in groups:
        return 0 if groups else chunk_size
    together = math.lcm(*groups)
    return max(chunk_size // together, 1) * together


def _refuse_torn_groups(module: nn.Module, chunk_size: int) -> None:
    """Raise InputError if chunks would cut through groups that are normalised together."""
    groups = group_sizes(module)
    if 0 in groups:
        raise InputError(
            f"`chunk_size` is {chunk_size}, but the network normalises all samples together: set it to "
            "0, or normalise groups of samples (`batch_norm_group`; `group_size` of GhostBatchNorm)"
        )
    if groups and chunk_size % (together := math.lcm(*groups)):
        raise InputError(
            f"`chunk_size` is {chunk_size}, but groups of {together} samples are normalised together: "
            f"it must be a multiple of that, such as {_of_whole_groups(module, chunk_size)}, or 0"
        )


@torch.no_grad()
def _refuse_coupling(
    outputs: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, theta: Tensor
) -> None:
    together = outputs(theta, inputs[:2])
    if not isinstance(together, Tensor):
        raise InputError(
            f"the module's outputs are of type {type(together).__name__}, but with `test` or chunks they "
            "must be one tensor with a row for each sample: let its forward pass return that alone"
        )
    if are_coupled(outputs, inputs, theta):
        raise InputError(
            "the module's outputs for a sample depend on the other samples of the batch (batch "
            "normalisation?), so it can be neither summed in chunks nor tested on other samples: set "
            "`chunk_size` to 0 and leave `test` out, or use nn.GroupNorm"
        )


@torch.no_grad()
def are_coupled(outputs: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, theta: Tensor) -> bool:
    """Return whether the outputs for the first samples depend on each other, as by batch
    normalisation."""
    apart = torch.cat([outputs(theta, inputs[n : n + 1]) for n in range(len(inputs[:2]))])
    return not equal_to_rounding(outputs(theta, inputs[:2]), apart)


@torch.no_grad()
def is_mean(made_of: Supervised, theta: Tensor) -> bool:
    """Return whether the loss of the first samples is the mean of each one's."""
    few = made_of.outputs, made_of.loss, made_of.inputs[:2], made_of.targets[:2]
    return equal_to_rounding(batch_loss(*few, 0)(theta), batch_loss(*few, 1)(theta))
