"""What a sweep will cost: some steps of its cheapest and its dearest member are taken, and timed."""

from __future__ import annotations

import contextlib
import heapq
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eostui.config import RunConfig
from eostui.errors import EostuiError
from eostui.runs.launch import EngineProcess, await_ready
from eostui.runs.store.checkpoints import files
from eostui.runs.store.lookup import newest_row
from eostui.runs.store.reader import RunReader
from eostui.runs.template import Template
from eostui.sweeps import cost

#: Seconds for which a member is timed, and at most, where a step takes long.
_TIMED, _MOST = 2.0, 60.0
#: Steps that are no measure of the others: memory is had, kernels are chosen.
_FIRST = 2
#: Seconds in which PyTorch is loaded, once for a sweep.
_LOAD = 2.0


@dataclass(frozen=True)
class Trial:
    """What was measured of a member.

    Attributes:
        config: of the member.
        start_seconds: from its beginning to its first step.
        step_seconds: of a step.
        memory: bytes that its process had for itself at most; 0 where that isn't told.
        checkpoint: bytes of a checkpoint.
    """

    config: RunConfig
    start_seconds: float
    step_seconds: float
    memory: float
    checkpoint: float


@dataclass(frozen=True)
class Estimate:
    """What a sweep will cost.

    Attributes:
        seconds: of each member, training.
        wall: of the sweep, with so many workers.
        disk: bytes of all members.
        memory: bytes of all workers, each of the largest measured; 0 where that isn't told.
    """

    seconds: tuple[float, ...]
    wall: float
    disk: float
    memory: float


def timed(
    config: RunConfig, data_dir: Path, template: Template, device: str, stopped: Callable[[], bool]
) -> Trial:
    """Take some steps of a member in an engine, as the sweep will, and tell what they cost.

    Args:
        config: of the member.
        data_dir: where the data sets are.
        template: of the engine.
        device: what `device = "auto"` is for it.
        stopped: whether to give up; asked now and then.

    Raises:
        StartError: if it can't begin, with the engine's sentence, or was stopped before.
        EostuiError: if it took no step.
    """
    with tempfile.TemporaryDirectory(prefix="eostui-trial-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "trial"
        engine = EngineProcess(
            config, path.parent, data_dir, watched=False, path=path, device=device,
            engine=template.engine(),
        )  # fmt: skip
        began: list[float] = []  # when it said its first word: PyTorch is loaded once for all
        cancelled = False

        def heed() -> None:
            nonlocal cancelled
            if not cancelled and stopped():
                cancelled = True
                engine.cancel()

        await_ready(engine, lambda _text: began.append(time.monotonic()), heed)
        begun = began[0]
        at: list[tuple[float, int]] = []  # when a newest step was seen first
        reader = RunReader(path)
        try:
            while engine.wait(0.02) is None and not stopped():
                now, step = time.monotonic(), int(newest_row(reader).get("step", -1))
                if step >= _FIRST and (not at or step > at[-1][1]):
                    at.append((now, step))
                enough = len(at) > 2 and now - at[0][0] > _TIMED
                if enough or now - begun > _MOST:
                    break
            last = int(newest_row(reader).get("step", -1))
        finally:
            reader.close()
        memory = _own_memory(engine.pid)
        engine.cancel()
        engine.wait()
        sizes = [file.size for file in files(path)]
        whole = time.monotonic() - begun
    if last < 1:
        raise EostuiError(f"no step was taken in {whole:.0f} s: nothing can be said of its cost")
    first = at[0] if at else (begun, 0)
    step_seconds = whole / (last + 1)  # where it was over at once, or a step takes long
    if len(at) > 1:
        step_seconds = (at[-1][0] - first[0]) / (at[-1][1] - first[1])
    start = max(first[0] - begun - first[1] * step_seconds, 0.0)
    return Trial(config, start, step_seconds, memory, max(sizes, default=0))


def estimate(configs: Sequence[RunConfig], trials: Sequence[Trial], workers: int) -> Estimate:
    """Return what members will cost, by what some of them did: a step's cost grows with its work.

    Args:
        configs: of all members.
        trials: of one or two of them.
        workers: that train at once.
    """
    cheap, dear = trials[0], trials[-1]
    low, high = _work_of_step(cheap.config), _work_of_step(dear.config)
    slope = (dear.step_seconds - cheap.step_seconds) / (high - low) if high > low else 0.0
    seconds, disk = [], 0.0
    for config in configs:
        step = max(cheap.step_seconds + slope * (_work_of_step(config) - low), 1e-6)
        start = max(trial.start_seconds for trial in trials)
        seconds.append(start + config.steps * step)
        share = cost.checkpoint_bytes(config) / cost.checkpoint_bytes(dear.config)
        disk += _disk(config, dear.checkpoint * share, seconds[-1])
    memory = max(trial.memory for trial in trials) * workers
    return Estimate(tuple(seconds), _LOAD + _longest_first(seconds, workers), disk, memory)


def to_time(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Return the members of which a step is cheapest and dearest, or one where all cost the same."""
    ordered = sorted(configs, key=_work_of_step)
    alike = _work_of_step(ordered[-1]) < 1.02 * _work_of_step(ordered[0])
    return [ordered[-1]] if alike else [ordered[0], ordered[-1]]


def _work_of_step(config: RunConfig) -> float:
    return cost.work(config) / config.steps


def _disk(config: RunConfig, checkpoint: float, seconds: float) -> float:
    """Return the bytes of a run's record with the checkpoints that are kept of it."""
    taken = 1 + (seconds // config.checkpoint_every if config.checkpoint_every else 0)
    kept = max(min(taken * checkpoint, config.checkpoint_budget * 1e6), checkpoint)
    return cost.record_bytes(config) - cost.checkpoint_bytes(config) + kept


def _longest_first(seconds: Sequence[float], workers: int) -> float:
    """Return how long so many workers take, each of which takes the longest member that is left."""
    free = [0.0] * workers
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def _own_memory(pid: int) -> float:
    """Return how many bytes a process has for itself; 0 where the system doesn't tell."""
    own = 0.0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                own += float(line.split()[1]) * 1024
    return own
