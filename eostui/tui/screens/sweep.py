"""The Sweep screen: the comparison of a sweep's members as they come in, a row for each, and a map."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container

from eostui.charts.numbers import age, percent
from eostui.charts.palette import COLOURS
from eostui.errors import EostuiError, printable
from eostui.panels.compare.charts import PANELS, title_of
from eostui.panels.compare.view import MOST_RUNS, ComparisonView
from eostui.panels.sweep.map import PHASE, map_of, two_axes, width_of
from eostui.panels.sweep.members import MemberRow, counted, keys_of, member_rows, what_varies
from eostui.runs.family import symbol_of
from eostui.sweeps.shelf import request_stop
from eostui.sweeps.sweep import WAITING, MemberState
from eostui.tui.comparing import Comparing
from eostui.tui.keys import Hints, Key, on_this_screen
from eostui.tui.screens.compare import CompareScreen
from eostui.tui.session import Session
from eostui.tui.sweeping import FollowedSweep, go_on
from eostui.tui.widgets.bars import fields_line
from eostui.tui.widgets.map import MapWidget
from eostui.tui.widgets.table import Column, Row, Table

#: What lies below the charts.
MEMBERS, MAP = "members", "map"
#: Rows that they take at most, with their borders, and the share of the screen.
_MOST_BELOW, _SHARE_BELOW = 14, 0.4
#: The share of the width that the map takes at most, and its borders.
_MAP_SHARE, _BORDERS = 0.45, 2
#: What surrounds the rows of the table: its border, the titles.
_AROUND = 3
#: Colours of states in the table.
_COLOURS = {
    "running": "path", "paused": "mark", "finished": "title", "diverged": "warm", "failed": "warm",
    "unreadable": "warm", "interrupted": "mark",
}  # fmt: skip
#: Keys of the comparison that choose other runs, or show its table, which stands here.
_NOT_HERE = ("compare.filter", "compare.table")


class SweepScreen(CompareScreen):
    """Shows the sweep of the session."""

    KEYS = (
        Key("sweep.open", "enter", "enter", "screen.open_member", "show the member under the cursor",
            group="sweep"),
        Key("sweep.up", "up", "↑", "screen.move(-1)", "the member above", group="sweep"),
        Key("sweep.down", "down", "↓", "screen.move(1)", "the member below", group="sweep"),
        Key("sweep.first", "home", "home", "screen.move(-100_000)", "the first member", group="sweep"),
        Key("sweep.last", "end", "end", "screen.move(100_000)", "the last member", group="sweep"),
        Key("sweep.pause", "p", "p", "screen.pause",
            "members save and stop, and no more begin; once more: go on with the sweep", group="sweep"),
        Key("sweep.map", "m", "m", "screen.switch_map", "the map: readings at rest, or phases",
            group="sweep"),
        *(key for key in CompareScreen.KEYS if key.id not in _NOT_HERE),
        *on_this_screen(
            {
                "crosshair.leave": "put the crosshair away; without one, back",
                "y.in": "zoom in on y of the focused chart; of the members: a page up",
                "y.out": "zoom out on y of the focused chart; of the members: a page down",
            }
        ),
    )  # fmt: skip
    HINTS: ClassVar[Hints] = (
        ("↑ ↓", "member"), ("enter", "open"), ("p", "stop, go on"), ("esc", "back"), ("y", "quantity"),
        ("t", "x axis"), ("l", "log"), ("g", "seeds"), ("k", "key"), ("m", "map"), ("z", "zoom"),
        ("?", "help"), ("q", "quit"),
    )  # fmt: skip

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._asked = True  # nobody asks for its runs: the sweep has them
        self._panels = [*(panel.name for panel in PANELS), MEMBERS, MAP]
        self._scale_choice = [0] * len(self._panels)
        self._phases = False
        self._seen: tuple[FollowedSweep | None, int] = None, -1
        self._said = ""
        self._laid: tuple[FollowedSweep | None, int] = None, -1

    def about(self) -> Text:
        """Return what it shows."""
        text = Text()
        text.append("\nSweep", "bold")
        about = (
            " (‹screen.sweep›): the members of a sweep, compared as in Compare as they begin; below them "
            "a row for each: its settings, state, steps, S over the last of them (rest_window; in "
            "brackets where that isn't at rest), phase, and how long it takes yet, by its pace of the "
            "last half minute. Where two settings vary, beside it a map over both: the quantity of y at "
            "rest, or the phases (‹sweep.map›).\n"
        )
        text.append(self.session.fill(about))
        return text

    @property
    def picture_name(self) -> str:
        """What a picture of it is named, without its ending."""
        return self.followed.path.name if self.followed is not None else "sweep"

    @property
    def nothing(self) -> str:
        """What stands in place of the charts before a sweep is chosen."""
        return self.session.fill(
            "no sweep is shown: `eostui attach SWEEP`, or ‹runs.sweep› on one of its runs in the list "
            "(‹screen.runs›)"
        )

    @property
    def followed(self) -> FollowedSweep | None:
        """The sweep that is shown."""
        return self.session.sweep

    @property
    def comparing(self) -> Comparing | None:
        """What reads the members."""
        return self.followed.comparing if self.followed is not None else None

    def compose_below(self) -> ComposeResult:
        """Lay out the members and their map."""
        with Container(id="below"):
            yield Table((), unicode=self.unicode, id=MEMBERS)
            yield MapWidget(unicode=self.unicode, id=MAP)

    # --- looking --------------------------------------------------------------------------------------

    async def _read(self, comparing: Comparing) -> None:
        """Look at the sweep if it is time, then read its members."""
        followed = self.followed
        if followed is None or followed.comparing is not comparing:
            self._reading = False
            return
        try:
            if followed.due:
                found = await asyncio.to_thread(followed.look)
                if followed is not self.followed:
                    return
                followed.take(found)
                self._say(followed.trouble)
                self.draw_news()
        finally:
            self._reading = False
        self._reading = True
        await super()._read(comparing)

    def _say(self, trouble: str) -> None:
        """Say once why the sweep can't be looked at."""
        if trouble and trouble != self._said:
            self.notify(trouble, severity="error", timeout=10)
        self._said = trouble

    def has_news(self) -> bool:
        """Return whether there is something to draw: of the sweep, or of its members."""
        before = self._seen
        self._seen = self.followed, self.followed.revision if self.followed is not None else -1
        return super().has_news() or before != self._seen

    # --- drawing --------------------------------------------------------------------------------------

    def relayout(self) -> None:
        """Choose what there is room for."""
        followed = self.followed
        axes = two_axes(followed.sweep.plan) if followed is not None else None
        self._panels = [*(panel.name for panel in PANELS), MEMBERS, *([MAP] if axes else [])]
        self.focused_panel = min(self.focused_panel, len(self._panels) - 1)
        super().relayout()
        below = self._panels[self.focused_panel] in (MEMBERS, MAP)
        self.set_class(self.has_class("-single") and below, "-below")
        shown = self.query_one(f"#{MAP}")
        shown.display = axes is not None and not shown.has_class("-hidden")
        single = self.has_class("-single")
        if axes is not None:
            wide = min(width_of(axes) + _BORDERS, int(self.size.width * _MAP_SHARE))
            shown.styles.width = "1fr" if single else wide
        count = len(followed.states) if followed is not None else 0
        rows = min(count + _AROUND, _MOST_BELOW, int(self.size.height * _SHARE_BELOW))
        self.query_one("#below").styles.height = "1fr" if single else max(rows, _AROUND + 1)

    def draw(self) -> None:
        """Draw everything that is visible."""
        if not self.is_mounted:
            return
        followed = self.followed
        if followed is not None and self._laid != (followed, len(followed.states)):
            self._laid = followed, len(followed.states)
            self.relayout()  # which draws
            return
        super().draw()
        if followed is not None and not self.has_class("-tiny"):
            self._draw_members(followed)
            self._draw_map(followed)

    def _draw_members(self, followed: FollowedSweep) -> None:
        table = self.query_one(f"#{MEMBERS}", Table)
        keys = keys_of(followed.states)
        table.set_columns(
            (
                Column("number", "", at_most=8),
                *(Column(key, printable(symbol_of(key)), right=True, at_most=16) for key in keys),
                Column("state", "state"),
                Column("progress", "steps"),
                Column("sharpness", "S late", right=True),
                Column("phase", "phase", often_empty=True),
                Column("left", "left", right=True, often_empty=True),
            )
        )
        rows = member_rows(
            followed.states, followed.comparing.view, followed.forecast, unicode=self.unicode
        )
        places = zip(rows, followed.states, strict=True)
        table.show([_row(row, state) for row, state in places], frozenset())
        table.border_title = f"{len(rows)} members" if rows else "members: looking"

    def _draw_map(self, followed: FollowedSweep) -> None:
        what = PHASE if self._phases else followed.comparing.view.quantity
        shown = map_of(followed.sweep.plan, followed.states, followed.comparing.view, what)
        if shown is not None:
            self.query_one(f"#{MAP}", MapWidget).show(shown)

    def title_line(self, view: ComparisonView | None) -> Text:
        """Return the line at the top: which sweep, how far it is, and how long it takes."""
        followed, width = self.followed, self.size.width
        if followed is None or view is None:
            return fields_line([(0, "SWEEP", f"bold {COLOURS['title']}")], width)
        sweep, states = followed.sweep, followed.states
        left = followed.seconds_left
        varies = what_varies(states)
        lost = sum(each.state in ("failed", "unreadable") for each in states)
        ended = sum(each.complete for each in states)
        more = sum(each.entry is not None for each in states) - len(view.entries)
        at_work = "● at work" if self.unicode else "* at work"
        state = "looking" if not states else at_work if followed.at_work else (
            "done" if ended == len(states) else "starting" if followed.starting
            else f"stopped: {self.session.key('sweep.pause')} goes on"
        )  # fmt: skip
        return fields_line(
            [
                (0, "SWEEP", f"bold {COLOURS['title']}"),
                (0, printable(sweep.name or sweep.id), f"bold {COLOURS['mark']}"),
                (3, f"by {varies}" if varies else "", COLOURS["title"]),
                (1, f"{ended} of {len(states)} done" if states else "", COLOURS["title"]),
                (2, percent(followed.share) if followed.at_work else "", COLOURS["title"]),
                (2, "" if math.isnan(left) else f"{age(left)} left", COLOURS["cool"]),
                (2, f"{lost} failed" if lost else "", f"bold {COLOURS['warm']}"),
                (1, state, COLOURS["path" if followed.at_work else "axis"]),
                (4, f"the first {MOST_RUNS} are compared" if more > 0 else "", COLOURS["mark"]),
                (5, f"y {title_of(view.quantity)}", COLOURS["title"]),
                (6, f"x {view.axis}", COLOURS["title"]),
                (5, "mean ± sd over seed" if view.averaged else "", COLOURS["title"]),
            ],
            width,
        )

    def short_lines(self, view: ComparisonView) -> list[str]:
        """Return how many members are in which state, and their readings."""
        followed = self.followed
        return [counted(followed.states) if followed else "", *super().short_lines(view)]

    # --- keys -----------------------------------------------------------------------------------------

    @property
    def _on_members(self) -> bool:
        return self._panels[self.focused_panel] == MEMBERS

    def action_move(self, rows: int) -> None:
        """Move the cursor of the table."""
        self.query_one(f"#{MEMBERS}", Table).move(rows)

    def action_zoom_y(self, direction: int) -> None:
        """Zoom y of the focused chart, or move the cursor by a page."""
        if self._on_members:
            table = self.query_one(f"#{MEMBERS}", Table)
            table.move(direction * table.page)
        else:
            super().action_zoom_y(direction)

    def action_leave_crosshair(self) -> None:
        """Put the crosshair away; without one go back, to the run that is shown or to the list."""
        if self.crosshair is not None:
            super().action_leave_crosshair()
            return
        back = "f2" if self.session.run is not None else "l"
        self.app.call_later(self.app.run_action, f"show_screen('{back}')")

    def on_table_chosen(self) -> None:
        """Open the member that was clicked twice."""
        self.action_open_member()

    def action_open_member(self) -> None:
        """Show the member under the cursor in the live view."""
        cursor = self.query_one(f"#{MEMBERS}", Table).cursor
        state = next((s for s in self._states if s.member.path == cursor), None)
        if state is None:
            return
        if state.entry is None:
            name = printable(state.member.path.name)
            why = "hasn't begun" if state.state == WAITING else state.sentence or "can't be read"
            self.notify(f"{name}: {why}", severity="warning")
            return
        self.post_message(self.OpenRun(state.member.path))

    @property
    def _states(self) -> list[MemberState]:
        return self.followed.states if self.followed is not None else []

    def action_switch_map(self) -> None:
        """Show readings at rest on the map, or phases."""
        followed = self.followed
        if followed is None or two_axes(followed.sweep.plan) is None:
            self.notify("a map takes two settings that vary beside the seed", severity="warning")
            return
        self._phases = not self._phases
        self._draw_map(followed)

    def action_pause(self) -> None:
        """Let the members save and stop; where nobody is at work on the sweep, go on with it."""
        followed = self.followed
        if followed is None or not followed.states:
            return
        if followed.at_work:
            self._do(
                lambda: request_stop(followed.path),
                self.session.fill(
                    "members save and stop, and no more begin; ‹sweep.pause› goes on"
                ),
            )
        elif followed.starting:
            self.notify("the sweep is being gone on with already")
        elif all(each.complete or each.state == "failed" for each in followed.states):
            self.notify("all members have ended", severity="warning")
        elif self.session.watch is not None:
            self.notify("this is a playback, which starts nothing", severity="warning")
        else:
            settings = self.session.settings
            self._do(
                lambda: go_on(followed, settings.data_dir),
                "going on with the sweep: it does so too when this is left",
            )
        followed.look_soon()

    def _do(self, act: Callable[[], None], told: str) -> None:
        try:
            act()
        except EostuiError as error:
            self.notify(str(error), severity="error")
        else:
            self.notify(told)


def _row(row: MemberRow, state: MemberState) -> Row:
    cells = (row.number, *row.settings, row.state, row.progress, row.sharpness, row.phase, row.left)
    colour = _COLOURS.get(state.state, "axis")
    colours = (
        colour, *["mark"] * len(row.settings), colour, colour, "sharpness", "title", "cool"
    )  # fmt: skip
    sentence = f"{', '.join(row.settings)}  {row.state}: {row.sentence}" if row.sentence else ""
    return Row(state.member.path, cells, colours, sentence)
