"""The Compare screen: any number of runs side by side, read in the background, live ones followed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message

from eostui.charts.dots import DOTS_X
from eostui.charts.numbers import compact, grouped
from eostui.charts.palette import COLOURS
from eostui.charts.picture import plot_columns
from eostui.errors import EostuiError, printable
from eostui.figures.picture import Picture
from eostui.figures.several_runs import picture_of_comparison, wanted_panel
from eostui.panels.compare.charts import PANELS, QUANTITIES, chart_of, title_of
from eostui.panels.compare.crosshair import steps_at, values_at
from eostui.panels.compare.table import rows, short_lines
from eostui.panels.compare.view import (
    AXES,
    MOST_LABELS,
    MOST_RUNS,
    RAMP,
    ComparisonView,
    in_order,
)
from eostui.panels.crosshair import Value
from eostui.runs.family import symbol_of, told
from eostui.runs.selection import Selection, filtered, select
from eostui.runs.shelf import Entry
from eostui.tui.comparing import Comparing
from eostui.tui.keys import Hints, Key, on_this_screen
from eostui.tui.screens.dialogs import AskDialog, PickDialog
from eostui.tui.screens.linked import LinkedCharts
from eostui.tui.session import Session
from eostui.tui.widgets.bars import TextBar, fields_line
from eostui.tui.widgets.chart import ChartWidget
from eostui.tui.window import Window

#: Seconds between two looks for what is to be read.
_READ_EVERY = 0.1
#: The share of the width that the table takes, and what of that isn't its own: borders, signs.
_WIDE, _BESIDE = 0.96, 18
#: The answer that pins no baseline.
_NO_BASELINE = "none"


class CompareScreen(LinkedCharts):
    """Shows the comparison of the session; without one it asks for the runs."""

    KEYS = (
        Key("compare.filter", "slash", "/", "screen.choose_runs", "choose the runs by a filter",
            group="compare"),
        Key("compare.quantity", "y", "y", "screen.choose_quantity", "choose the quantity",
            group="compare"),
        Key("compare.scale", "l", "l", "screen.toggle_scale", "log or linear in the focused chart",
            group="compare"),
        *on_this_screen(
            {
                "axis": "step, flow time, or steps since S reached 2/η − λ as x",
                "span.all": "show all of x",
                "fork": "fork one of the runs: at the crosshair, or at its newest step",
            }
        ),
        Key("compare.group", "g", "g", "screen.group", "mean ± deviation over seeds, or each run",
            group="compare"),
        Key("compare.key", "k", "k", "screen.next_key", "lay the runs out by the next setting",
            group="compare"),
        Key("compare.baseline", "b", "b", "screen.choose_baseline", "pin a baseline, or none",
            group="compare"),
        Key("compare.difference", "d", "d", "screen.toggle_difference",
            "differences from the baseline", group="compare"),
        Key("compare.table", "enter", "enter", "screen.table",
            "the table: what differs, and readings; enter there opens a run", group="compare"),
    )  # fmt: skip
    HINTS: ClassVar[Hints] = (
        ("y", "quantity"), ("t", "x axis"), ("l", "log"), ("g", "seeds"), ("k", "key"),
        ("b", "baseline"), ("d", "difference"), ("enter", "table"), ("/", "runs"), ("z", "zoom"),
        ("+ -", "x"), ("tab", "screen"), ("?", "help"), ("q", "quit"),
    )  # fmt: skip

    class OpenRun(Message):
        """A run of the comparison is to be shown by itself."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self.path = path

    class ForkRun(Message):
        """A run of the comparison is to be forked at a step; None for its newest."""

        def __init__(self, entry: Entry, step: int | None) -> None:
            super().__init__()
            self.entry, self.step = entry, step

    def __init__(self, session: Session) -> None:
        super().__init__(session, [panel.name for panel in PANELS])
        self._of: Comparing | None = None  # of which the charts are
        self._view_revision = -1
        self._reading = self._asked = False
        self._told: set[str] = set()
        self._filter = ""

    def about(self) -> Text:
        """Return what the charts show."""
        text, fill = Text(), self.session.fill
        text.append("\nCompare", "bold")
        text.append(
            fill(
                " (‹screen.compare›): any number of runs side by side, called by the settings in which "
                "they differ. Colours go from blue to yellow with the setting of ‹compare.key›; signs on "
                "the curves tell them apart without colour. A mean over seeds is of the runs that reach "
                "its x, two at least, in its band of one deviation.\n"
            )
        )
        for panel in PANELS:
            text.append(f"  {panel.name}", "bold")
            text.append(fill(f": {panel.meaning}\n"))
        return text

    @property
    def picture_name(self) -> str:
        """What a picture of it is named, without its ending."""
        return "comparison"

    @property
    def nothing(self) -> str:
        """What stands in place of the charts before any runs are chosen."""
        return self.session.fill("no runs are chosen: ‹compare.filter› chooses them")

    @property
    def comparing(self) -> Comparing | None:
        """What reads the runs that are compared, None before any are chosen."""
        return self.session.comparing

    @property
    def compared(self) -> ComparisonView | None:
        """What is compared, None before any runs are chosen."""
        return self.comparing.view if self.comparing is not None else None

    def compose_below(self) -> ComposeResult:
        """Lay out what stands below the charts: nothing here."""
        yield from ()

    def compose(self) -> ComposeResult:
        """Lay out title, tabs, the charts, which curve is whose, and the keys."""
        yield TextBar(id="title")
        yield TextBar(id="tabs")
        with Container(id="charts"):
            for panel in PANELS:
                yield ChartWidget(unicode=self.unicode, id=panel.name)
        yield from self.compose_below()
        yield TextBar(id="compared")
        yield TextBar(id="crosshair")
        yield TextBar(id="keys")
        yield TextBar(id="values")

    def on_mount(self) -> None:
        """Draw the first frame, and read from now on."""
        super().on_mount()
        self.set_interval(_READ_EVERY, self._read_on)

    def on_screen_resume(self) -> None:
        """Draw, and ask for the runs once where none are chosen."""
        super().on_screen_resume()
        if self.compared is None and not self._asked:
            self._asked = True
            self.action_choose_runs()

    # --- reading --------------------------------------------------------------------------------------

    def _read_on(self) -> None:
        if self.comparing is not None and not self._reading and self.is_current:
            self._reading = True
            self.run_worker(self._read(self.comparing), group="read", exit_on_error=False)

    async def _read(self, comparing: Comparing) -> None:
        """Read what is lacking, one run after another, then look at live ones once."""
        try:
            more = True
            while more and comparing is self.comparing and self.is_current:
                more = comparing.behind
                readings = await asyncio.to_thread(comparing.read)
                if comparing is not self.comparing:
                    return
                comparing.take(readings)
                for reading in readings:
                    self._tell(comparing.view, reading.place, reading.trouble)
                if more and not comparing.behind:
                    self._fit_axes()
                self.draw_news()
        finally:
            self._reading = False

    def _fit_axes(self) -> None:
        """Have axes be those of all runs, however these came, where no zoom holds."""
        for panel in PANELS:
            widget = self.query_one(f"#{panel.name}", ChartWidget)
            if not widget.zoomed:
                widget.forget()

    def _tell(self, view: ComparisonView, place: int, trouble: str) -> None:
        """Say once why a run isn't there, or not any more."""
        if trouble and trouble not in self._told:
            self._told.add(trouble)
            entry = view.entries[place]
            self.notify(f"{entry.name or entry.id}: {trouble}", severity="warning")

    def has_news(self) -> bool:
        """Return whether there is something to draw: of the comparison, or in the title."""
        before = self._view_revision, self._of
        view = self.compared
        self._view_revision = view.revision if view is not None else -1
        return super().has_news() or before != (self._view_revision, self.comparing)

    # --- drawing --------------------------------------------------------------------------------------

    @property
    def last_x(self) -> float:
        """How long x is: it begins where the first curve does."""
        if self.compared is None:
            return 0.0
        left, right = self.compared.ends()
        return right - left

    @property
    def x_unit(self) -> float:
        """Length of one step on the x axis, about."""
        view = self.compared
        if view is None or view.axis != AXES[1]:
            return 1.0
        last = max((entry.last_step for entry in view.entries), default=1)
        return self.last_x / max(last, 1) or 1.0

    # --- the crosshair --------------------------------------------------------------------------------

    @property
    def x_start(self) -> float:
        """Where x begins: before 0 where it counts since an onset."""
        return self.compared.ends()[0] if self.compared is not None else 0.0

    @property
    def last_step(self) -> int:
        """How many steps of the crosshair x is long, of flow time about those of the longest run."""
        return -1 if self.compared is None else round(self.last_x / self.x_unit)

    def x_of(self, step: int) -> float:
        """Return the position of a step of the crosshair, from where x begins."""
        return self.x_start + step * self.x_unit

    def step_at(self, x: float) -> int:
        """Return the nearest step of the crosshair."""
        return min(max(round((x - self.x_start) / self.x_unit), 0), max(self.last_step, 0))

    def values_at(self, step: int) -> list[Value]:
        """Return the value of each curve there, of what the focused chart draws."""
        if self.compared is None:
            return []
        values = values_at(self.compared, self._quantity, self.x_of(step))
        return [value._replace(step=step) for value in values] if self._flows else values

    @property
    def _flows(self) -> bool:
        """Whether x is flow time."""
        return self.compared is not None and self.compared.axis == AXES[1]

    def head(self) -> str:
        """Return where the crosshair stands, and what is read there."""
        place = self._place(self._cursor)
        if not self._flows and self.compared is not None:
            since = self.compared.axis == AXES[2]
            place = f"{place} steps since the onset" if since else f"step {place}"
        return f"{place}, {title_of(self._quantity)}:"

    def _place(self, step: int) -> str:
        at = self.x_of(step)
        return f"t {compact(at, 4)}" if self._flows else grouped(round(at))

    def stretch(self, before: int, after: int) -> str:
        """Return between which places differences are taken, and of what."""
        return f"{self._place(before)} → {self._place(after)}, {title_of(self._quantity)}"

    def reading_step(self, step: int) -> int:
        """Return what is said of a step of the crosshair: its x, where that counts steps."""
        return step if self._flows else round(self.x_of(step))

    @property
    def x_word(self) -> str:
        """What one unit of the x axis is called."""
        return "unit of t" if self._flows else "step"

    @property
    def chosen_step(self) -> int | None:
        """Of several runs none is the one that the key of forks is for: `action_fork` asks."""
        return None

    @property
    def fork_hint(self) -> Hints:
        """The key that forks a run at the crosshair."""
        return (("f", "fork there"),)

    def shares_x(self, chart: ChartWidget) -> bool:
        """Return whether a chart is drawn against the common x: readings at rest aren't."""
        return all(panel.own_x is None for panel in PANELS if panel.name == chart.id)

    @property
    def _quantity(self) -> str:
        """The column that the crosshair reads: of the focused chart, that of `y` elsewhere."""
        return QUANTITIES.get(self._panels[self.focused_panel]) or (
            self.compared.quantity if self.compared is not None else ""
        )

    def draw(self) -> None:
        """Draw everything that is visible."""
        if not self.is_mounted:
            return
        if self._of is not self.comparing:
            self._of, self.window, self.zoomed = self.comparing, Window(), False
            self.crosshair = None
            self._told.clear()
            for panel in PANELS:
                self.query_one(f"#{panel.name}", ChartWidget).forget()
        view, width = self.compared, self.size.width
        self.query_one("#title", TextBar).show(self.title_line(view))
        self.draw_keys(self.HINTS)
        if view is None:
            for panel in PANELS:
                self.query_one(f"#{panel.name}", ChartWidget).show_waiting(self.nothing, panel.name)
            self.query_one("#values", TextBar).show(Text(self.nothing))
            return
        if self.has_class("-tiny"):
            self.query_one("#values", TextBar).show(
                Text("\n".join(self.short_lines(view)), no_wrap=True, overflow="ellipsis")
            )
            return
        self.draw_tabs()
        self.query_one("#compared", TextBar).show(compared_line(view, width))
        self._draw_charts(view)

    def title_line(self, view: ComparisonView | None) -> Text:
        """Return the line at the top."""
        return _title(view, self.size.width)

    def short_lines(self, view: ComparisonView) -> list[str]:
        """Return what is shown where there is no room for a chart."""
        return short_lines(view)

    def _draw_charts(self, view: ComparisonView) -> None:
        x_range = self.x_range()
        for index, panel in enumerate(PANELS):
            widget = self.query_one(f"#{panel.name}", ChartWidget)
            if widget.has_class("-hidden") or not widget.size.width:
                continue
            kinds = panel.scales(view)
            kind = kinds[self._scale_choice[index] % len(kinds)]
            stretch = panel.own_x(view) if panel.own_x else x_range
            dots = max(plot_columns(widget.size.width)[1], 1) * DOTS_X
            chart = chart_of(panel, view, kind, stretch, dots)
            first, *others = panel.title(view)
            title = (first if kind == "linear" else f"{first} ({kind})", *others)
            widget.show(chart, stretch, title)
        self.draw_crosshair()

    def figure(self) -> Picture | None:
        """Return the charts in sight, with their scales and their stretch of x."""
        view = self.compared
        if view is None:
            return None
        charts = []
        for index in self.shown_panels():
            if index >= len(PANELS):  # no chart
                continue
            kinds = PANELS[index].scales(view)
            scale = kinds[self._scale_choice[index] % len(kinds)]
            charts.append(wanted_panel(PANELS[index].name, view, scale))
        whole = self.window.span is None
        return picture_of_comparison(view, charts, (None, None) if whole else self.x_range())

    def start_over(self) -> None:
        """Another run is shown elsewhere: the comparison stays."""
        if self.is_mounted:
            self.draw()

    # --- keys -----------------------------------------------------------------------------------------

    def _changed(self, view: ComparisonView, *, forget: Sequence[str] = ()) -> None:
        for name in forget:
            self.query_one(f"#{name}", ChartWidget).forget()
        self._view_revision = view.revision
        self.draw()

    def action_choose_runs(self) -> None:
        """Ask for a filter, and compare the runs that it lets through."""
        keys = "preset, weight_decay, eta, seed, group, state, phase, steps"
        question = (
            "compare which runs? words of their names, and conditions such as\n"
            f"digits weight_decay>1e-3 state:finished ({keys} …); nothing takes all"
        )
        before = self._filter

        def chosen(text: str | None) -> None:
            if text is not None:
                self._filter = text
                self.run_worker(
                    self._choose(text), group="choose", exclusive=True, exit_on_error=False
                )

        self.app.push_screen(AskDialog(question, before, _checked_filter), chosen)

    async def _choose(self, text: str) -> None:
        folder = self.session.settings.runs_dir
        try:
            found = await asyncio.to_thread(select, folder, (), text or " ")
        except EostuiError as error:
            self.notify(str(error), severity="error")
            return
        self.compare(found)

    def compare(self, found: Selection) -> None:
        """Compare runs; too many, or none, are told and change nothing."""
        if not found.entries:
            self.notify("no run fits that", severity="warning")
        elif len(found.entries) > MOST_RUNS:
            self.notify(
                f"these are {len(found.entries)} runs, but at most {MOST_RUNS} are compared: "
                "say more of them",
                severity="warning",
            )
        else:
            self.session.compare(in_order(found.entries))
            self._asked = True
            self.draw()
        for sentence in found.left_out:
            self.notify(sentence, severity="warning")

    def action_choose_quantity(self) -> None:
        """Ask which column is drawn and read at rest."""
        view = self.compared
        if view is None:
            return
        titled = {name: title_of(name) for name in view.names()}
        listed = {
            name: name if title == name else f"{title}  {name}" for name, title in titled.items()
        }
        order = [*filter(listed.__contains__, ("sharpness", "path_curvature", "loss", "test_loss"))]
        listed = {name: listed[name] for name in dict.fromkeys([*order, *listed])}

        def chosen(name: str | None) -> None:
            if name and view is self.compared:
                view.show(quantity=name)
                self._scale_choice[0] = self._scale_choice[1] = 0
                self._changed(view, forget=("curves", "rest"))

        if listed:
            self.app.push_screen(PickDialog("draw, and read at rest:", listed), chosen)

    def action_toggle_axis(self) -> None:
        """Count steps, flow time, or steps since S reached the threshold."""
        view = self.compared
        if view is None:
            return
        view.show(axis=AXES[(AXES.index(view.axis) + 1) % len(AXES)])
        self.window.show_all()
        self.crosshair = None  # each run is elsewhere now
        self._changed(view)
        without = view.without_onset() if view.axis == AXES[2] else []
        if without:
            names = ", ".join(view.family.labels[p] for p in without[:3])
            rest = f" and {len(without) - 3} more" if len(without) > 3 else ""
            self.notify(
                f"S never reached the threshold: {printable(names)}{rest}", severity="warning"
            )

    def action_group(self) -> None:
        """Average over seeds, or not."""
        view = self.compared
        if view is None:
            return
        if not view.grouped and not view.family.has_seeds:
            self.notify("no two of these runs differ in the seed alone", severity="warning")
            return
        view.show(grouped=not view.grouped)
        self._changed(view)

    def action_next_key(self) -> None:
        """Lay the runs out by another setting."""
        view = self.compared
        if view is None:
            return
        if len(view.keys) < 2:
            only = f"{symbol_of(view.key)} alone" if view.key else "nothing"
            self.notify(f"they differ in numbers in {only}", severity="warning")
            return
        view.next_key()
        self._changed(view, forget=("rest",))

    def action_choose_baseline(self) -> None:
        """Ask for the run on top of the others, whose differences `d` shows."""
        view = self.compared
        if view is None:
            return
        listed = {_NO_BASELINE: "no baseline"} if view.baseline is not None else {}
        listed |= {str(place): label for place, label in enumerate(view.family.labels)}

        def chosen(place: str | None) -> None:
            if place and view is self.compared:
                view.pin(None if place == _NO_BASELINE else int(place))
                self._changed(view, forget=("curves", "drives", "losses"))

        self.app.push_screen(PickDialog("the baseline, on top of the others:", listed), chosen)

    def action_toggle_difference(self) -> None:
        """Show all curves less the baseline, or as they are."""
        view = self.compared
        if view is None:
            return
        if view.baseline is None:
            pin = self.session.key("compare.baseline")
            self.notify(
                f"{pin} pins the baseline that the others are taken from", severity="warning"
            )
            return
        view.show(differing=not view.differing)
        self._scale_choice = [0] * len(self._scale_choice)
        self._changed(view, forget=("curves", "drives", "losses"))

    def action_fork(self) -> None:
        """Ask which run is forked, of those that have a step at the crosshair."""
        view = self.compared
        if view is None:
            return
        steps: dict[int, int] = {}
        if self.crosshair is not None:
            steps = steps_at(view, self.x_of(self._cursor))
            if not steps:
                self.notify("no run that is read has a step there", severity="warning")
                return
        places = list(steps) or range(len(view.entries))
        listed = {
            str(place): f"{view.family.labels[place]}{_at(steps.get(place))}" for place in places
        }

        def chosen(place: str | None) -> None:
            if place and view is self.compared:
                self.post_message(self.ForkRun(view.entries[int(place)], steps.get(int(place))))

        first = "" if view.baseline is None else str(view.baseline)
        self.app.push_screen(PickDialog("fork which run?", listed, first), chosen)

    def action_table(self) -> None:
        """Show what differs and the readings; a run that is picked is opened."""
        view = self.compared
        if view is None:
            return
        room = max(int(self.size.width * _WIDE) - _BESIDE, 1)
        titles, *lines = aligned(rows(view, room), room)
        looks = view.looks() if not view.averaged else []
        signs = [f"{look.sign or ' '} " for look in looks] or ["  "] * len(lines)
        listed = {
            str(p): sign + line for p, (sign, line) in enumerate(zip(signs, lines, strict=True))
        }

        def chosen(place: str | None) -> None:
            if place and view is self.compared:
                self.post_message(self.OpenRun(view.entries[int(place)].path))

        others = ", ".join(view.family.others)
        also = f"; they differ in {others} too" if others else ""
        question = f"{_what_differs(view)}{also}\n(…) isn't at rest\n\n    {titles}"
        self.app.push_screen(PickDialog(question, listed, wide=True), chosen)


def _at(step: int | None) -> str:
    return "" if step is None else f"  at step {grouped(step)}"


def _checked_filter(text: str) -> str:
    """Return a filter as it was typed. Raises InputError if it can't be understood."""
    filtered((), text)
    return text


def aligned(table: Sequence[Sequence[str]], room: int) -> list[str]:
    """Return the rows of a table as lines whose columns stand under each other, cut to `room` cells."""
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        )
        for row in table
    ]
    return [set_cell_size(line, min(cell_len(line), room)).rstrip() for line in lines]


def _what_differs(view: ComparisonView) -> str:
    keys = view.family.differing
    if len(view.entries) == 1:
        return "one run"
    return f"{len(view.entries)} runs by {', '.join(map(symbol_of, keys))}" if keys else (
        f"{len(view.entries)} runs with equal settings"
    )  # fmt: skip


def _title(view: ComparisonView | None, width: int) -> Text:
    """Return the line at the top: how many runs, what is drawn of them, and how far they are read."""
    if view is None:
        return fields_line([(0, "COMPARE", f"bold {COLOURS['title']}")], width)
    count = len(view.entries)
    reading = f"⋯ reading {view.read} of {count}" if view.read < count else ""
    live = sum(entry.live for entry in view.entries)
    baseline = ""
    if view.baseline is not None:
        label = printable(view.family.short_labels[view.baseline])
        baseline = f"less {label}" if view.differing else f"baseline {label}"
    lost = len(view.troubles)
    return fields_line(
        [
            (0, "COMPARE", f"bold {COLOURS['title']}"),
            (1, _what_differs(view), f"bold {COLOURS['mark']}"),
            (0, reading, f"bold {COLOURS['cool']}"),
            (2, f"✗ {lost} can't be read" if lost else "", f"bold {COLOURS['warm']}"),
            (4, f"● {live} live" if live else "", COLOURS["path"]),
            (3, f"y {title_of(view.quantity)}", COLOURS["title"]),
            (5, f"x {view.axis}", COLOURS["title"]),
            (4, "mean ± sd over seed" if view.averaged else "", COLOURS["title"]),
            (3, baseline, COLOURS["title"]),
        ],
        width,
    )


def compared_line(view: ComparisonView, width: int) -> Text:
    """Return which curve is whose: each sign with its name, or of many the ramp with its ends."""
    looks = view.looks()
    line = Text(" what differs ", COLOURS["axis"], no_wrap=True, overflow="ellipsis")
    if len(looks) <= MOST_LABELS:
        keys = ", ".join(map(symbol_of, view.labelled_by))
        texts = [look.name for look in looks]
        if keys and sum(cell_len(text) + 4 for text in texts) + cell_len(line.plain) > width:
            line.append(f" {keys} ", COLOURS["title"])
            texts = [look.label for look in looks]
        for text, look in zip(texts, looks, strict=True):
            line.append(f" {look.sign} {text} ", COLOURS[look.colour])
        return line
    values = sorted(view.value(group[0]) for group in view.groups)
    line.append(f" {symbol_of(view.key)} " if view.key else "", COLOURS["title"])
    ends = [told(values[0]), told(values[-1])] if view.key else [looks[0].label, looks[-1].label]
    line.append(f" {ends[0]} ", COLOURS[RAMP[0]])
    for colour in RAMP:
        line.append("█" if view.unicode else "#", COLOURS[colour])
    line.append(f" {ends[1]} ", COLOURS[RAMP[-1]])
    signs = [look.sign for look in looks]
    if signs[0]:
        by = f" ({view.write_key('compare.table')})" if view.write_key is not None else ""
        line.append(f"  signs {signs[0]} … {signs[-1]} as in the table{by}", COLOURS["axis"])
    return line
