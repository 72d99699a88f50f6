"""The application: starts or attaches to a run, follows it, and shows it on its screens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from textual.app import SystemCommand
from textual.screen import ModalScreen, Screen
from textual.worker import Worker, WorkerState

from eostui import locations, oscillator_presets, presets
from eostui.errors import EXIT_FAILED, EostuiError, InputError, printable
from eostui.oscillator_presets import OscillatorPreset
from eostui.runs.launch import EngineProcess
from eostui.runs.run import Run
from eostui.tui import files
from eostui.tui.following import Follower
from eostui.tui.forking import ForkingApp
from eostui.tui.keys import KEYS, ON_OSCILLATOR, ON_PLAYBACK
from eostui.tui.oscillator_settings import newest_reading
from eostui.tui.playback import Playback
from eostui.tui.screens.dialogs import AskDialog, ChoiceDialog, MessageDialog
from eostui.tui.screens.help import HelpScreen
from eostui.tui.screens.landscape import LandscapeScreen
from eostui.tui.screens.live import LiveScreen
from eostui.tui.screens.oscillator import OscillatorScreen
from eostui.tui.screens.playback import PlaybackScreen
from eostui.tui.started import Settings, Watch
from eostui.tui.tty import leave_on_signals, leave_when_gone

#: A run longer than this is ended by n, p or r only after a question.
LONG_RUN = 600.0


#: What to show first: an engine on its way, a run, a run played back, or an oscillator without any run.
Start = EngineProcess | Path | Watch | OscillatorPreset


class EostuiApp(ForkingApp):
    """Shows one run at a time; its result is a sentence for stderr after it closed."""

    TITLE = "eostui"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (12, "-high")]
    CSS_PATH = ["layout.tcss", "design.tcss"]
    BINDINGS = [binding for key in KEYS for binding in key.bindings()]

    def __init__(self, settings: Settings, start: Start) -> None:
        super().__init__(settings)
        self._start = start
        self._live = LiveScreen(unicode=settings.unicode)
        if isinstance(start, Watch):
            self._live = PlaybackScreen(start.speed, unicode=settings.unicode)
            self._whole = True
        self._landscape = LandscapeScreen(self._live, unicode=settings.unicode)
        oscillator = oscillator_presets.load(oscillator_presets.DEFAULT_PRESET)
        if isinstance(start, OscillatorPreset):
            oscillator = start
        self._oscillator = OscillatorScreen(self._live, oscillator, unicode=settings.unicode)

    def get_default_screen(self) -> Screen[None]:
        """The live screen is the application's first."""
        return self._live

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Offer every key's action in the command palette."""
        here, group = {}, ""
        if screen is self._oscillator:
            here, group = ON_OSCILLATOR, "oscillator"
        elif isinstance(screen, PlaybackScreen):
            here, group = ON_PLAYBACK, "playback"
        for key in KEYS:
            if key.id == "palette" or (
                key.group in ("oscillator", "playback") and key.group != group
            ):
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
        self.set_interval(1 / self.settings.fps, self._tick)
        if isinstance(self._start, Path | Watch):
            path = self._start.path if isinstance(self._start, Watch) else self._start
            self.run_worker(self._open(path), exit_on_error=False)
        elif isinstance(self._start, OscillatorPreset):
            self._live.show_message("no run yet: n starts one")
            self.push_screen("oscillator")
        else:
            self._await(self._start)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show what a background task failed with: it must not vanish."""
        if event.state is WorkerState.ERROR:
            self.push_screen(MessageDialog(f"unexpected: {event.worker.error!r}"))

    def _show(self, feed: Follower | Playback, parent: Follower | None) -> None:
        """Show a run; on the screen for that, play it back."""
        if isinstance(self._live, PlaybackScreen) and isinstance(feed, Follower):
            feed = self._live.play(feed)
        super()._show(feed, parent)

    async def _tick(self) -> None:
        """Redraw what has something new to show."""
        if self.is_running:  # not while leaving: the screens are losing their widgets
            self._landscape.draw_if_shown()
            self._oscillator.draw_if_shown()
            await self._follow()

    def action_restart(self) -> None:
        """Start the present run's config anew."""
        config, run = self._config, self._run
        if config is not None and (run is None or self._may_execute(config, run.path)):
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
        if isinstance(self._feed, Playback):
            self._steer()  # which says why not
            return
        run = self._live_run
        if run is None:
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
            self._write(partial(files.write_csv, self._run.path))

    def action_save_preset(self) -> None:
        """Ask for a name and save the run as a preset that repeats its changes of η and λ."""
        run = self._run
        if run is None:
            return

        def named(name: str | None) -> None:
            if name:
                self._write(partial(files.write_preset, run.path, name))

        question = "save this run, with its changes of η and λ, as a preset named"
        self.push_screen(AskDialog(question, f"{run.config.preset}-steered", str.strip), named)

    def _write(self, write: Callable[[], str]) -> None:
        """Write a file in the background, and say what was written or why it wasn't."""

        async def task() -> None:
            try:
                self.notify(await asyncio.to_thread(write))
            except EostuiError as error:
                self.notify(str(error), severity="error")

        self.run_worker(task(), group="export", exclusive=True, exit_on_error=False)

    def action_picture(self) -> None:
        """Save the screen as SVG, without the messages that lie over it."""
        self.screen.query("ToastRack").set(display=False)  # the next message shows it again
        self.screen.call_after_refresh(self._take_picture)

    def _take_picture(self) -> None:
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
        run = self._live_run
        if run is None:
            self._cancel()
            self.exit(f"the record is in {self._run.path}" if self._run else None)
            return
        if isinstance(self.screen, ChoiceDialog):
            self._leave("k", run)
            return
        choices = {"k": "keep it running; `eostui attach` returns to it", "s": "stop it"}
        self.push_screen(
            ChoiceDialog(f"{printable(run.path.name)} goes on.", choices),
            lambda answer: self._leave(answer, run),
        )

    def _leave(self, answer: str | None, run: Run) -> None:
        """Leave the run that was asked about; another may be shown by now, as a fork that got ready."""
        if not answer:
            return
        self._cancel()
        short = run.path.name
        if answer == "s":
            self._command("stop", run)
            self.exit(f"{short} is told to stop; its record is in {run.path}")
        else:
            self.exit(f"{short} goes on; `eostui attach {short}` returns to it")

    def _leave_with(self, code: int) -> None:
        """Restore the terminal and leave; the run goes on."""
        self.exit(return_code=code)


def run_app(settings: Settings, start: Start) -> tuple[int, str]:
    """Run the application; return the exit code and a sentence for stderr."""
    app = EostuiApp(settings, start)
    sentence = app.run()
    code = app.return_code
    return (EXIT_FAILED if code is None else code), sentence or ""
