"""What is measured, one file a probe; `probe_set.py` holds those of a run."""

from __future__ import annotations

from eostui.probes.drives import Drives
from eostui.probes.held_out import HeldOut
from eostui.probes.probe import Moment, Probe, Reading
from eostui.probes.sharpness import Sharpness
from eostui.probes.smallest_eigenvalue import SmallestEigenvalue

__all__ = [
    "PROBES",
    "Drives",
    "HeldOut",
    "Moment",
    "Probe",
    "Reading",
    "Sharpness",
    "SmallestEigenvalue",
]

#: All of the program, in this order: a probe may use what those before it found. `hessian_products`
#: counts those of the smallest eigenvalue too, which is therefore looked for first.
PROBES: tuple[type[Probe], ...] = (
    SmallestEigenvalue,
    Sharpness,
    Drives,
    HeldOut,
)
