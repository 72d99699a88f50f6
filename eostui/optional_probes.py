"""Probes of the program that measure where a run asks for them by name; their classes: eostui/probes."""

from __future__ import annotations

#: What each measures, by its name, in the order in which they measure: one may use those before it.
OPTIONAL_PROBES: dict[str, str] = {
    "radius": "the sharpness at the radius of the bounce, S_δ",
    "radii": "the same at a tenth of that radius, and at three and ten times",
    "centre": "a prediction of S, of the bounce and of the loss, from the first reading at the edge on",
    "ntk": "the neural tangent kernel of some samples, in three forms, and its alignment with the target",
    "weyl": "λ₁ of the NTK on the whole batch beside S, and the bound ‖R‖₂ on how far they are apart",
    "tracked_eigenvalues": "the largest eigenvalues by their directions, through crossings",
    "spectral_density": "the density of the whole spectrum, every `density_cadence` steps",
    "hessian_trace": "tr H with its standard error, every `trace_cadence` steps",
    "rotations": "how far the leading eigenvectors have turned, and where they point",
}

#: What a reading takes, in steps of bare descent of `digits-mlp`, and how often: `eostui bench --probes`.
READING_COSTS: dict[str, str] = {
    "radius": "40 steps every 500",
    "radii": "130 steps every 500",
    "centre": "3 steps every step",
    "ntk": "? steps every 500",
    "weyl": "? steps every 500",
    "tracked_eigenvalues": "1 step every 25",
    "spectral_density": "? steps every 2500",
    "hessian_trace": "? steps every 500",
    "rotations": "? steps every 25",
}
