"""The runs screen: the shelf, live, with what its keys do to the runs on it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.message import Message
from textual.widget import Widget

from eostui.charts.chart import Chart
from eostui.charts.numbers import age, compact, grouped, steered
from eostui.charts.palette import COLOURS
from eostui.charts.scales import nice_above
from eostui.errors import EostuiError, printable
from eostui.filter import GRAMMAR, OF_RUNS
from eostui.panels import PANELS
from eostui.panels.panel import chart_of, title_of
from eostui.runs.filter_fields import (
    UNREADABLE,
    filter_fields,
    names_of,
    parse_run_filter,
    unread_fields,
)
from eostui.runs.shelf import Entry, ShelfReader
from eostui.runs.store.schema import LIVE_STATES
from eostui.stability import STABILITY
from eostui.tui.keys import Hints, Key
from eostui.tui.preview import Preview
from eostui.tui.screens.list import ListScreen, list_keys
from eostui.tui.session import Session
from eostui.tui.widgets.bars import TextBar
from eostui.tui.widgets.chart import ChartWidget
from eostui.tui.widgets.table import Column, Row
from eostui.tui.window import SHORTEST

#: Seconds between two looks at the shelf, and how much longer than a look the pause after it is.
_LOOK_EVERY, _LOOKS_SHARE = 1.0, 20.0
#: A state at a glance, and its colour.
_SIGNS = {
    "running": ("●", "path"), "paused": ("‖", "mark"), "finished": ("✓", "title"),
    "stopped": ("■", "title"), "diverged": ("✗", "warm"), "failed": ("✗", "warm"),
    "interrupted": ("!", "mark"), UNREADABLE: ("✗", "warm"),
}  # fmt: skip
_NAMES_AT_MOST = 40

_ABOUT = (
    "[b]Runs[/b] (‹screen.runs›): all runs of the shelf. ‹pause› marks the run under the cursor; what "
    "exports, deletes and prunes acts on the marked ones, or on that one. Opening a run lets the one "
    f"that was shown train on.\n\n[b]Filter[/b] (‹list.filter›): {GRAMMAR} Keys are settings, and\n\n"
    + "\n\n".join(f"  {key}: {meaning}" for key, meaning in OF_RUNS.items())
)


class RunsScreen(ListScreen):
    """Lists the runs of the shelf, as they are now."""

    KEYS = (
        Key("runs.open", "enter", "enter", "screen.ask('open')", "show the run; the one shown trains on",
            group="runs"),
        Key("pause", "space", "space", "screen.mark", "mark the run, or take its mark away",
            group="runs"),
        Key("runs.mark_all", "asterisk", "*", "screen.mark_all",
            "mark all runs that are listed, or take all marks away", group="runs"),
        Key("runs.compare", "c", "c", "screen.ask('compare')",
            "compare the marked runs, all that a filter shows, or that under the cursor", group="runs"),
        Key("runs.sweep", "w", "w", "screen.ask('sweep')", "show the sweep that the run is a member of",
            group="runs"),
        Key("fork", "f", "f", "screen.ask('fork')", "fork the run", group="runs"),
        Key("resume", "R", "R", "screen.ask('resume')", "go on with the run, which ended", group="runs"),
        Key("export", "x", "x", "screen.ask('export')", "export the marked runs as one CSV",
            group="runs"),
        Key("runs.note", "m", "m", "screen.ask('note')", "write a note into the run's record",
            group="runs"),
        Key("runs.rename", "N", "N", "screen.ask('rename')", "give the run a name", group="runs"),
        Key("runs.delete", "d,delete", "d", "screen.ask('delete')",
            "delete the marked runs, or that under the cursor; asks first", group="runs"),
        Key("runs.prune", "D", "D", "screen.ask('prune')",
            "delete all marked or filtered runs that ended, or their checkpoints; asks first",
            group="runs"),
        *list_keys("runs", "runs"),
    )  # fmt: skip
    HINTS: ClassVar[Hints] = (
        ("enter", "open"), ("space", "mark"), ("/", "filter"), ("c", "compare"), ("s", "sort"),
        ("f", "fork"), ("x", "csv"), ("d", "delete"), ("m", "note"), ("P", "presets"), ("esc", "back"),
        ("N", "name"), ("R", "resume"), ("D", "prune"), ("?", "help"), ("q", "quit"),
    )  # fmt: skip
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("run", "  run", at_most=_NAMES_AT_MOST),
        Column("state", "state"),
        Column("eta", "η", right=True),
        Column("weight_decay", "λ", right=True),
        Column("step", "steps", right=True),
        Column("late_sharpness", "S late", right=True),
        Column("threshold", "2/η−λ", right=True),
        Column("phase", "phase"),
        Column("age", "age", right=True),
        Column("preset", "preset", at_most=24),
        Column("group", "group", at_most=20, often_empty=True),
        Column("note", "note", often_empty=True),
    )

    class Asked(Message):
        """A key asks for something to be done to runs.

        Attributes:
            what: a method of `Shelving`.
            entries: the runs: those that are marked, or that under the cursor.
            unread: paths of those among them that can't be read.
            done: to be called once something of the shelf changed.
        """

        def __init__(
            self,
            what: str,
            entries: Sequence[Entry],
            unread: Sequence[Path],
            done: Callable[[], None],
        ) -> None:
            super().__init__()
            self.what, self.entries, self.unread, self.done = what, entries, unread, done

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._reader = ShelfReader(session.settings.runs_dir)
        self._listed: list[_Listed] | None = None
        self._trouble = ""
        self._read_so_far = (0, 0)
        self._matches = parse_run_filter("").matches
        self._marked: frozenset[Path] = frozenset()
        self._shown: list[_Listed] = []
        self._looking, self._look_soon, self._next_look = False, False, 0.0
        self._preview: Preview | None = None
        self._panel = 0

    def about(self) -> str:
        """Return what the help says of it."""
        return _ABOUT

    def compose_preview(self) -> Iterator[Widget]:
        """Yield a chart of the run, and what else there is to say of it."""
        yield ChartWidget(unicode=self.unicode, id="preview-chart")
        yield TextBar(id="about")

    def on_mount(self) -> None:
        """Look at the shelf, and go on to."""
        self._preview = Preview(self.app, self.draw_preview)
        self.set_interval(0.25, self._look_in_turn)

    def on_screen_resume(self) -> None:
        """See what is new on the shelf."""
        super().on_screen_resume()
        self._next_look = 0.0
        self._look_in_turn()

    def on_screen_suspend(self) -> None:
        """Let go of the run that is previewed."""
        if self._preview is not None and self not in self.app.screen_stack:
            self._preview.let_go()

    # --- looking at the shelf -------------------------------------------------------------------------

    def look_again(self) -> None:
        """Look at the shelf now: something was done to it."""
        self._look_soon, self._next_look = True, 0.0
        self._look_in_turn()

    def _look_in_turn(self) -> None:
        """Look at the shelf if it is time, and if it is in sight."""
        if self._looking:
            if self._listed is None:
                self.draw_bars()  # how far it is
        elif time.monotonic() >= self._next_look and self in self.app.screen_stack:
            self._looking, self._look_soon = True, False
            self.app.run_worker(self._look(), group="shelf", exit_on_error=False)

    async def _look(self) -> None:
        started = time.monotonic()
        try:
            listed = await asyncio.to_thread(self._read, self._listed or [])
        except EostuiError as error:
            self._trouble = str(error)
        else:
            self._take_in(listed)
        finally:
            now = time.monotonic()
            pause = max(_LOOK_EVERY, _LOOKS_SHARE * (now - started))
            self._looking, self._next_look = False, 0.0 if self._look_soon else now + pause

    def _read(self, before: Sequence[_Listed]) -> list[_Listed]:
        """Return what is on the shelf, in another thread; what didn't change is as it was."""

        def progress(done: int, of: int) -> None:
            self._read_so_far = (done, of)

        entries, unread = self._reader.read(progress)
        kept = {each.path: each for each in before}
        now = time.time()
        found = []
        for entry in entries:
            same = kept.get(entry.path)
            if same is not None and same.entry is entry:
                same.renew(now)
                found.append(same)
            else:
                found.append(_Listed.of(entry, now))
        for path, error in unread.items():
            same = kept.get(path)
            found.append(
                same
                if same is not None and same.trouble == str(error)
                else _Listed.unread(path, error)
            )
        return found

    def _take_in(self, listed: list[_Listed]) -> None:
        self._trouble = ""
        self._listed = listed
        self._marked &= {each.path for each in listed}
        if self.is_mounted:
            self.draw_list()
            self.draw_about()
            current = self._current
            if self._preview is not None and current is not None and current.live:
                self._preview.look_again()

    # --- the list -------------------------------------------------------------------------------------

    @property
    def marked(self) -> frozenset[Hashable]:
        """The paths of the runs that are marked."""
        return frozenset(self._marked)

    def heading(self) -> str:
        """Return how many runs there are, live, listed and marked."""
        if self._listed is None:
            done, of = self._read_so_far
            return self._trouble or f"RUNS   reading {done} of {of}"
        live = sum(each.live for each in self._listed)
        parts = [f"{grouped(len(self._listed))} runs"] + [f"{live} live"] * (live > 0)
        if len(self._shown) != len(self._listed):
            parts.append(f"{grouped(len(self._shown))} listed")
        if self._marked:
            parts.append(f"{grouped(len(self._marked))} marked")
        return f"RUNS   {' · '.join([*parts, *filter(None, [self._trouble])])}"

    def find(self, typed: str) -> None:
        """Take a filter. Raises InputError if it isn't one."""
        self._matches = parse_run_filter(typed).matches

    def rows(self) -> Sequence[Row]:
        """Return the runs that pass the filter, the newest first or as they are sorted."""
        now = time.time()
        shown = [each for each in self._listed or () if self._matches(each.names, each.at(now))]
        if self.order:
            shown = _sorted(shown, _SORT_KEYS[self.order], turned=self.turned)
        elif self.turned:
            shown.reverse()
        self._shown = shown
        return [each.row for each in shown]

    @property
    def _current(self) -> _Listed | None:
        """The run under the cursor."""
        place = self.table.place_of(self.table.cursor) if self._shown else None
        return self._shown[place] if place is not None and place < len(self._shown) else None

    def action_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away; go on to the next."""
        current = self._current
        if current is not None:
            self._marked ^= {current.path}
            self.draw_list()
            self.table.move(1)

    def action_mark_all(self) -> None:
        """Mark all runs that are listed; where all of them are, take the marks away."""
        paths = {each.path for each in self._shown}
        self._marked = self._marked - paths if paths <= self._marked else self._marked | paths
        self.draw_list()

    def action_ask(self, what: str) -> None:
        """Ask for something to be done: to the marked runs, where it is done to several."""
        chosen = [current] if (current := self._current) is not None else []
        if what in ("export", "delete", "prune", "compare") and self._marked:
            chosen = [each for each in self._listed or () if each.path in self._marked]
        elif what == "prune" or (what == "compare" and self.typed):
            chosen = self._shown if self.typed else []
        elif not chosen:
            self.app.notify("there is no run under the cursor", severity="warning")
            return
        entries = [each.entry for each in chosen if each.entry is not None]
        unread = [each.path for each in chosen if each.entry is None]
        self.post_message(self.Asked(what, entries, unread, self.look_again))

    def on_table_chosen(self) -> None:
        """Open the run that was clicked twice."""
        self.action_ask("open")

    # --- the preview ----------------------------------------------------------------------------------

    def action_panel(self, index: int) -> None:
        """Choose what the preview shows."""
        if index < len(PANELS):
            self._panel = index
            self.draw_preview()

    def draw_preview(self) -> None:
        """Draw a chart of the run under the cursor, and what else there is to say of it."""
        if not self.is_mounted or self._preview is None or self not in self.app.screen_stack:
            return
        self.draw_about()
        if self.has_class("-unpreviewed") or self.has_class("-tiny"):
            return
        current = self._current
        widget = self.query_one("#preview-chart", ChartWidget)
        view = self._preview.of(current.path if current is not None else None)
        panel = PANELS[self._panel]
        if view is None:
            message = self._preview.trouble or ("reading" if current is not None else " ")
            widget.forget()
            widget.show(Chart([], waiting=printable(message)), (0.0, 1.0), (panel.name,))
            return
        last = float(max([0.0, *view.x[-1:]]))
        x_range = (0.0, max(nice_above(max(last, SHORTEST)), last))
        view.look(x_range[1])
        kind = panel.scales[0]
        stretch = panel.own_x(view) if panel.own_x else x_range
        widget.show(chart_of(panel, view, kind), stretch, title_of(panel, view, kind))

    def draw_about(self) -> None:
        """Write down what is known of the run under the cursor, or how a run is begun."""
        about = self.query_one("#about", TextBar)
        current = self._current
        if current is not None:
            about.show(current.about)
        elif self._listed is not None and not self._listed:
            presets, start = map(self.session.key, ("screen.presets", "preset.next"))
            sentence = f"There is no run here yet: {presets} lists presets, {start} starts one."
            about.show(Text(sentence, COLOURS["title"]))
        else:
            about.show(Text("No run passes the filter." if self._listed else ""))


@dataclass
class _Listed:
    """A run of the shelf, with what is shown of it.

    Attributes:
        path: its directory.
        entry: the run, None for one that can't be read.
        names: what a filter's words are looked for in.
        fields: what else a filter compares.
        row: of the list.
        trouble: why it can't be read, or "".
    """

    path: Path
    entry: Entry | None
    names: tuple[str, ...]
    fields: dict[str, Any]
    row: Row
    trouble: str = ""

    @classmethod
    def of(cls, entry: Entry, now: float) -> _Listed:
        """Return a run as it is listed."""
        row = _row(entry, age(now - entry.created))
        return cls(entry.path, entry, names_of(entry), filter_fields(entry, now), row)

    @classmethod
    def unread(cls, path: Path, error: EostuiError) -> _Listed:
        """Return a run that can't be read, as it is listed."""
        sign, colour = _SIGNS[UNREADABLE]
        cells = (f"{sign} {printable(path.name)}",) + ("",) * (len(RunsScreen.COLUMNS) - 1)
        row = Row(path, cells, (colour,) * len(cells), printable(f"{UNREADABLE}: {error}"))
        return cls(path, None, (path.name,), unread_fields(path), row, str(error))

    @property
    def live(self) -> bool:
        """Whether its engine is at work or paused."""
        return self.entry is not None and self.entry.live

    def renew(self, now: float) -> None:
        """Write its age anew, if it reads otherwise by now."""
        if self.entry is not None:
            text = age(now - self.entry.created)
            if text not in self.row.cells:
                self.row = _row(self.entry, text)

    def at(self, now: float) -> dict[str, Any]:
        """Return what a filter compares, its ages as they are now."""
        if self.entry is not None:
            self.fields["age"] = now - self.entry.created
            self.fields["ended"] = None if self.entry.live else now - self.entry.ended
        return self.fields

    @property
    def about(self) -> Text:
        """What is known of it, for the preview."""
        text = Text(overflow="fold")
        if self.entry is None:
            text.append(f"{printable(self.path.name)}\n", f"bold {COLOURS['title']}")
            text.append(printable(self.trouble), COLOURS["warm"])
            return text
        entry = self.entry
        text.append(printable(f"{entry.name or entry.id}")[:200] + "\n", f"bold {COLOURS['title']}")
        lines = [f"{entry.id}"] if entry.name else []
        lines.append(entry.sentence or entry.state)
        if entry.parent:
            lines.append(f"forked from {entry.parent} at step {entry.parent_step}")
        if entry.group:
            lines.append(f"group {entry.group}")
        lines.append(f"preset {entry.config.preset}, {_what(entry)}, seed {entry.config.seed}")
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created))
        lines.append(f"made {made}")
        text.append("\n".join(map(printable, lines)), COLOURS["title"])
        if entry.note:
            note = "\n".join(map(printable, entry.note.split("\n")))
            text.append(f"\n\n{note}", COLOURS["mark"])
        return text


def _what(entry: Entry) -> str:
    config = entry.config
    if config.problem != "network":
        return config.problem.rpartition("/")[2]
    return f"{config.network} on {config.data}"


def _row(entry: Entry, made: str) -> Row:
    """Return a run's row of the list."""
    config = entry.config
    sign, colour = _SIGNS.get(entry.state, ("?", "title"))
    last = max(entry.last_step, 0)
    steps = grouped(last) + (f" of {grouped(config.steps)}" if last != config.steps else "")
    cells = (
        f"{sign} {entry.name or entry.id}", entry.state, steered(config.eta, entry.eta),
        steered(config.weight_decay, entry.weight_decay), steps,
        compact(entry.late_sharpness), compact(_threshold(entry)), entry.phase, made, config.preset,
        entry.group, entry.note,
    )  # fmt: skip
    colours = (
        "title", colour, "mark", "mark", "title", "sharpness", "theory", "title", "axis", "axis",
        "axis", "mark",
    )  # fmt: skip
    return Row(entry.path, tuple(map(printable, cells)), colours)


def _threshold(entry: Entry) -> float:
    """Return the sharpness up to which its newest step is stable; NaN for dynamics of the user's own."""
    stability = STABILITY.get(entry.config.dynamics)
    if stability is None:
        return math.nan
    controls = stability.at_start(entry.config)
    now = {"eta": entry.eta, "weight_decay": entry.weight_decay}
    with_now = {**controls, **{name: value for name, value in now.items() if value == value}}
    return float(stability.threshold(with_now)) if with_now["eta"] else math.nan


_STATES: Collection[str] = (*LIVE_STATES, *_SIGNS)
#: What a column is sorted by; a run that can't be read has none of it.
_SORT_KEYS: dict[str, Callable[[_Listed], Any]] = {
    "run": lambda each: (each.entry.name if each.entry else "").casefold() or each.path.name,
    "state": lambda each: [*_STATES].index(str(each.fields["state"])),
    "eta": lambda each: each.fields.get("eta", math.nan),
    "weight_decay": lambda each: each.fields.get("weight_decay", math.nan),
    "step": lambda each: each.fields.get("step", math.nan),
    "late_sharpness": lambda each: each.fields.get("late_sharpness", math.nan),
    "threshold": lambda each: _threshold(each.entry) if each.entry else math.nan,
    "phase": lambda each: each.fields.get("phase", ""),
    "age": lambda each: each.fields.get("age", math.nan),
    "preset": lambda each: each.fields.get("preset", ""),
    "group": lambda each: each.fields.get("group", ""),
    "note": lambda each: each.fields.get("note", ""),
}


def _sorted(
    listed: Sequence[_Listed], key: Callable[[_Listed], Any], *, turned: bool
) -> list[_Listed]:
    """Return runs in the order of what a column has; those that have nothing there come last."""
    values = [(key(each), each) for each in listed]
    unknown = [each for value, each in values if value == "" or value != value]
    known = [pair for pair in values if not (pair[0] == "" or pair[0] != pair[0])]
    known.sort(key=lambda pair: pair[0], reverse=turned)
    return [each for _, each in known] + unknown
