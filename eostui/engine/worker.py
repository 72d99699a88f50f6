"""A worker: a further process of a run, which answers for its shard of the samples.

`python -m eostui.engine.worker DATA_DIR [FOLDER]` with RANK, LOCAL_RANK and WORLD_SIZE as torchrun gives
them; FOLDER is where the first process left word, if that has started it. Never started by hand. It does
as the first process asks, and ends when that does: it keeps nothing, and decides nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import Point, training_pass
from eostui.curvature.shards import answer, next_request, refuse
from eostui.engine.device import prepare_machine
from eostui.engine.explain import explain
from eostui.engine.fingerprint import changes
from eostui.engine.processes import (
    CONFIG,
    READY,
    WORKER_PATIENCE,
    form_group,
    joined_store,
    keep_inside,
    of_data,
    started_store,
)
from eostui.errors import EXIT_FAILED, EostuiError, InputError
from eostui.problems import build_problem
from eostui.problems.batch import LossFunction
from eostui.problems.shards import loss_of_shard, shards_of


class Worker:
    """Answers for a shard.

    Attributes:
        loss: the share in L of its samples.
        rows: which these are.
        device: where they are.
    """

    def __init__(self, loss: LossFunction, rows: range, device: torch.device) -> None:
        self.loss, self.rows, self.device = loss, rows, device
        self._point: Point | None = None
        self._failure = ""  # of what wants no answer

    def serve(self) -> None:
        """Do what the first process asks, until it asks to end. Raises RuntimeError if it is gone."""
        while True:
            what, vectors = next_request(self.device)
            if what == "end":
                answer(())
                return
            try:
                if what == "release":
                    self._point = None
                    continue
                if what == "place":
                    self._point, self._failure = None, ""
                    self._point = Point(self.loss, vectors[0])
                    continue
                found = self._found(what, vectors)
            except Exception as error:  # the first process says what becomes of the run
                traceback.print_exc()
                sentence = explain(error)
            else:
                answer(found)
                continue
            if what == "place":
                self._failure = sentence
            else:
                refuse(sentence)

    def _found(self, what: str, vectors: Sequence[Tensor]) -> Sequence[Tensor]:
        if what == "training_pass":
            return training_pass(self.loss, *vectors)
        if self._point is None:
            raise EostuiError(self._failure or "it was asked of a point that was left")
        if what == "value":
            known = () if self._point.accuracy is None else (self._point.accuracy,)
            return self._point.loss, self._point.gradient, *known
        if what == "output_pullback":
            vectors = [cotangent[self.rows.start : self.rows.stop] for cotangent in vectors]
        found = getattr(self._point, what)(*vectors)
        return found if isinstance(found, tuple) else (found,)


def main() -> int:
    """Get ready, serve, and return the exit code."""
    os.umask(0o077)
    os.dup2(2, 1)  # stdout is the first process's
    number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    data_dir, *folder = map(Path, sys.argv[1:])
    if folder:
        _end_with_parent(folder[0])
        keep_inside()
    try:
        store = started_store(folder[0], count) if folder else joined_store()
        told = json.loads(store.get(CONFIG))
    except RuntimeError:  # there is no run
        return EXIT_FAILED
    ready: dict[str, Any] = {}
    worker: Worker | None = None
    try:
        worker = _worker(told, number, count, data_dir)
    except Exception as error:
        traceback.print_exc()
        code = error.exit_code if isinstance(error, EostuiError) else EXIT_FAILED
        ready = {"sentence": explain(error), "exit_code": code}
    try:
        store.set(f"{READY}/{number}", json.dumps(ready))
        if worker is None:
            return EXIT_FAILED
        form_group(store, number, count, worker.device, WORKER_PATIENCE)
        for caught in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(caught, signal.SIG_IGN)  # the first process ends in order, then this one
        worker.serve()
    except RuntimeError:  # the first process is gone, and has told why if it could
        for each in folder:  # by `kill -9`, it has left this behind
            shutil.rmtree(each, ignore_errors=True)
        return EXIT_FAILED
    return 0


def _worker(told: dict[str, Any], number: int, count: int, data_dir: Path) -> Worker:
    """Build the problem as the first process did, and keep a shard of it."""
    config = RunConfig.from_toml(told["config"], "the first process")
    first = torch.device(told["device"])
    local = int(os.environ["LOCAL_RANK"])
    place = "cpu" if first.type == "cpu" else f"cuda:{(first.index or 0) + local}"
    machine = prepare_machine(config.changed({"device": place}))
    problem = build_problem(config, machine.device, data_dir, lambda _: None)
    host, device = {"host": "the first"}, {"device": told["device"]}
    changed, _ = changes(
        {**told["fingerprints"], **host, **device},
        {**of_data(config, problem), "device": place},
        data_dir,
    )
    if changed:
        raise InputError(f"its data or code aren't those of the first one: {'; '.join(changed)}")
    rows = shards_of(problem, count)[number]
    return Worker(loss_of_shard(problem, rows), rows, machine.device)


def _end_with_parent(folder: Path) -> None:
    """End when stdin does: the process that holds its other end is gone, even by `kill -9`."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(EXIT_FAILED)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # PyTorch ends a process that has lost others by an abort
