"""Function space: λ₁ of the neural tangent kernel beside S, alignments, the Weyl gap."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from eostui.panels.alignment import ALIGNMENT
from eostui.panels.loss import LOSS
from eostui.panels.ntk import NTK
from eostui.panels.panel import Panel
from eostui.panels.sharpness import SHARPNESS
from eostui.panels.weyl import WEYL
from eostui.tui.screens.spectrum import ProbesScreen


class FunctionSpaceScreen(ProbesScreen):
    """Shows what the kernel does while the network trains."""

    TABLE: ClassVar[list[Panel]] = [
        *(replace(panel, own_place=True) for panel in (NTK, ALIGNMENT, WEYL)),
        replace(SHARPNESS, own_place=False),
        replace(LOSS, own_place=False),
    ]
