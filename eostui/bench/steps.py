"""What a step and a measurement of a run ask of their device, beside the time that they take."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eostui.bench.activity import Activity, activity
from eostui.bench.clock import ROUNDS, seconds
from eostui.bench.measure import Narrate, a_run, autograd_step
from eostui.config import RunConfig
from eostui.engine.gradients_ahead import SWITCH
from eostui.problems import Problem
from eostui.runs.run import Run

#: Runs are timed again until so many seconds are spent, ROUNDS times at most.
_ENOUGH = 3.0

#: Steps of the stretch that is looked at, unless a bench is of fewer; the part of it that the short one
#: it is compared with has; and measurements in it.
STRETCH, _SHORT, _MEASUREMENTS = 100, 5, 4
#: The same on a GPU, where 100 steps are done in less than what a run spends once varies by.
_STRETCH_ON_GPU, _MEASUREMENTS_ON_GPU = 1000, 40


@dataclass(frozen=True)
class Work:
    """One piece of work: how long it takes, and what its device is asked for.

    Attributes:
        seconds: wall time, without the profiler.
        activity: by the profiler.
    """

    seconds: float
    activity: Activity

    def as_json(self) -> dict[str, float]:
        """Return the figures by name; those of a GPU are 0 on a CPU."""
        return {"seconds": self.seconds, **dataclasses.asdict(self.activity)}


def time_steps(
    config: RunConfig,
    problem: Problem,
    theta: Tensor,
    steps: int,
    facts: dict[str, str],
    narrate: Narrate,
) -> dict[str, Any]:
    """Return what a step of bare descent, a step of a run, and a measurement of a run ask for.

    What a run spends once (its record, its first measurement, whatever an engine prepares) isn't in it,
    nor what it does by the clock, its checkpoints: a step is the difference of a longer and a shorter
    run without measurements, a measurement that of two runs as long, with and without: what it adds to
    a run. On a GPU the steps after it are done beside it, so that it may add less than it takes.

    Args:
        config: the preset's, of which S, u and ∇S are measured.
        problem: what is trained.
        theta: where it begins, shape (P,).
        steps: at most so many.
        facts: of the run directories.
        narrate: told what is done.

    Returns:
        `bare`, `step`, `measurement`: `Work.as_json` of each; `products` of a measurement; on CUDA
        `steps_per_second` of a run with a measurement every `cadence` steps, once it has begun, and
        `peak_megabytes`, the most memory that tensors had at once.
    """
    start = dataclasses.replace(problem, initial=theta)
    cuda = theta.device.type == "cuda"
    # a profile of many steps takes a minute to read: what is counted are few
    few = Stretch.of(steps, STRETCH, _MEASUREMENTS)
    timed = Stretch.of(steps, _STRETCH_ON_GPU, _MEASUREMENTS_ON_GPU) if cuda else few
    never = {
        "cadence": timed.long + 1, "far_cadence": 0, "test_cadence": timed.long + 1, "eigenvalues": 1,
        "checkpoint_every": 0,
    }  # fmt: skip
    if cuda:
        torch.cuda.reset_peak_memory_stats(theta.device)

    def seconds_of(steps: int, **changes: object) -> float:
        return _seconds_of_run(config.changed({**never, "steps": steps, **changes}), start, facts)

    def activity_of(steps: int, **changes: object) -> Activity:
        told = config.changed({**never, "steps": steps, **changes})
        return _activity_of_run(told, start, facts, products.append)

    turns = 4
    products: list[float] = []
    narrate("what a step asks of its device", 0, turns)
    at_once = _work(lambda: _descend(config, problem, theta, few.long), theta.device)
    bare = Work(at_once.seconds / few.long, at_once.activity / few.long)
    narrate("what a step asks of its device", 1, turns)
    shorter, few_shorter = seconds_of(timed.short), activity_of(few.short)
    narrate("what a step asks of its device", 2, turns)
    longer, few_longer = seconds_of(timed.long), activity_of(few.long)
    narrate("what a measurement asks of its device", 3, turns)
    measured = seconds_of(timed.long, cadence=timed.cadence)
    few_measured = activity_of(few.long, cadence=few.cadence)
    found: dict[str, Any] = {
        "bare": bare.as_json(),
        "measurement": Work(
            max(measured - longer, 0.0) / timed.measurements,
            (few_measured - few_longer) / few.measurements,
        ).as_json(),
        "products": products[-1],
    }
    if few.long > few.short:
        # on a busy machine a difference of times may come out below 0
        found["step"] = Work(
            max(longer - shorter, 0.0) / (timed.long - timed.short),
            (few_longer - few_shorter) / (few.long - few.short),
        ).as_json()
    if cuda:
        if "step" in found:
            spent = config.cadence * found["step"]["seconds"] + found["measurement"]["seconds"]
            found["steps_per_second"] = config.cadence / spent if spent else 0.0
        found["peak_megabytes"] = torch.cuda.max_memory_allocated(theta.device) / 1e6
    return found


@dataclass(frozen=True)
class Stretch:
    """What a run is of which a step and a measurement are a share.

    Attributes:
        long, short: steps of it, and of the one that it is compared with.
        cadence: steps between measurements in it.
    """

    long: int
    short: int
    cadence: int

    @classmethod
    def of(cls, steps: int, most: int, measurements: int) -> Stretch:
        """Return the stretch of a bench of so many steps."""
        long = min(steps, most)
        return cls(long, max(long // _SHORT, 1), max(long // measurements, 1))

    @property
    def measurements(self) -> int:
        """How many there are, the one at its start not counted."""
        return self.long // self.cadence


def _seconds_of_run(config: RunConfig, problem: Problem, facts: dict[str, str]) -> float:
    """Return the least time of a whole run, in a new directory each time."""
    times: list[float] = []
    for _ in range(ROUNDS):
        with _in_turn(), a_run(config, problem, facts) as (train, _path):
            times.append(seconds(train, problem.initial.device))
        if sum(times) > _ENOUGH:
            break
    return min(times)


def _activity_of_run(
    config: RunConfig,
    problem: Problem,
    facts: dict[str, str],
    tell_products: Callable[[float], object],
) -> Activity:
    """Return what a whole run asks for, by the profiler; tell how many products a measurement took."""
    with _in_turn(), a_run(config, problem, facts) as (train, path):  # a profiler sees one thread
        seen = activity(train, problem.initial.device)
        with Run(path) as run:  # all but the first, which is cold
            counts = run.measured["hessian_products"][1:]
        tell_products(float(counts.mean()) if len(counts) else 0.0)
    return seen


@contextlib.contextmanager
def _in_turn() -> Iterator[None]:
    """Have a run on a CPU do each pass in its turn: what a step takes isn't what is left of it."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = before


def _work(work: Callable[[], object], device: torch.device) -> Work:
    return Work(min(seconds(work, device) for _ in range(ROUNDS)), activity(work, device))


def _descend(config: RunConfig, problem: Problem, theta: Tensor, steps: int) -> None:
    for _ in range(steps):
        theta = autograd_step(config, problem, theta)
