"""Which samples a step sees, by seed and step alone: a replay, a fork and a resume see the same."""

from __future__ import annotations

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.directions import keyed
from eostui.errors import InputError
from eostui.problems import Problem
from eostui.problems.batch import supervised_parts

#: The numbers of these draws, beside those of directions.
_EPOCHS, _ASIDE = 50_000, 50_001


class Batches:
    """The batches of mini-batch training, of `size` of the samples each.

    Without replacement an epoch's are a permutation of the samples, drawn anew for each, cut into
    batches; what doesn't fill one is left out. With it each batch is drawn by itself, and a sample may
    come twice.

    Attributes:
        per_epoch: how many there are in an epoch.
    """

    def __init__(self, samples: int, size: int, seed: int, *, replacement: bool) -> None:
        self._samples, self._size, self._seed = samples, size, seed
        self._replacement = replacement
        self.per_epoch = samples // size
        self._epoch: tuple[int, Tensor] | None = None

    def rows(self, step: int) -> Tensor | None:
        """Return the numbers of a step's samples, shape (size,); None for all of them, in their order."""
        if self._replacement:
            return self._independent(step, _EPOCHS)
        if self._size == self._samples:
            return None
        epoch, number = divmod(step, self.per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, self._permutation(epoch, _EPOCHS)
        return self._cut(self._epoch[1], number)

    def aside(self, step: int, count: int) -> list[Tensor]:
        """Return so many other batches, drawn by the step as those of one epoch after another are."""
        if self._replacement:
            return [self._independent(step, _ASIDE + number) for number in range(count)]
        epochs = -(-count // self.per_epoch)
        drawn = [self._permutation(step, _ASIDE + epoch) for epoch in range(epochs)]
        return [
            self._cut(drawn[number // self.per_epoch], number % self.per_epoch)
            for number in range(count)
        ]

    def _independent(self, step: int, number: int) -> Tensor:
        generator = keyed(self._seed, step, number)
        return torch.randint(0, self._samples, (self._size,), generator=generator)

    def _permutation(self, step: int, number: int) -> Tensor:
        return torch.randperm(self._samples, generator=keyed(self._seed, step, number))

    def _cut(self, permutation: Tensor, number: int) -> Tensor:
        return permutation[number * self._size : (number + 1) * self._size]


def batches_of(config: RunConfig, problem: Problem) -> Batches:
    """Return the batches of a run.

    Raises:
        InputError: if its problem has no samples, or fewer than a batch has.
    """
    samples = sum(len(part.inputs) for part in supervised_parts(problem.loss))
    if not samples:
        raise InputError(
            f"`dynamics` is {config.dynamics}, which draws batches of samples, and this problem is a "
            "function of θ alone: it has none"
        )
    if config.batch_size > samples:
        raise InputError(
            f"`batch_size` is {config.batch_size}, but there are {samples} training samples: it must be "
            "at most that"
        )
    return Batches(samples, config.batch_size, config.seed, replacement=config.replacement)
