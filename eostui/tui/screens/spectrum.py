"""The spectrum of the Hessian: its largest eigenvalues, its density, where its eigenvectors turn."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from eostui.panels.density import DENSITY
from eostui.panels.eigenvalues import EIGENVALUES
from eostui.panels.panel import Panel
from eostui.panels.rotation_map import ROTATION_MAP
from eostui.panels.rotations import ROTATIONS
from eostui.panels.trace import TRACE
from eostui.tui.screens.live import LiveScreen


class ProbesScreen(LiveScreen):
    """Charts of what optional probes measure; those of probes that are off say how to turn them on."""

    def offers(self, index: int) -> bool:
        """Return whether a panel has a tab: all have."""
        return index in range(len(self.TABLE))


class SpectrumScreen(ProbesScreen):
    """Shows the spectrum over the steps, and its density at the crosshair's."""

    TABLE: ClassVar[list[Panel]] = [
        *(replace(panel, own_place=True) for panel in (EIGENVALUES, DENSITY, ROTATIONS)),
        TRACE,
        ROTATION_MAP,
    ]
