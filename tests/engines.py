"""Engines in processes of their own, as tests start, steer, kill and compare them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from eostui.config import RunConfig
from eostui.engine.controls import Controls
from eostui.engine.fork import fork
from eostui.engine.resume import resume
from eostui.engine.session import EngineSession
from eostui.runs import shelf
from eostui.runs.launch import EngineProcess, Fork, Resume
from eostui.runs.run import Run
from eostui.runs.standby import Standby
from eostui.runs.store import commands, schema
from eostui.runs.store.lookup import newest_row
from eostui.runs.store.reader import RunReader

PATIENCE = 120.0  # seconds: PyTorch's import on a busy machine

#: A network whose steps take half a millisecond, measured and saved all the time.
SMALL = {
    "preset": "small", "samples": 100, "width": 16, "depth": 1, "cadence": 5, "test_cadence": 50,
    "device": "cpu", "threads": 1, "checkpoint_every": 0.05, "eta": 0.3, "far_cadence": 10,
}  # fmt: skip


def small(**values) -> RunConfig:
    return RunConfig.build({**SMALL, **values}, "test")


class Engine:
    """An engine that has begun; `path` is its run."""

    def __init__(
        self, start: RunConfig | Resume | Fork, folder: Path, standby: Standby | None = None
    ) -> None:
        self.process = EngineProcess(start, folder, folder, standby=standby)
        self.told: list[str] = []
        self.path = self.process.ready(self.told.append)

    def kill(self) -> None:
        os.kill(self.process._process.pid, signal.SIGKILL)
        self.process.wait()

    def ended(self) -> int:
        code = self.process.wait(PATIENCE)
        assert code is not None, "still at work"
        return code

    def reaches(self, step: int) -> None:
        """Wait until a row of this step is stored."""
        reader = RunReader(self.path)
        deadline = time.monotonic() + PATIENCE
        while newest_row(reader).get("step", -1) < step:
            assert time.monotonic() < deadline, f"no step {step}"
            ended = self.process.wait(0.005) is not None
            assert not ended or newest_row(reader).get("step", -1) >= step, "it ended before"
        reader.close()

    def asks(self, kind: str, **arguments) -> int:
        """Send a command; return the step at which it was obeyed."""
        sent = commands.send(self.path, kind, **arguments)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with Run(self.path) as run:
                for event in run.events:
                    if event.payload.get("command") == sent:
                        assert event.kind == "obeyed", event.payload
                        return event.step
            time.sleep(0.02)
        raise AssertionError(f"{kind} wasn't answered")


class Scripted(Controls):
    """Controls for which commands come in at given steps."""

    script: Mapping[int, Sequence[tuple[str, dict]]] = {}

    @property
    def marked(self):
        """The script's steps too: a GPU is given a stretch of steps, and no one looks within it."""
        return (*super().marked, *self.script)

    def poll(self, run_path, writer, step):
        for kind, arguments in self.script.get(step, ()):
            commands.send(run_path, kind, **arguments)
        self._polled_at = 0.0
        return super().poll(run_path, writer, step)


def here(
    start: RunConfig | Resume | Fork,
    folder: Path,
    script: Mapping[int, Sequence[tuple[str, dict]]] = {},
) -> Path:
    """Do in this process what an engine does, with commands at given steps; return the run."""
    config = start if isinstance(start, RunConfig) else start.config
    path = start.entry.path if isinstance(start, Resume) else shelf.new_run_path(folder, "here")
    before = start.parent.path if isinstance(start, Fork) else path
    like = None if isinstance(start, RunConfig) else before
    changed = start.changes if isinstance(start, Fork) else ()
    session = EngineSession(config, folder, lambda _text: None, like, changed)
    driver = session.driver
    scripted = Scripted.of(config, session.dynamics.stability)
    scripted.script = script
    driver.controls = scripted
    if isinstance(start, Resume):
        writer = resume(
            session, path, lambda *_steps: None, changed_data=start.changed_data,
            other_stops=start.stop_at is not None,
        )  # fmt: skip
    elif isinstance(start, Fork):
        writer = fork(
            session, path, "", before, start.at, start.begin.controls, lambda *_steps: None,
            changed_data=start.changed_data,
        )  # fmt: skip
    else:
        writer = session.new(path, "")
    status, sentence = driver.run(writer)
    if status != "diverged":
        driver.save()
    writer.fact("status", status)
    writer.fact("sentence", sentence)
    writer.event(driver.step, status, {"sentence": sentence})
    writer.close()
    return path


def entry(path: Path) -> shelf.Entry:
    return shelf.read_entry(path)


def assert_same_rows(one: Path, other: Path, *, whole: bool = False) -> None:
    """The steps that both have are the same to the bit, and what was measured at them; or all are."""
    with Run(one) as a, Run(other) as b:
        mine, others = a.columns(), b.columns()
        rows = min(len(a.steps), len(b.steps))
    if whole:
        assert {*mine} == {*others}, {*mine} ^ {*others}
        assert len(mine["step"]) == len(others["step"])
    else:
        rows -= 1  # what the step of a last row did, and was measured there, one may not know yet
    for name in mine.keys() & others.keys():
        np.testing.assert_array_equal(mine[name][:rows], others[name][:rows], name)


def derived(path: Path) -> list[tuple[int, str, dict]]:
    """The events that follow from the steps."""
    with Run(path) as run:
        return [
            (event.step, event.kind, dict(event.payload))
            for event in run.events
            if event.kind in schema.DERIVED_EVENTS
        ]
