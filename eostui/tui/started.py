"""Engines on their way: of a new run, a fork, or a run that is gone on with."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eostui import presets
from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError
from eostui.runs.analysis.remarks import SAID, TRUSTED
from eostui.runs.launch import EngineProcess, Fork, Resume, StartError
from eostui.runs.store import commands
from eostui.runs.store.liveness import engine_alive
from eostui.runs.trust import refuse_foreign_code
from eostui.tui.followed import FollowedApp, open_run


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
        self._preset = presets.DEFAULT_PRESET
        self._config: RunConfig | None = None
        self._first = True
        self._whole = False  # whether a run is shown only once all of it was read
        self._told_of_engine = ""
        self._pauses = False  # whether the run of the engine that is on its way shall wait
        self._train_on: list[Path] = []  # runs that were shown here, and may train on

    def _begin(self, config: RunConfig) -> None:
        """End the present run and start another; if it can't be told to end, it stays."""
        try:
            self._end_run()
        except EostuiError as error:
            self.say(str(error))
            return
        self._first = False
        self._await(EngineProcess(config, self.settings.runs_dir, self.settings.data_dir))

    def _go_on_from(self, start: Fork | Resume, runs_dir: Path, *, trusted: bool) -> None:
        """Start a fork, or go on with an ended run; the present run is shown meanwhile."""
        if self._engine is not None:
            self.notify("another engine is on its way: wait for it", severity="warning")
            return
        entry = start.entry if isinstance(start, Resume) else start.parent
        if not self._may_execute(entry.config, entry.path, trusted=trusted):
            return
        try:
            engine = EngineProcess(start, runs_dir, self.settings.data_dir)
        except InputError as error:
            self.say(str(error))
            return
        self._await(engine)

    def _may_execute(self, config: RunConfig, path: Path, *, trusted: bool) -> bool:
        """Return whether the code that a run names may be executed; say so if not."""
        try:
            refuse_foreign_code(config, path, trusted=trusted)
        except InputError as error:
            self.say(f"{error} to `eostui resume` or `eostui fork`")
            return False
        return True

    def _await(self, engine: EngineProcess) -> None:
        """Wait for an engine in the background, telling what it does, and then show its run.

        Until its run is shown the engine is `_engine`: who leaves, or starts something else, ends it.
        """
        self._engine, self._pauses = engine, False
        self._tell(engine, "starting")
        self._load(self._open_when_ready(engine))

    def _load(self, loading: Coroutine[Any, Any, object]) -> None:
        """Get a run ready in the background; one that was being got ready before isn't waited for."""
        self.run_worker(loading, group="start", exclusive=True, exit_on_error=False)

    def _tell(self, engine: EngineProcess, text: str) -> None:
        """Show what an engine does: in the title of the run that is shown, or where it will be."""
        if self._engine is not engine:
            return
        self._told_of_engine = text
        text += ", will be paused (space)" if self._pauses else ""
        if self._feed is None:
            self._config, self._preset = engine.config, engine.config.preset
            self._live.show_message(f"{engine.config.preset}: {text}")
        else:
            self._live.show_progress(text)

    def action_pause(self) -> None:
        """Pause or resume training; of a run that isn't there yet it is remembered, and shown."""
        engine = self._engine
        if engine is None or self._live_run is not None:
            super().action_pause()
            return
        self._pauses = not self._pauses
        self._tell(engine, self._told_of_engine)

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
        if self._engine is engine:  # else its end was asked for
            await self._show_begun(engine, path)

    async def _show_begun(self, engine: EngineProcess, path: Path) -> None:
        """Show the run of an engine that is ready, and tell it to wait if that was asked for."""
        paused = self._pauses
        command = self._send_pause(path) if paused else ""
        if self._run is not None and self._run.path == path:  # gone on with
            while self._fetching:
                await asyncio.sleep(1 / self.settings.fps)
            await self._follow()
        elif await self._open(path):
            events = self._run.events if self._run else ()
            self._tell_remarks([e for e in events if e.kind in (SAID, TRUSTED)])
            self._tell_difference(events)
            self._tell_data()
        else:
            engine.cancel()  # nobody would see it train
        self._engine = None
        if self._steering is not None and self._steering.run.path == path:
            self._steering.trusted = True
            if command:
                self._steering.asked_to_pause(command, True)
            if self._pauses != paused:
                self._try(self._steering, lambda steering: steering.pause(self._pauses))
        self._live.show_progress("")

    def _tell_data(self) -> None:
        """Say what of the data may not have been read as it was meant."""
        facts = self._run.facts if self._run else {}
        for text in facts.get("problem.warnings", "").splitlines():
            self.notify(text, severity="warning", timeout=10)

    def _send_pause(self, path: Path) -> str:
        """Tell a run to wait that isn't shown yet; return the command's id, "" if it can't be told."""
        try:
            return commands.send(path, "pause")
        except EostuiError as error:
            self.say(str(error))
            return ""

    async def _open(self, path: Path) -> bool:
        """Show a run; return whether it can be. The run that was shown before may train on."""
        if self._feed is None:
            self._live.show_message(f"reading {path.name}")
        try:
            opened = await asyncio.to_thread(open_run, path, whole=self._whole)
        except EostuiError as error:
            self._start_failed(error)
            return False
        self._first = False
        if self._steering is not None:
            self._train_on.append(self._steering.run.path)
        self._config, self._preset = opened.follower.run.config, opened.follower.run.config.preset
        self._show(opened.follower, opened.parent)
        return True

    def _training(self) -> list[Path]:
        """Return the runs that train now and are, were or will be shown here, the present one first."""
        shown = [self._steering.run.path] if self._steering is not None else []
        coming = [self._engine.path] if self._engine is not None and self._engine.begun else []
        runs = dict.fromkeys([*shown, *coming, *reversed(self._train_on)])
        return [path for path in runs if engine_alive(path)]

    def _start_failed(self, error: EostuiError) -> None:
        """The first run's failure ends the program with its sentence; a later one is shown."""
        if self._first:
            self.exit(str(error), return_code=error.exit_code)
            return
        self._live.show_progress("")
        if self._feed is None:
            self._live.show_message("no run")
        self.say(str(error))

    def _end_run(self) -> None:
        """Stop the present run, if its engine lives, and let go of it; stop what is on its way.

        Raises:
            EostuiError: if it can't be told.
        """
        if self._steering is not None and engine_alive(self._steering.run.path):
            self._steering.send("stop")
        self._cancel()
        self._let_go()

    def _cancel(self) -> None:
        """End an engine that is on its way."""
        if self._engine is not None:
            self._engine.cancel()
            self._engine = None
