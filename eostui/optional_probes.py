"""Probes of the program that measure where a run asks for them by name; their classes: eostui/probes."""

from __future__ import annotations

#: What each measures, by its name, in the order in which they measure: one may use those before it.
OPTIONAL_PROBES: dict[str, str] = {
    "tracked_eigenvalues": "the largest eigenvalues by their directions, through crossings",
    "spectral_density": "the density of the whole spectrum, every `density_cadence` steps",
    "hessian_trace": "tr H with its standard error, every `trace_cadence` steps",
}
