"""The processes of one run: this one drives it, and its workers have their shards of the samples.

They are those that `torchrun` started, on one machine or several, or are started here.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
import torch.distributed.distributed_c10d as c10d

from eostui import torchrun
from eostui.config import RunConfig
from eostui.curvature.shards import ShardedLoss, Shards
from eostui.engine.fingerprint import PREFIX, fingerprints
from eostui.errors import EXIT_INPUT, EostuiError, InputError
from eostui.problems import Problem
from eostui.problems.batch import SummedLoss, parts_of
from eostui.problems.shards import loss_of_shard, shards_of

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

#: Keys of what is said before the processes are a group: the run's config, and whether a worker is ready.
CONFIG, READY = "config", "ready"
#: A worker waits for the first process for as long as that may be paused; that one for an answer.
WORKER_PATIENCE, PATIENCE = timedelta(days=365), timedelta(minutes=30)

_POLL = 0.02
#: Seconds that a worker has to end.
_GRACE = 5.0


class Processes:
    """The workers of a run, from their start to their end; none of a run of one process."""

    def __init__(
        self, config: RunConfig, device: torch.device, data_dir: Path, *, alone: bool = False
    ) -> None:
        """Start those that torchrun hasn't; they load PyTorch meanwhile.

        Args:
            config: of the run.
            device: of this process.
            data_dir: where the data sets are.
            alone: whether there shall be no workers, and this process has all shards.

        Raises:
            InputError: if torchrun started other ones, or the device can't have several.
        """
        self._count, self._device, self._alone = config.processes, device, alone
        self._shards: Shards | None = None
        self._workers: list[subprocess.Popen[bytes]] = []
        self._cleanup = contextlib.ExitStack()
        if alone:
            return
        started = torchrun.processes()
        if started not in (1, self._count):
            raise InputError(
                f"torchrun started {started} processes, but `processes` of the run is {self._count}: "
                f"start as many, or leave torchrun away"
            )
        if self._count > 1:
            if not dist.is_available() or device.type not in ("cpu", "cuda"):
                where = f"on {device.type}" if dist.is_available() else "with this PyTorch"
                raise InputError(
                    f"`processes` is {self._count}, but {where} a run is of one process"
                )
            atexit.register(self.close)  # where the run couldn't begin
            self._store = self._join() if started > 1 else self._start(data_dir)

    def share_out(self, problem: Problem, config: RunConfig, say: Callable[[str], None]) -> Problem:
        """Return the problem with its samples shared out.

        Args:
            problem: with all samples.
            config: of the run, with all that was settled here, for the workers.
            say: told what is done.

        Raises:
            InputError: if its samples can't be shared out, or a worker's aren't the same.
            EostuiError: if a worker fails.
        """
        shards = shards_of(problem, self._count)
        if self._alone:
            return replace(problem, loss=in_shards(problem, shards))
        say(f"sharing {shards[-1].stop} samples out among {self._count} processes")
        told = {
            "config": config.to_toml(),
            "device": str(self._device),
            "fingerprints": of_data(config, problem),
        }
        self._store.set(CONFIG, json.dumps(told))
        for number in range(1, self._count):
            self._hear(number)
        form_group(self._store, 0, self._count, self._device, PATIENCE)
        self._shards = Shards(self._count, self._device, self._why_lost)
        own = loss_of_shard(problem, shards[0])
        return replace(problem, loss=ShardedLoss(parts_of(problem.loss), own, self._shards))

    def end(self) -> str:
        """Let the workers end; return a sentence if one had ended before, or ""."""
        if self._shards is None:
            return ""
        shards, self._shards = self._shards, None
        shards.end()
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()
        return shards.lost

    def close(self) -> None:
        """Leave no worker behind."""
        atexit.unregister(self.close)
        self.end()
        for worker in self._workers:
            assert worker.stdin is not None
            worker.stdin.close()
        for worker in self._workers:
            try:
                worker.wait(_GRACE)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        self._workers.clear()
        self._cleanup.close()

    def _join(self) -> Store:
        """Return what torchrun's processes share."""
        if int(os.environ["RANK"]) > 0:
            raise InputError("torchrun: only its first process drives a run")
        return joined_store()

    def _start(self, data_dir: Path) -> Store:
        """Start the workers, on this machine; they end with this process, however that goes."""
        folder = self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="eostui-"))
        keep_inside()
        for number in range(1, self._count):
            environment = {
                **os.environ,
                "RANK": str(number),
                "LOCAL_RANK": str(number),
                "WORLD_SIZE": str(self._count),
            }
            self._workers.append(
                subprocess.Popen(
                    # -P: a torch.py in the user's folder isn't torch
                    [sys.executable, "-P", "-m", "eostui.engine.worker", str(data_dir), folder],
                    stdin=subprocess.PIPE, env=environment, start_new_session=True,
                )
            )  # fmt: skip
        return started_store(Path(folder), self._count)

    def _hear(self, number: int) -> None:
        """Wait until a worker is ready. Raises what it says it can't be."""
        key = f"{READY}/{number}"
        while not self._store.check([key]):
            if (how := self._ended(number)) and not self._store.check([key]):
                raise EostuiError(f"process {number + 1} of {self._count} {how} before it began")
            time.sleep(_POLL)
        answer = json.loads(self._store.get(key))
        if answer:
            error = InputError if answer["exit_code"] == EXIT_INPUT else EostuiError
            raise error(f"process {number + 1} of {self._count}: {answer['sentence']}")

    def _ended(self, number: int) -> str:
        """Return how a worker that was started here ended, or "" while it is at work."""
        code = self._workers[number - 1].poll() if self._workers else None
        if code is None:
            return ""
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended (code {code})"

    def _why_lost(self, number: int) -> str:
        """Return why a process doesn't answer, one of all if it is 0."""
        deadline = time.monotonic() + _GRACE
        others = [number] if number else [*range(1, self._count)]
        number = others[0] if len(others) == 1 else 0
        while (
            self._workers and time.monotonic() < deadline
        ):  # its end is seen later than its silence
            for other in others:
                if how := self._ended(other):
                    return f"process {other + 1} of {self._count} {how}"
            time.sleep(_POLL)
        if number:
            return f"process {number + 1} of {self._count} ended, or can't be reached any more"
        return f"one of its {self._count} processes ended, or can't be reached any more"


def in_shards(problem: Problem, shards: list[range]) -> SummedLoss:
    """Return L as the sum over shards that are all in this process."""
    losses = [loss_of_shard(problem, rows) for rows in shards]
    return SummedLoss(tuple(part for loss in losses for part in parts_of(loss)))


def of_data(config: RunConfig, problem: Problem) -> dict[str, str]:
    """Return the fingerprints of data and code, which all processes must have the same."""
    found = fingerprints(config, problem)
    del found[f"{PREFIX}initial"]  # θ is the first process's
    return found


def joined_store() -> Store:
    """Return where the processes that torchrun started leave each other word."""
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=WORKER_PATIENCE))
    return c10d.PrefixStore("eostui", store)


def started_store(folder: Path, count: int) -> Store:
    """Return where processes that were started here leave each other word: in a private folder."""
    store: Store = dist.FileStore(str(folder / "store"), count)  # type: ignore[attr-defined]
    store.set_timeout(WORKER_PATIENCE)
    return store


def keep_inside() -> None:
    """Let the processes of one machine be connected within it, unseen by a network."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)


def form_group(
    store: Store, number: int, count: int, device: torch.device, patience: timedelta
) -> None:
    """Make the process group: gloo for what is on a CPU, and requests; nccl for what is on a GPU."""
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=patience)
