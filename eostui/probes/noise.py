"""The noise of gradients beside the Hessian (WHY Fig. 7 and Prop. 3; MATH §7)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.basis import NotFiniteError
from eostui.curvature.directions import random_direction
from eostui.curvature.host import FloatArray, read
from eostui.curvature.noise import covariance_product, squared_gradients
from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.probes.probe import Moment, Probe, Reading, refuse_impossible
from eostui.problems import Problem
from eostui.problems.batch import Supervised, supervised_parts
from eostui.problems.differentiable import equal_to_rounding
from eostui.quadrature import mean_and_error
from eostui.runs.analysis.possible_probes import no_samples
from eostui.runs.store.columns import Column

#: The numbers of its draws, beside those of other probes.
_FIRST_DRAW = 70_000


class Noise(Probe):
    """Measures tr Σ, and cos(Hv, Σv) of some Gaussian v, with Σ the covariance of samples' gradients.

    It is of the full batch at θ, whatever the steps are taken by. tr Σ is exact for chains of dense
    layers, whose samples' gradients need no pass each; of other networks it is the mean of vᵀΣv.
    """

    name = "noise"
    columns = (
        Column(
            "noise_trace", "L²/θ²",
            "tr Σ = mean ‖∇ℓ_i‖² − ‖∇L‖² over the samples: E‖g − ∇L‖² of batches of one; exact for "
            "chains of dense layers, else the mean of vᵀΣv over Gaussian v",
        ),
        Column("noise_trace_error", "L²/θ²", "its standard error over the v; 0 where it is exact"),
        Column("noise_loss_ratio", "L/θ²", "tr Σ/L, which WHY's Prop. 3 has between two constants"),
        Column(
            "noise_hessian_cosine", "1",
            "mean cos(Hv, Σv) over Gaussian v, Σ the covariance of the samples' gradients",
        ),
        Column("noise_hessian_cosine_error", "1", "its standard error over the v"),
        Column(
            "noise_gauss_newton_cosine", "1",
            "mean cos(Gv, Σv) over the same v, G the Gauss–Newton part of H",
        ),
        Column("noise_gauss_newton_cosine_error", "1", "its standard error over the v"),
        Column(
            "noise_turned_cosine", "1",
            "mean cos(v, Hv) times mean cos(v, Σv): what cos(Hv, Σv) would be in the mean if Σ kept its "
            "eigenvalues and its eigenvectors were turned at random",
        ),
        Column("noise_directions", "1", "how many v these are of: those with Hv, Gv and Σv not 0"),
    )  # fmt: skip
    cost = "many products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        refuse_impossible(config, self.name)
        known = supervised_parts(problem.loss)
        if not known:
            raise InputError(no_samples(self.name))
        if not _is_mean_of_outputs(known[0], problem.initial):
            raise InputError(
                f"the probe \"{self.name}\" is of samples' gradients, and the loss isn't a mean over "
                "samples, each with a row of the outputs: leave it out"
            )

    def due(self, moment: Moment) -> bool:
        """Whether it is time for it."""
        return moment.step % self.config.noise_cadence == 0

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Take tr Σ, and the cosines of all draws, at a point."""
        covariance = covariance_product(point)
        draws = self.config.noise_draws
        found = []
        for number in range(draws):
            v = random_direction(point.theta, self.config.seed, moment.step, _FIRST_DRAW + number)
            rows = _exact(v, point.hessian_product(v), point.gauss_newton_product(v), covariance(v))
            found.append(rows @ rows.T)
        gradient = _exact(point.gradient)
        grams, (square, loss) = read(
            torch.stack(found), torch.stack([gradient.square().sum(), point.loss.to(gradient)])
        )
        squared = squared_gradients(self.problem.loss, point.theta)
        values = _trace(grams, None if squared is None else squared - float(square))
        if loss > 0:
            values["noise_loss_ratio"] = values["noise_trace"] / float(loss)
        return Reading({**values, **_cosines(grams)}, 4 * draws)


def _exact(*vectors: Tensor) -> Tensor:
    """Return vectors as rows, in float64 where the device has it."""
    return torch.stack(vectors).to(
        torch.float32 if vectors[0].device.type == "mps" else torch.float64
    )


def _trace(grams: FloatArray, exact: float | None) -> dict[str, float]:
    """Return tr Σ with its error: exact, or from the v, of which vᵀΣv stands in each Gram matrix."""
    mean, error = (exact, 0.0) if exact is not None else mean_and_error(grams[:, 0, 3])
    return {"noise_trace": mean, "noise_trace_error": error}


def _cosines(grams: FloatArray) -> dict[str, float]:
    """Return the columns of cosines from the Gram matrices of v, Hv, Gv and Σv, shape (draws, 4, 4).

    Raises:
        NotFiniteError: if a product isn't finite.
    """
    if not np.isfinite(grams).all():
        raise NotFiniteError("a product isn't finite here: no noise")
    squares = grams.diagonal(axis1=1, axis2=2)
    moving = (squares > 0).all(1)
    if not moving.any():
        return {"noise_directions": 0.0}
    lengths = squares[moving] ** 0.5
    cosines = grams[moving] / (lengths[:, :, None] * lengths[:, None, :])
    values = {
        "noise_turned_cosine": float(cosines[:, 0, 1].mean() * cosines[:, 0, 3].mean()),
        "noise_directions": float(moving.sum()),
    }
    for place, name in ((1, "noise_hessian_cosine"), (2, "noise_gauss_newton_cosine")):
        values[name], error = mean_and_error(cosines[:, place, 3])
        if moving.sum() > 1:
            values[f"{name}_error"] = error
    return values


@torch.no_grad()
def _is_mean_of_outputs(made_of: Supervised, theta: Tensor) -> bool:
    """Return whether the loss of the first two samples' outputs is the mean of each one's."""
    outputs, targets = made_of.outputs(theta, made_of.inputs[:2]), made_of.targets[:2]
    if not isinstance(outputs, Tensor) or len(outputs) != len(targets):
        return False
    each = [made_of.loss(outputs[n : n + 1], targets[n : n + 1]) for n in range(len(targets))]
    return equal_to_rounding(made_of.loss(outputs, targets), torch.stack(each).mean())
