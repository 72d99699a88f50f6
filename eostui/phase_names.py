"""The names of the phases, as configs, events and people have them."""

from __future__ import annotations

TRANSIENT = "transient"
SHARPENING = "sharpening"
FLATTENING = "flattening"
EDGE = "edge"
LOWERED = "lowered edge"
COLLAPSED = "collapsed"
CATAPULT = "catapult"
CONVERGED = "converged"
STUCK = "stuck"
DIVERGED = "diverged"

PHASE_NAMES = (
    TRANSIENT, SHARPENING, FLATTENING, EDGE, LOWERED, COLLAPSED, CATAPULT, CONVERGED, STUCK, DIVERGED,
)  # fmt: skip
