"""How a GPU computes the convolutions of a run: timed at its beginning, and a fact of it from then on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import Point, plain_gradient
from eostui.problems import Problem
from eostui.problems.batch import Convolutions, LossFunction, parts_of, with_convolutions
from eostui.problems.convolutions import CONVOLUTIONS

#: Products with the Hessian in a usual measurement.
_PRODUCTS = 5
#: Calls of each piece of work that are timed, after one that isn't.
_CALLS = 3


def with_fastest_convolutions(
    config: RunConfig, problem: Problem, say: Callable[[str], None]
) -> Problem:
    """Return the problem with convolutions as they are fastest, where the config leaves that to CUDA.

    Args:
        config: of the run; one that goes on with another's record states what that one had.
        problem: the one of the config.
        say: told what is done.
    """
    automatic = config.convolutions == "auto" and CONVOLUTIONS in problem.facts
    if not automatic or problem.initial.device.type != "cuda":
        return problem
    say("timing its convolutions")
    return as_timed(problem, config.cadence, _seconds)


def as_timed(
    problem: Problem, cadence: int, seconds: Callable[[Callable[[], object]], float]
) -> Problem:
    """Return the problem with its convolutions computed as takes the least time.

    Args:
        problem: a network on data.
        cadence: steps between measurements, each of which takes a few Hessian products.
        seconds: how long a piece of work takes.
    """
    part = parts_of(problem.loss)[0]
    times: dict[Convolutions, float] = {}
    for how in get_args(Convolutions):
        try:
            step, product = _pieces(with_convolutions(part, how), problem.initial, seconds)
        except torch.OutOfMemoryError:
            continue
        times[how] = (cadence * step + _PRODUCTS * product) / cadence
    choice: Convolutions = min(times, key=lambda how: times[how], default="native")
    timed = ", ".join(f"{how} {taken * 1e3:.2f}" for how, taken in times.items())
    facts = {CONVOLUTIONS: choice, "convolutions_timed": f"ms a step with measurements: {timed}"}
    return replace(
        problem,
        loss=with_convolutions(problem.loss, choice),
        facts={**problem.facts, **facts},
    )


def _pieces(
    loss: LossFunction, theta: Tensor, seconds: Callable[[Callable[[], object]], float]
) -> tuple[float, float]:
    """Return how long a gradient and a Hessian product of one part of the loss take."""
    step = seconds(lambda: plain_gradient(loss, theta))
    point, vector = Point(loss, theta), torch.ones_like(theta)
    return step, seconds(lambda: point.hessian_product(vector))


def _seconds(work: Callable[[], object]) -> float:
    """Return the median time of a call on CUDA, its queue included."""
    taken: list[float] = []
    for _ in range(1 + _CALLS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])
