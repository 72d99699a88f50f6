"""A run without a live view: the same engine and run directory, with a progress bar on stderr."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from eostui.cli.streams import drop
from eostui.config import RunConfig
from eostui.errors import (
    EXIT_DIVERGED,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    BusyError,
    EostuiError,
)
from eostui.runs import commands
from eostui.runs.ending import end_sentence
from eostui.runs.launch import EngineProcess, Fork, Resume
from eostui.runs.run import Run

_POLL = 0.25
_EXIT_CODES = {"finished": 0, "stopped": 0, "diverged": EXIT_DIVERGED}


class _Narration:
    """stderr; what it can't take is dropped: `tee` is gone at ctrl+c before the run is told to stop."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def write(self, text: str) -> int:
        with self._taken():
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with self._taken():
            sys.stderr.flush()

    @contextmanager
    def _taken(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            drop(sys.stderr)


class _Interrupted(Exception):
    def __init__(self, number: int) -> None:
        self.number = number


def follow(
    start: RunConfig | Resume | Fork, runs_dir: Path, data_dir: Path, name: str
) -> tuple[Path, int]:
    """Start an engine, follow it to its end, and return the run directory and the exit code.

    ctrl+c and SIGTERM stop the run at its next step; what was recorded stays.

    Raises:
        StartError: if the run could not begin.
    """
    narrate = Console(file=cast("IO[str]", _Narration()), highlight=False)
    with _signals():
        engine = EngineProcess(start, runs_dir, data_dir, name)
        path, code = None, 0
        try:
            path = engine.ready(lambda text: narrate.print(text, style="dim", markup=False))
            _show_progress(engine, path, narrate)
        except _Interrupted as interruption:
            if path is None:
                engine.cancel()
                raise
            _stop(engine, path)
            code = 128 + interruption.number
            narrate.print("stopping at the next step …", style="dim")
            engine.wait()
    with Run(path) as run:
        narrate.print(end_sentence(path, run.facts, run.state), markup=False)
        return path, code or _EXIT_CODES.get(run.state, EXIT_FAILED)


def _stop(engine: EngineProcess, path: Path) -> None:
    """Stop the run: by a command, or by a signal where none can be written, as on a full disk."""
    try:
        commands.send(path, "stop")
    except EostuiError:
        engine.cancel()


def _show_progress(engine: EngineProcess, path: Path, narrate: Console) -> None:
    """Wait for the engine's end with a bar: steps, rate, ETA, S against 2/η."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps  {task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[reading]}"),
    )
    with ExitStack() as opened, Progress(*columns, console=narrate, transient=True) as progress:
        task = progress.add_task(path.name, total=engine.config.steps, rate="", reading="")
        run: Run | None = None
        while engine.wait(_POLL) is None:
            try:
                run = run or opened.enter_context(Run(path))
                run.refresh()
            except BusyError:  # it can be read when another program lets go of it
                continue
            speed = progress.tasks[0].speed
            progress.update(
                task,
                completed=max(run.last_step, 0),
                rate=f"{speed:.0f}/s" if speed else "",
                reading=_reading(run),
            )


def _reading(run: Run) -> str:
    if not len(run.measured) or not len(run.steps):
        return ""
    sharpness, limit = run.measured["sharpness"][-1], run.steps["two_over_eta"][-1]
    return f"S {sharpness:.4g} of 2/η {limit:.4g}  L {run.steps['loss'][-1]:.3g}"


@contextmanager
def _signals() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `_Interrupted` while the block runs; it exits by it.

    A second one ends the program at once.
    """

    def interrupt(number: int, _: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise _Interrupted(number)

    assert 128 + signal.SIGINT == EXIT_INTERRUPTED
    before = {n: signal.signal(n, interrupt) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except _Interrupted as interruption:
        sys.exit(128 + interruption.number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
