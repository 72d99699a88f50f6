"""The sign raster: the newest steps one by one, and the share of up-steps along the whole x axis."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from rich.text import Text
from textual.widget import Widget

from eostui.runs.signs import summarize, up_shares
from eostui.tui.numbers import percent
from eostui.tui.palette import COLOURS
from eostui.tui.panels import RunView

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.:-=+*#"
_LABEL = 7


class SignRaster(Widget):
    """Two lines: ▲ and ▼ of L_λ for the newest steps; up-step shares on the charts' x range."""

    def __init__(self, *, unicode: bool, id: str) -> None:
        super().__init__(id=id)
        self._unicode = unicode
        self._lines = Text()

    def show(self, view: RunView, x_range: tuple[float, float]) -> None:
        """Draw the signs of a run."""
        width = self.size.width
        if width <= _LABEL + 8:
            return
        lines = self._newest(view, width)
        if self.size.height > 1:
            lines.append("\n")
            lines.append_text(self._shares(view, x_range, width))
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def render(self) -> Text:
        """Return the lines as last drawn."""
        return self._lines

    def _newest(self, view: RunView, width: int) -> Text:
        steps = view.run.steps
        summary = self._summary(view, width)
        room = width - _LABEL - len(summary) - 2
        changes = steps["loss_step_regularized"][-room - 1 :]
        changes = changes[np.isfinite(changes)][-room:]
        up, down = ("▲", "▼") if self._unicode else ("^", "v")
        line = Text(" signs ", COLOURS["axis"], end="", no_wrap=True)
        for is_up, run in groupby(changes > 0):
            style = COLOURS["warm"] if is_up else COLOURS["cool"]
            line.append((up if is_up else down) * len(list(run)), style)
        line.append(" " * (room - len(changes)))
        line.append(f"  {summary}", COLOURS["title"])
        return line

    def _summary(self, view: RunView, width: int) -> str:
        steps = view.run.steps
        of_regularized = summarize(steps["loss_step_regularized"])
        text = f"Lλ up {percent(of_regularized.up_share)}"
        if not np.isnan(of_regularized.changes):
            text += f" {of_regularized.changes:.2f} changes/step"
        if width >= 100:
            of_loss = summarize(steps["loss_step"])
            text += f" · L up {percent(of_loss.up_share)}"
            if not np.isnan(of_loss.changes):
                text += f" {of_loss.changes:.2f}"
        return text

    def _shares(self, view: RunView, x_range: tuple[float, float], width: int) -> Text:
        room = width - _LABEL - 2
        edges = np.linspace(*x_range, room + 1)
        shares = up_shares(view.x, view.run.steps["loss_step_regularized"], edges)
        bars = _BARS if self._unicode else _ASCII_BARS
        line = Text(" ups    "[:_LABEL], COLOURS["axis"], no_wrap=True)
        # a share of a half, the full bounce, fills the cell
        levels = np.minimum(np.ceil(shares * 2 * (len(bars) - 1)), len(bars) - 1)
        for is_up, group in groupby(levels.tolist(), key=lambda level: level > 0):
            cells = "".join(" " if np.isnan(level) else bars[int(level)] for level in group)
            line.append(cells, COLOURS["warm"] if is_up else COLOURS["cool"])
        return line
