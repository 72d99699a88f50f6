"""The application: what each key does, which screen is shown, and how it is left.

A key of `keys.py` names a method `action_…` here, or of the screen that is shown. What it does is done by
a part that the application is made of:

    session     the run at hand, followed and drawn
    steering    of that run: commands to its engine (session.steering)
    engines     starts engines and has their runs shown
    forks       asks how a run is forked, or gone on with
    shelving    does to runs of the shelf what the runs screen asks
    beside      asks which run to draw under it
    questions   dialogs, each about the scene in which its key was pressed
    leaving     asks what becomes of the runs that train
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from textual import events
from textual.app import App, SystemCommand
from textual.driver import Driver
from textual.errors import NoWidget
from textual.notifications import SeverityLevel
from textual.screen import ModalScreen, Screen
from textual.theme import Theme
from textual.widget import Widget
from textual.widgets import Input
from textual.worker import Worker, WorkerState

from eostui import oscillator_presets, presets
from eostui.errors import EXIT_FAILED, EostuiError, InputError, printable
from eostui.figures.files import require_matplotlib
from eostui.oscillator_presets import OscillatorPreset
from eostui.panels.compare.view import Compare
from eostui.preferences import Preferences, remember
from eostui.runs.analysis.controls import description_of, not_of_theory
from eostui.runs.analysis.stops import ASKED, pending
from eostui.runs.calibration import NO_PLAIN_STEPS
from eostui.runs.launch import EngineProcess, refuse_resume
from eostui.runs.selection import Selection
from eostui.runs.shelf import safe_name
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.reader import facts_of
from eostui.stability import intervenes
from eostui.stop_condition import EXAMPLES, Stop, as_typed, content_of, in_words, parse
from eostui.sweeps.sweep import Sweep
from eostui.tui import files, themes
from eostui.tui.beside import Beside
from eostui.tui.editor import edit
from eostui.tui.engines import Engines
from eostui.tui.forks import Forks
from eostui.tui.key_queue import KeyQueue
from eostui.tui.keys import FURTHER, KEYS, Key, bindings
from eostui.tui.leaving import Leaving
from eostui.tui.oscillator_settings import newest_reading
from eostui.tui.questions import Questions
from eostui.tui.reproducing import Reproducing
from eostui.tui.screens.commands import Palette
from eostui.tui.screens.compare import CompareScreen
from eostui.tui.screens.dialogs import AskDialog, NumberDialog, PickDialog
from eostui.tui.screens.experiments import ExperimentsScreen
from eostui.tui.screens.help import HelpScreen
from eostui.tui.screens.linked import LinkedCharts
from eostui.tui.screens.list import ListScreen
from eostui.tui.screens.oscillator import OscillatorScreen
from eostui.tui.screens.presets import PresetsScreen
from eostui.tui.screens.runs import RunsScreen
from eostui.tui.screens.screen import SessionScreen
from eostui.tui.screens.sweep import SweepScreen
from eostui.tui.screens.table import entries_of, keys_by_group, screen_keys
from eostui.tui.session import Session, Settings, Watch
from eostui.tui.shares import failed, impossible, probes_on, rows
from eostui.tui.shelving import Shelving
from eostui.tui.steering import Steering
from eostui.tui.thrift import thrifty
from eostui.tui.tty import give_size, leave_on_signals, leave_when_gone, stop_and_go_on, suspend
from eostui.tui.widgets.grid import GridWidget

#: How a new line in a note is shown in a field of one line, and typed.
_NEW_LINE = " ↵ "

#: What to show first: an engine on its way, a run, a run played back, an oscillator, a comparison or a
#: sweep without any run.
Start = EngineProcess | Path | Watch | OscillatorPreset | Compare | Sweep


class EostuiApp(App[str]):
    """Shows one run at a time; its result is a sentence for stderr after it closed.

    Attributes:
        session: the run at hand.
        engines: starts engines.
        first: the screen below all others, the run's charts.
    """

    TITLE = "eostui"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (12, "-high")]
    CSS_PATH = ["layout.tcss", "design.tcss"]
    BINDINGS = bindings(KEYS)

    def __init__(
        self, settings: Settings, start: Start, noted: Callable[[], int] = lambda: 0
    ) -> None:
        """`noted` returns the signal that came before the application could obey any; 0 if none did."""
        super().__init__()
        self._start, self._noted = start, noted
        self._queue = KeyQueue(self, super().on_event)
        table = [key for keys in keys_by_group().values() for key in keys]
        watch = start if isinstance(start, Watch) else None
        self.session = Session(self, settings, table, watch)
        self.questions = Questions(self, self.session)
        self.engines = Engines(self, self.session, self.questions)
        self._forks = Forks(
            self,
            self.session,
            self.questions,
            self.engines,
            lambda: self.first.chosen_step,
            self._show_run,
        )
        self._shelving = Shelving(
            self, self.session, self.questions, self.engines, self._forks, self._show_run,
            self.compare, self.show_sweep,
        )  # fmt: skip
        self._reproducing = Reproducing(self, self.session, self.questions, self.show_sweep)
        self._beside = Beside(self, self.session, self.questions)
        self._leaving = Leaving(self, self.session, self.questions, self.engines)
        self._entries = entries_of(self.session)
        self._held: tuple[EngineProcess, list[Callable[[Steering], object]]] | None = None
        self._screens = {key: entry.screen(self.session) for key, entry in self._entries.items()}
        self.first = next(iter(self._screens.values()))
        for key in screen_keys():
            self.bind(key.keys, key.action, description=key.text, show=False)
        settings.keymap.rebind(self, (*KEYS, *screen_keys()))
        for theme in themes.OWN:
            self.register_theme(theme)
        self.theme = settings.theme
        themes.draw_charts_in(self.current_theme)

    def get_driver_class(self) -> type[Driver]:
        """Textual's for this system, but for how it says styles."""
        driver: type[Driver] = super().get_driver_class()
        return thrifty(driver)

    def get_default_screen(self) -> Screen[None]:
        """The run's charts are the application's first screen."""
        return self.first

    async def on_mount(self) -> None:
        """Begin the run, and follow it."""
        if self._driver is not None and self._driver.can_suspend:
            stop_and_go_on(self, self._driver, self._draw_again)
        for key, screen in self._screens.items():
            if screen is not self.first:
                self.install_screen(screen, self._entries[key].name)
        self.theme_changed_signal.subscribe(self, self._draw_in)
        self.set_interval(1 / self.session.settings.fps, self._tick)
        start = self._start
        if isinstance(start, EngineProcess):
            self.engines.wait_for(start)
        elif isinstance(start, OscillatorPreset):
            self.session.show_message(f"no run yet: {self.session.key('preset.next')} starts one")
            self.get_screen("oscillator", OscillatorScreen).begin_with(start)
            self.push_screen("oscillator")
        elif isinstance(start, Compare):
            self.session.show_message(f"no run yet: {self.session.key('preset.next')} starts one")
            self.session.compare(start.view)
            self.push_screen("compare")
            for sentence in start.left_out:
                self.notify(sentence, severity="warning")
        elif isinstance(start, Sweep):
            self.session.show_message(f"no run yet: {self.session.key('preset.next')} starts one")
            self.session.show_sweep(start)
            self.push_screen("sweep")
        else:
            self.engines.open(start.path if isinstance(start, Watch) else start)

    def on_ready(self) -> None:
        """Obey signals: the one too that came while the first screen was made, when none can be."""
        leave_on_signals(self._leaving.at_signal)
        leave_when_gone(self._leaving.at_signal)
        if number := self._noted():
            self._leaving.at_signal(128 + number)

    def on_unmount(self) -> None:
        """Leave no process behind but runs."""
        self.engines.close()

    async def on_event(self, event: events.Event) -> None:
        """Take keys in turn, and everything else as it comes."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            await self._queue.take(event)
        else:
            await super().on_event(event)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show what a background task failed with: it must not vanish."""
        if event.state is WorkerState.ERROR:
            self.questions.say(f"unexpected: {event.worker.error!r}")

    async def _tick(self) -> None:
        """Look for what is new."""
        if self.is_running:  # not while leaving: the screens are losing their widgets
            self.questions.say_next()
            self._obey_held()
            self.draw_news()
            await self.session.follow()

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a message as it is: what a run tells may look like markup or control the terminal."""
        super().notify(
            printable(message), title=title, severity=severity, timeout=timeout, markup=markup
        )

    # --- drawing what the session holds (`session.Front`) ---------------------------------------------

    @property
    def shown(self) -> SessionScreen:
        """The screen that is shown, below the dialogs."""
        shown = [screen for screen in self.screen_stack if isinstance(screen, SessionScreen)]
        return shown[-1] if shown else self.first

    def start_over(self) -> None:
        """Draw another run, or none, on every screen: nothing of the last one stays."""
        for screen in self._screens.values():
            screen.start_over()

    def _draw_in(self, theme: Theme) -> None:
        """Draw all that is shown in the colours of a theme; what isn't is drawn when it is shown."""
        themes.draw_charts_in(theme)
        for widget in self.shown.query("*"):
            widget.refresh()
        for screen in self._screens.values():
            for grid in screen.query(GridWidget):
                grid.repaint()
        self.draw()

    def draw(self) -> None:
        """Draw all that is shown."""
        if self.shown.is_mounted:
            self.shown.draw()

    def draw_news(self) -> None:
        """Draw what is new."""
        if self.shown.is_mounted:
            self.shown.draw_news()

    # --- keys that steer the training -----------------------------------------------------------------

    def _steering(self) -> Steering | None:
        """Return what steers the live run that is shown, or say why there is none."""
        self.clear_notifications()  # the newest word replaces the last, over the charts
        session = self.session
        run = session.run
        if session.live_run is not None:
            return session.steering
        if run is None:
            text = "there is no run yet"
        elif session.steering is None:
            chosen = self.first.chosen_step
            text = (
                "a playback can't be steered; what trains on from this step is "
                f"`eostui fork {run.path.name} --at {run.last_step if chosen is None else chosen}`"
            )
        else:
            text = f"this run is {session.state}: {session.key('restart')} starts it anew"
            text += "" if refuse_resume(session.state) else f", {session.key('resume')} resumes it"
        self.notify(text, severity="warning")
        return None

    def _steer(self, ask: Callable[[Steering], object]) -> None:
        """Ask the engine of the run that is shown for something, if it lives; say why not.

        While a fork or a resumed run is on its way the key is meant for that: it waits.
        """
        if self._hold(ask):
            return
        steering = self._steering()
        if steering is not None:
            self._try(steering, ask)

    def _hold(self, ask: Callable[[Steering], object]) -> bool:
        """Keep what was asked of a run on its way, while another is shown; return whether one is."""
        engine = self.session.engine
        if engine is None or self.session.run is None:
            return False
        if self._held is None or self._held[0] is not engine:
            self._held = engine, []
        self._held[1].append(ask)
        self.clear_notifications()
        count = len(self._held[1])
        keys = "1 key waits" if count == 1 else f"{count} keys wait"
        self.notify(f"{keys} for {engine.path.name}, which isn't here yet")
        return True

    def _obey_held(self) -> None:
        """Ask a run that has come for what waited for it; say it if it didn't come."""
        if self._held is None or self.session.engine is self._held[0]:
            return
        (engine, asked), self._held = self._held, None
        steering = self.session.steering
        if steering is not None and steering.run.path == engine.path and self.session.live_run:
            for ask in asked:
                self._try(steering, ask)
        else:
            text = f"{engine.path.name} isn't shown: the keys that waited for it are dropped"
            self.notify(text, severity="warning")

    def _try(self, steering: Steering, ask: Callable[[Steering], object]) -> bool:
        try:
            ask(steering)
        except EostuiError as error:
            self.notify(str(error), severity="error")
            return False
        return True

    def action_turn(self, name: str, direction: int) -> None:
        """Turn a control one press up or down."""
        self._steer(lambda steering: steering.turn(name, direction))

    def action_type_control(self, name: str) -> None:
        """Ask for the value of a control."""
        steering = self._steering()
        if steering is None:
            return
        if self.session.engine is not None:
            self.notify(
                f"{self.session.engine.path.name} isn't here yet: press the key again when it is",
                severity="warning",
            )
            return
        run = steering.run.path
        try:
            control = steering.named(name)
        except InputError as error:
            self.notify(str(error), severity="error")
            return
        name = control.name
        what = f"{control.description} {control.symbol}"

        def answered(value: float | None) -> None:
            if value is None:
                return
            if steering is self.session.steering:
                self._steer(lambda steering: steering.set(name, value))
            elif engine_alive(run):
                if self._try(steering, lambda steering: steering.set(name, value)):
                    self.notify(f"{what} {value:g} is for {run.name}, which isn't shown now")
            else:
                self.notify(
                    f"{what} {value:g} was for {run.name}, which has ended: nothing is changed",
                    severity="warning",
                )

        question = NumberDialog(f"{what} of {printable(run.name)}", f"{steering.target[name]:g}")
        self.questions.ask(question, answered)

    def action_next_further(self) -> None:
        """Choose the next of the further controls that a dynamics has."""

        def choose(steering: Steering) -> None:
            control = steering.choose_next()
            down, up, typed = (
                self.session.key(f"{FURTHER}.{word}") for word in ("down", "up", "type")
            )
            told = f"{control.symbol}, the {control.description}"
            when = "" if len(steering.further) == 1 else " now"
            self.notify(f"{down} {up} and {typed} are for {told}{when}")

        self._steer(choose)

    def action_undo(self) -> None:
        """Undo the last change of a control that was made here; say whose a later one is."""

        def undo(steering: Steering) -> None:
            if told := steering.undo():
                self.notify(told)

        self._steer(undo)

    def action_pause(self) -> None:
        """Pause or resume training; of a run that isn't there yet it is remembered, and shown."""
        if not self.engines.pause():
            self._steer(lambda steering: steering.pause(not steering.paused))

    def action_single_step(self) -> None:
        """Take one step; pause first."""
        self._steer(Steering.single_step)

    def action_calibrate(self) -> None:
        """Freeze θ* here, for theory to predict the rest."""

        def calibrate(steering: Steering) -> None:
            if refusal := not_of_theory(steering.run):
                raise InputError(f"{refusal}: its prediction can't be laid over it")
            if intervenes(steering.target):
                raise InputError(NO_PLAIN_STEPS)
            steering.send("calibrate")
            self.notify("calibrating: S, u and ∇S here, converged")

        self._steer(calibrate)

    def action_stop_at(self) -> None:
        """Ask at what the run is to stop by itself."""
        steering = self._steering()
        if steering is None:
            return
        run = steering.run
        label = description_of(run).label
        present = pending(run.events)

        def answered(typed: str | None) -> None:
            if typed is None:
                return
            conditions = parse(typed)
            content = content_of(Stop(condition) for condition in conditions)
            if self._try(steering, lambda steering: steering.send(ASKED, **content)):
                told = in_words(conditions, label) or "its end alone"
                self.notify(f"{run.path.name} is told to stop at: {told}")

        def understood(typed: str) -> str:
            parse(typed)
            return typed

        question = f"{printable(run.path.name)} is to stop at\n({EXAMPLES})"
        asked = as_typed(stop.condition for stop in present)
        dialog = AskDialog(question, asked, understood)
        self.questions.ask(dialog, answered)

    def action_reseat(self) -> None:
        """Restart the predicted orbit from the network's own state."""
        self._steer(lambda steering: steering.send("reseat"))

    # --- keys that begin another run ------------------------------------------------------------------

    def action_restart(self) -> None:
        """Start the present run's config anew."""
        if self.session.playback is not None:
            self._steering()  # which says why not
        else:
            self.engines.restart()

    def action_preset(self, offset: int) -> None:
        """Start the next or previous preset."""
        if self.session.playback is not None:
            self._steering()  # which says why not
        else:
            self.engines.start_preset(offset)

    def action_fork(self) -> None:
        """Ask for a fork here: at the crosshair, at the newest step, or where a view that was panned
        away ends."""
        self._go_on(self._forks.ask_fork)

    def action_fork_at_crosshair(self) -> None:
        """Ask for a fork at the crosshair, if the run's charts have one."""
        first = self.first
        if self.shown is first and isinstance(first, LinkedCharts) and first.crosshair is not None:
            self.action_fork()

    def action_resume(self) -> None:
        """Go on with an ended run where it ended."""
        self._go_on(self._forks.ask_resume)

    def _go_on(self, ask: Callable[[Steering], None]) -> None:
        """Ask how to go on from the run that is shown, or say why nothing can."""
        self.clear_notifications()
        if self.session.steering is not None:
            ask(self.session.steering)
        else:
            self._steering()  # which says why not

    # --- keys that look at the run, and write files ---------------------------------------------------

    def action_overlay(self) -> None:
        """Ask for a run of the shelf to draw under this one, or take the present one away."""
        if self.session.beside is not None:
            self.session.lay_over(None)
        elif self.session.run is not None:
            self._beside.ask(self.session.run)
        else:
            self._steering()  # which says why not

    def action_probes(self) -> None:
        """Show the probes that can be turned on or off, and turn the one that is chosen."""
        if self.session.run is None:
            self._steering()  # which says why not
            return
        run, steering = self.session.run, self.session.steering
        live = self.session.live_run is not None and steering is not None
        never = impossible(run)

        def chosen(name: str | None) -> None:
            if not name:
                return
            if not live or steering is None:
                self._steering()
            elif name in never:
                self.notify(
                    f"the probe {name} can't be turned on: {never[name]}", severity="warning"
                )
            elif name in failed(steering.run) or name not in probes_on(steering.run):
                self._try(steering, lambda it: it.switch_probe(name, on=True))
                self.notify(f"the probe {name} is asked to measure from the next step on")
            else:
                self._try(steering, lambda it: it.switch_probe(name, on=False))
                self.notify(f"the probe {name} is asked to measure no more")

        head = "turn a probe on (●) or off:" if live else "this run's probes (● on):"
        self.questions.ask(
            PickDialog(head, rows(run, self.size.width * 96 // 100 - 14), dimmed=never, wide=True),
            chosen,
            self.questions.scene(),
        )

    def action_take_reading(self) -> None:
        """Show the oscillator at the newest measurement of the run."""
        self.clear_notifications()
        run = self.session.run
        try:
            if run is None:
                raise InputError("there is no run to take a measurement from")
            reading = newest_reading(run, oscillator_presets.DEFAULT_STEPS)
        except InputError as error:
            self.notify(str(error), severity="warning")
            return
        oscillator = self.get_screen("oscillator", OscillatorScreen)
        oscillator.take(reading)
        self._show_screen(oscillator)
        if warning := not_of_theory(run):
            self.notify(warning, severity="warning")
        view = self.session.view
        if view is not None and view.bouncing and view.run.config.reading == "raw":
            self.notify("measured on the bounce: α is too small by ½x²", severity="warning")

    def action_export(self) -> None:
        """Write the run as CSV into the present folder."""
        if self.session.run is None:
            self._steering()  # which says why not
        else:
            self._write(partial(files.write_csv, self.session.run.path))

    def action_note(self) -> None:
        """Ask for a note on the run, live or ended."""
        run = self.session.run
        if run is None:
            self._steering()  # which says why not
            return
        path = run.path

        def noted(text: str | None) -> None:
            if text is not None:
                self._write(partial(files.write_note, path, text.replace(_NEW_LINE, "\n")))

        try:
            present = facts_of(path).get("note", "")  # it may be another since the run was read
        except EostuiError as error:
            self.notify(str(error), severity="error")
            return
        question = f"a note on {printable(run.path.name)}; without any text it has none"
        dialog = AskDialog(question, present.replace("\n", _NEW_LINE), files.checked_note)
        self.questions.ask(dialog, noted)

    def action_save_preset(self) -> None:
        """Ask for a name and save the run as a preset that repeats its changes of controls."""
        run = self.session.run
        if run is None:
            self._steering()  # which says why not
            return

        def named(name: str | None) -> None:
            if name:
                self._write(partial(files.write_preset, run.path, name))

        question = "save this run, with its changes of controls, as a preset named"
        dialog = AskDialog(question, f"{run.config.preset}-steered", str.strip)
        self.questions.ask(dialog, named)

    def action_figure(self) -> None:
        """Ask for a file and write what the screen's charts show as a figure; training goes on."""
        self.clear_notifications()
        try:
            require_matplotlib()
            picture = self.shown.figure()
        except EostuiError as error:
            self.notify(str(error), severity="error")
            return
        if picture is None:
            self.notify("there are no charts here to make a figure of", severity="warning")
            return

        def named(target: Path | None) -> None:
            if target is not None:
                self._write(partial(files.write_as_figure, picture, target))

        question = "write these charts as a figure: .pdf, .svg or .png"
        present = f"{safe_name(self.shown.picture_name)}.pdf"
        self.questions.ask(AskDialog(question, present, files.FigureName()), named)

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
        picture = self.export_screenshot(title="eostui")
        try:
            self.notify(files.write_picture(self.shown.picture_name, picture))
        except InputError as error:
            self.notify(str(error), severity="error")

    def _is_drawn(self, widget: Widget) -> bool:
        with contextlib.suppress(NoWidget):
            return bool(self.screen.find_widget(widget).visible_region)
        return False

    # --- screens --------------------------------------------------------------------------------------

    def action_show_screen(self, key: str) -> None:
        """Show the screen of a key of the table."""
        self._show_screen(self._screens[key])

    def action_next_screen(self, direction: int) -> None:
        """Go round the screens that have something to show; in a dialog, round its fields."""
        if isinstance(self.screen, ModalScreen):
            if not self.screen.query(Input):  # else nothing would have the focus
                return
            if direction > 0:
                self.screen.focus_next("Input")
            else:
                self.screen.focus_previous("Input")
            return
        ring = [
            screen
            for key, screen in self._screens.items()
            if screen is self.screen
            or (self._entries[key].of_run and self._entries[key].applies(self.session))
        ]
        if self.screen is self.shown:
            self._show_screen(ring[(ring.index(self.shown) + direction) % len(ring)])
            if self.session.run is None and self.session.engine is not None:
                self.notify("a landscape, of a run that has one, is here once the run is")

    def _show_screen(self, wanted: SessionScreen) -> None:
        """Show a screen; the first lies below the others. Dialogs stay."""
        if self.screen is wanted or isinstance(self.screen, ModalScreen):
            return
        if self.screen is self.first:
            self.push_screen(wanted)
        elif wanted is self.first:
            self.pop_screen()
        else:
            self.switch_screen(wanted)

    def compare(self, runs: Selection) -> None:
        """Compare runs, such as those that were marked in a list."""
        screen = self.get_screen("compare", CompareScreen)
        screen.compare(runs)
        self._show_screen(screen)

    def show_sweep(self, sweep: Sweep) -> None:
        """Show a sweep, such as that of a run in a list."""
        self.session.show_sweep(sweep)
        self._show_screen(self.get_screen("sweep", SweepScreen))

    def on_compare_screen_open_run(self, event: CompareScreen.OpenRun) -> None:
        """Show a run of the comparison by itself."""
        self._show_screen(self.first)
        self.engines.open(event.path)

    def on_compare_screen_fork_run(self, event: CompareScreen.ForkRun) -> None:
        """Ask how a run of the comparison is forked."""
        self._shelving.fork_at(event.entry, event.step)

    def _show_run(self) -> None:
        """Show the run's charts in place of a list or a comparison, once its dialog is away."""
        if isinstance(self.shown, ListScreen | CompareScreen):
            self.call_later(self._show_screen, self.first)

    def on_runs_screen_asked(self, asked: RunsScreen.Asked) -> None:
        """Do what the runs screen asks for."""
        self._shelving.obey(asked)

    def on_experiments_screen_asked(self, asked: ExperimentsScreen.Asked) -> None:
        """Show an experiment's members, or run it."""
        self._reproducing.obey(asked)

    def on_presets_screen_asked(self, asked: PresetsScreen.Asked) -> None:
        """Start a preset, or have it edited."""
        self.clear_notifications()
        listed = asked.listed
        try:
            if asked.what == "edit":
                edit(self, presets.copy_to_own(listed.name))
                asked.done()
            elif self.session.watch is not None:
                self.notify("this is a playback, which starts nothing", severity="warning")
            else:
                self.engines.start(presets.load(listed.name).config, self._show_run)
        except InputError as error:
            self.notify(str(error), severity="error")

    def action_help(self) -> None:
        """Show the help."""
        if not isinstance(self.screen, HelpScreen):
            about = [screen.about() for screen in self._screens.values()]
            keymap = self.session.settings.keymap
            keys = {group: [*map(keymap.of, keys)] for group, keys in keys_by_group().items()}
            self.push_screen(HelpScreen(keys, self.session.state, about, self.session.key))

    def action_command_palette(self) -> None:
        """Show the command palette."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Offer every key's action in the command palette; on a screen with keys of its own, theirs."""
        own = screen.KEYS if isinstance(screen, SessionScreen) else ()
        replaced = {"palette"} | {key.id for key in own}
        actions = {key.action for key in own}
        if isinstance(screen, ListScreen):  # what would change a run that isn't seen
            replaced |= {key.id for key in KEYS if key.group == "training"}
        keymap = self.session.settings.keymap
        taken = frozenset(name for key in own for name in keymap.of(key).keys.split(","))
        for key in (*KEYS, *screen_keys()):
            if (
                key.id not in replaced
                and key.action not in actions
                and key.acts(self.session.state)
            ):
                yield self._command(key, self, taken)
        for key in own:
            yield self._command(key, screen)

    def _command(
        self, key: Key, on: EostuiApp | Screen[object], taken: frozenset[str] = frozenset()
    ) -> SystemCommand:
        """Return a key as a line of the palette; keys that are `taken` do something else there."""
        users = self.session.settings.keymap.of(key)
        free = users.keys and not taken.issuperset(users.keys.split(","))
        return SystemCommand(
            key.title,
            f"key {users.shown}" if free else "no key here",
            lambda: self.call_later(self.run_action, key.action, on),
        )

    def action_suspend_process(self) -> None:
        """Give the terminal to the shell; its `fg` leads back."""
        if not suspend():
            self.notify(
                "no shell is waiting behind this: nothing could lead back", severity="warning"
            )

    def _draw_again(self) -> None:
        """Draw all of the screen, where the terminal may show anything."""
        self.refresh(layout=True)

    def action_theme(self) -> None:
        """Ask for the colours; those of the line under the cursor are shown meanwhile."""
        before = self.theme

        def answered(name: str | None) -> None:
            self.theme = name or before
            if name:
                self._write(lambda: f"{name} from now on: {remember(Preferences(theme=name))}")

        def show(name: str) -> None:
            self.theme = name

        rows = {name: name for name in themes.THEMES}
        self.questions.ask(PickDialog("colours", rows, before, show), answered)

    def action_leave(self) -> None:
        """Leave; ask whether what trains goes on. Leaving twice keeps it going."""
        self._leaving.ask()


def run_app(settings: Settings, start: Start, noted: Callable[[], int]) -> tuple[int, str]:
    """Run the application; return the exit code and a sentence for stderr.

    Args:
        settings: how it was started.
        start: what to show first.
        noted: returns the signal that came before it could obey any; 0 if none did.
    """
    give_size()
    app = EostuiApp(settings, start, noted)
    sentence = app.run()
    code = app.return_code
    return (EXIT_FAILED if code is None else code), sentence or ""
