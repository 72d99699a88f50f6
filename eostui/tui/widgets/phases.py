"""The band of phases along the charts' x axis: a letter and a colour for each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from rich.text import Text

from eostui.runs.phase_spans import Span
from eostui.runs.series import FloatArray
from eostui.tui.palette import COLOURS, PHASE_COLOURS
from eostui.tui.panels import RunView
from eostui.tui.widgets.bars import TextBar

_LABEL = " phase "


class PhaseBand(TextBar):
    """One line: the phase of every slice of x, as wide as the shares of up-steps below it."""

    def show_run(self, view: RunView, x_range: tuple[float, float]) -> None:
        """Draw the phases of a run."""
        room = self.size.width - len(_LABEL) - 2
        if room < 1:
            return
        line = Text(_LABEL, COLOURS["axis"], no_wrap=True, end="")
        letters = band(view.phases, view.x, np.linspace(*x_range, room + 1))
        for letter, cells in groupby(letters):
            line.append(letter * len(list(cells)), PHASE_COLOURS.get(letter, COLOURS["axis"]))
        self.show(line)


def band(phases: Sequence[Span], x: FloatArray, edges: FloatArray) -> str:
    """Return a letter for each slice of x, a space where there is no step.

    Of the phases in a slice the shortest is shown, so that none is lost however far out the view is.

    Args:
        phases: in turn.
        x: rising positions of all steps, shape (n,).
        edges: rising ends of the slices, shape (k + 1,).
    """
    letters = np.full(len(edges) - 1, " ")
    for phase, first, last in sorted(phases, key=lambda span: span.first - span.last):
        ends = x[[min(first, len(x) - 1), min(last + 1, len(x) - 1)]]
        start = np.searchsorted(edges, ends[0], side="right") - 1
        stop = np.searchsorted(edges, ends[1], side="left")
        letters[max(start, 0) : max(stop, start + 1, 0)] = phase.letter
    return "".join(letters)
