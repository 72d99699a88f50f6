"""Problem: the one form in which everything that can be trained reaches the engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from eostui.errors import InputError
from eostui.problems.batch import LossFunction, batch_loss, slices
from eostui.problems.differentiable import equal_to_rounding, examine
from eostui.problems.memory import automatic_chunk_size


class Evaluation(NamedTuple):
    """Loss and, for classification, the share of samples that are right."""

    loss: float
    accuracy: float | None


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
    ) -> Problem:
        """Make a problem of any module that is a function of its parameters alone, on one full batch.

        The module and its loss are tried on the first two samples.

        Args:
            module: maps inputs to outputs; its parameters give θ₀.
            loss: (outputs, targets) ↦ scalar, the mean over samples.
            inputs: the full batch.
            targets: what `loss` compares the outputs with.
            convention: one line that fixes the scale of the loss.
            test: held-out inputs and targets.
            accuracy: (outputs, targets) ↦ share that is right.
            decay_biases: whether weight decay acts on parameters of one dimension too.
            chunk_size: samples whose graph is in memory at a time; 0 for all, "auto" for all on a CPU
                and on a GPU what its free memory allows.

        Raises:
            InputError: if the module's third derivatives can't be had or would be wrong, if it isn't a
                function of θ alone, or can't be summed in chunks.
        """
        initial = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
        outputs = _function_of_theta(module)
        examine(batch_loss(outputs, loss, inputs[:2], targets[:2], 0), initial, module)
        if chunk_size == "auto":
            chunk_size = _automatic(module, loss, inputs, targets)
        if chunk_size >= len(inputs):
            chunk_size = 0
        if chunk_size or test is not None:
            _refuse_coupling(outputs, inputs, initial)
        if chunk_size:
            _refuse_sums(outputs, loss, inputs, targets, initial)

        @torch.no_grad()
        def evaluate(theta: Tensor) -> Evaluation:
            assert test is not None
            value, right = 0.0, 0.0
            for rows, share in slices(len(test[0]), chunk_size):
                predicted, wanted = outputs(theta, test[0][rows]), test[1][rows]
                value += share * float(loss(predicted, wanted))
                if accuracy is not None:
                    right += share * float(accuracy(predicted, wanted))
            return Evaluation(value, None if accuracy is None else right)

        tested = {} if test is None else {"test_inputs": test[0], "test_targets": test[1]}
        decayed = None
        if not decay_biases:
            masks = [torch.full((p.numel(),), float(p.ndim > 1)) for p in module.parameters()]
            decayed = torch.cat(masks).to(initial)
        return cls(
            initial=initial,
            loss=batch_loss(outputs, loss, inputs, targets, chunk_size, module),
            convention=convention,
            test=None if test is None else evaluate,
            decayed=decayed,
            chunk_size=chunk_size,
            arrays={"inputs": inputs, "targets": targets, **tested},
        )


def _function_of_theta(module: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return (θ, inputs) ↦ outputs."""
    parameters = dict(module.named_parameters())
    shapes = [parameter.shape for parameter in parameters.values()]
    sizes = [parameter.numel() for parameter in parameters.values()]

    def outputs(theta: Tensor, batch: Tensor) -> Tensor:
        # one split: its backward pass is one concatenation, whatever the number of layers
        pieces = torch.split(theta, sizes)
        views = {
            name: piece.view(shape)
            for name, piece, shape in zip(parameters, pieces, shapes, strict=True)
        }
        result: Tensor = functional_call(module, views, (batch,))
        return result

    return outputs


def _automatic(
    module: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor
) -> int:
    """Return the chunk size for the device of `inputs`; 0 off the GPU."""
    if inputs.device.type != "cuda":
        return 0
    # sizes are tried on the CPU: the graphs are the same, and the GPU's memory stays as it is
    outputs = _function_of_theta(copy.deepcopy(module).cpu())
    return automatic_chunk_size(
        lambda n: batch_loss(outputs, loss, inputs[:n].cpu(), targets[:n].cpu(), 0),
        torch.cat([p.detach().reshape(-1) for p in module.parameters()]).cpu(),
        len(inputs),
        torch.cuda.mem_get_info(inputs.device)[0],
    )


@torch.no_grad()
def _refuse_coupling(
    outputs: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, theta: Tensor
) -> None:
    together = outputs(theta, inputs[:2])
    apart = torch.cat([outputs(theta, inputs[n : n + 1]) for n in range(len(inputs[:2]))])
    if not equal_to_rounding(together, apart):
        raise InputError(
            "the module's outputs for a sample depend on the other samples of the batch (batch "
            "normalisation?), so it can be neither summed in chunks nor tested on other samples: set "
            "`chunk_size` to 0 and leave `test` out, or use nn.GroupNorm"
        )


@torch.no_grad()
def _refuse_sums(
    outputs: Callable[[Tensor, Tensor], Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    theta: Tensor,
) -> None:
    whole = batch_loss(outputs, loss, inputs[:2], targets[:2], 0)(theta)
    if not equal_to_rounding(whole, batch_loss(outputs, loss, inputs[:2], targets[:2], 1)(theta)):
        raise InputError(
            "the loss isn't a mean over samples, so it can't be summed in chunks: set `chunk_size` to 0, "
            "or divide the loss by the number of samples"
        )
