"""What work asks of its device, as PyTorch's profiler sees it: operators, launches, waits, busy time."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

#: Calls of CUDA's runtime and driver by which a host starts work, a whole graph counting once,
#: and those by which it stands still until work is done. Kineto tells them by their own names.
_LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cuGraphLaunch")
_WAITS = (
    "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize",
    "cuStreamSynchronize", "cuCtxSynchronize", "cuEventSynchronize",
)  # fmt: skip

#: What the device itself calls moving and filling memory.
_COPIES = ("Memcpy", "Memset")

#: The operator below `.item()`, `float(tensor)` and `if tensor`: the host reads a number, on any device.
_READ = "aten::_local_scalar_dense"

#: The name of the range in a profile that is counted.
_WORK = "eostui.bench"

#: Newer profilers warn at their first use that events of a cycle are gone after it, unless this is set.
_ACCUMULATES: dict[str, Any] = (
    {"acc_events": True} if "acc_events" in inspect.signature(profile).parameters else {}
)

# or the profiler tells on stderr when it begins and ends
os.environ.setdefault("KINETO_LOG_LEVEL", "99")


@dataclass(frozen=True)
class Activity:
    """What work did, as sums over its calls; differences and shares of it are taken by `-` and `/`.

    Attributes:
        operators: PyTorch operators that the host called, each with all that it calls itself as one.
        reads: numbers that the host read from a tensor, one at a time.
        launches: kernels and captured graphs started by the host. This and what follows is 0 on a CPU.
        kernels: kernels that ran, those of a captured graph one by one.
        waits: times the host stood still until the device was done.
        copies: copies and fills, to, from and on the device.
        busy_seconds: time in which the device did anything at all.
    """

    operators: float
    reads: float
    launches: float
    kernels: float
    waits: float
    copies: float
    busy_seconds: float

    def __sub__(self, other: Activity) -> Activity:
        """Return what this work did and the other didn't."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Activity(*(mine - its for mine, its in pairs))

    def __truediv__(self, times: float) -> Activity:
        """Return this as a share of so many times."""
        return Activity(*(value / times for value in dataclasses.astuple(self)))


def activity(work: Callable[[], object], device: torch.device) -> Activity:
    """Return what one call of `work` did on the device; the wait for its end isn't counted."""
    watched = [ProfilerActivity.CPU]
    if device.type == "cuda":
        watched.append(ProfilerActivity.CUDA)
        torch.cuda.synchronize(device)
    with profile(activities=watched, **_ACCUMULATES) as profiler:
        with record_function(_WORK):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return counted(profiler.events() or ())


def counted(events: Iterable[FunctionEvent]) -> Activity:
    """Return what the events of a profile say of the range _WORK in it.

    What the host does counts within the range; what the device does may end after it.
    """
    events = list(events)
    (work,) = (event for event in events if event.name == _WORK and _on_host(event))
    begin, end = work.time_range.start, work.time_range.end
    host: list[str] = []
    spans: list[tuple[float, float]] = []
    operators = copies = 0
    for event in events:
        if event.name == _WORK:  # the profiler marks the range on the device as well
            continue
        if not _on_host(event):
            copies += event.name.startswith(_COPIES)
            spans.append((event.time_range.start, event.time_range.end))
        elif begin <= event.time_range.start <= end:
            host.append(event.name)
            operators += _is_operator(event) and not any(map(_is_operator, _above(event)))
    return Activity(
        operators=operators,
        reads=host.count(_READ),
        launches=sum(name.startswith(_LAUNCHES) for name in host),
        kernels=len(spans) - copies,
        waits=sum(name.startswith(_WAITS) for name in host),
        copies=copies,
        busy_seconds=covered(spans) * 1e-6,
    )


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals (start, end): streams work at the same time."""
    length, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        length += max(0.0, end - max(start, until))
        until = max(until, end)
    return length


def _on_host(event: FunctionEvent) -> bool:
    return bool(event.device_type.name == "CPU")


def _is_operator(event: FunctionEvent) -> bool:
    return event.name.startswith("aten::")


def _above(event: FunctionEvent) -> Iterator[FunctionEvent]:
    """Yield the host's events that an event is part of, from the nearest on."""
    above = event.cpu_parent
    while above is not None:
        yield above
        above = above.cpu_parent
