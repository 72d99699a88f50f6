"""The slices screen: L and S along −∇L, u or ∇S at a step, or over the plane of u and ∇S."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import ModalScreen

from eostui.charts.chart import Chart
from eostui.charts.contours import ASCII_SHADES, SHADES, bands
from eostui.charts.numbers import compact, grouped
from eostui.charts.palette import COLOURS
from eostui.charts.scales import FloatArray
from eostui.errors import EostuiError, InputError, printable
from eostui.panels.slices import (
    loss_chart,
    plane_map,
    plane_titles,
    sharpness_chart,
    title_of,
)
from eostui.runs.request import SliceRequest
from eostui.runs.slicing import SliceProcess
from eostui.runs.trust import refuse_foreign_code
from eostui.slices import DIRECTIONS, EIGENVECTOR, Plane, Slice
from eostui.tui.keys import Hints, Key, on_this_screen
from eostui.tui.screens.linked import SMALL
from eostui.tui.screens.screen import SessionScreen
from eostui.tui.session import Session
from eostui.tui.widgets.bars import TextBar
from eostui.tui.widgets.chart import ChartWidget
from eostui.tui.widgets.plane import PlaneWidget

#: Points of a slice, and along each axis of a plane.
_POINTS, _OF_PLANE = 41, 15
#: The reach to begin with, in lengths of the step; a key changes it by this factor.
_REACH, _FACTOR = 2.0, 2.0
#: What is shown by the keys of the first panels: directions, and "" for the plane.
_SHOWN = (*DIRECTIONS, "")
#: Seconds that a step rests before it is cut.
_REST = 0.3

_ABOUT = """\
[b]Slices[/b] (‹screen.slices›): L and S along a line through θ at a step, that of the crosshair or the
newest: along −∇L (‹panel.1›), u (‹panel.2›), ∇S (‹panel.3›), or over the plane of u and ∇S without its
part along u (‹panel.4›), with the path of 20 steps before. t−1, t, t+1 stand where θ of these steps lies,
projected on the line; signs are L and S of the record, off the curve where θ isn't on the line. Dotted is
the quadratic of L at θ_t. A process of its own cuts it: S takes some tens of products a point.
"""


@dataclass(frozen=True)
class _Wanted:
    """What is to be cut: of which run, at which step, along what, how far."""

    path: Path
    step: int
    along: str
    reach: float


class SlicesScreen(SessionScreen):
    """Shows one slice, cut by a process of its own; what was cut is kept while the run is shown."""

    KEYS = (
        *on_this_screen(
            {
                "panel.1": "along −∇L",
                "panel.2": "along u, the eigenvector of S",
                "panel.3": "along ∇S",
                "panel.4": "over the plane of u and ∇S, with the path",
                "pan.left": "at the step before",
                "pan.right": "at the next step",
                "span.in": "half as far",
                "span.out": "twice as far",
                "span.all": "as far as at first: twice the length of the step",
                "scale": "y logarithmic or linear",
                "follow": "at the newest step",
            }
        ),
        Key("slices.back", "escape", "esc", "screen.back", "back to the charts; what is cut ends",
            group="slices"),
    )  # fmt: skip
    HINTS: ClassVar[Hints] = (
        ("1", "−∇L"), ("2", "u"), ("3", "∇S"), ("4", "plane"), ("← →", "step"), ("+", "nearer"),
        ("-", "farther"), ("y", "log"), ("a", "newest"), ("esc", "back"), ("?", "help"), ("q", "quit"),
    )  # fmt: skip

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._along, self._reach, self._log = EIGENVECTOR, _REACH, False
        self._step: int | None = None
        self._found: dict[_Wanted, Slice | Plane | str] = {}
        self._process: SliceProcess | None = None
        self._at_work, self._said = False, ""
        self._cutting: _Wanted | None = None

    def about(self) -> str:
        """Return what the help says of it."""
        return _ABOUT

    @property
    def picture_name(self) -> str:
        """What a picture of it is named, without its ending."""
        run = self.session.run
        what = self._along or "plane"
        return f"{run.path.name}-{self._step}-{what}" if run is not None else "eostui"

    def compose(self) -> ComposeResult:
        """Lay out title, charts and maps, a line of readings, and keys."""
        yield TextBar(id="title")
        with Container(id="maps"):
            for name in ("slice-loss", "slice-sharpness"):
                yield ChartWidget(unicode=self.unicode, id=name)
            for name in ("plane-loss", "plane-sharpness"):
                yield PlaneWidget(unicode=self.unicode, id=name)
        yield TextBar(id="sentence")
        yield TextBar(id="readings")
        yield TextBar(id="keys")

    # --- what is shown --------------------------------------------------------------------------------

    def on_screen_resume(self) -> None:
        """Cut at the crosshair's step, or at the newest."""
        run = self.session.run
        if run is not None and run.last_step >= 0 and self._step is None:
            at = self.view.at if self.view is not None else None
            self._step = run.last_step if at is None else min(at, run.last_step)
        super().on_screen_resume()
        self._cut()

    def on_screen_suspend(self) -> None:
        """End the process, unless this is seen again behind a dialog."""
        if not isinstance(self.app.screen, ModalScreen):
            self._step = None
            self._end()

    def on_unmount(self) -> None:
        """End the process with the application."""
        self._end()

    def start_over(self) -> None:
        """Show nothing of the run before."""
        self._end()
        self._found.clear()
        self._step = None
        super().start_over()

    def draw_changed(self) -> None:
        """Draw the bars: a step's landscape doesn't change."""
        if self.is_mounted:
            self.draw_bars()

    def draw(self) -> None:
        """Draw what was cut, or how far that is."""
        if not self.is_mounted:
            return
        self.draw_bars()
        wanted = self._wanted()
        found = None if wanted is None else self._found.get(wanted)
        missing = found is None or isinstance(found, str)
        self.set_class(missing, "-unmapped")
        self.set_class(self.size.width < SMALL[0] or self.size.height < SMALL[1], "-tiny")
        if isinstance(found, str) or found is None:
            sentence = found or (self.session.message if wanted is None else self._said)
            self.query_one("#sentence", TextBar).show(Text(printable(sentence), justify="center"))
            return
        for name in ("slice-loss", "slice-sharpness"):
            self.query_one(f"#{name}").display = isinstance(found, Slice)
        for name in ("plane-loss", "plane-sharpness"):
            self.query_one(f"#{name}").display = isinstance(found, Plane)
        if isinstance(found, Slice):
            self._draw_slice(found)
        else:
            self._draw_plane(found)
        self.query_one("#readings", TextBar).show(_readings(found))

    def _draw_slice(self, cut: Slice) -> None:
        kind = "log" if self._log else "linear"
        ends = float(cut.x[0]), float(cut.x[-1])
        charts: tuple[tuple[str, str, Chart], ...] = (
            ("slice-loss", "L", loss_chart(cut, kind)),
            ("slice-sharpness", "S", sharpness_chart(cut, kind)),
        )
        for name, symbol, chart in charts:
            widget = self.query_one(f"#{name}", ChartWidget)
            widget.forget()
            widget.show(chart, ends, title_of(cut, symbol))

    def _draw_plane(self, plane: Plane) -> None:
        shown = (("plane-loss", plane.loss, False), ("plane-sharpness", plane.sharpness, True))
        for (name, values, lines), title in zip(shown, plane_titles(plane), strict=True):
            self.query_one(f"#{name}", PlaneWidget).show(
                plane_map(plane, values, thresholds=lines), title, self._legend(values)
            )

    def _legend(self, values: FloatArray) -> str:
        """Return from which value on each shade stands."""
        shades = (SHADES if self.unicode else ASCII_SHADES)[1:]
        pairs = zip(shades, bands(values), strict=True)
        return "  ".join(f"{shade} > {compact(edge, 2)}" for shade, edge in pairs)

    # --- what is cut ----------------------------------------------------------------------------------

    def _wanted(self) -> _Wanted | None:
        run = self.session.run
        if run is None or self._step is None:
            return None
        return _Wanted(run.path, self._step, self._along, self._reach)

    def _cut(self) -> None:
        """Cut what is to be shown, unless it was before. A slice that is being cut is finished first; a
        plane, which takes longer, isn't."""
        wanted, cutting = self._wanted(), self._cutting
        if cutting is not None and not cutting.along and wanted != cutting:
            self._end()
        if wanted not in (None, *self._found) and not self._at_work:
            self._at_work, self._said = True, "loading PyTorch"
            self.app.run_worker(self._cut_all(), group="slice", exit_on_error=False)
        self.draw()

    async def _cut_all(self) -> None:
        """Cut what is to be shown until all of that is."""
        try:
            while (wanted := self._wanted()) is not None and wanted not in self._found:
                await asyncio.sleep(_REST)  # of keys that follow each other the last counts
                if wanted == self._wanted():
                    self._cutting = wanted
                    found = await asyncio.to_thread(self._in_process, wanted)
                    self._cutting = None
                    if found is not None:
                        self._found[wanted] = found
                        self.draw()
        finally:
            self._at_work, self._cutting = False, None

    def _in_process(self, wanted: _Wanted) -> Slice | Plane | str | None:
        """Return what is cut, or why it can't be; None if the process was ended meanwhile."""
        run, steering = self.session.run, self.session.steering
        if run is None or run.path != wanted.path:
            return None
        points = _POINTS if wanted.along else _OF_PLANE
        asked = SliceRequest(
            step=wanted.step, along=wanted.along, reach=wanted.reach, points=points
        )
        process = self._process
        try:
            trusted = steering is not None and steering.trusted
            refuse_foreign_code(run.config, run.path, trusted=trusted)
            if process is None or not process.alive:
                data_dir = self.session.settings.data_dir
                self._process = process = SliceProcess(run.path, run.config, data_dir)
            return process.cut(asked, self._say)
        except InputError as error:
            return f"{error} to `eostui slice`"
        except EostuiError as error:
            return str(error) if process is self._process else None

    def _say(self, text: str) -> None:
        """Take in from its thread how far it is."""
        self._said = text
        self.app.call_later(self.draw)

    def _end(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.close()

    # --- keys -----------------------------------------------------------------------------------------

    def action_panel(self, number: int) -> None:
        """Show another direction, or the plane."""
        if number < len(_SHOWN):
            self._along = _SHOWN[number]
            self._cut()

    def action_pan(self, direction: int) -> None:
        """Go a step on or back."""
        run = self.session.run
        if run is not None and self._step is not None:
            self._step = min(max(self._step + direction, 0), run.last_step)
            self._cut()

    def action_follow(self) -> None:
        """Go to the newest step."""
        run = self.session.run
        if run is not None and run.last_step >= 0:
            self._step = run.last_step
            self._cut()

    def action_span(self, direction: int) -> None:
        """Look half as far, or twice."""
        self._reach *= _FACTOR**direction
        self._cut()

    def action_span_all(self) -> None:
        """Look as far as at first."""
        self._reach = _REACH
        self._cut()

    def action_toggle_scale(self) -> None:
        """Make y logarithmic, or linear."""
        self._log = not self._log
        self.draw()

    def action_back(self) -> None:
        """Go back to the run's charts."""
        self.app.action_show_screen("f2")  # type: ignore[attr-defined]


def _readings(found: Slice | Plane) -> Text:
    """Return a line on θ_t, and what to know of the slice."""
    line = Text(f" step {grouped(found.step)}", COLOURS["title"], no_wrap=True, overflow="ellipsis")
    if isinstance(found, Slice):
        middle = len(found.x) // 2
        line.append(f"   L {compact(found.loss[middle])}", COLOURS["loss"])
        line.append(f"   S {compact(found.sharpness[middle])}", COLOURS["sharpness"])
        line.append(f"   dL/dx {compact(found.slope)}  d²L/dx² {compact(found.curvature)}")
    off = {place.step - found.step: place.off for place in found.places}
    for offset, name in ((-1, "t−1"), (1, "t+1")):
        if offset in off:
            line.append(f"   {name} off by {compact(off[offset], 2)}", COLOURS["mark"])
    line.append(f"   {grouped(found.products)} products")
    for remark in found.remarks:
        line.append(f"   {remark}", COLOURS["warm"])
    return line
