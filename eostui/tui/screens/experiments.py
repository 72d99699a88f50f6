"""The experiments screen: claims of the papers by paper, how each stands here, and what it costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual.message import Message

from eostui.charts.numbers import age, grouped
from eostui.charts.palette import COLOURS
from eostui.errors import EostuiError, InputError, printable
from eostui.experiments.costs import ExperimentCost, ExperimentCosts
from eostui.experiments.criterion import AGREES, DIFFERS, UNDECIDED
from eostui.experiments.experiment import Experiment, available, by_paper, load
from eostui.experiments.report import CHANGED, bound, read
from eostui.experiments.results import NEVER_RUN, OUTDATED, OnShelf, Standing, standing
from eostui.filter import GRAMMAR, parse_filter
from eostui.runs.shelf import ShelfReader
from eostui.sweeps.shelf import at_work
from eostui.tui.keys import Hints, Key
from eostui.tui.screens.described import DescribedList
from eostui.tui.screens.list import list_keys
from eostui.tui.session import Session
from eostui.tui.widgets.table import Column, Row

#: State of an experiment whose members are being trained.
AT_WORK = "at work"
#: What a filter compares.
_KEYS = ("name", "paper", "state", "where")
#: Seconds between two looks at the shelf, and how much longer than a look the pause after it is.
_LOOK_EVERY, _LOOKS_SHARE = 2.0, 10.0
_COLOURS = {
    AGREES: "path", DIFFERS: "warm", UNDECIDED: "mark", OUTDATED: "mark", AT_WORK: "path",
    NEVER_RUN: "axis",
}  # fmt: skip
_ABOUT = (
    "[b]Experiments[/b] (‹screen.experiments›): claims of the papers, by paper, with the verdict, or how "
    "far its members are, and what they cost here one after another: what they took, or about what runs "
    "of the same settings on this shelf tell. ‹experiments.open› shows the members of one on the Sweep "
    "screen, live while they train; of one that was never run it asks whether to. ‹experiments.run› "
    "trains what is missing and judges, as `eostui reproduce NAME` does.\n\n"
    f"[b]Filter[/b] (‹list.filter›): {GRAMMAR} Keys are {', '.join(_KEYS)}."
)


class ExperimentsScreen(DescribedList["ListedExperiment"]):
    """Lists the experiments, shipped ones and the user's own."""

    KEYS = (
        Key("experiments.open", "enter", "enter", "screen.ask('open')",
            "show the experiment's members; one that was never run is started if you say so",
            group="experiments"),
        Key("experiments.run", "g", "g", "screen.ask('run')",
            "train what is missing of the experiment, and judge it", group="experiments"),
        *list_keys("experiments", "experiments"),
    )  # fmt: skip
    HINTS: ClassVar[Hints] = (
        ("enter", "members"), ("g", "run, judge"), ("/", "filter"), ("s", "sort"), ("l", "runs"),
        ("esc", "back"), ("?", "help"), ("q", "quit"),
    )  # fmt: skip
    NOUN = "experiment"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("experiment", "experiment", at_most=30),
        Column("state", "state"),
        Column("paper", "paper", at_most=8),
        Column("members", "members", right=True),
        Column("cost", "time here", right=True),
        Column("where", "where", at_most=24),
        Column("claim", "claim"),
    )

    class Asked(Message):
        """A key asks for something to be done to an experiment.

        Attributes:
            what: open or run.
            listed: the experiment.
            done: to be called once something of the shelf changed.
        """

        def __init__(self, what: str, listed: ListedExperiment, done: Callable[[], None]) -> None:
            super().__init__()
            self.what, self.listed, self.done = what, listed, done

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._reader = ShelfReader(session.settings.runs_dir)
        self._costs = ExperimentCosts()
        self._matches = parse_filter("", _KEYS).matches
        self._looking, self._next_look = False, 0.0
        self._trouble = ""

    def about(self) -> str:
        """Return what the help says of it."""
        return _ABOUT

    def on_mount(self) -> None:
        """The shelf is looked at again and again."""
        super().on_mount()
        self.set_interval(0.25, self._look_in_turn)

    # --- looking at the shelf -------------------------------------------------------------------------

    def look_again(self) -> None:
        """Look at the shelf now: something was done to it."""
        self._next_look = 0.0
        self._look_in_turn()

    def _look_in_turn(self) -> None:
        """Look at the shelf if it is time, and if it is in sight."""
        due = time.monotonic() >= self._next_look
        if due and not self._looking and self in self.app.screen_stack:
            self._looking = True
            self.app.run_worker(self._look(), group="experiments", exit_on_error=False)

    async def _look(self) -> None:
        started = time.monotonic()
        try:
            self.listed = await asyncio.to_thread(self._found)
            self._trouble = ""
        except EostuiError as error:
            self._trouble = printable(str(error))
        finally:
            now = time.monotonic()
            self._looking = False
            self._next_look = now + max(_LOOK_EVERY, _LOOKS_SHARE * (now - started))
        if self.is_mounted:
            self.draw()

    def _found(self) -> list[ListedExperiment]:
        """Return all experiments as they stand, in another thread; one that isn't valid says why."""
        loaded: list[Experiment] = []
        wrong: list[ListedExperiment] = []
        for name in available():
            try:
                loaded.append(load(name))
            except InputError as error:
                wrong.append(ListedExperiment(name, trouble=str(error)))
        self._costs.entries, _ = self._reader.read()
        shelf = OnShelf(self.session.settings.runs_dir)
        found = []
        for each in by_paper(loaded):
            try:
                stands = standing(each, shelf)
                listed = ListedExperiment(
                    each.name, stands, self._costs.of(stands),
                    at_work=stands.sweep is not None and at_work(stands.sweep.path),
                )  # fmt: skip
            except EostuiError as error:
                listed = ListedExperiment(each.name, trouble=str(error))
            found.append(listed)
        return found + wrong

    # --- the list -------------------------------------------------------------------------------------

    def heading(self) -> str:
        """Return how many experiments there are, and of which verdicts."""
        if self.listed is None:
            return self._trouble or "EXPERIMENTS   reading"
        parts = [f"{len(self.listed)} experiments"]
        for verdict in (AGREES, DIFFERS, UNDECIDED, AT_WORK):
            if count := sum(each.state == verdict for each in self.listed):
                parts.append(f"{count} {verdict}")
        if len(self.shown) != len(self.listed):
            parts.append(f"{len(self.shown)} listed")
        return f"EXPERIMENTS   {' · '.join([*parts, *filter(None, [self._trouble])])}"

    def find(self, typed: str) -> None:
        """Take a filter. Raises InputError if it isn't one."""
        self._matches = parse_filter(typed, _KEYS).matches

    def passes(self, listed: ListedExperiment) -> bool:
        """Return whether the filter lets it through."""
        return self._matches(listed.names, listed.fields)

    def ask(self, what: str, listed: ListedExperiment) -> None:
        """Ask for something to be done to the experiment."""
        self.post_message(self.Asked(what, listed, self.look_again))

    def on_table_chosen(self) -> None:
        """Open the experiment that was clicked twice."""
        self.action_ask("open")


@dataclass(frozen=True)
class ListedExperiment:
    """An experiment, with what is shown of it.

    Attributes:
        name: of its file.
        standing: how it stands; None where it isn't valid.
        cost: what it costs here; None where nothing tells.
        at_work: whether its members are being trained.
        trouble: why it isn't valid, or "".
    """

    name: str
    standing: Standing | None = None
    cost: ExperimentCost | None = None
    at_work: bool = False
    trouble: str = ""

    @property
    def state(self) -> str:
        """A verdict, or how it stands without one."""
        if self.standing is None:
            return ""
        return AT_WORK if self.at_work else self.standing.state

    @property
    def names(self) -> tuple[str, ...]:
        """What a filter's words are looked for in."""
        if self.standing is None:
            return (self.name,)
        definition = self.standing.experiment.definition
        return self.name, definition.paper, definition.figure, definition.claim

    @property
    def fields(self) -> Mapping[str, Any]:
        """What else a filter compares."""
        if self.standing is None:
            return {"name": self.name}
        definition = self.standing.experiment.definition
        return {
            "name": self.name, "paper": definition.paper, "state": self.state,
            "where": definition.figure,
        }  # fmt: skip

    def sorted_by(self, column: str) -> Any:
        """Return what a column is sorted by; "" or None where there is nothing."""
        if column == "experiment":
            return self.name
        if self.standing is None:
            return None
        definition = self.standing.experiment.definition
        return {
            "state": self.state, "paper": definition.paper, "members": self.standing.plan.count,
            "cost": self.cost and self.cost.seconds, "where": definition.figure,
            "claim": definition.claim,
        }[column]  # fmt: skip

    @property
    def row(self) -> Row:
        """The experiment's row of the list."""
        count = len(ExperimentsScreen.COLUMNS)
        if self.standing is None:
            cells = (printable(self.name), *[""] * (count - 1))
            return Row(self.name, cells, ("warm",) * count, printable(self.trouble))
        definition = self.standing.experiment.definition
        cells = (
            self.name, self.state, definition.paper,
            f"{self.standing.complete} of {self.standing.plan.count}", self.told_cost or "–",
            definition.figure, definition.claim,
        )  # fmt: skip
        colour = _COLOURS.get(self.state, "title")
        colours = ("title", colour, "mark", "title", "path", "axis", "title")
        return Row(self.name, tuple(map(printable, cells)), colours)

    @property
    def told_cost(self) -> str:
        """What it took here, or takes about; "" where nothing tells."""
        if self.cost is None:
            return ""
        return ("" if self.cost.took else "about ") + age(self.cost.seconds)

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        if self.standing is None:
            return ""
        plan = self.standing.plan
        members = "1 member" if plan.count == 1 else f"{plan.count} members"
        steps = grouped(sum(config.steps for config in plan.configs()))
        cost = f", {self.told_cost} here" if self.told_cost else ""
        return f"{members}, {steps} steps{cost}"

    @property
    def command(self) -> str:
        """By which it is run."""
        return f"eostui reproduce {self.name}"

    @property
    def about(self) -> Text:
        """What it claims, what came out, and what it takes."""
        text = Text()
        text.append(printable(self.name), f"bold {COLOURS['title']}")
        if self.standing is None:
            return text.append(f"\n{printable(self.trouble)}", COLOURS["warm"])
        definition = self.standing.experiment.definition
        where = f"{definition.paper}, {definition.figure}"
        text.append(f"   {printable(where)}, by {printable(definition.twin)}\n", COLOURS["axis"])
        text.append(f"{printable(definition.claim)}\n", COLOURS["title"])
        text.append(f"{self.takes}: {printable(self.command)}\n", COLOURS["axis"])
        result = self.standing.result
        if result is None:
            for criterion in definition.criteria:
                text.append(f"\n  {printable(criterion.says)}", COLOURS["title"])
            return text
        if self.standing.state == OUTDATED:
            text.append(f"{CHANGED}\n", COLOURS["mark"])
        for each in result["criteria"]:
            why = f": {each['why']}" if each["why"] else ""
            text.append(f"\n{each['verdict']:<9}  ", COLOURS[_COLOURS.get(each["verdict"], "axis")])
            text.append(printable(each["criterion"]["says"]), COLOURS["title"])
            told = f"{read(each)}, must be {bound(each)}{why}"
            text.append(f"\n           {printable(told)}", COLOURS["axis"])
        return text
