"""tr H: the sum of all eigenvalues."""

from __future__ import annotations

import math

import torch

from eostui.config import RunConfig
from eostui.curvature.directions import random_signs
from eostui.curvature.point import LossFunction, Point
from eostui.curvature.trace import hutchinson
from eostui.errors import InputError
from eostui.probes.probe import Moment, Probe, Reading
from eostui.probes.sharpness import sharpness_of
from eostui.problems import Problem
from eostui.problems.batch import loss_of_rows, parts_of, supervised_parts
from eostui.runs.store.columns import Column

#: The numbers of its draws, beside those that searches draw.
_FIRST_DRAW = 30_000


class HessianTrace(Probe):
    """Estimates tr H by Hutchinson's draws, the leading eigenvectors taken exactly.

    Attributes:
        samples: how many training samples it is of, NaN where the loss isn't one of samples.
    """

    name = "hessian_trace"
    columns = (
        Column("hessian_trace", "L/θ²", "tr H, by Hutchinson's estimate", optional=True),
        Column("hessian_trace_error", "L/θ²", "its standard error over the draws", optional=True),
        Column(
            "hessian_trace_samples",
            "1",
            "training samples it is of, those numbered ⌊iN/n⌋ of N; empty where there are none",
            optional=True,
        ),
    )
    cost = "many products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._loss, self.samples = _of_samples(problem.loss, config.trace_samples)

    def due(self, moment: Moment) -> bool:
        """Whether it is time for it."""
        return moment.step % self.config.trace_cadence == 0

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Estimate it at a point."""
        seed = self.config.seed
        own = point if self._loss is None else Point(self._loss, point.theta)
        try:
            trace = hutchinson(
                own.hessian_product,
                lambda number: random_signs(point.theta, seed, moment.step, _FIRST_DRAW + number),
                self.config.trace_draws,
                sharpness_of(moment).eigenvectors,
            )
        finally:
            if own is not point:
                own.release()
        values = {"hessian_trace": trace.value, "hessian_trace_samples": self.samples}
        if not math.isnan(trace.error):
            values["hessian_trace_error"] = trace.error
        return Reading({**values}, trace.products)


def _of_samples(loss: LossFunction, wanted: int) -> tuple[LossFunction | None, float]:
    """Return the loss of so many samples, None where that is the run's own, and how many they are.

    Of samples that are shared out among processes it is computed in this one alone.

    Raises:
        InputError: if there are no samples to choose from.
    """
    known = supervised_parts(loss)
    count = sum(len(part.inputs) for part in known)
    if wanted and not known:
        raise InputError(
            "`trace_samples` is of training samples, and this problem is a function of θ alone: leave "
            "it at 0"
        )
    if not 0 < wanted < count:
        return None, float(count) if count else math.nan
    parts = parts_of(loss)
    chunk = len(known[0].inputs) if len(parts) > 1 else 0
    rows = torch.arange(wanted) * count // wanted
    return loss_of_rows(loss, rows, chunk), float(wanted)
