"""Engines on their way: of a new run, a fork, or a run that is gone on with."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from textual.app import App
from textual.timer import Timer

from eostui import locations, presets
from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError, printable
from eostui.runs.analysis.duration import seconds_trained
from eostui.runs.launch import EngineProcess, Fork, Resume
from eostui.runs.run import Run
from eostui.runs.standby import Standby
from eostui.runs.store import commands
from eostui.runs.store.liveness import engine_alive
from eostui.runs.trust import refuse_foreign_code
from eostui.tui.questions import Questions
from eostui.tui.session import Session

#: A run that trained for longer is ended by n, p or r only after a question.
LONG_RUN = 600.0
#: Seconds that a run is shown before an engine is made ready for the next one: loading PyTorch takes a
#: core for as long as that, which the first steps and frames shall have. Not lowered in priority instead:
#: only root could raise it again, for the run that begins in it.
STANDBY_AFTER = 2.0
#: What reads the data sets that are downloaded: loaded ahead where the present run is on one, since the
#: next one then likely is.
_LOADER = "torchvision.datasets"


class Engines:
    """Starts engines, waits for them, and then has their runs shown; ends them.

    Until its run is shown an engine is the session's `engine`: who leaves, or starts something else,
    ends it.

    Attributes:
        standby: has a process ready for the next run; what begins here begins in it.
    """

    def __init__(self, app: App[str], session: Session, questions: Questions) -> None:
        self._app, self._session, self._questions = app, session, questions
        self._preset = presets.DEFAULT_PRESET
        self._config: RunConfig | None = None
        self._first = True  # whether nothing was shown yet
        self._doing = ""  # what the engine on its way does
        self._pauses = False  # whether its run shall wait
        self.standby = Standby()
        self._preparing: Timer | None = None

    # --- what the keys ask for ------------------------------------------------------------------------

    def restart(self) -> None:
        """Start the present run's config anew."""
        config, run = self._config, self._session.run
        if config is None:
            self._app.notify("there is no run yet", severity="warning")
            return
        steering = self._session.steering
        trusted = steering is not None and steering.trusted
        if run is None or self._may_execute(config, run.path, trusted=trusted):
            self._replace_run(lambda: self._begin(config))

    def start_preset(self, offset: int) -> None:
        """Start the next or previous preset; ask before it downloads anything."""
        self._replace_run(lambda: self._begin_neighbour(self._preset, offset))

    def go_on_from(self, start: Fork | Resume, runs_dir: Path, *, trusted: bool) -> bool:
        """Start a fork, or go on with an ended run; the present run is shown meanwhile.

        Returns whether an engine is on its way; why not is said.
        """
        if self._is_busy():
            return False
        entry = start.entry if isinstance(start, Resume) else start.parent
        if not self._may_execute(entry.config, entry.path, trusted=trusted):
            return False
        return self._start_beside(start, runs_dir)

    def _start_beside(self, what: RunConfig | Fork | Resume, runs_dir: Path) -> bool:
        """Start an engine while the present run is shown, which trains on; return whether it began."""
        self._first = False
        try:
            engine = self._engine(what, runs_dir)
        except EostuiError as error:
            self._questions.say(str(error))
            return False
        self.wait_for(engine)
        return True

    def _is_busy(self) -> bool:
        """Return whether an engine is on its way; say so."""
        if self._session.engine is not None:
            self._app.notify("another engine is on its way: wait for it", severity="warning")
        return self._session.engine is not None

    def pause(self) -> bool:
        """Have the run of the engine on its way wait, or go on; return whether there is one."""
        engine = self._session.engine
        if engine is None:
            return False
        self._pauses = not self._pauses
        self._show_progress(engine, self._doing)
        return True

    def start(self, config: RunConfig, begun: Callable[[], None]) -> None:
        """Start a run of a preset; ask what becomes of the one that trains, and before a download.

        `begun` is called once its engine is on its way.
        """
        if not self._is_busy():
            self._once_downloaded(config, lambda: self._start(config, begun))

    def _start(self, config: RunConfig, begun: Callable[[], None]) -> None:
        live = self._session.live_run
        if live is None:
            self._begin(config)
            begun()
            return

        def beside() -> None:
            if self._start_beside(config, self._session.settings.runs_dir):
                begun()

        def instead() -> None:
            self._begin(config)
            begun()

        choices = {"k": "keep it beside the new run", "s": "stop it; its record stays"}
        self._questions.choose(
            f"{printable(live.path.name)} is {self._session.state}. What becomes of it?",
            choices,
            {"k": beside, "s": instead},
        )

    # --- from an engine to the run that is shown ------------------------------------------------------

    def open(self, path: Path) -> None:
        """Show a run that is there already."""
        self._load(self._open(path))

    def change_to(self, path: Path) -> bool:
        """Show another run that is there already; the present one trains on, which is said.

        Returns whether it will be shown; why not is said.
        """
        if self._is_busy():
            return False
        self._first = False
        if path != self._session.path:
            self._load(self._change_to(path))
        return True

    async def _change_to(self, path: Path) -> None:
        live = self._session.live_run
        if await self._open(path) and live is not None:
            shelf = self._session.key("screen.runs")
            self._app.notify(
                f"{live.path.name} trains on: {shelf} lists it, and leaving asks about it"
            )

    def wait_for(self, engine: EngineProcess) -> None:
        """Wait for an engine in the background, telling what it does, and then show its run."""
        self._session.engine, self._pauses = engine, False
        self._show_progress(engine, "starting")
        self._load(self._open_when_ready(engine))

    def _load(self, loading: Coroutine[Any, Any, object]) -> None:
        """Get a run ready in the background; one that was being got ready before isn't waited for."""
        self._app.run_worker(loading, group="start", exclusive=True, exit_on_error=False)

    def _show_progress(self, engine: EngineProcess, text: str) -> None:
        """Show what an engine does: in the title of the run that is shown, or where it will be."""
        if self._session.engine is not engine:
            return
        self._doing = text
        text += f", will be paused ({self._session.key('pause')})" if self._pauses else ""
        if self._session.feed is None:
            self._take_note(engine.config)
            self._session.show_message(f"{engine.config.preset}: {text}")
        else:
            self._session.show_progress(text)

    async def _open_when_ready(self, engine: EngineProcess) -> None:
        def progress(text: str) -> None:
            self._app.call_from_thread(self._show_progress, engine, text)

        try:
            path = await _in_thread(lambda: engine.ready(progress))
        except EostuiError as error:
            if self._session.engine is engine:
                self._session.engine = None
                self._start_failed(error)
            return
        engine.let_go()
        if self._session.engine is engine:  # else its end was asked for
            await self._show_begun(engine, path)

    async def _show_begun(self, engine: EngineProcess, path: Path) -> None:
        """Show the run of an engine that is ready, and tell it to wait if that was asked for."""
        session = self._session
        paused = self._pauses
        command = self._send_pause(path) if paused else ""
        if session.run is not None and session.run.path == path:  # gone on with
            await session.catch_up()
            self._prepare_soon()
        elif await self._open(path):
            session.notify_start()
        else:
            engine.cancel()  # nobody would see it train
        session.engine = None
        steering = session.steering
        if steering is not None and steering.run.path == path:
            steering.trusted = True
            if command:
                steering.asked_to_pause(command, True)
            if self._pauses != paused:
                try:
                    steering.pause(self._pauses)
                except EostuiError as error:
                    self._app.notify(str(error), severity="error")
        session.show_progress("")

    async def _open(self, path: Path) -> Run | None:
        """Show a run; return it, None if it can't be shown."""
        try:
            run = await self._session.open(path)
        except EostuiError as error:
            self._start_failed(error)
            return None
        self._first = False
        self._take_note(run.config)
        self._prepare_soon()
        return run

    def _take_note(self, config: RunConfig) -> None:
        """Take note of what `restart` and `start_preset` go on from."""
        self._config, self._preset = config, config.preset

    def _send_pause(self, path: Path) -> str:
        """Tell a run to wait that isn't shown yet; return the command's id, "" if it can't be told."""
        try:
            return commands.send(path, "pause")
        except EostuiError as error:
            self._questions.say(str(error))
            return ""

    def _start_failed(self, error: EostuiError) -> None:
        """The first run's failure ends the program with its sentence; a later one is shown."""
        if self._first:
            self._app.exit(str(error), return_code=error.exit_code)
            return
        self._session.show_progress("")
        if self._session.feed is None:
            self._session.show_message("no run")
        self._questions.say(str(error))
        self._prepare_soon()

    # --- an engine for the next run -------------------------------------------------------------------

    def _engine(self, start: RunConfig | Fork | Resume, runs_dir: Path) -> EngineProcess:
        """Begin a run, in the process on standby if there is one.

        Raises:
            EostuiError: as EngineProcess.
        """
        data_dir = self._session.settings.data_dir
        return EngineProcess(start, runs_dir, data_dir, standby=self.standby)

    def _prepare_soon(self) -> None:
        """Have an engine ready for the next run, once the present one is well on its way."""
        if self._session.settings.standby and self._session.watch is None:
            if self._preparing is not None:
                self._preparing.stop()
            self._preparing = self._app.set_timer(STANDBY_AFTER, self._prepare)

    def _prepare(self) -> None:
        live = self._session.live_run
        if self._session.engine is not None:
            return  # what becomes of that one comes by here again
        if live is not None and live.last_step < 0:  # nothing shall keep it from its first row
            self._prepare_soon()
        else:
            downloaded = self._config is not None and self._config.data in locations.DOWNLOADS
            self.standby.prepare(*((_LOADER,) if downloaded else ()))

    def close(self) -> None:
        """End what is on standby: the application ends."""
        if self._preparing is not None:
            self._preparing.stop()
        self.standby.close()

    # --- one run in place of another ------------------------------------------------------------------

    def cancel(self) -> None:
        """End an engine that is on its way."""
        if self._session.engine is not None:
            self._session.engine.cancel()
            self._session.engine = None

    def _replace_run(self, begin: Callable[[], None]) -> None:
        """Call `begin` at once, or after a question if the present run has trained for long."""
        run = self._session.live_run
        if run is not None:
            created = float(run.facts.get("created", "0"))
            if seconds_trained(created, run.events, time.time()) >= LONG_RUN:
                question = f"{printable(run.path.name)} has run for more than ten minutes. End it?"
                choices = {"y": "end it and go on; its record stays"}
                self._questions.choose(question, choices, {"y": begin})
                return
        begin()

    def _begin_neighbour(self, preset: str, offset: int) -> None:
        """Start the preset before or after one; ask before it downloads anything."""
        preset = presets.neighbour(preset, offset)
        try:
            config = presets.load(preset).config
        except InputError as error:
            self._preset = preset  # the next press passes it by
            self._questions.say(str(error))
            return
        self._once_downloaded(
            config,
            lambda: self._begin(config),
            ("skip it", lambda: self._begin_neighbour(preset, offset)),
        )

    def _once_downloaded(
        self,
        config: RunConfig,
        begin: Callable[[], None],
        skip: tuple[str, Callable[[], None]] | None = None,
    ) -> None:
        """Call `begin`, after a question if data must be downloaded first; `skip` is another answer."""
        missing = locations.missing_download(config.data, self._session.settings.data_dir)
        if not missing:
            begin()
            return
        question = f"{config.preset} first downloads {config.data}, {missing} MB."
        choices, answers = {"y": "download and train"}, {"y": begin}
        if skip is not None:
            choices["s"], answers["s"] = skip
        self._questions.choose(question, choices, answers)

    def _begin(self, config: RunConfig) -> None:
        """End the present run and start another; if that can't be, or it can't be told, it stays."""
        self._first = False
        engine: EngineProcess | None = None
        try:
            engine = self._engine(config, self._session.settings.runs_dir)
            self._end_run()
        except EostuiError as error:
            if engine is not None:
                engine.cancel()
            self._start_failed(error)
            return
        self.wait_for(engine)

    def _end_run(self) -> None:
        """Stop the present run, if its engine lives, and let go of it; stop what is on its way.

        Raises:
            EostuiError: if it can't be told.
        """
        steering = self._session.steering
        if steering is not None and engine_alive(steering.run.path):
            steering.send("stop")
        self.cancel()
        self._session.let_go()

    def _may_execute(self, config: RunConfig, path: Path, *, trusted: bool) -> bool:
        """Return whether the code that a run names may be executed; say so if not."""
        try:
            refuse_foreign_code(config, path, trusted=trusted)
        except InputError as error:
            self._questions.say(f"{error} to `eostui resume` or `eostui fork`")
            return False
        return True


async def _in_thread(work: Callable[[], Path]) -> Path:
    """Return what `work` returns, in a thread of its own.

    Nobody waits for that to end, unlike for asyncio's own: an engine that doesn't answer, stopped or
    swapped out, keeps no one from leaving.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Path] = loop.create_future()

    def tell(take: Callable[[Any], None], told: object) -> None:
        if not answer.done():  # who asked may have gone on
            take(told)

    def at_work() -> None:
        take: Callable[[Any], None] = answer.set_result
        told: object
        try:
            told = work()
        except Exception as error:
            take, told = answer.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, take, told)

    threading.Thread(target=at_work, daemon=True).start()
    return await answer
