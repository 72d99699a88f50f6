"""Engines on their way: of a new run, a fork, or a run that is gone on with."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path

from eostui import presets
from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError
from eostui.runs.launch import EngineProcess, Fork, Resume, StartError
from eostui.runs.remarks import SAID, TRUSTED
from eostui.runs.trust import refuse_foreign_code
from eostui.tui.followed import FollowedApp, open_run
from eostui.tui.screens.dialogs import MessageDialog


@dataclass(frozen=True)
class Settings:
    """How the application was started.

    Attributes:
        runs_dir: where new runs are made.
        data_dir: where downloaded data sets are kept.
        fps: frames a second at most.
        unicode: braille and arrows, or ASCII.
    """

    runs_dir: Path
    data_dir: Path
    fps: float = 10.0
    unicode: bool = True


@dataclass(frozen=True)
class Watch:
    """A run to play back.

    Attributes:
        path: its directory.
        speed: steps a second, None for the whole run in a minute.
    """

    path: Path
    speed: float | None = None

    def __post_init__(self) -> None:
        """Raise InputError if the speed isn't above 0."""
        if self.speed is not None and not 0 < self.speed < math.inf:
            raise InputError(f"--speed is {self.speed:g}, but must be above 0 steps a second")


class StartedApp(FollowedApp):
    """An application that starts engines, waits for them, and then shows their runs."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self._engine: EngineProcess | None = None
        self._preset = presets.DEFAULT_PRESET
        self._config: RunConfig | None = None
        self._first = True
        self._whole = False  # whether a run is shown only once all of it was read
        self._trusted = False  # whether the run shown was started here: it may name code to execute

    def _begin(self, config: RunConfig) -> None:
        """End the present run and start another."""
        self._first = False
        self._end_run()
        self._await(EngineProcess(config, self.settings.runs_dir, self.settings.data_dir))

    def _go_on_from(self, start: Fork | Resume, runs_dir: Path) -> None:
        """Start a fork, or go on with an ended run; the present run is shown meanwhile."""
        if self._engine is not None:
            self.notify("another engine is on its way: wait for it", severity="warning")
            return
        entry = start.entry if isinstance(start, Resume) else start.parent
        if not self._may_execute(entry.config, entry.path):
            return
        try:
            engine = EngineProcess(start, runs_dir, self.settings.data_dir)
        except InputError as error:
            self.push_screen(MessageDialog(str(error)))
            return
        self._await(engine)

    def _may_execute(self, config: RunConfig, path: Path) -> bool:
        """Return whether the code that a run names may be executed; say so if not."""
        try:
            refuse_foreign_code(config, path, trusted=self._trusted)
        except InputError as error:
            self.push_screen(MessageDialog(f"{error} to `eostui resume` or `eostui fork`"))
            return False
        return True

    def _await(self, engine: EngineProcess) -> None:
        """Wait for an engine in the background, telling what it does, and then show its run."""
        self._engine = engine
        self._tell(engine, "starting")
        self.run_worker(
            self._open_when_ready(engine), group="start", exclusive=True, exit_on_error=False
        )

    def _tell(self, engine: EngineProcess, text: str) -> None:
        """Show what an engine does: in the title of the run that is shown, or where it will be."""
        if self._engine is not engine:
            return
        if self._feed is None:
            self._config, self._preset = engine.config, engine.config.preset
            self._live.show_message(f"{engine.config.preset}: {text}")
        else:
            self._live.show_progress(text)

    async def _open_when_ready(self, engine: EngineProcess) -> None:
        def progress(text: str) -> None:
            self.call_from_thread(self._tell, engine, text)

        try:
            path = await asyncio.to_thread(engine.ready, progress)
        except StartError as error:
            if self._engine is engine:
                self._engine = None
                self._start_failed(error)
            return
        engine.let_go()
        if self._engine is engine:
            self._engine = None
            self._live.show_progress("")
            if self._run is None or self._run.path != path:
                await self._open(path, trusted=True)
                events = self._run.events if self._run else ()
                self._tell_remarks([e for e in events if e.kind in (SAID, TRUSTED)])
                self._tell_difference(events)
                self._tell_data()

    def _tell_data(self) -> None:
        """Say what of the data may not have been read as it was meant."""
        facts = self._run.facts if self._run else {}
        for text in facts.get("problem.warnings", "").splitlines():
            self.notify(text, severity="warning", timeout=10)

    async def _open(self, path: Path, *, trusted: bool = False) -> None:
        if self._feed is None:
            self._live.show_message(f"reading {path.name}")
        try:
            opened = await asyncio.to_thread(open_run, path, whole=self._whole)
        except EostuiError as error:
            self._start_failed(error)
            return
        self._first, self._trusted = False, trusted
        self._config, self._preset = opened.follower.run.config, opened.follower.run.config.preset
        self._show(opened.follower, opened.parent)

    def _start_failed(self, error: EostuiError) -> None:
        """The first run's failure ends the program with its sentence; a later one is shown."""
        if self._first:
            self.exit(str(error), return_code=error.exit_code)
            return
        self._live.show_progress("")
        if self._feed is None:
            self._live.show_message("no run")
        self.push_screen(MessageDialog(str(error)))

    def _end_run(self) -> None:
        """Stop the present run, if its engine lives, and let go of it; stop what is on its way."""
        if self._live_run is not None:
            self._command("stop")
        self._cancel()
        self._let_go()

    def _cancel(self) -> None:
        """End an engine that is on its way."""
        if self._engine is not None:
            self._engine.cancel()
            self._engine = None
