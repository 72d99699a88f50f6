"""The figure of slices of the landscape: L and S side by side, one slice below the other; or a plane."""

from __future__ import annotations

from collections.abc import Sequence

from eostui.figures.picture import Picture, Points, Subplot
from eostui.panels.slices import loss_chart, plane_chart, sharpness_chart
from eostui.slices import DIRECTIONS, Plane, Slice


def picture_of_slices(
    cuts: Sequence[Slice], run: str, command: Sequence[str], *, log: bool = False
) -> Picture:
    """Return the figure of slices of a run.

    Args:
        cuts: one at least.
        run: its id.
        command: words of the command that makes the figure again.
        log: whether y is logarithmic.
    """
    kind, subplots = "log" if log else "linear", []
    for cut in cuts:
        ends = float(cut.x[0]), float(cut.x[-1])
        charts = (
            ("L", "loss", loss_chart(cut, kind)),
            ("S", "sharpness", sharpness_chart(cut, kind)),
        )
        for symbol, name, chart in charts:
            label = f"{symbol}, step {cut.step}"
            data = [Points(curve.label, run, curve.x, curve.y) for curve in chart.curves]
            subplots.append(
                Subplot(f"{name} {cut.step} {DIRECTIONS[cut.along]}", label, chart, ends, data)
            )
    return Picture(subplots, subplots[0].own_x or (0.0, 1.0), (run,), command=command)


def picture_of_plane(plane: Plane, run: str, command: Sequence[str]) -> Picture:
    """Return the figure of a plane: L and S, shaded by their ranks, with the path. Arguments as above."""
    ends = float(plane.x[0]), float(plane.x[-1])
    charts = (
        ("loss", "L", plane_chart(plane, plane.loss, thresholds=False)),
        ("sharpness", "S", plane_chart(plane, plane.sharpness, thresholds=True)),
    )
    subplots = [
        Subplot(f"{name} {plane.step}", f"θ along ∇S⊥: {symbol}, step {plane.step}", chart, ends)
        for name, symbol, chart in charts
    ]
    return Picture(subplots, ends, (run,), command=command)
