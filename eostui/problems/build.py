"""From a config to the problem it names: a network on data, a toy, or a user's own function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.problems.convolutions import CONVOLUTIONS, default_convolutions
from eostui.problems.datasets import Dataset, load_dataset
from eostui.problems.losses import LOSSES, accuracy
from eostui.problems.networks import build_network
from eostui.problems.own import own_problem
from eostui.problems.problem import Problem
from eostui.problems.toys import build_toy
from eostui.runs.analysis.run_phases import CHANCE_LOSS
from eostui.toys import TOYS

Narrate = Callable[[str], None]


def build_problem(
    config: RunConfig, device: torch.device, data_dir: Path, narrate: Narrate
) -> Problem:
    """Build the problem that `config` names, on `device`.

    Args:
        config: the run's configuration.
        device: where θ and the data will live.
        data_dir: where downloaded data sets are kept.
        narrate: told what takes long.

    Raises:
        InputError: if the data or the user's function can't be had, or don't fit the config.
    """
    if config.problem in TOYS:
        like = torch.empty(0, device=device, dtype=getattr(torch, config.dtype))
        torch.manual_seed(config.seed)
        arguments = TOYS[config.problem].model_validate(config.problem_arguments)
        return build_toy(config.problem, arguments, like)
    if config.problem != "network":
        return own_problem(config, device, narrate)
    data = load_dataset(config, data_dir, narrate)
    if config.loss == "cross-entropy" and not data.classes:
        raise InputError('`loss` is "cross-entropy", but the targets aren\'t classes')
    if config.loss == "cross-entropy" and data.classes == 1:
        raise InputError(
            '`loss` is "cross-entropy", which is 0 for whatever a network says of a single class'
        )
    return _network_problem(config, data, device)


def _network_problem(config: RunConfig, data: Dataset, device: torch.device) -> Problem:
    _refuse_groups(config.batch_norm_group, len(data.x))
    dtype = getattr(torch, config.dtype)
    torch.manual_seed(config.seed)
    shape = data.x.shape[1:] if data.images is None else data.images.shape
    module = build_network(config, tuple(shape), data.y.shape[1])
    if data.images is not None:
        module = nn.Sequential(data.images, module)
    module = module.to(device=device, dtype=dtype)
    loss = LOSSES[config.loss]
    convolutions = config.convolutions
    if convolutions == "auto":
        convolutions = default_convolutions(device)
    inputs_dtype = dtype if data.images is None else data.x.dtype
    test = None
    if data.test_x is not None and data.test_y is not None:
        test = (data.test_x.to(device, inputs_dtype), data.test_y.to(device, dtype))
    problem = Problem.from_module(
        module,
        loss.function,
        data.x.to(device, inputs_dtype),
        data.y.to(device, dtype),
        convention=loss.convention,
        test=test,
        accuracy=accuracy if data.classes else None,
        decay_biases=config.decay_biases,
        chunk_size=config.chunk_size,
        convolutions=convolutions,
    )
    problem.facts.update(data.facts)
    if data.images is not None:
        problem = replace(problem, arrays={**problem.arrays, "images": data.images.images})
    elif config.network in ("cnn", "vgg16"):  # chains of plain layers
        problem.facts[CONVOLUTIONS] = convolutions
    problem.facts[CHANCE_LOSS] = repr(loss.of_chance(data.y))
    return problem


def _refuse_groups(size: int, samples: int) -> None:
    """Raise InputError if samples can't be normalised in groups of this size."""
    if size > samples:
        raise InputError(
            f"`batch_norm_group` is {size}, but there are only {samples} training samples: use "
            "fewer, or 0 for all of them in one group"
        )
    if size and (size == 1 or samples % size == 1):
        which = "each group has" if size == 1 else f"the last group of {samples} samples would have"
        raise InputError(
            f"`batch_norm_group` is {size}, so that {which} one sample alone, which has no variance: use "
            "another size, or 0 for all samples in one group"
        )
