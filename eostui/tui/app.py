"""The application: starts or attaches to a run, follows it, and shows it on its screens."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from textual.app import SystemCommand
from textual.errors import NoWidget
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from eostui import locations, oscillator_presets, presets
from eostui.errors import EXIT_FAILED, EostuiError, InputError, printable
from eostui.oscillator_presets import OscillatorPreset
from eostui.runs.analysis.duration import seconds_trained
from eostui.runs.launch import EngineProcess
from eostui.runs.store import commands
from eostui.tui import files
from eostui.tui.following import Follower
from eostui.tui.forking import ForkingApp
from eostui.tui.keys import KEYS, ON_OSCILLATOR, ON_PLAYBACK
from eostui.tui.oscillator_settings import newest_reading
from eostui.tui.playback import Playback
from eostui.tui.screens.commands import Palette
from eostui.tui.screens.dialogs import AskDialog, ChoiceDialog, LeaveDialog
from eostui.tui.screens.help import HelpScreen
from eostui.tui.screens.landscape import LandscapeScreen
from eostui.tui.screens.live import LiveScreen
from eostui.tui.screens.oscillator import OscillatorScreen
from eostui.tui.screens.playback import PlaybackScreen
from eostui.tui.started import Settings, Watch
from eostui.tui.tty import leave_on_signals, leave_when_gone, stop_and_go_on, suspend, terminal_gone

#: A run that trained for longer is ended by n, p or r only after a question.
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
        here, group, state = {}, "", self._feed.state if self._feed is not None else ""
        if screen is self._oscillator:
            here, group = ON_OSCILLATOR, "oscillator"
        elif isinstance(screen, PlaybackScreen):
            here, group = ON_PLAYBACK, "playback"
        for key in KEYS:
            if (
                key.id == "palette"
                or (key.group in ("oscillator", "playback") and key.group != group)
                or not (key.id in here or key.acts(state))
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
        if self._driver is not None and self._driver.can_suspend:
            stop_and_go_on(self._driver, self._draw_again)
        self.install_screen(self._landscape, "landscape")
        self.install_screen(self._oscillator, "oscillator")
        self.set_interval(1 / self.settings.fps, self._tick)
        if isinstance(self._start, Path | Watch):
            path = self._start.path if isinstance(self._start, Watch) else self._start
            self._load(self._open(path))
        elif isinstance(self._start, OscillatorPreset):
            self._live.show_message("no run yet: n starts one")
            self.push_screen("oscillator")
        else:
            self._await(self._start)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show what a background task failed with: it must not vanish."""
        if event.state is WorkerState.ERROR:
            self.say(f"unexpected: {event.worker.error!r}")

    def _show(self, feed: Follower | Playback, parent: Follower | None) -> None:
        """Show a run; on the screen for that, play it back."""
        if isinstance(self._live, PlaybackScreen) and isinstance(feed, Follower):
            feed = self._live.play(feed)
        super()._show(feed, parent)

    async def _tick(self) -> None:
        """Redraw what has something new to show."""
        if self.is_running:  # not while leaving: the screens are losing their widgets
            self._say_what_waits()
            self._landscape.draw_if_shown()
            self._oscillator.draw_if_shown()
            await self._follow()

    def action_restart(self) -> None:
        """Start the present run's config anew."""
        config, run = self._config, self._run
        if isinstance(self._feed, Playback) or config is None:
            self._steer()  # which says why not
            return
        trusted = self._steering is not None and self._steering.trusted
        if run is None or self._may_execute(config, run.path, trusted=trusted):
            self._replace_run(lambda: self._begin(config))

    def action_preset(self, offset: int) -> None:
        """Start the next or previous preset; ask before it downloads anything."""
        if isinstance(self._feed, Playback):
            self._steer()  # which says why not
        else:
            self._replace_run(lambda: self._begin_neighbour(self._preset, offset))

    def _begin_neighbour(self, preset: str, offset: int) -> None:
        """Start the preset before or after one; ask before it downloads anything."""
        preset = presets.neighbour(preset, offset)
        try:
            config = presets.load(preset).config
        except InputError as error:
            self._preset = preset  # the next press passes it by
            self.say(str(error))
            return
        missing = locations.missing_download(config.data, self.settings.data_dir)
        if not missing:
            self._begin(config)
            return
        answers: dict[str, Callable[[], None]] = {
            "y": lambda: self._begin(config),
            "s": lambda: self._begin_neighbour(preset, offset),
        }
        self._ask_of_run(
            f"{preset} first downloads {config.data}, {missing} MB.",
            {"y": "download and train", "s": "skip it"},
            answers,
        )

    def _replace_run(self, begin: Callable[[], None]) -> None:
        """Call `begin` at once, or after a question if the present run has trained for long."""
        run = self._live_run
        if run is not None:
            created = float(run.facts.get("created", "0"))
            if seconds_trained(created, run.events, time.time()) >= LONG_RUN:
                question = f"{printable(run.path.name)} has run for more than ten minutes. End it?"
                answers = {"y": "end it and go on; its record stays"}
                self._ask_of_run(question, answers, {"y": begin})
                return
        begin()

    def _ask_of_run(
        self, question: str, choices: dict[str, str], answers: dict[str, Callable[[], None]]
    ) -> None:
        """Ask something that ends the run at hand; an answer doesn't end another one."""
        path = self.scene().path

        def answered(answer: str | None) -> None:
            if answer not in answers:
                return
            if self.scene().path == path:
                answers[answer]()
            else:
                self.notify("another run is shown by now: it goes on", severity="warning")

        self.ask(ChoiceDialog(question, choices), answered)

    def action_export(self) -> None:
        """Write the run as CSV into the present folder."""
        if self._run is None:
            self._steer()  # which says why not
        else:
            self._write(partial(files.write_csv, self._run.path))

    def action_save_preset(self) -> None:
        """Ask for a name and save the run as a preset that repeats its changes of η and λ."""
        run = self._run
        if run is None:
            self._steer()  # which says why not
            return

        def named(name: str | None) -> None:
            if name:
                self._write(partial(files.write_preset, run.path, name))

        question = "save this run, with its changes of η and λ, as a preset named"
        self.ask(AskDialog(question, f"{run.config.preset}-steered", str.strip), named)

    def _write(self, write: Callable[[], str]) -> None:
        """Write a file in the background, and say what was written or why it wasn't."""

        async def task() -> None:
            try:
                self.notify(await asyncio.to_thread(write))
            except EostuiError as error:
                self.notify(str(error), severity="error")

        self.run_worker(task(), group="export", exit_on_error=False)

    def action_picture(self) -> None:
        """Save the screen as SVG, without the messages that lie over it."""
        self.screen.query("ToastRack").set(display=False)  # the next message shows it again
        self._take_picture(10)

    def _take_picture(self, frames: int) -> None:
        """Save what is shown once no message is; after so many frames in any case."""
        if frames and any(map(self._is_drawn, self.screen.query("Toast"))):
            self.screen.call_after_refresh(self._take_picture, frames - 1)
            return
        name = f"{self._run.path.name}-{self._run.last_step}" if self._run else "eostui"
        if self.screen is self._oscillator:
            name = "oscillator"
        try:
            self.notify(files.write_picture(name, self.export_screenshot(title="eostui")))
        except InputError as error:
            self.notify(str(error), severity="error")

    def _is_drawn(self, widget: Widget) -> bool:
        with contextlib.suppress(NoWidget):
            return bool(self.screen.find_widget(widget).visible_region)
        return False

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
        if view is not None and view.bouncing and view.run.config.reading == "raw":
            self.notify("measured on the bounce: α is too small by ½x²", severity="warning")

    def action_help(self) -> None:
        """Show the help."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self._feed.state if self._feed is not None else ""))

    def action_command_palette(self) -> None:
        """Show the command palette."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_suspend_process(self) -> None:
        """Give the terminal to the shell; its `fg` leads back."""
        if not suspend():
            self.notify(
                "no shell is waiting behind this: nothing could lead back", severity="warning"
            )

    def _draw_again(self) -> None:
        """Draw all of the screen, where the terminal may show anything."""
        self.refresh(layout=True)

    def action_leave(self) -> None:
        """Leave; ask whether what trains goes on. Leaving twice keeps it going."""
        if isinstance(self.screen, LeaveDialog):
            self.screen.dismiss("k")
            return
        runs = self._training()
        if not runs:
            self._cancel()
            self.exit(f"the record is in {self._run.path}" if self._run else None)
            return
        names = [printable(path.name) for path in runs]
        paused = self._feed is not None and self._feed.state == "paused"
        question = f"{names[0]} {'stays paused' if paused else 'goes on'}."
        choices = {"k": "keep it running; `eostui attach` returns to it", "s": "stop it"}
        if len(runs) > 1:
            question = (
                f"{names[0]} hasn't ended, nor has what was shown before: {', '.join(names[1:])}."
            )
            choices = {
                "k": "keep them as they are; `eostui attach RUN` returns to one",
                "s": f"stop it alone: {names[0]}",
                "a": "stop them all",
            }
        self.push_screen(LeaveDialog(question, choices), lambda answer: self._leave(answer, runs))

    def _leave(self, answer: str | None, runs: Sequence[Path]) -> None:
        """Leave the runs that were asked about; what has begun since then goes on, and is told of."""
        ending = {"k": (), "s": runs[:1], "a": runs}.get(answer or "")
        if ending is None:
            return
        try:
            for path in ending:
                commands.send(path, "stop")
        except EostuiError as error:
            self.say(str(error))
            return
        told = [f"{path.name} is told to stop; its record is in {path}" for path in ending]
        told += self._let_run(ending)
        self.exit("; ".join(told) or f"the record is in {runs[0]}")

    def _leave_with(self, code: int) -> None:
        """Restore the terminal and leave; what trains goes on."""
        told = self._let_run()
        self.exit(None if terminal_gone() else "; ".join(told), return_code=code)

    def _let_run(self, ending: Sequence[Path] = ()) -> list[str]:
        """End an engine that has no run yet; return what to say of the runs that go on."""
        if self._engine is not None and not self._engine.begun:
            self._cancel()
        return [
            f"{path.name} goes on; `eostui attach {path.name}` returns to it"
            for path in self._training()
            if path not in ending
        ]


def run_app(settings: Settings, start: Start) -> tuple[int, str]:
    """Run the application; return the exit code and a sentence for stderr."""
    app = EostuiApp(settings, start)
    sentence = app.run()
    code = app.return_code
    return (EXIT_FAILED if code is None else code), sentence or ""
