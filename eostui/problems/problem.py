"""Problem: the one form in which everything that can be trained reaches the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Evaluation(NamedTuple):
    """Loss and, for classification, the share of samples that are right."""

    loss: float
    accuracy: float | None


class Supervised(NamedTuple):
    """A module trained on one full batch: the loss is `loss(module(inputs), targets)`."""

    module: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Problem:
    """A function to minimise and where to start.

    Attributes:
        initial: θ₀, one flat vector of shape (P,), on the device and in the precision to train in.
        loss: θ ↦ L(θ), a scalar over the full batch, three times differentiable (almost everywhere).
        convention: one line that fixes the scale of the loss.
        test: θ ↦ Evaluation on held-out samples, or None.
        decayed: 1 for the parameters that weight decay acts on and 0 for the others, shape (P,); None
            for all.
        facts: anything else to be kept with the run.
        supervised: what the loss is made of, where it is a module on data.
    """

    initial: Tensor
    loss: Callable[[Tensor], Tensor]
    convention: str
    test: Callable[[Tensor], Evaluation] | None = None
    decayed: Tensor | None = None
    facts: dict[str, str] = field(default_factory=dict)
    supervised: Supervised | None = None

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
    ) -> Problem:
        """Make a problem of any module without buffers that change, trained on one full batch.

        Args:
            module: maps inputs to outputs; its parameters give θ₀.
            loss: (outputs, targets) ↦ scalar.
            inputs: the full batch.
            targets: what `loss` compares the outputs with.
            convention: one line that fixes the scale of the loss.
            test: held-out inputs and targets.
            accuracy: (outputs, targets) ↦ share that is right.
            decay_biases: whether weight decay acts on parameters of one dimension too.
        """
        parameters = dict(module.named_parameters())
        shapes = [parameter.shape for parameter in parameters.values()]
        sizes = [parameter.numel() for parameter in parameters.values()]
        initial = torch.cat([p.detach().reshape(-1) for p in parameters.values()])

        def outputs(theta: Tensor, batch: Tensor) -> Tensor:
            # one split: its backward pass is one concatenation, whatever the number of layers
            pieces = torch.split(theta, sizes)
            views = {
                name: piece.view(shape)
                for name, piece, shape in zip(parameters, pieces, shapes, strict=True)
            }
            result: Tensor = functional_call(module, views, (batch,))
            return result

        @torch.no_grad()
        def evaluate(theta: Tensor) -> Evaluation:
            assert test is not None
            predicted = outputs(theta, test[0])
            right = None if accuracy is None else float(accuracy(predicted, test[1]))
            return Evaluation(float(loss(predicted, test[1])), right)

        decayed = None
        if not decay_biases:
            masks = [torch.full((p.numel(),), float(p.ndim > 1)) for p in parameters.values()]
            decayed = torch.cat(masks).to(initial)
        return cls(
            initial=initial,
            loss=lambda theta: loss(outputs(theta, inputs), targets),
            convention=convention,
            test=None if test is None else evaluate,
            decayed=decayed,
            supervised=Supervised(module, loss, inputs, targets),
        )
