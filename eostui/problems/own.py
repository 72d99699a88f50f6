"""A problem of a user's own: their file is executed, their function called, what it returns examined."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Callable

import torch

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.own_code import heard, load_function, own_file, seeded, told
from eostui.problems.examination import examine
from eostui.problems.problem import Problem
from eostui.runs.analysis.remarks import SAID, TRUSTED


def own_problem(config: RunConfig, device: torch.device, narrate: Callable[[str], None]) -> Problem:
    """Call the function of `problem = "file.py:function"`. It runs on the user's own word.

    Args:
        config: the run's configuration.
        device: where θ and the data will live.
        narrate: told what the user's code prints and warns of.

    Raises:
        InputError: if it doesn't work, or what it returns would be measured wrongly.
    """
    own_file(config.problem, "problem")
    dtype = getattr(torch, config.dtype)
    with heard(narrate) as lines:
        try:
            function = load_function(config.problem, "problem", config.seed)
            problem = _call(function, config, device, dtype)
            outcome = examine(
                problem,
                trusted=config.trust_gradients or problem.trust_gradients,
                in_double=lambda: _call_again(function, config, device),
            )
        except InputError as error:
            raise InputError(f"`problem`: {config.problem}: {error}") from None
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            raise InputError(f"`problem`: {config.problem} failed: {told(error)}") from error
    problem.facts["examined"] = outcome.compared
    if outcome.estimated:
        problem.facts[TRUSTED] = outcome.estimated
    if lines:
        problem.facts[SAID] = " · ".join(lines)
    return problem


def _call(
    function: Callable[..., object], config: RunConfig, device: torch.device, dtype: torch.dtype
) -> Problem:
    """Let a user's function make its problem."""
    takes_chunks = "chunk_size" in inspect.signature(function).parameters
    chunks = {"chunk_size": config.chunk_size} if takes_chunks else {}
    problem = function(device=device, dtype=dtype, **chunks, **config.problem_arguments)
    if not isinstance(problem, Problem):
        raise InputError(
            f"it returned {type(problem).__name__}, but must return an eostui.problems.Problem"
        )
    initial = problem.initial
    if initial.ndim == 1 and (initial.dtype, initial.device.type) != (dtype, device.type):
        raise InputError(
            f"θ₀ is {initial.dtype} on {initial.device}, but must be {dtype} on {device}: "
            "use the `dtype` and `device` that the function is given"
        )
    # a size that the function chose itself is in the config too once a run has begun
    if not takes_chunks and config.chunk_size not in ("auto", problem.chunk_size):
        raise InputError(
            f"it takes no argument `chunk_size`, but the config sets it to {config.chunk_size}: let it "
            "take one and hand it to Problem.from_module"
        )
    return problem


def _call_again(
    function: Callable[..., object], config: RunConfig, device: torch.device
) -> Problem:
    """Let a function make its problem in float64 too, without a word and without a trace."""
    unheard = io.StringIO()
    with (
        contextlib.redirect_stdout(unheard),
        contextlib.redirect_stderr(unheard),
        seeded(config.seed, device),
    ):
        return _call(function, config, device, torch.float64)
