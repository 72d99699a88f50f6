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
        summary = self._summary(view)
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

    def _summary(self, view: RunView) -> str:
        """Return up-shares and sign changes a step of both losses; once if they are the same."""
        steps = view.run.steps
        texts = []
        for name, column in (("Lλ", "loss_step_regularized"), ("L", "loss_step")):
            found = summarize(steps[column])
            if not np.isnan(found.up_share):
                changes = "" if np.isnan(found.changes) else f" flips {found.changes:.2f}"
                texts.append(f"{name} up {percent(found.up_share)}{changes}")
        if len(texts) == 2 and not steps["weight_decay"].any():
            return texts[1]
        return " · ".join(texts)

    def _shares(self, view: RunView, x_range: tuple[float, float], width: int) -> Text:
        room = width - _LABEL - 2
        edges = np.linspace(*x_range, room + 1)
        shares = up_shares(view.x, view.run.steps["loss_step_regularized"], edges)
        known = np.flatnonzero(np.isfinite(shares))
        if len(known):  # fewer steps than cells: a cell between two steps shows the step before it
            before = np.maximum.accumulate(np.where(np.isfinite(shares), np.arange(room), 0))
            shares[known[0] : known[-1]] = shares[before][known[0] : known[-1]]
        bars = _BARS if self._unicode else _ASCII_BARS
        line = Text(" ups    "[:_LABEL], COLOURS["axis"], no_wrap=True)
        # a share of a half, the full bounce, fills the cell
        levels = np.minimum(np.ceil(shares * 2 * (len(bars) - 1)), len(bars) - 1)
        for is_up, group in groupby(levels.tolist(), key=lambda level: level > 0):
            cells = "".join(" " if np.isnan(level) else bars[int(level)] for level in group)
            line.append(cells, COLOURS["warm"] if is_up else COLOURS["cool"])
        return line
