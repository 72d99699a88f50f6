"""Still pictures of the oscillator as text: one orbit as four panels, a grid as a map of letters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rich.text import Text

from eostui.oscillator import Orbit
from eostui.oscillator.grid import Survey
from eostui.oscillator.parameters import FloatArray
from eostui.panels.orbit import STILLS
from eostui.panels.orbit.view import OrbitView
from eostui.panels.still import Still, draw_stills

#: Letter and colour of what became of a point.
MARKS = {
    "cycle": ("o", "magenta"),
    "collapsed": (".", "blue"),
    "escaped": ("x", "yellow"),
    "wandering": ("~", "yellow"),
    "unsettled": ("?", "default"),
}
_MARGIN = 9


def picture(orbit: Orbit, *, width: int, height: int, color: bool) -> str:
    """Draw sharpness, x, envelope and drives of an orbit; arguments and result as in `static_plot`."""
    view = OrbitView(orbit)
    drawn = [panel.chart(view, panel.kinds[0]) for panel in STILLS if panel.chart]
    stills = [Still((title,), chart) for chart, title in drawn]
    x_range = 0.0, float(max(len(orbit.x) - 1, 1))
    return draw_stills(stills, x_range, width=width, height=height, color=color)


def regime_map(axes: Mapping[str, FloatArray], found: Survey, *, width: int, height: int) -> Text:
    """Draw a survey as letters: the first axis to the right, the second, if any, upwards.

    Args:
        axes: names and values of one or two axes.
        found: its survey, of shape (first,) or (second, first).
        width, height: at most so many columns and rows; at least 20 columns and 4 rows are taken.
    """
    (across, x), *more = axes.items()
    up, y = more[0] if more else ("", np.array([np.nan]))
    letters = np.atleast_2d(found.attractor)
    shown_x = _shown(len(x), max(width - _MARGIN - 1, 10))
    shown_y = _shown(len(y), max(height - 4, 1)) if more else np.array([0])
    text = Text(no_wrap=True)
    for row, j in enumerate(shown_y[::-1]):
        label = f"{y[j]:.4g}" if row % 5 == 0 or row == len(shown_y) - 1 else ""
        text.append(f"{label if more else '':>{_MARGIN}} ")
        for name in letters[j, shown_x].tolist():
            text.append(*MARKS[name])
        text.append("\n")
    ends = f"{x[shown_x[0]]:.4g}", f"{x[shown_x[-1]]:.4g}"
    text.append(" " * (_MARGIN + 1) + ends[0] + ends[1].rjust(max(len(shown_x) - len(ends[0]), 0)))
    text.append(f"\n{across} to the right" + (f", {up} upwards" if more else ""))
    if len(shown_x) < len(x) or len(shown_y) < len(y):
        text.append(f"; {len(shown_x)}×{len(shown_y)} of {len(x)}×{len(y)} points shown")
    text.append("\n")
    for name, (letter, style) in MARKS.items():
        share = float(np.mean(found.attractor == name))
        if share:
            text.append(letter, style)
            text.append(f" {name} {'<1%' if share < 0.01 else f'{share:.0%}'}  ")
    text.rstrip()
    return text


def _shown(count: int, room: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return which of `count` points to show: each as often as it fits, else evenly chosen ones."""
    if count <= room:
        return np.repeat(np.arange(count), room // count)
    return np.linspace(0, count - 1, room).round().astype(np.int64)
