"""∇S, and the drives that raise and lower the sharpness (MATH §2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.host import read
from eostui.curvature.point import Point
from eostui.probes.probe import Moment, Probe, Reading, built_in_columns
from eostui.probes.sharpness import sharpness_of
from eostui.problems import Problem


class Drives(Probe):
    """Measures ∇S and what follows from it, unless the config asks for the spectrum alone.

    Attributes:
        sharpness_gradient: ∇S last found, shape (P,).
    """

    name = "drives"
    columns = built_in_columns("drives")

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self.sharpness_gradient: Tensor | None = None

    def due(self, moment: Moment) -> bool:
        """Whether they are asked for, and S measured."""
        return self.config.measure == "drives" and sharpness_of(moment).due(moment)

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Differentiate S along the u that was found at this point."""
        eigenvectors = sharpness_of(moment).eigenvectors
        if eigenvectors is None:
            raise ValueError("the drives need the eigenvector that the sharpness probe finds")
        u, scale = eigenvectors[0], moment.scale
        # with P held S = uᵀP^{-1/2}HP^{-1/2}u, whose gradient in θ is D³L along w = P^{-1/2}u
        self.sharpness_gradient = point.third_derivative(u if scale is None else scale * u)
        values = drives(point, u, self.sharpness_gradient, self.problem.decayed, scale)
        if not values:
            return Reading(remarks=[("unmeasured", {"reason": "∇S isn't finite here: no drives"})])
        return Reading({**values})

    def state(self) -> dict[str, Any]:
        """Return ∇S last found."""
        return {"sharpness_gradient": self.sharpness_gradient}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.sharpness_gradient = state.get("sharpness_gradient")

    def forget(self) -> None:
        """Drop ∇S."""
        self.sharpness_gradient = None


def drives(
    point: Point,
    u: Tensor,
    sharpness_gradient: Tensor,
    decayed: Tensor | None,
    scale: Tensor | None = None,
) -> dict[str, float]:
    """Return β, βα, g, g_u and the alignments theory takes as small, by column; {} if one isn't finite.

    Source: WD §4 and Assumptions 1–3; ∇S as in SS, Lemma 2. Those with ⊥ are of ∇S without its part
    along u, as SS has it: near a second eigenvalue of the same size that part need not be small.

    Args:
        point: θ with its gradient.
        u: the unit eigenvector of S there, shape (P,).
        sharpness_gradient: ∇S, shape (P,).
        decayed: 1 where decay acts and 0 elsewhere, shape (P,); None for everywhere.
        scale: the diagonal of P^{-1/2}, shape (P,), of an S in the coordinates P^{1/2}θ: all but
            grad_norm is of these; None for θ itself.
    """
    pulled = point.theta if decayed is None else point.theta * decayed
    vectors = [sharpness_gradient, point.gradient, pulled]
    if scale is not None:
        vectors = [sharpness_gradient * scale, point.gradient * scale, pulled / scale]
    rows = _accurate(torch.stack([*vectors, u]))
    gradient = _accurate(point.gradient)
    # ‖∇L‖ alone depends on no u: a record of any version has it to the bit, which a dot product repeats
    products, square = read(rows @ rows.T, gradient @ gradient)
    if not np.isfinite(products).all():
        return {}
    (beta, minus_beta_alpha, g, ds_u), (_, steepness, _, dl_u), (*_, g_u), _ = products.tolist()
    gradient_square = float(square)
    beta_alpha = -minus_beta_alpha
    grad_norm = gradient_square**0.5
    values = {
        "beta": beta,
        "beta_alpha": beta_alpha,
        "g": g,
        "g_u": g_u,
        "grad_norm": grad_norm,
        "beta_perp": max(beta - ds_u**2, 0.0),
        "beta_alpha_perp": beta_alpha + dl_u * ds_u,
        "g_perp": g - g_u * ds_u,
    }
    if beta > 0:
        values["sharpness_gradient_u"] = abs(ds_u) / beta**0.5
    length = grad_norm if scale is None else float(steepness) ** 0.5
    if length > 0:
        values["gradient_u"] = abs(dl_u) / length
    return values


def _accurate(vector: Tensor) -> Tensor:
    """Return the vector in float64 where the device has it: dot products of many terms cancel."""
    return vector if vector.device.type == "mps" else vector.double()
