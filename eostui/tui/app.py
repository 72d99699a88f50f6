"""The application: starts or attaches to a run, follows it, and shows it on its screens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from textual.app import SystemCommand
from textual.screen import ModalScreen, Screen
from textual.worker import Worker, WorkerState

from eostui import locations, oscillator_presets, presets
from eostui.config import RunConfig
from eostui.errors import EXIT_FAILED, BusyError, EostuiError, InputError, printable
from eostui.oscillator_presets import OscillatorPreset
from eostui.runs.calibration import told
from eostui.runs.ending import end_sentence
from eostui.runs.launch import EngineProcess, StartError
from eostui.runs.rows import Event
from eostui.runs.run import Run
from eostui.runs.schema import LIVE_STATES
from eostui.runs.trust import refuse_foreign_code
from eostui.tui import files
from eostui.tui.keys import KEYS, ON_OSCILLATOR
from eostui.tui.oscillator_settings import newest_reading
from eostui.tui.panels import RunView
from eostui.tui.screens.dialogs import ChoiceDialog, MessageDialog
from eostui.tui.screens.help import HelpScreen
from eostui.tui.screens.landscape import LandscapeScreen
from eostui.tui.screens.live import LiveScreen
from eostui.tui.screens.oscillator import OscillatorScreen
from eostui.tui.steered import SteeredApp
from eostui.tui.steering import Steering
from eostui.tui.tty import leave_on_signals, leave_when_gone

#: A run longer than this is ended by n, p or r only after a question.
LONG_RUN = 600.0


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


class EostuiApp(SteeredApp):
    """Shows one run at a time; its result is a sentence for stderr after it closed."""

    TITLE = "eostui"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (12, "-high")]
    CSS_PATH = ["layout.tcss", "design.tcss"]
    BINDINGS = [binding for key in KEYS for binding in key.bindings()]

    def __init__(self, settings: Settings, start: EngineProcess | Path | OscillatorPreset) -> None:
        """`start` is an engine on its way, a run's directory, or an oscillator to show without any."""
        super().__init__()
        self.settings = settings
        self._start = start
        self._live = LiveScreen(unicode=settings.unicode)
        self._landscape = LandscapeScreen(self._live, unicode=settings.unicode)
        oscillator = oscillator_presets.load(oscillator_presets.DEFAULT_PRESET)
        if isinstance(start, OscillatorPreset):
            oscillator = start
        self._oscillator = OscillatorScreen(self._live, oscillator, unicode=settings.unicode)
        self._engine: EngineProcess | None = None
        self._preset = presets.DEFAULT_PRESET
        self._config: RunConfig | None = None
        self._first = True
        self._fetching = False
        self._state = ""

    def get_default_screen(self) -> Screen[None]:
        """The live screen is the application's first."""
        return self._live

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Offer every key's action in the command palette."""
        here = ON_OSCILLATOR if screen is self._oscillator else {}
        for key in KEYS:
            if key.id == "palette" or (key.group == "oscillator" and not here):
                continue
            text = here.get(key.id, key.text)
            yield SystemCommand(
                text[0].upper() + text[1:],
                f"key {key.shown}",
                lambda action=key.action, on=screen if key.id in here else self: self.call_later(
                    self.run_action, action, on
                ),
            )

    async def on_mount(self) -> None:
        """Catch signals, begin the run, and follow it."""
        leave_on_signals(self._leave_with)
        leave_when_gone(self._leave_with)
        self.install_screen(self._landscape, "landscape")
        self.install_screen(self._oscillator, "oscillator")
        self.set_interval(1 / self.settings.fps, self._follow)
        if isinstance(self._start, Path):
            self.run_worker(self._open(self._start), exit_on_error=False)
        elif isinstance(self._start, OscillatorPreset):
            self._live.show_message("no run yet: n starts one")
            self.push_screen("oscillator")
        else:
            self._await(self._start)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show what a background task failed with: it must not vanish."""
        if event.state is WorkerState.ERROR:
            self.push_screen(MessageDialog(f"unexpected: {event.worker.error!r}"))

    def _begin(self, config: RunConfig) -> None:
        """End the present run and start another."""
        self._first = False
        self._end_run()
        self._await(EngineProcess(config, self.settings.runs_dir, self.settings.data_dir))

    def _await(self, engine: EngineProcess) -> None:
        """Wait for an engine in the background, telling what it does, and then show its run."""
        self._engine, self._config, self._preset = engine, engine.config, engine.config.preset
        self._live.show_message(f"starting {engine.config.preset}")
        self.run_worker(
            self._open_when_ready(engine), group="start", exclusive=True, exit_on_error=False
        )

    async def _open_when_ready(self, engine: EngineProcess) -> None:
        def progress(text: str) -> None:
            self.call_from_thread(self._live.show_message, f"{engine.config.preset}: {text}")

        try:
            path = await asyncio.to_thread(engine.ready, progress)
        except StartError as error:
            if self._engine is engine:
                self._start_failed(error)
            return
        engine.let_go()
        if self._engine is engine:
            await self._open(path)

    async def _open(self, path: Path) -> None:
        try:
            run = await asyncio.to_thread(Run, path)
        except EostuiError as error:
            self._start_failed(error)
            return
        self._run, self._steering, self._state = run, Steering(run), "running"
        self._config, self._preset = run.config, run.config.preset
        self._live.show_run(RunView(run))

    def _start_failed(self, error: EostuiError) -> None:
        """The first run's failure ends the program with its sentence; a later one is shown."""
        self._engine = None
        if self._first:
            self.exit(str(error), return_code=error.exit_code)
            return
        self._live.show_message("no run")
        self.push_screen(MessageDialog(str(error)))

    def _end_run(self) -> None:
        """Stop the present run, if its engine lives, and let go of it."""
        if self._run is not None:
            if self._run.state in LIVE_STATES:
                self._command("stop")
            self._run.close()
        elif self._engine is not None:
            self._engine.cancel()
        self._run = self._steering = self._engine = None

    async def _follow(self) -> None:
        """Take in new rows and redraw; a fetch that is slow is never started twice."""
        if not self.is_running:  # leaving: the screens are losing their widgets
            return
        self._landscape.draw_if_shown()
        self._oscillator.draw_if_shown()
        run = self._run
        if run is None or self._fetching:
            return
        self._fetching = True
        try:
            news = await asyncio.to_thread(run.fetch)
        except BusyError as error:  # nothing was read; the next time may be luckier
            self.notify(str(error), severity="warning")
            return
        except EostuiError as error:
            if run is self._run:
                self._run = self._steering = None
                self.push_screen(MessageDialog(str(error)))
            return
        finally:
            self._fetching = False
        if run is not self._run or not self.is_running:
            return
        if run.apply(news):
            self._live.refresh_run()
        else:
            self._live.refresh_texts()
        self._tell_changes(run, news.events)

    def _tell_changes(self, run: Run, events: Iterable[Event]) -> None:
        """Say what a viewer must not miss: a refusal, the end of the run."""
        for event in events:
            if event.kind == "refused":
                self.notify(str(event.payload["reason"]), severity="error")
            elif text := told(event):
                self.notify(text)
        state = run.state
        if state != self._state:
            self._state = state
            if state not in LIVE_STATES:
                text = end_sentence(run.path, run.facts, state)
                bad = state in ("diverged", "failed", "interrupted")
                self.notify(text, severity="error" if bad else "information", timeout=10)

    def action_restart(self) -> None:
        """Start the present run's config anew."""
        config = self._config
        if config is None:
            return
        if self._run is not None and self._engine is None:  # opened, not begun here
            try:
                refuse_foreign_code(config, self._run.path)
            except InputError as error:
                self.notify(str(error), severity="error")
                return
        self._replace_run(lambda: self._begin(config))

    def action_preset(self, offset: int) -> None:
        """Start the next or previous preset; ask before it downloads anything."""

        def begin() -> None:
            self._preset = presets.neighbour(self._preset, offset)
            try:
                config = presets.load(self._preset).config
            except InputError as error:
                self.push_screen(MessageDialog(str(error)))
                return
            missing = locations.missing_download(config.data, self.settings.data_dir)
            if not missing:
                self._begin(config)
                return
            question = f"{self._preset} first downloads {config.data}, {missing} MB."
            self.push_screen(
                ChoiceDialog(question, {"y": "download and train", "s": "skip it"}),
                lambda answer: {"y": lambda: self._begin(config), "s": begin}.get(
                    answer or "", lambda: None
                )(),
            )

        self._replace_run(begin)

    def _replace_run(self, begin: Callable[[], None]) -> None:
        """Call `begin` at once, or after a question if the present run is long."""
        run = self._run
        if run is None or run.state not in LIVE_STATES:
            begin()
            return
        if time.time() - float(run.facts.get("created", "0")) < LONG_RUN:
            begin()
            return
        question = f"{printable(run.path.name)} has run for more than ten minutes. End it?"
        self.push_screen(
            ChoiceDialog(question, {"y": "end it and go on; its record stays"}),
            lambda answer: begin() if answer == "y" else None,
        )

    def action_export(self) -> None:
        """Write the run as CSV into the present folder."""
        if self._run is not None:
            self.run_worker(
                self._export(self._run.path), group="export", exclusive=True, exit_on_error=False
            )

    async def _export(self, path: Path) -> None:
        try:
            self.notify(await asyncio.to_thread(files.write_csv, path))
        except EostuiError as error:
            self.notify(str(error), severity="error")

    def action_picture(self) -> None:
        """Save the screen as SVG."""
        name = f"{self._run.path.name}-{self._run.last_step}" if self._run else "eostui"
        if self.screen is self._oscillator:
            name = "oscillator"
        try:
            self.notify(files.write_picture(name, self.export_screenshot(title="eostui")))
        except InputError as error:
            self.notify(str(error), severity="error")

    def action_next_screen(self, direction: int) -> None:
        """Go round the screens; the landscape is passed by where there can't be one."""
        ring = ["live", "landscape", "oscillator"]
        if self._run is None or len(self._run.coordinates) != 2:
            ring = [name for name in ring if name != "landscape" or self.screen is self._landscape]
        for name in ring:
            if self.screen is self._screen_named(name):
                self.action_show_screen(ring[(ring.index(name) + direction) % len(ring)])
                return

    def action_show_screen(self, name: str) -> None:
        """Show one of the screens; the run's charts lie below the others. Dialogs stay."""
        wanted = self._screen_named(name)
        if self.screen is wanted or isinstance(self.screen, ModalScreen):
            return
        if self.screen is self._live:
            self.push_screen(wanted)
        elif wanted is self._live:
            self.pop_screen()
        else:
            self.switch_screen(wanted)

    def _screen_named(self, name: str) -> Screen[None]:
        screens: dict[str, Screen[None]] = {
            "live": self._live, "landscape": self._landscape, "oscillator": self._oscillator,
        }  # fmt: skip
        return screens[name]

    def action_take_reading(self) -> None:
        """Show the oscillator at the newest measurement of the run."""
        self.clear_notifications()
        try:
            if self._run is None:
                raise InputError("there is no run to take a measurement from")
            reading = newest_reading(self._run, oscillator_presets.DEFAULT_STEPS)
        except InputError as error:
            self.notify(str(error), severity="warning")
            return
        self._oscillator.take(reading)
        self.action_show_screen("oscillator")
        view = self._live.view
        if view is not None and view.at_edge and view.run.config.reading == "raw":
            self.notify("measured on the bounce: α is too small by ½x²", severity="warning")

    def action_help(self) -> None:
        """Show the help."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    def action_leave(self) -> None:
        """Leave; ask whether a live run goes on. Leaving twice keeps it going."""
        run = self._run
        if run is None or run.state not in LIVE_STATES:
            if self._engine is not None and run is None:
                self._engine.cancel()
            self.exit(f"the record is in {run.path}" if run else None)
            return
        if isinstance(self.screen, ChoiceDialog):
            self._leave("k")
            return
        choices = {"k": "keep it running; `eostui attach` returns to it", "s": "stop it"}
        self.push_screen(
            ChoiceDialog(f"{printable(run.path.name)} is {run.state}.", choices), self._leave
        )

    def _leave(self, answer: str | None) -> None:
        if self._run is None or not answer:
            return
        short = self._run.path.name
        if answer == "s":
            self._command("stop")
            self.exit(f"{short} is told to stop; its record is in {self._run.path}")
        else:
            self.exit(f"{short} goes on; `eostui attach {short}` returns to it")

    def _leave_with(self, code: int) -> None:
        """Restore the terminal and leave; the run goes on."""
        self.exit(return_code=code)


def run_app(settings: Settings, start: EngineProcess | Path | OscillatorPreset) -> tuple[int, str]:
    """Run the application; return the exit code and a sentence for stderr."""
    app = EostuiApp(settings, start)
    sentence = app.run()
    code = app.return_code
    return (EXIT_FAILED if code is None else code), sentence or ""
