"""What a step and a measurement of a run ask of their device, beside the time that they take."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eostui.bench.activity import Activity, activity
from eostui.bench.clock import ROUNDS, seconds
from eostui.bench.measure import Narrate, a_run, autograd_step
from eostui.config import RunConfig
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
        `peak_megabytes`, the most memory that tensors had at once.
    """
    start = dataclasses.replace(problem, initial=theta)
    cuda = theta.device.type == "cuda"
    plain = min(steps, STRETCH)
    long = min(steps, _STRETCH_ON_GPU) if cuda else plain
    count = _MEASUREMENTS_ON_GPU if cuda else _MEASUREMENTS
    short, cadence = max(long // _SHORT, 1), max(long // count, 1)
    never = {
        "cadence": long + 1, "far_cadence": 0, "test_cadence": long + 1, "eigenvalues": 1,
        "checkpoint_every": 0,
    }  # fmt: skip
    if cuda:
        torch.cuda.reset_peak_memory_stats(theta.device)

    def run_of(steps: int, **changes: object) -> Work:
        return _work_of_run(config.changed({**never, "steps": steps, **changes}), start, facts)

    turns = 4
    narrate("what a step asks of its device", 0, turns)
    at_once = _work(lambda: _descend(config, problem, theta, plain), theta.device)
    bare = Work(at_once.seconds / plain, at_once.activity / plain)
    narrate("what a step asks of its device", 1, turns)
    shorter = run_of(short)
    narrate("what a step asks of its device", 2, turns)
    longer = run_of(long)
    narrate("what a measurement asks of its device", 3, turns)
    products: list[float] = []
    measured = _work_of_run(
        config.changed({**never, "steps": long, "cadence": cadence}), start, facts, products.append
    )
    found = {
        "bare": bare.as_json(),
        "measurement": _share(measured, longer, long // cadence).as_json(),
        "products": products[0],
    }
    if long > short:
        found["step"] = _share(longer, shorter, long - short).as_json()
    if cuda:
        found["peak_megabytes"] = torch.cuda.max_memory_allocated(theta.device) / 1e6
    return found


def _share(whole: Work, part: Work, times: int) -> Work:
    """Return the share of what `whole` has above `part`; on a busy machine a time may come out as 0."""
    taken = max(whole.seconds - part.seconds, 0.0) / times
    return Work(taken, (whole.activity - part.activity) / times)


def _work_of_run(
    config: RunConfig,
    problem: Problem,
    facts: dict[str, str],
    tell_products: Callable[[float], object] = lambda _: None,
) -> Work:
    """Return what a whole run takes, in a new directory each time: timed, then profiled."""
    device = problem.initial.device
    times: list[float] = []
    for _ in range(ROUNDS):
        with a_run(config, problem, facts) as (train, _path):
            times.append(seconds(train, device))
        if sum(times) > _ENOUGH:
            break
    with a_run(config, problem, facts) as (train, path):
        seen = activity(train, device)
        with Run(path) as run:  # all but the first, which is cold
            counts = run.measured["hessian_products"][1:]
        tell_products(float(counts.mean()) if len(counts) else 0.0)
    return Work(min(times), seen)


def _work(work: Callable[[], object], device: torch.device) -> Work:
    return Work(min(seconds(work, device) for _ in range(ROUNDS)), activity(work, device))


def _descend(config: RunConfig, problem: Problem, theta: Tensor, steps: int) -> None:
    for _ in range(steps):
        theta = autograd_step(config, problem, theta)
