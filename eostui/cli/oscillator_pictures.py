"""Still pictures of the oscillator as text: one orbit as four panels, a grid as a map of letters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rich.text import Text

from eostui.cli.oscillator_tables import drives
from eostui.cli.static_plot import (
    CURVATURE,
    EDGE,
    EDGE_WITH_DECAY,
    FLATTENS,
    PLAIN,
    SHARPENS,
    Panel,
    band,
    draw_panels,
    make_axis,
    pooled,
    span,
    symlog_axis,
)
from eostui.oscillator import Orbit
from eostui.oscillator.envelope import prediction
from eostui.oscillator.grid import Survey
from eostui.oscillator.parameters import FloatArray

#: Letter and colour of what became of a point.
MARKS = {
    "cycle": ("o", "magenta"),
    "collapsed": (".", "blue"),
    "escaped": ("x", "yellow"),
    "wandering": ("~", "yellow"),
    "unsettled": ("?", "default"),
}
_PREDICTED = ("╌", "gray")
_EVEN, _ODD = ("braille", "orange"), ("braille", "blue+")
_MARGIN = 9


def picture(orbit: Orbit, *, width: int, height: int, color: bool) -> str:
    """Draw sharpness, x, envelope and drives of an orbit; arguments and result as in `static_plot`."""
    return draw_panels(
        lambda columns, rows: _panels(orbit, columns, rows),
        max(len(orbit.x) - 1, 1), width=width, height=height, color=color,
    )  # fmt: skip


def _panels(orbit: Orbit, columns: int, rows: int) -> list[Panel]:
    step, fine = np.arange(len(orbit.x), dtype=np.float64), 2 * columns
    sharpness = band("S", orbit.sharpness, step, fine, CURVATURE)
    edge, shifted = 2 / orbit.eta, 2 / orbit.eta - orbit.weight_decay
    edges = [band("╌2/η", edge, step, columns, EDGE)]
    if orbit.weight_decay.any():
        edges.append(band("┈2/η−λ", shifted, step, columns, EDGE_WITH_DECAY))
    strands = [
        band(name, orbit.x[first::2], step[first::2], fine, style)
        for name, first, style in (("x even", 0, _EVEN), ("odd", 1, _ODD))
    ]
    envelope = band("A", orbit.envelope[:-1], step[:-1], fine, PLAIN)
    predicted = band("╌ predicted", prediction(orbit)[0], step, columns, _PREDICTED)
    p = orbit.parameters
    sharpens = np.broadcast_to(p.beta * p.alpha, len(step))
    flattens, bounce = drives(orbit)
    pulls = [
        band("βα", sharpens, step, fine, SHARPENS),
        band("λ(g+q)", flattens, step, fine, FLATTENS),
        band("½βx²", bounce, step, fine, PLAIN),
    ]
    levels = pooled(*edges).tolist()
    usual = np.minimum(pooled(pulls[2]), np.percentile(bounce, 99))  # the end of an escape isn't
    return [
        (
            "sharpness",
            [sharpness, *edges],
            make_axis(*span(pooled(sharpness), levels=levels), rows),
        ),
        ("x", strands, make_axis(*span(pooled(*strands)), rows)),
        ("envelope", [envelope, predicted], make_axis(*span(pooled(envelope)), rows)),
        ("drives (symlog)", pulls, symlog_axis(rows, *map(pooled, pulls[:2]), usual)),
    ]


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
