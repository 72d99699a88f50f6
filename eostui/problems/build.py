"""From a config to the problem it names: a network on data, a toy, or a user's own function."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from eostui.config import RunConfig
from eostui.errors import InputError, did_you_mean
from eostui.problems.batch import parts_of
from eostui.problems.datasets import Dataset, load_dataset
from eostui.problems.differentiable import examine
from eostui.problems.losses import LOSSES, accuracy
from eostui.problems.networks import build_network
from eostui.problems.problem import Problem
from eostui.problems.toys import build_toy
from eostui.runs.phase_spans import CHANCE_LOSS
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
        return _own_problem(config, device)
    data = load_dataset(config, data_dir, narrate)
    if config.loss == "cross-entropy" and not data.classes:
        raise InputError('`loss` is "cross-entropy", but the targets aren\'t classes')
    return _network_problem(config, data, device)


def _network_problem(config: RunConfig, data: Dataset, device: torch.device) -> Problem:
    dtype = getattr(torch, config.dtype)
    torch.manual_seed(config.seed)
    module = build_network(config, tuple(data.x.shape[1:]), data.y.shape[1])
    module = module.to(device=device, dtype=dtype)
    loss = LOSSES[config.loss]
    test = None
    if data.test_x is not None and data.test_y is not None:
        test = (data.test_x.to(device, dtype), data.test_y.to(device, dtype))
    problem = Problem.from_module(
        module,
        loss.function,
        data.x.to(device, dtype),
        data.y.to(device, dtype),
        convention=loss.convention,
        test=test,
        accuracy=accuracy if data.classes else None,
        decay_biases=config.decay_biases,
        chunk_size=config.chunk_size,
    )
    problem.facts.update(data.facts)
    problem.facts[CHANCE_LOSS] = repr(loss.of_chance(data.y))
    return problem


def _own_problem(config: RunConfig, device: torch.device) -> Problem:
    """Call the function of `problem = "file.py:function"`. It runs on the user's own word."""
    file, _, name = config.problem.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise InputError(f'`problem` is "{config.problem}", but there is no file {path}')
    spec = importlib.util.spec_from_file_location(f"eostui_own_problem_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f'`problem` is "{config.problem}", but {path} isn\'t a Python file')
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    torch.manual_seed(config.seed)
    try:
        spec.loader.exec_module(module)
        function = getattr(module, name, None)
        if not callable(function):
            public = [key for key, value in vars(module).items() if callable(value)]
            raise InputError(
                f"`problem`: {path} has no function `{name}`{did_you_mean(name, public)}"
            )
        problem = function(
            device=device,
            dtype=getattr(torch, config.dtype),
            **_chunk_argument(config, function),
            **config.problem_arguments,
        )
        if isinstance(problem, Problem):
            complaint = _other_chunks(config, problem, function) or _complaint(
                problem, device, getattr(torch, config.dtype)
            )
    except InputError as error:
        raise InputError(f"`problem`: {path}:{name}: {error}") from None
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise InputError(
            f"`problem`: {path}:{name} failed: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(problem, Problem):
        raise InputError(
            f"`problem`: {path}:{name} returned {type(problem).__name__}, "
            "but must return an eostui.problems.Problem"
        )
    if complaint:
        raise InputError(f"`problem`: {path}:{name}: {complaint}")
    return problem


def _chunk_argument(config: RunConfig, function: Callable[..., object]) -> dict[str, object]:
    """Return `chunk_size` as an argument for a user's function that takes it."""
    takes = "chunk_size" in inspect.signature(function).parameters
    return {"chunk_size": config.chunk_size} if takes else {}


def _other_chunks(
    config: RunConfig, problem: Problem, function: Callable[..., object]
) -> str | None:
    """Return that a user's problem isn't in chunks of the size that the config sets, or None.

    A size that the function chose itself is in the config too once a run has begun.
    """
    takes = "chunk_size" in inspect.signature(function).parameters
    if takes or config.chunk_size in ("auto", problem.chunk_size):
        return None
    return (
        f"it takes no argument `chunk_size`, but the config sets it to {config.chunk_size}: let it take "
        "one and hand it to Problem.from_module"
    )


def _complaint(problem: Problem, device: torch.device, dtype: torch.dtype) -> str | None:
    """Return what is wrong with a user's problem and its loss at θ₀, or None.

    Raises:
        InputError: if the loss can't be differentiated as it must be.
    """
    initial = problem.initial
    if initial.ndim != 1 or initial.numel() == 0:
        return f"θ₀ has shape {tuple(initial.shape)}, but must be one flat vector"
    if initial.dtype != dtype or initial.device.type != device.type:
        return (
            f"θ₀ is {initial.dtype} on {initial.device}, but must be {dtype} on {device}: "
            "use the `dtype` and `device` that the function is given"
        )
    first, *others = parts_of(problem.loss)
    loss = examine(first, initial)
    with torch.no_grad():
        for part in others:
            loss = loss + part(initial)
    return None if torch.isfinite(loss) else f"its loss at θ₀ is {float(loss):g}"
