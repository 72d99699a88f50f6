"""Training samples that are shared out among processes: each has a shard of them, and its part of L.

A shard is to processes what a chunk is to one of them: L, and all that is derived of it, is the sum.
"""

from __future__ import annotations

import itertools

import torch

from eostui.errors import InputError
from eostui.problems.batch import LossFunction, loss_of_rows, supervised_parts
from eostui.problems.problem import Problem, are_coupled, is_mean


def shard_rows(samples: int, processes: int) -> list[range]:
    """Return the samples of each process, in their order; the first ones have one more than the others
    where they can't have equally many.

    Raises:
        InputError: if there are fewer samples than processes.
    """
    if processes > samples:
        raise InputError(
            f"`processes` is {processes}, but there are {samples} training samples: each process must "
            "have one at least"
        )
    size, more = divmod(samples, processes)
    starts = [number * size + min(number, more) for number in range(processes + 1)]
    return [range(*pair) for pair in itertools.pairwise(starts)]


def shards_of(problem: Problem, processes: int) -> list[range]:
    """Return the samples of each process, as `shard_rows`.

    Raises:
        InputError: if the loss isn't a mean over samples, each of which counts by itself.
    """
    parts = supervised_parts(problem.loss)
    wanted = f"`processes` is {processes}, but"
    if not parts:
        raise InputError(
            f"{wanted} the problem is a function of θ alone: it has no samples to share out"
        )
    first = parts[0]
    if are_coupled(first.outputs, first.inputs, problem.initial):
        raise InputError(
            f"{wanted} the network's outputs for a sample depend on the other samples of the batch "
            "(batch normalisation?), so samples can't be shared out: leave `processes` at 1, or use "
            "nn.GroupNorm"
        )
    if not is_mean(first, problem.initial):
        raise InputError(
            f"{wanted} the loss isn't a mean over samples, so it isn't the sum of shards: leave "
            "`processes` at 1, or divide the loss by the number of samples"
        )
    return shard_rows(sum(len(part.inputs) for part in parts), processes)


def loss_of_shard(problem: Problem, rows: range) -> LossFunction:
    """Return θ ↦ the share of some samples in L, in chunks as large as the problem's."""
    samples = sum(len(part.inputs) for part in supervised_parts(problem.loss))
    numbers = torch.arange(rows.start, rows.stop)
    return loss_of_rows(problem.loss, numbers, problem.chunk_size, samples)
