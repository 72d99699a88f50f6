"""Probes of the program that measure where a run asks for them by name; their classes: eostui/probes."""

from __future__ import annotations

#: What each measures, by its name, in the order in which they measure: one may use those before it.
OPTIONAL_PROBES: dict[str, str] = {
    "radius": "the sharpness at the radius of the bounce, S_δ",
    "radii": "the same at a tenth of that radius, and at three and ten times",
    "centre": "a prediction of S, of the bounce and of the loss, from the first reading at the edge on",
    "flow": "S and L of a small-step gradient flow beside the run, from the same θ",
    "ntk": "the neural tangent kernel of some samples, in three forms, and its alignment with the target",
    "weyl": "λ₁ of the NTK on the whole batch beside S, and the bound ‖R‖₂ on how far they are apart",
    "tracked_eigenvalues": "the largest eigenvalues by their directions, through crossings",
    "spectral_density": "the density of the whole spectrum, every `density_cadence` steps",
    "hessian_trace": "tr H with its standard error, every `trace_cadence` steps",
    "batch_sharpness": "the mean curvature along batches' gradients, of dynamics that see batches",
    "noise": "the covariance Σ of single samples' gradients: its trace, and how Σv lies to Hv",
    "ema": "loss and accuracy at the moving average of the iterates, on training and test samples",
    "rotations": "how far the leading eigenvectors have turned, and where they point",
    "two_layer_linear": "M, ‖A‖² and ⟨F, D⟩ of the problem two-layer-linear, and the lemmas about them",
    "diagonal_net": "where u points in the problem diagonal-net, and how a step turns it",
}

#: What a reading costs on the edge of `digits-mlp`, in steps of bare descent, and in how many steps there
#: is one: `eostui bench digits-mlp --probes --place edge`. That of `centre` is two gradients a step.
READING_COSTS: dict[str, str] = {
    "radius": "costs 47 steps in 500",
    "radii": "costs 180 steps in 500",
    "centre": "costs 2 steps a step",
    "ntk": "costs 180 steps in 500",
    "weyl": "costs 200 steps in 500",
    "tracked_eigenvalues": "costs nothing",
    "spectral_density": "costs 620 steps in 1000",
    "hessian_trace": "costs 84 steps in 250",
    "noise": "costs 91 steps in 250",
    "rotations": "costs 39 steps in 8",
}
