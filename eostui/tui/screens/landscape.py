"""The landscape screen: loss and sharpness over the plane of two parameters, with the path on both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container

from eostui.charts.contours import ASCII_SHADES, SHADES, Contour, Map, bands
from eostui.charts.numbers import compact
from eostui.charts.palette import COLOURS
from eostui.runs.analysis.controls import thresholds_now
from eostui.runs.run import Run
from eostui.runs.store.landscape import Landscape
from eostui.tui.screens.linked import SMALL
from eostui.tui.screens.screen import SessionScreen
from eostui.tui.widgets.bars import TextBar
from eostui.tui.widgets.plane import PlaneWidget

_ABOUT = """\
[b]Landscape[/b] (‹screen.next›): L and S around the path of a problem of two parameters; shades part
each map into five bands of equal area. On the sharpness map the line is S = 2/η, dotted S = 2/η − λ:
it moves with η and λ. ● is θ now, and its newest steps are joined. Descent bounces
where S lies above the line.
"""


class LandscapeScreen(SessionScreen):
    """Shows the run's path over loss and sharpness."""

    def about(self) -> str:
        """Return what the help says of it."""
        return _ABOUT

    def compose(self) -> ComposeResult:
        """Lay out title, the two maps, a line of readings, and keys."""
        yield TextBar(id="title")
        with Container(id="maps"):
            yield PlaneWidget(unicode=self.unicode, id="loss-map")
            yield PlaneWidget(unicode=self.unicode, id="sharpness-map")
        yield TextBar(id="sentence")
        yield TextBar(id="readings")
        yield TextBar(id="keys")

    def draw(self) -> None:
        """Draw everything, or the sentence that says why there is no map."""
        if not self.is_mounted:
            return
        self.draw_bars()
        run = self.view.run if self.view else None
        landscape = run.landscape if run else None
        self.set_class(landscape is None, "-unmapped")
        self.set_class(self.size.width < SMALL[0] or self.size.height < SMALL[1], "-tiny")
        if run is None or landscape is None:
            sentence = Text(self.session.message if run is None else missing(run), justify="center")
            self.query_one("#sentence", TextBar).show(sentence)
            return
        self._draw_maps(run, landscape)
        self.query_one("#readings", TextBar).show(_readings(run))

    def _draw_maps(self, run: Run, landscape: Landscape) -> None:
        path = np.stack([run.steps[name] for name in run.coordinates], axis=1)
        (label, undecayed), *decayed = thresholds_now(run).items()
        lines = [Contour(undecayed, "sharpness")]
        title = f"sharpness S · contour {label} {compact(undecayed)}"
        for label, threshold in decayed:
            lines.append(Contour(threshold, "theory", stippled=True))
            title += f" · dotted {label} {compact(threshold)}"
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
        shades = SHADES if self.unicode else ASCII_SHADES
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
        line.append(f"   S {compact(measured.newest('sharpness'))}", COLOURS["sharpness"])
    kappa = steps["path_curvature"][-2:-1]
    if len(kappa):
        line.append(f"   κ {compact(kappa[0])}", COLOURS["path"])
    return line
