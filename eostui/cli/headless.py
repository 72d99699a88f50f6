"""A run without a live view: the same engine and run directory, with a progress bar on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from rich.console import Console

from eostui.cli.progress import ProgressBar
from eostui.cli.signals import NotedSignals
from eostui.cli.streams import drop
from eostui.config import RunConfig
from eostui.errors import (
    EXIT_DIVERGED,
    EXIT_FAILED,
    BusyError,
    EostuiError,
)
from eostui.runs.analysis.controls import description_of
from eostui.runs.analysis.remarks import OF_TRUSTED, TURNED_OFF, remark, trusted_gradient
from eostui.runs.launch import EngineProcess, Fork, Resume, StartError, await_ready
from eostui.runs.run import Run
from eostui.runs.store import commands
from eostui.runs.store.ending import end_sentence
from eostui.stability import UNDECAYED

_POLL = 0.25
_EXIT_CODES = {"finished": 0, "stopped": 0, "diverged": EXIT_DIVERGED}


class Narration:
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


def follow(
    start: RunConfig | Resume | Fork, runs_dir: Path, data_dir: Path, name: str, group: str = ""
) -> tuple[Path, int]:
    """Start an engine, follow it to its end, and return the run directory and the exit code.

    ctrl+c and SIGTERM stop the run at its next step; what was recorded stays. At SIGHUP it goes on alone.

    Raises:
        StartError: if the run could not begin.
        Interrupted: if it was told to stop before it had begun; the shelf is as it was then.
    """
    narrate = Console(file=cast("IO[str]", Narration()), highlight=False)
    with NotedSignals() as signals:
        engine = EngineProcess(start, runs_dir, data_dir, name, group=group, watched=False)
        path = _begun(engine, signals, narrate)
        if not signals.stops:
            _show_progress(engine, path, narrate, signals)
        at_work = engine.wait(0) is None
        if signals.hung_up and at_work:
            narrate.print(f"{path.name} goes on: `eostui attach {path.name}`", markup=False)
            return path, 128 + signals.number
        if signals.number and at_work:
            if not signals.answered:
                _stop(engine, path)
                signals.obeyed()
            narrate.print("stopping at the next step …", style="dim")
            engine.wait()
    with Run(path) as run:
        for event in run.events:
            if event.kind == TURNED_OFF:
                narrate.print(remark(event), markup=False, soft_wrap=True)
        narrate.print(end_sentence(path, run.facts, run.state), markup=False, soft_wrap=True)
        code = 128 + signals.number if signals.number else _EXIT_CODES.get(run.state, EXIT_FAILED)
        return path, code


def _begun(engine: EngineProcess, signals: NotedSignals, narrate: Console) -> Path:
    """Wait for the run directory, or for the engine's word that there will be none.

    A signal to stop cancels the engine, and is waited for: it may have made the run already.
    """

    def say(text: str) -> None:
        narrate.print(text, style="dim", markup=False)

    def heed() -> None:
        if signals.stops and not signals.answered:
            engine.cancel()
            signals.obeyed()

    try:
        return await_ready(engine, say, heed)
    except StartError:
        if not signals.answered:
            raise
        raise signals.interruption() from None


def _stop(engine: EngineProcess, path: Path) -> None:
    """Stop the run: by a command, or by a signal where none can be written, as on a full disk."""
    try:
        commands.send(path, "stop")
    except EostuiError:
        engine.cancel()


def _show_progress(
    engine: EngineProcess, path: Path, narrate: Console, signals: NotedSignals
) -> None:
    """Wait for the engine's end, or a signal, with a bar: steps, rate, ETA, S and its threshold."""
    with ExitStack() as opened, ProgressBar(path.name, "steps", narrate) as progress:
        run: Run | None = None
        while engine.wait(_POLL) is None and not signals.number:
            try:
                run = run or opened.enter_context(Run(path))
                run.refresh()
            except BusyError:  # it can be read when another program lets go of it
                continue
            progress(max(run.last_step, 0), engine.config.steps, note=_reading(run))


def _reading(run: Run) -> str:
    if not len(run.measured) or not len(run.steps):
        return ""
    sharpness, limit = run.measured.newest("sharpness"), run.steps[UNDECAYED][-1]
    label = description_of(run).undecayed_label
    whose = f" {OF_TRUSTED}" if trusted_gradient(run.facts) else ""
    return f"S{whose} {sharpness:.4g} of {label} {limit:.4g}  L {run.loss_at():.3g}"
