"""What is examined: a loss, and what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from eostui.problems.batch import (
    LossFunction,
    Supervised,
    trained_parameters,
)


@dataclass(frozen=True)
class Subject:
    """A loss and what its evaluation must leave as it is.

    Attributes:
        loss: θ ↦ scalar.
        theta: θ₀, shape (P,).
        module: what the loss calls, if that is known.
        data: tensors that it reads, by what they are.
        samples: in words, what of the loss this is.
    """

    loss: LossFunction
    theta: Tensor
    module: nn.Module | None = None
    data: Mapping[str, Tensor] = field(default_factory=dict)
    samples: str = ""

    @property
    def padding(self) -> Tensor:
        """True for the rows of θ that an `nn.Embedding` keeps without a gradient, shape (P,)."""
        held = torch.zeros_like(self.theta, dtype=torch.bool)
        if self.module is None:
            return held
        rows = {
            id(m.weight): (m.padding_idx, m.embedding_dim)
            for m in self.module.modules()
            if isinstance(m, nn.Embedding | nn.EmbeddingBag) and m.padding_idx is not None
        }
        start = 0
        for parameter in trained_parameters(self.module).values():
            if id(parameter) in rows:
                row, width = rows[id(parameter)]
                held[start + row * width : start + (row + 1) * width] = True
            start += parameter.numel()
        return held

    @classmethod
    def of(
        cls, made_of: Supervised, theta: Tensor, inputs: Tensor, targets: Tensor, samples: str = ""
    ) -> Subject:
        """Return the loss of copies of these samples."""
        data = {"inputs": _copied(inputs), "targets": _copied(targets)}

        def loss(at: Tensor) -> Tensor:
            return made_of.loss(made_of.outputs(at, data["inputs"]), data["targets"])

        return cls(loss, theta, made_of.module, data, samples)


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)
