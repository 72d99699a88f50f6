"""Timing of work that may run on a device of its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long one call takes, the device's queue included."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def median_seconds(
    work: Callable[[], object], device: torch.device, *, budget: float = 2.0, least: int = 5
) -> float:
    """Return the median time of repeated calls, after two that warm up.

    Args:
        work: what to time.
        device: where it computes.
        budget: seconds to spend, unless fewer than `least` calls fit.
        least: calls timed at least.
    """
    for _ in range(2):
        work()
    times: list[float] = []
    while len(times) < least or (sum(times) < budget and len(times) < 200):
        times.append(seconds(work, device))
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
