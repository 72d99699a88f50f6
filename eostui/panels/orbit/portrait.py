"""The phase portrait of an orbit."""

from __future__ import annotations

import numpy as np

from eostui.charts.chart import Curve, Spot
from eostui.charts.plane import Plane, Strand
from eostui.charts.scales import StickyRange
from eostui.panels.orbit.panel import OrbitPanel
from eostui.panels.orbit.view import OrbitView


class Portrait:
    """The phase portrait; its axes grow in jumps."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start the axes anew."""
        self._x, self._y, self._unit = StickyRange(), StickyRange(), 0.0

    def plane(self, view: OrbitView) -> tuple[Plane, str]:
        """Return the plane of (x, y), and its title."""
        unit, said = view.unit
        if unit != self._unit:
            self._unit, self._x = unit, StickyRange()
        x, y = view.orbit.x[view.sane] / unit, view.orbit.y[view.sane]
        states = (view.summary["exact"] or {}).get("states", [])
        level = -float(view.parameters.weight_decay)
        across = self._x.fit(float(x.min()), float(x.max()))
        up = self._y.fit(min(float(y.min()), level), max(float(y.max()), level))
        points = np.stack([x, y], axis=1)
        spots = [Spot(a / unit, b, "sharpness", "○") for a, b in states]
        spots.append(Spot(float(x[-1]), float(y[-1]), "mark", "●"))
        plane = Plane(
            (*across, *up),
            curves=[Curve(np.array(across), np.full(2, level), "theory", "dashed")],
            strands=[Strand(points[::2], "loss"), Strand(points[1::2], "norm", "×")],
            spots=spots,
        )
        return plane, f"phase portrait: y over x{said}"


PORTRAIT = OrbitPanel(
    "portrait",
    "Every state (x, y): dots are even steps, × odd ones, so that the period-2 motion is two "
    "strands. ● is the last state, ○ the exact states with F(F(z)) = z that it belongs to, the "
    "dashed line y = −λ, where the envelope neither grows nor shrinks.",
    plane=Portrait,
    signs=(
        "dots even steps · × odd · ● last · ○ exact",
        "dots even steps, x odd, @ last, O exact",
    ),
)
