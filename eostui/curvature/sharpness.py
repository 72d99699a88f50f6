"""Sharpness, its gradient, and the drives that raise and lower it (MATH §2)."""

from __future__ import annotations

import torch
from torch import Tensor

from eostui.curvature.eigenpairs import Target, leading_eigenpairs
from eostui.curvature.point import Point
from eostui.curvature.state import ProbeState

#: Every so many readings start cold: a warm start alone could follow an eigenvector that has ceased
#: to be the leading one.
COLD_EVERY = 20

#: Eigenpairs followed: S, and the second one that tells whether theory's single direction holds.
FOLLOWED = 2


def measure_sharpness(point: Point, state: ProbeState) -> dict[str, float]:
    """Find S = λ_max(∇²L) with its eigenvector, starting from the last eigenvectors, now and then cold.

    Fills sharpness, sharpness_residual, eig_2, hessian_products; leaves the eigenvectors in `state`.
    """
    start = state.eigenvectors
    if start is None or state.sharpness_readings % COLD_EVERY == 0:
        start = _random_direction(point.theta, state.config.seed, state.step)[None]
    state.sharpness_readings += 1
    pairs = leading_eigenpairs(
        point.hessian_product, start, Target(FOLLOWED)
    )
    vectors = pairs.vectors
    if state.eigenvectors is not None:
        previous = state.eigenvectors[: len(vectors)]
        signs = torch.sign((vectors[: len(previous)] * previous).sum(dim=1))
        vectors = vectors * torch.where(signs == 0, 1.0, signs)[:, None]
    state.eigenvectors = vectors
    sharpness = pairs.values[0]
    values = {
        "sharpness": sharpness,
        "sharpness_residual": pairs.residuals[0] / abs(sharpness) if sharpness else 0.0,
        "hessian_products": float(pairs.products),
    }
    if len(pairs.values) > 1:
        values["eig_2"] = pairs.values[1]
    return values


def measure_drives(point: Point, state: ProbeState) -> dict[str, float]:
    """Measure ∇S and what follows from it: β, βα, g, g_u and the alignments theory takes as small.

    Source: WD §4 and Assumptions 1–3; ∇S as in SS, Lemma 2.
    """
    if state.eigenvectors is None:
        raise ValueError("the drives need the eigenvector that the sharpness probe leaves")
    vector = state.eigenvectors[0]
    _, sharpness_gradient = point.curvature_gradient(vector)
    decayed = state.problem.decayed
    pulled = point.theta.detach() if decayed is None else point.theta.detach() * decayed
    u, ds, dl, theta = (
        _accurate(tensor) for tensor in (vector, sharpness_gradient, point.gradient, pulled)
    )
    products = torch.stack(
        [ds @ ds, dl @ dl, -(dl @ ds), theta @ ds, theta @ u, ds @ u, dl @ u]
    ).tolist()
    beta, gradient_square, beta_alpha, g, g_u, ds_u, dl_u = products
    grad_norm = gradient_square**0.5
    values = {
        "beta": beta,
        "beta_alpha": beta_alpha,
        "g": g,
        "g_u": g_u,
        "grad_norm": grad_norm,
    }
    if beta > 0:
        values["sharpness_gradient_u"] = abs(ds_u) / beta**0.5
    if grad_norm > 0:
        values["gradient_u"] = abs(dl_u) / grad_norm
    return values


def _accurate(vector: Tensor) -> Tensor:
    """Return the vector in float64 where the device has it: dot products of many terms cancel."""
    return vector if vector.device.type == "mps" else vector.double()


def _random_direction(like: Tensor, seed: int, step: int) -> Tensor:
    """Return a direction keyed by seed and step, so that replay repeats it."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
    return torch.randn(like.numel(), generator=generator, dtype=torch.float64).to(like)
