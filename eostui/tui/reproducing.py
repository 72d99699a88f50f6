"""Experiments that are opened or run from their list."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import App

from eostui.errors import EostuiError, printable
from eostui.experiments.results import NEVER_RUN, OnShelf, Standing, found_or_made
from eostui.sweeps.shelf import at_work
from eostui.sweeps.sweep import Sweep
from eostui.tui.questions import Questions
from eostui.tui.screens.dialogs import ChoiceDialog
from eostui.tui.screens.experiments import ExperimentsScreen, ListedExperiment
from eostui.tui.session import Session
from eostui.tui.sweeping import begin


class Reproducing:
    """Shows the members of experiments, and has experiments run; asks before it trains anything."""

    def __init__(
        self,
        app: App[str],
        session: Session,
        questions: Questions,
        show_sweep: Callable[[Sweep], None],
    ) -> None:
        """`show_sweep` shows a sweep on its screen."""
        self._app, self._session, self._questions = app, session, questions
        self._show_sweep = show_sweep

    def obey(self, asked: ExperimentsScreen.Asked) -> None:
        """Do what a key asks for."""
        self._app.clear_notifications()
        listed, stands = asked.listed, asked.listed.standing
        if stands is None:
            self._refuse(listed.trouble)
        elif stands.sweep is not None and (asked.what == "open" or at_work(stands.sweep.path)):
            self._show_sweep(stands.sweep)
        elif self._session.watch is not None:
            self._refuse("this is a playback, which starts nothing")
        else:
            self._ask(listed, stands)

    def _ask(self, listed: ListedExperiment, stands: Standing) -> None:
        begun = stands.state != NEVER_RUN
        question = (
            f"{listed.name} "
            + (
                f"has {stands.complete} of {stands.plan.count} members"
                if begun
                else "was never run"
            )
            + f": {listed.takes}. `{listed.command}` trains what is missing and judges."
        )

        def answered(answer: str | None) -> None:
            if answer == "s":
                self._start(stands)

        choices = {"s": "start it here: it goes on when this is left"}
        self._questions.ask(ChoiceDialog(printable(question), choices), answered)

    def _start(self, stands: Standing) -> None:
        """Run an experiment in a process of its own, and show its members as they come."""
        settings = self._session.settings
        try:
            sweep = found_or_made(stands.experiment, OnShelf(settings.runs_dir))
            if at_work(sweep.path):  # begun elsewhere while the question stood open
                self._show_sweep(sweep)
                return
            process = begin(sweep, ["reproduce", str(stands.experiment.path)], settings.data_dir)
        except EostuiError as error:
            self._refuse(str(error))
            return
        self._show_sweep(sweep)
        if self._session.sweep is not None:
            self._session.sweep.watch(process)
        self._app.notify(f"{stands.experiment.name} is run: it goes on when this is left")

    def _refuse(self, sentence: str) -> None:
        self._app.notify(printable(sentence), severity="warning")
