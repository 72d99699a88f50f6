"""Some samples of a problem, by which something is measured that all of them would be too many for."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from eostui.errors import InputError
from eostui.problems.batch import Supervised, supervised_parts
from eostui.problems.problem import HeldOutSamples, Problem, are_coupled
from eostui.runs.analysis.possible_probes import NO_OUTPUTS

#: Which samples: those that are trained on, or those held out.
Split = Literal["train", "test"]

#: Of the permutation, whatever the run's seed: runs that are compared are measured on the same samples.
_SEED = 0


def subset(problem: Problem, split: Split, count: int | None = None) -> Supervised:
    """Return some of a problem's samples with the network on them, as a mean over themselves.

    They are the first of a permutation that depends on how many there are alone: n samples are among
    any larger number of them, and the same in every run on these data.

    Args:
        problem: whose samples.
        split: which of them.
        count: how many; all, in their own order, if left out.

    Raises:
        InputError: if it hasn't so many, or is a function of θ alone, or if its outputs for a sample
            depend on the others.
    """
    inputs, targets = _data(problem, split)
    first, total = supervised_parts(problem.loss)[0], sum(map(len, inputs))
    if count is not None and not 1 <= count <= total:
        raise InputError(f"there are {total} {_WORDS[split]} samples, and {count} were asked for")
    if total > 1 and are_coupled(first.outputs, first.inputs, problem.initial):
        raise InputError(
            "the network's outputs for a sample depend on the other samples of the batch (batch "
            "normalisation?), so some samples alone have no NTK: use nn.GroupNorm"
        )
    return Supervised(
        first.module,
        first.outputs,
        first.loss,
        _rows(inputs, count, total),
        _rows(targets, count, total),
        share=1.0,
        convolutions=first.convolutions,
    )


def how_many(problem: Problem, split: Split) -> int:
    """Return how many samples there are. Raises InputError as `subset`."""
    return sum(map(len, _data(problem, split)[0]))


def _data(problem: Problem, split: Split) -> tuple[list[Tensor], list[Tensor]]:
    """Return inputs and targets, in as many parts as they are held in."""
    parts = supervised_parts(problem.loss)
    if not parts:
        raise InputError(NO_OUTPUTS)
    if split == "train":
        return [part.inputs for part in parts], [part.targets for part in parts]
    if not isinstance(problem.test, HeldOutSamples):
        raise InputError("the problem has no test samples")
    return [problem.test.inputs], [problem.test.targets]


_WORDS = {"train": "training", "test": "test"}


def _rows(data: list[Tensor], count: int | None, total: int) -> Tensor:
    whole = data[0] if len(data) == 1 else torch.cat(data)
    if count is None:
        return whole
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(_SEED))[:count]
    return whole[chosen.to(whole.device)]
