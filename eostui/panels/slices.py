"""Charts of slices of the landscape: L and S along a line, and over a plane."""

from __future__ import annotations

import numpy as np

from eostui.charts.chart import Chart, Curve, Mark, Spot
from eostui.charts.contours import Contour, Map
from eostui.charts.numbers import compact
from eostui.charts.scales import FloatArray, Scale
from eostui.charts.shades import Line, Shades
from eostui.panels.view import EDGE_SHORT, NO_DECAY_SHORT
from eostui.slices import DIRECTIONS, Place, Plane, Slice

#: Signs of θ before, at and after the step.
_SIGNS = {-1: "○", 0: "●", 1: "◇"}


def loss_chart(cut: Slice, kind: str = "linear") -> Chart:
    """Return L along a slice over its quadratic at θ_t, with the record's L at the run's own steps."""
    here = cut.loss[len(cut.x) // 2]
    with np.errstate(over="ignore", invalid="ignore"):  # far out
        quadratic = here + cut.slope * cut.x + cut.curvature * cut.x**2 / 2
    curves = [
        Curve(cut.x, quadratic, "theory", "dotted", "quadratic", digits=0, ranged=False),
        Curve(cut.x, cut.loss, "loss", label="L", digits=0),
    ]
    spots = [_spot(cut, place, place.loss) for place in cut.places]
    waiting = "L isn't finite here"
    return Chart(curves, Scale(kind), _marks(cut), spots, waiting, counts=_counts(cut))


def sharpness_chart(cut: Slice, kind: str = "linear") -> Chart:
    """Return S along a slice with the thresholds, and the record's S at the run's own steps."""
    curves = [
        Curve(
            cut.x, np.full(len(cut.x), value), "theory", "dashed", label, yields="far", short=short
        )
        for (label, value), short in zip(
            cut.thresholds.items(),
            (NO_DECAY_SHORT, EDGE_SHORT)[2 - len(cut.thresholds) :],
            strict=True,
        )
    ]
    curves.append(Curve(cut.x, cut.sharpness, "sharpness", label="S", digits=0))
    spots = [
        _spot(cut, place, place.sharpness) for place in cut.places if np.isfinite(place.sharpness)
    ]
    waiting = "no S was asked for" if np.isfinite(cut.loss).any() else "S isn't finite here"
    if not np.isfinite(cut.sharpness).any():
        curves, spots = [], []
    return Chart(curves, Scale(kind), _marks(cut), spots, waiting, counts=_counts(cut))


def title_of(cut: Slice, symbol: str) -> tuple[str, ...]:
    """Return the title of a chart of a slice, in parts: `L along u at step 152`, …"""
    kind = f"{symbol} along {DIRECTIONS[cut.along]} at step {cut.step}"
    if symbol == "L":
        return kind, f"curvature here {compact(cut.curvature)}"
    here = cut.sharpness[len(cut.x) // 2]
    return (kind, f"here {compact(here)}") if np.isfinite(here) else (kind,)


def _counts(cut: Slice) -> str:
    return f"θ along {DIRECTIONS[cut.along]}"


def _marks(cut: Slice) -> list[Mark]:
    names = {-1: "t−1", 0: "t", 1: "t+1"}
    return [Mark(place.x, names[place.step - cut.step]) for place in cut.places]


def _spot(cut: Slice, place: Place, value: float) -> Spot:
    return Spot(place.x, value, "mark", _SIGNS[place.step - cut.step])


def plane_map(plane: Plane, values: FloatArray, *, thresholds: bool) -> Map:
    """Return a map of L or S over a plane, with the path, for the terminal.

    Args:
        plane: the plane.
        values: its L or its S.
        thresholds: whether there is a line where S is at each threshold.
    """
    path = [(place.x, place.y) for place in plane.places if place.step <= plane.step]
    lines = [
        Contour(value, "theory" if number else "sharpness", stippled=bool(number))
        for number, value in enumerate(plane.thresholds.values())
    ]
    return Map(
        values,
        (plane.x[0], plane.x[-1], plane.y[0], plane.y[-1]),
        np.array(path),
        lines if thresholds else [],
        ("cool spread", "warm spread") if thresholds else ("shade", "shade"),
    )


def plane_titles(plane: Plane) -> tuple[str, str]:
    """Return the titles of both maps of a plane."""
    lines = (
        f"{'dotted' if number else 'line'} {label} {compact(value)}"
        for number, (label, value) in enumerate(plane.thresholds.items())
    )
    where = f"over u (→) and ∇S⊥ (↑) at step {plane.step}"
    return f"L {where}", " · ".join((f"S {where}", *lines))


def plane_chart(plane: Plane, values: FloatArray, *, thresholds: bool) -> Chart:
    """Return the same as a chart, for figures: shades that part the plane by area, path and lines."""
    left, right, bottom, top = plane.x[0], plane.x[-1], plane.y[0], plane.y[-1]
    ranked = np.sort(values[np.isfinite(values)])

    def share(at: FloatArray) -> FloatArray:
        """Return which share of the plane lies lower than these values."""
        below = np.searchsorted(ranked, at) / max(len(ranked), 1)
        return np.where(np.isfinite(at), below, np.nan)

    def shaded(x: FloatArray, y: FloatArray) -> FloatArray:
        rows = np.stack([np.interp(x, plane.x, row) for row in values])
        return share(np.stack([np.interp(y, plane.y, column) for column in rows.T], axis=1))

    lines = [
        Line(float(share(np.array(value))), label)
        for label, value in plane.thresholds.items()
        if thresholds and len(ranked) and ranked[0] < value < ranked[-1]
    ]
    # an edge, so that the axis reaches from end to end
    edge = Curve(np.array([left, left]), np.array([bottom, top]), "axis")
    spots = [
        Spot(place.x, place.y, "mark", _SIGNS.get(place.step - plane.step, "·"))
        for place in plane.places
        if left <= place.x <= right and bottom <= place.y <= top
    ]
    return Chart([edge], spots=spots, counts="θ along u", shades=Shades(shaded, lines))
