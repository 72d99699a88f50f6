"""Timing of work that may run on a device of its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from itertools import product

import torch

#: Rounds of timing, and calls of one piece in a round at most.
ROUNDS, _MOST = 3, 60


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long one call takes, the device's queue included."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def median_seconds(
    work: Mapping[str, Callable[[], object]],
    device: torch.device,
    tell: Callable[[int], None],
    *,
    budget: float,
) -> dict[str, float]:
    """Return the median time of each piece of work, taken by rounds.

    A while in which the machine does something else then falls on a call or two of every
    piece, not on all calls of one.

    Args:
        work: what to time, by name.
        device: where it computes.
        tell: told how many of the ROUNDS × len(work) turns are done.
        budget: seconds for each piece, unless two calls a round take longer.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    for done, (_, name) in enumerate(product(range(ROUNDS), work)):
        tell(done)
        work[name]()  # warms up
        taken: list[float] = []
        while len(taken) < 2 or (sum(taken) < budget / ROUNDS and len(taken) < _MOST):
            taken.append(seconds(work[name], device))
        times[name] += taken
    return {name: statistics.median(taken) for name, taken in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
