"""The presets screen: what can be started, what to look for in it, and what it costs here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.message import Message

from eostui import locations, presets
from eostui.charts.numbers import compact, control, grouped
from eostui.charts.palette import COLOURS
from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError, printable
from eostui.filter import GRAMMAR
from eostui.presets import Preset
from eostui.runs.cost import Cost, Costs
from eostui.runs.filter_fields import parse_preset_filter, preset_fields, preset_names
from eostui.runs.shelf import Entry, ShelfReader
from eostui.tui.keys import Hints, Key
from eostui.tui.screens.described import DescribedList
from eostui.tui.screens.list import list_keys
from eostui.tui.session import Session
from eostui.tui.widgets.table import Column, Row

#: What is said of a preset that nothing on this shelf is like.
NOT_RUN = "not run here yet"
_ABOUT = (
    "[b]Presets[/b] (‹screen.presets›): what can be started, with the comment at the head of its file. "
    "The time is that of all its steps at the speed that runs of the same settings had on this shelf; "
    "‹presets.start› starts a run, ‹presets.edit› copies the file into your own folder and opens your "
    f"editor.\n\n[b]Filter[/b] (‹list.filter›): {GRAMMAR} Keys are settings, and name."
)


class PresetsScreen(DescribedList["ListedPreset"]):
    """Lists the presets, shipped ones and the user's own."""

    KEYS = (
        Key("presets.start", "enter", "enter", "screen.ask('start')", "start a run of the preset",
            group="presets"),
        Key("presets.edit", "e", "e", "screen.ask('edit')",
            "open the preset in $EDITOR, a shipped one as a copy of your own", group="presets"),
        *list_keys("presets", "presets"),
    )  # fmt: skip
    HINTS: ClassVar[Hints] = (
        ("enter", "start"), ("e", "edit"), ("/", "filter"), ("s", "sort"), ("l", "runs"),
        ("esc", "back"), ("?", "help"), ("q", "quit"),
    )  # fmt: skip
    NOUN = "preset"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("preset", "preset", at_most=30),
        Column("cost", "time here", right=True),
        Column("runs", "runs", right=True),
        Column("steps", "steps", right=True),
        Column("eta", "η", right=True),
        Column("weight_decay", "λ", right=True),
        Column("problem", "problem", at_most=24),
        Column("summary", "what it is"),
    )

    class Asked(Message):
        """A key asks for something to be done to a preset.

        Attributes:
            what: start or edit.
            listed: the preset.
            done: to be called once its file may have changed.
        """

        def __init__(self, what: str, listed: ListedPreset, done: Callable[[], None]) -> None:
            super().__init__()
            self.what, self.listed, self.done = what, listed, done

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._reader = ShelfReader(session.settings.runs_dir)
        self._costs = Costs()
        self._matches = parse_preset_filter("").matches
        self._reading = False

    def about(self) -> str:
        """Return what the help says of it."""
        return _ABOUT

    def look_again(self) -> None:
        """Read the presets, and how fast runs of them went."""
        if not self._reading:
            self._reading = True
            self.app.run_worker(self._look(), group="presets", exit_on_error=False)

    async def _look(self) -> None:
        try:
            found = await asyncio.to_thread(_read)
            before = {each.name: each for each in self.listed or ()}
            for each in found:
                if each.name in before:
                    each.cost, each.runs = before[each.name].cost, before[each.name].runs
            self._take_in(found)
            try:
                entries, _ = await asyncio.to_thread(self._reader.read)
            except EostuiError:
                return
            await asyncio.to_thread(self._reckon, found, entries)
            self._take_in(found)
        finally:
            self._reading = False

    def _reckon(self, listed: Sequence[ListedPreset], entries: Sequence[Entry]) -> None:
        for each in listed:
            if each.preset is not None:
                each.cost = self._costs.of(each.preset.config, entries)
                each.runs = sum(entry.config.preset == each.name for entry in entries)

    def _take_in(self, listed: list[ListedPreset]) -> None:
        self.listed = listed
        if self.is_mounted:
            self.draw()

    # --- the list -------------------------------------------------------------------------------------

    def heading(self) -> str:
        """Return how many presets there are."""
        if self.listed is None:
            return "PRESETS   reading"
        shown = f" · {len(self.shown)} listed" if len(self.shown) != len(self.listed) else ""
        return f"PRESETS   {len(self.listed)} presets{shown}"

    def find(self, typed: str) -> None:
        """Take a filter. Raises InputError if it isn't one."""
        self._matches = parse_preset_filter(typed).matches

    def passes(self, listed: ListedPreset) -> bool:
        """Return whether the filter lets it through."""
        return self._matches(listed.names, listed.fields)

    def ask(self, what: str, listed: ListedPreset) -> None:
        """Ask for something to be done to the preset."""
        self.post_message(self.Asked(what, listed, self.look_again))

    def on_table_chosen(self) -> None:
        """Start the preset that was clicked twice."""
        self.action_ask("start")


@dataclass(eq=False)
class ListedPreset:
    """A preset, with what is shown of it.

    Attributes:
        name: of its file.
        path: of its file.
        preset: None where it isn't valid.
        trouble: why, or "".
        cost: what it costs here; None where nothing like it ran yet.
        runs: how many of it are on the shelf.
    """

    name: str
    path: Path
    preset: Preset | None
    trouble: str = ""
    cost: Cost | None = None
    runs: int = 0

    @property
    def own(self) -> bool:
        """Whether it is the user's own."""
        return self.path.parent == locations.user_presets_dir()

    @property
    def names(self) -> tuple[str, ...]:
        """What a filter's words are looked for in."""
        return preset_names(self.preset) if self.preset is not None else (self.name,)

    @property
    def fields(self) -> Mapping[str, Any]:
        """What else a filter compares."""
        return preset_fields(self.preset) if self.preset is not None else {"name": self.name}

    def sorted_by(self, column: str) -> Any:
        """Return what a column is sorted by; "" or None where there is nothing."""
        if column == "preset":
            return self.name
        if column == "cost":
            return self._seconds
        if column == "runs":
            return self.runs
        if self.preset is None:
            return None
        if column == "summary":
            return self.preset.summary
        return getattr(self.preset.config, column)

    @property
    def _seconds(self) -> float | None:
        if self.preset is None or self.cost is None:
            return None
        return self.cost.seconds(self.preset.config.steps)

    @property
    def row(self) -> Row:
        """The preset's row of the list."""
        name = printable(self.name) + (" (own)" if self.own else "")
        count = len(PresetsScreen.COLUMNS)
        if self.preset is None:
            cells = (name, *[""] * (count - 1))
            return Row(self.name, cells, ("warm",) * count, printable(self.trouble))
        config = self.preset.config
        seconds = self._seconds
        cells = (
            name, "–" if seconds is None else lasting(seconds), str(self.runs or "–"),
            grouped(config.steps), control(config.eta), control(config.weight_decay),
            _problem(config), self.preset.summary,
        )  # fmt: skip
        colours = ("title", "path", "axis", "title", "mark", "mark", "axis", "title")
        return Row(self.name, tuple(map(printable, cells)), colours)

    @property
    def about(self) -> Text:
        """What to look for, what it costs, and where it is."""
        text = Text()
        text.append(printable(self.name), f"bold {COLOURS['title']}")
        text.append(f"   {printable(str(self.path))}\n", COLOURS["axis"])
        if self.preset is None:
            return text.append(printable(self.trouble), COLOURS["warm"])
        text.append(f"{self._told_cost(self.preset)}\n\n", COLOURS["path"])
        lines = "\n".join(printable(line) for line in self.preset.description.split("\n"))
        return text.append(lines or "Its file has no comment at its head.", COLOURS["title"])

    def _told_cost(self, preset: Preset) -> str:
        steps = preset.config.steps
        if self.cost is None:
            return f"{grouped(steps)} steps: {NOT_RUN}"
        runs = "1 run" if self.cost.runs == 1 else f"{self.cost.runs} runs"
        return (
            f"{grouped(steps)} steps take about {lasting(self.cost.seconds(steps))} here: "
            f"{compact(self.cost.steps_per_second)} steps/s in {runs} of these settings"
        )


def _problem(config: RunConfig) -> str:
    """Return what is trained, in short: of a user's own without its folder."""
    if config.problem != "network":
        return config.problem.rpartition("/")[2]
    return f"{config.network} on {config.data}"


def lasting(seconds: float) -> str:
    """Return how long something takes, as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{compact(seconds / length, 2)} {unit}"
    return f"{seconds:.0f} s"


def _read() -> list[ListedPreset]:
    """Return all presets, in another thread; one that isn't valid says why."""
    found = []
    for name, path in presets.available().items():
        try:
            found.append(ListedPreset(name, path, presets.load(name)))
        except InputError as error:
            found.append(ListedPreset(name, path, None, str(error)))
    return found
