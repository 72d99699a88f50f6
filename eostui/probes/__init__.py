"""What is measured: the tables of probes that the program has, and a user's own.

A probe is a file with a class and a line of `PROBES` or `OPTIONAL`; `probe_set.py` holds those of a run.
"""

from __future__ import annotations

from collections.abc import Sequence

from eostui.config import RunConfig
from eostui.probes.batch_sharpness import BatchSharpness
from eostui.probes.centre import Centre
from eostui.probes.diagonal_net import DiagonalNet
from eostui.probes.drives import Drives
from eostui.probes.ema import Ema
from eostui.probes.flow import Flow
from eostui.probes.held_out import HeldOut
from eostui.probes.hessian_trace import HessianTrace
from eostui.probes.noise import Noise
from eostui.probes.ntk import Ntk
from eostui.probes.own import own_probe
from eostui.probes.probe import Moment, Probe, Reading
from eostui.probes.radius import Radii, Radius
from eostui.probes.rotations import Rotations
from eostui.probes.sharpness import Sharpness
from eostui.probes.smallest_eigenvalue import SmallestEigenvalue
from eostui.probes.spectral_density import SpectralDensity
from eostui.probes.tracked_eigenvalues import TrackedEigenvalues
from eostui.probes.two_layer_linear import TwoLayerLinear
from eostui.probes.weyl import Weyl
from eostui.runs.store.columns import Column, ProbeColumns

__all__ = ["OPTIONAL", "PROBES", "Column", "Moment", "Probe", "Reading", "described", "probes_of"]

#: Those of every run, in the order in which they measure: a probe may use what those before it found.
PROBES: tuple[type[Probe], ...] = (Sharpness, SmallestEigenvalue, Drives, HeldOut)
_OPTIONAL: tuple[type[Probe], ...] = (
    Radius, Radii, Centre, Flow, Ntk, Weyl, TrackedEigenvalues, SpectralDensity, HessianTrace,
    BatchSharpness, Noise, Ema, Rotations, TwoLayerLinear, DiagonalNet,
)  # fmt: skip
#: Those that a run has where it names them: each name of `OPTIONAL_PROBES` with its class.
OPTIONAL: dict[str, type[Probe]] = {kind.name: kind for kind in _OPTIONAL}


def probes_of(config: RunConfig) -> tuple[type[Probe], ...]:
    """Return the program's probes, those of every run first, and a user's own, whose files are executed.

    Raises:
        InputError: if there is no such probe, or its name or a column is another's.
    """
    kinds = list(PROBES)
    for reference in config.probes:
        optional = OPTIONAL.get(reference)
        kinds.append(optional or own_probe(reference, config, described(kinds)))
    return tuple(kinds)


def described(kinds: Sequence[type[Probe]]) -> tuple[ProbeColumns, ...]:
    """Return what the record of a run says of its probes."""
    return tuple(ProbeColumns(kind.name, kind.cost, tuple(kind.columns)) for kind in kinds)
