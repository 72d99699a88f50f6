"""The band of phases along the charts' x axis: a letter and a colour for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eostui.charts.palette import COLOURS, PHASE_COLOURS
from eostui.panels.view import RunView
from eostui.runs.analysis.phases import Phase
from eostui.runs.analysis.run_phases import Span
from eostui.runs.series import FloatArray
from eostui.tui.widgets.bars import TextBar
from eostui.tui.widgets.strips import XAxis


class PhaseBand(TextBar):
    """One line: the phase of every column of the charts, and beside them what the letters stand for."""

    def show_run(self, view: RunView, axis: XAxis) -> None:
        """Draw the phases of a run."""
        letters = band(view.phases, view.x, axis.edges)
        colours = [PHASE_COLOURS.get(letter, COLOURS["axis"]) for letter in letters]
        shown = dict.fromkeys(span.phase for span in view.phases if span.phase.letter in letters)
        self.show(axis.strip("phase", letters, colours, names([*shown], axis.beside, letters)))


def names(phases: Sequence[Phase], room: int, letters: str) -> str:
    """Return what the letters of phases stand for, in whole words: of the last one in any case.

    Args:
        phases: in the order in which they began.
        room: cells.
        letters: those beside which this stands.
    """
    if not phases:
        return ""
    texts = ["  ".join(map(_name, phases))]
    by_end = sorted(phases, key=lambda phase: letters.rindex(phase.letter))
    texts += ["  ".join(map(_name, by_end[first:])) for first in range(1, len(phases))]
    last = by_end[-1]
    texts += [last.name, last.name.split()[0]]
    return next((text for text in texts if len(text) <= room), last.letter)


def _name(phase: Phase) -> str:
    return f"{phase.letter} {phase.name}"


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
