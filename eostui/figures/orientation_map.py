"""The figure of orientations in diagonal nets: γ over η, L and R over the plane (INST, Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence

from eostui.charts.numbers import compact
from eostui.figures.picture import Entry, Picture, Points, Subplot
from eostui.panels.orientation_map import (
    LOOKS,
    Trajectory,
    loss_chart,
    orientation_chart,
    regimes_chart,
)  # fmt: skip


def picture_of_orientations(trajectories: Sequence[Trajectory], flags: Sequence[str]) -> Picture:
    """Return the figure.

    Args:
        trajectories: one at least, from one start.
        flags: of the command that makes it again, beside the runs.
    """
    runs = tuple(each.run for each in trajectories)
    (regimes, etas), (loss, _), (field, ends) = (
        chart(trajectories) for chart in (regimes_chart, loss_chart, orientation_chart)
    )
    closed = [Points(c.label, " ".join(runs), c.x, c.y) for c in regimes.curves if c.label]
    paths = [Points("θ", each.run, each.theta[:, 0], each.theta[:, 1]) for each in trajectories]
    subplots = [
        Subplot("growth", "γ, the growth of b", regimes, etas, closed),
        Subplot("loss", "θ₂ (shaded: L)", loss, ends, paths),
        Subplot("orientation", "θ₂ (shaded: R; strokes: u)", field, ends, paths),
    ]
    legend = [
        Entry(compact(each.eta), LOOKS[number % len(LOOKS)][1], LOOKS[number % len(LOOKS)][0])
        for number, each in enumerate(trajectories)
    ]
    command = ("eostui", "orientation", *runs, *flags)
    return Picture(subplots, ends, runs, legend, "η", command)
