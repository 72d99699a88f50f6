"""The signs of the steps along the charts' x axis, and the share of up-steps below them."""

from __future__ import annotations

import numpy as np
from rich.text import Text

from eostui.charts.levels import bars, carried
from eostui.charts.numbers import percent
from eostui.charts.palette import COLOURS
from eostui.panels.view import RunView
from eostui.runs.analysis.signs import summarize, up_shares
from eostui.runs.run import Run
from eostui.runs.series import FloatArray
from eostui.tui.widgets.bars import TextBar
from eostui.tui.widgets.strips import XAxis, right_aligned

#: Of a step up, a step down, and of a column with both.
_SIGNS, _ASCII_SIGNS = "▲▼◆", "^vx"
_COLOURS = "warm", "cool", "path"
#: Beside the charts, the newest steps are shown one by one where there is room for so many cells.
_WIDE = 50


class SignRaster(TextBar):
    """Two lines: the signs of L_λ or L in every column of the charts, and the shares of up-steps there.

    Where a column has a single step, ▲ or ▼ is its sign; where it has many, ◆ says that there were
    both. Beside them are the steps before the right end of x, one by one, and what is true of them.
    """

    def __init__(self, *, unicode: bool, id: str) -> None:
        super().__init__(id=id)
        self._unicode = unicode
        self._of = 0  # which of _LOSSES

    def switch(self) -> None:
        """Show the signs of the other loss."""
        self._of = 1 - self._of

    def show_run(self, view: RunView, axis: XAxis) -> None:
        """Draw the signs of a run."""
        steps = view.run.steps[view.run.of_step(_LOSSES[self._of][1])]
        shares = up_shares(view.x[:-1], steps[:-1], axis.edges)  # the newest isn't taken yet
        above, below = self._notes(view.seen, axis.beside)
        name = _LOSSES[self._of][0] if _has_both(view.run) else _only(view.run)
        lines = self._signs(shares, axis, above, name)
        lines.append("\n")
        self.show(lines.append_text(self._shares(shares, axis, below)))

    def _signs(self, shares: FloatArray, axis: XAxis, note: Text, name: str) -> Text:
        """Return the sign of each column that has a step, of a loss of this name."""
        signs = _SIGNS if self._unicode else _ASCII_SIGNS
        kinds = np.where(shares == 1, 0, np.where(shares == 0, 1, np.where(shares > 0, 2, -1)))
        cells = "".join((*signs, " ")[kind] for kind in kinds.tolist())
        colours = [COLOURS[_COLOURS[kind]] for kind in kinds.tolist()]
        return axis.strip(f"{name} {signs[:2]}", cells, colours, note)

    def _shares(self, shares: FloatArray, axis: XAxis, note: Text) -> Text:
        shares = carried(shares)
        # a share of a half, the full bounce, fills the cell
        cells = bars(shares, 0.0, 0.5, unicode=self._unicode, up=True)
        colours = [COLOURS["warm"] if share > 0 else COLOURS["cool"] for share in shares.tolist()]
        return axis.strip("ups", cells, colours, note)

    def _notes(self, run: Run, room: int) -> tuple[Text, Text]:
        """Return what stands beside the signs and the shares: of the run's newest steps."""
        steps = run.steps
        drawn, other = _LOSSES[self._of], _LOSSES[1 - self._of]
        found = [
            (name, summarize(steps[run.of_step(column)][:-1])) for name, column in (drawn, other)
        ]
        if not _has_both(run):
            found = [(_only(run), found[0][1])]
        found = [(name, summary) for name, summary in found if not np.isnan(summary.up_share)]
        if room < _WIDE:  # those whose signs are drawn
            texts = [f"{name} up {percent(summary.up_share)}" for name, summary in found[:1]]
            texts += [f"changes {summary.changes:.2f}" for _, summary in found[:1]]
        else:
            texts = [
                f"{name} up {percent(summary.up_share)}, {summary.changes:.2f} sign changes a step"
                for name, summary in found
            ]
        texts = [text.replace("nan", "–") for text in texts] + [""] * (2 - len(texts))
        if room < _WIDE:
            return Text(texts[0], COLOURS["title"]), Text(texts[1], COLOURS["title"])
        wide = max(map(len, texts))
        above = self._newest(steps[run.of_step(drawn[1])][:-1], room - wide - 2)
        above.append("  " + texts[0].ljust(wide), COLOURS["title"])
        return above, Text(right_aligned(texts[1].ljust(wide), room), COLOURS["title"])

    def _newest(self, changes: FloatArray, room: int) -> Text:
        """Return the newest steps one by one, the last at the right end."""
        line = Text("last ", COLOURS["axis"])
        count = room - len(line)
        recent = changes[-count:]
        recent = recent[np.isfinite(recent)]
        line.append(" " * (count - len(recent)))
        signs = _SIGNS if self._unicode else _ASCII_SIGNS
        for change in recent.tolist():
            kind = 0 if change > 0 else 1
            line.append(signs[kind], COLOURS[_COLOURS[kind]])
        return line


def _has_both(run: Run) -> bool:
    """Return whether L and L_λ differ, and a step's signs are told of both."""
    return _only(run) == "L" and bool(run.steps["weight_decay"].any())


def _only(run: Run) -> str:
    """Return the loss whose signs are told where there is one: L, or that of each step's own batch."""
    return "L" if run.of_step("loss") == "loss" else "LB"


_LOSSES = (("Lλ", "loss_step_regularized"), ("L", "loss_step"))
