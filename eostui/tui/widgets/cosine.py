"""The step cosine along the charts' x axis: low where every step undoes the one before it."""

from __future__ import annotations

import numpy as np

from eostui.charts.levels import bars, carried
from eostui.charts.palette import COLOURS
from eostui.panels.view import RunView
from eostui.runs.analysis.bounce import WINDOW, in_words, median_cosine, median_cosines
from eostui.runs.analysis.phases import BOUNCES
from eostui.tui.widgets.bars import TextBar
from eostui.tui.widgets.strips import XAxis


class CosineStrip(TextBar):
    """One line: the median step cosine of every column, from −1 to 1, and beside it the newest."""

    def __init__(self, *, unicode: bool, id: str) -> None:
        super().__init__(id=id)
        self._unicode = unicode

    def show_run(self, view: RunView, axis: XAxis) -> None:
        """Draw the step cosines of a run."""
        medians = carried(median_cosines(view.x, view.run.steps["step_cosine"], axis.edges))
        colours = [
            COLOURS["path"] if median < BOUNCES else COLOURS["cool"] for median in medians.tolist()
        ]
        cells = bars(medians, -1.0, 1.0, unicode=self._unicode)
        self.show(axis.strip("cosine", cells, colours, _note(view, axis.beside)))


def _note(view: RunView, room: int) -> str:
    """Return the newest running median in words, as many as fit."""
    median = median_cosine(view.seen.steps["step_cosine"])
    if np.isnan(median):
        return ""
    said = in_words(median)
    for text in (
        f"step cosine {median:.2f}, median of {WINDOW} steps: {said}",
        f"step cosine {median:.2f}: {said}",
        f"step cosine {median:.2f}",
    ):
        if len(text) <= room:
            return text
    return f"{median:.2f}"
