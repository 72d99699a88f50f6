"""What a panel of an orbit is: a chart of it against the step, or a plane of two quantities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from eostui.charts.chart import Chart
from eostui.charts.plane import Plane
from eostui.panels.orbit.view import OrbitView


class PlanePanel(Protocol):
    """A plane whose axes stay while what it shows lies well within them."""

    def forget(self) -> None:
        """Start the axes anew."""

    def plane(self, view: OrbitView) -> tuple[Plane, str]:
        """Return the plane of an orbit, and its title."""


@dataclass(frozen=True)
class OrbitPanel:
    """What one panel shows of an orbit: either a chart or a plane.

    Attributes:
        name: of its tab, and of its widget.
        meaning: two sentences for the help.
        kinds: what y goes through.
        chart: returns the chart and its title, for one of the kinds.
        plane: makes the plane, with axes of its own.
        signs: what the signs of a plane mean, and the same where there is ASCII alone.
    """

    name: str
    meaning: str = ""
    kinds: tuple[str, ...] = ("",)
    chart: Callable[[OrbitView, str], tuple[Chart, str]] | None = None
    plane: Callable[[], PlanePanel] | None = None
    signs: tuple[str, str] = ("", "")
