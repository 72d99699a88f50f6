"""The neural tangent kernel of some samples in its three forms, and how it is aligned with the target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.ntk import (
    FORMS,
    LEADING,
    Form,
    kernels,
    outputs_each,
    read_kernel,
    target_rows,
)  # fmt: skip
from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.probes.probe import Moment, Probe, Reading, Value, refuse_impossible
from eostui.problems import Problem
from eostui.problems.subset import how_many, subset
from eostui.runs.store.columns import Column

_KERNELS: dict[Form, str] = {
    "full": "the full NTK J Jᵀ/n",
    "summed": "the NTK of the summed outputs ⟨∇Σf, ∇Σf⟩/n",
    "traced": "the NTK traced over outputs Σ⟨∇f, ∇f⟩/n",
}
#: Where eigenvalues of them stand to those of the Hessian: the full one's are its Gauss–Newton part's.
_UNIT = "f²/θ²"


def _columns(form: Form) -> tuple[Column, ...]:
    kernel, first = _KERNELS[form], (LEADING,)
    return (
        Column(f"ntk_{form}", _UNIT, f"largest eigenvalue of {kernel} on `ntk_samples` samples"),
        Column(f"ntk_{form}_norm", _UNIT, f"Frobenius norm of {kernel}"),
        Column(f"ntk_{form}_alignment", "1", f"⟨K, YYᵀ⟩/(‖K‖‖YYᵀ‖) of {kernel} and the target"),
        Column(
            f"ntk_{form}_centred_alignment", "1",
            f"the same of {kernel} and the target without their means over the samples",
        ),
        Column(f"ntk_{form}_eigenvalues", _UNIT, f"first eigenvalues of {kernel}", shape=first),
        Column(
            f"ntk_{form}_shares", "1",
            f"share of the target in each of the first eigenvectors of {kernel}", shape=first,
        ),
        Column(
            f"ntk_{form}_centred_shares", "1",
            f"the same of {kernel} and the target without their means over the samples", shape=first,
        ),
    )  # fmt: skip


class Ntk(Probe):
    """Computes the kernel of `ntk_samples` samples of `ntk_split` every `ntk_cadence` steps, exactly."""

    name = "ntk"
    columns = tuple(column for form in FORMS for column in _columns(form))
    cost = "many products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        refuse_impossible(config, self.name)
        how_many(problem, config.ntk_split)  # a problem without samples is refused as such
        try:
            self._samples = subset(problem, config.ntk_split, config.ntk_samples)
            outputs_each(self._samples, problem.initial)  # too many are refused before a run
        except InputError as error:
            raise InputError(f"{error} (`ntk_samples`, `ntk_split`)") from None

    def due(self, moment: Moment) -> bool:
        """Whether it is time for it."""
        return moment.step % self.config.ntk_cadence == 0

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Compute the kernel in all forms, with its first eigenvectors."""
        del moment
        values: dict[str, Value] = {}
        for form, kernel in kernels(self._samples, point.theta).items():
            targets = target_rows(self._samples, point.theta, form)
            reading = read_kernel(kernel, targets, len(self._samples.inputs))
            values |= {
                f"ntk_{form}": float(reading.eigenvalues[0]),
                f"ntk_{form}_norm": reading.norm,
                f"ntk_{form}_alignment": reading.alignment,
                f"ntk_{form}_centred_alignment": reading.centred_alignment,
                f"ntk_{form}_eigenvalues": _padded(reading.eigenvalues),
                f"ntk_{form}_shares": _padded(reading.shares),
                f"ntk_{form}_centred_shares": _padded(reading.centred_shares),
            }
        return Reading(values)


def _padded(values: Tensor) -> NDArray[np.float64]:
    """Return values as their column has them; those that a small kernel lacks are NaN."""
    found = np.full(LEADING, np.nan)
    found[: len(values)] = values.cpu().numpy()
    return found
