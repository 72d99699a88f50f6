"""The landscape screen: loss and sharpness over the plane of two parameters, with the path on both."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen

from eostui.charts.contours import ASCII_SHADES, SHADES, Contour, Map, bands
from eostui.charts.numbers import compact
from eostui.charts.palette import COLOURS
from eostui.runs.run import Run
from eostui.runs.store.landscape import Landscape
from eostui.tui.screens.linked import SMALL
from eostui.tui.screens.live import LiveScreen
from eostui.tui.steering import current_controls
from eostui.tui.widgets.bars import TextBar, key_line
from eostui.tui.widgets.plane import PlaneWidget

#: Seconds between frames: a long path takes a while to draw.
_EVERY = 0.3


class LandscapeScreen(Screen[None]):
    """Shows the run of the live screen; the application calls `draw` when there is something new."""

    def __init__(self, live: LiveScreen, *, unicode: bool) -> None:
        super().__init__()
        self._live = live
        self._unicode = unicode
        self._drawn = 0.0
        self._seen: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Lay out title, the two maps, a line of readings, and keys."""
        yield TextBar(id="title")
        with Container(id="maps"):
            yield PlaneWidget(unicode=self._unicode, id="loss-map")
            yield PlaneWidget(unicode=self._unicode, id="sharpness-map")
        yield TextBar(id="sentence")
        yield TextBar(id="readings")
        yield TextBar(id="keys")

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.call_after_refresh(self.draw)

    def on_screen_resume(self) -> None:
        """Draw what came while another screen was shown."""
        self.call_after_refresh(self.draw)

    def draw_if_shown(self) -> None:
        """Draw what is new, a few times a second, unless another screen lies above.

        Called on every tick, so that the last state is shown.
        """
        now = time.monotonic()
        if not self.is_current or now - self._drawn < _EVERY:
            return
        view = self._live.view
        seen: tuple[object, ...] = (self._live.message,)
        if view is not None:
            run = view.run
            seen = (run, run.last_step, len(run.events), run.landscape, view.state)
        if seen != self._seen:
            self._drawn, self._seen = now, seen
            self.draw()

    def draw(self) -> None:
        """Draw everything, or the sentence that says why there is no map."""
        if not self.is_mounted:
            return
        self.query_one("#title", TextBar).show(self._live.title_line(self.size.width))
        self.query_one("#keys", TextBar).show(key_line(self.size.width, self._live.hints))
        run = self._live.view.run if self._live.view else None
        landscape = run.landscape if run else None
        self.set_class(landscape is None, "-unmapped")
        self.set_class(self.size.width < SMALL[0] or self.size.height < SMALL[1], "-tiny")
        if run is None or landscape is None:
            sentence = Text(self._live.message if run is None else missing(run), justify="center")
            self.query_one("#sentence", TextBar).show(sentence)
            return
        self._draw_maps(run, landscape)
        self.query_one("#readings", TextBar).show(_readings(run))

    def _draw_maps(self, run: Run, landscape: Landscape) -> None:
        path = np.stack([run.steps[name] for name in run.coordinates], axis=1)
        eta, decay = current_controls(run)
        lines = [Contour(2 / eta, "sharpness")]
        title = f"sharpness S · contour 2/η {compact(2 / eta)}"
        if decay:
            lines.append(Contour(2 / eta - decay, "theory", stippled=True))
            title += f" · dotted 2/η−λ {compact(2 / eta - decay)}"
        loss, sharpness = landscape.loss.astype(float), landscape.sharpness.astype(float)
        self.query_one("#loss-map", PlaneWidget).show(
            Map(loss, landscape.region, path), "loss L over (θ₁, θ₂)", self._legend(loss)
        )
        self.query_one("#sharpness-map", PlaneWidget).show(
            Map(sharpness, landscape.region, path, lines, ("cool spread", "warm spread")),
            title,
            self._legend(sharpness),
        )

    def _legend(self, values: NDArray[np.float64]) -> str:
        """Return from which value on each shade stands."""
        shades = SHADES if self._unicode else ASCII_SHADES
        edges = bands(values)
        return "  ".join(
            f"{shade} > {compact(edge, 2)}" for shade, edge in zip(shades[1:], edges, strict=True)
        )


def missing(run: Run) -> str:
    """Return why a run has no map (yet)."""
    refused = [event for event in run.events if event.kind == "unmapped"]
    if refused:
        return f"No map: this loss can't be evaluated at many θ at once: {refused[-1].payload['reason']}"
    if len(run.coordinates) == 2:
        return "The map comes with the first steps."
    count = run.facts.get("parameters", "not two")
    return (
        f"The landscape can be drawn for problems of two parameters; this one has {count}. "
        "The toy presets have two: eostui run toy-elliptical-valley"
    )


def _readings(run: Run) -> Text:
    steps, measured = run.steps, run.measured
    theta = ", ".join(compact(steps[name][-1], 4) for name in run.coordinates)
    line = Text(f" ● θ ({theta})", COLOURS["mark"], no_wrap=True, overflow="ellipsis")
    line.append(f"   L {compact(steps['loss'][-1])}", COLOURS["loss"])
    if len(measured):
        line.append(f"   S {compact(measured['sharpness'][-1])}", COLOURS["sharpness"])
    kappa = steps["path_curvature"][-2:-1]
    if len(kappa):
        line.append(f"   κ {compact(kappa[0])}", COLOURS["path"])
    return line
