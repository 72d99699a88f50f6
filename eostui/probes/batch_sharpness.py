"""The curvature that mini-batch steps meet in the mean (Andreyev & Beneventano, arXiv 2412.20553)."""

from __future__ import annotations

import math

import numpy as np
import torch

from eostui.config import RunConfig
from eostui.curvature.batches import batches_of
from eostui.curvature.point import Point
from eostui.probes.probe import Moment, Probe, Reading, refuse_impossible
from eostui.problems import Problem
from eostui.problems.batch import loss_of_rows
from eostui.runs.store.columns import Column


class BatchSharpness(Probe):
    """Measures E_B[⟨∇L_B, H_B∇L_B⟩/‖∇L_B‖²] on some batches, drawn as the run draws its own (MATH §7)."""

    name = "batch_sharpness"
    columns = (
        Column(
            "batch_sharpness",
            "L/θ²",
            "mean over batches of ⟨∇L_B, H_B∇L_B⟩/‖∇L_B‖²: what 2/η − λ bounds under mini-batches",
            optional=True,
        ),
        Column(
            "batch_sharpness_error",
            "L/θ²",
            "its standard error over the batches, as if each were drawn by itself",
            optional=True,
        ),
        Column("batch_sharpness_batches", "1", "how many batches it is of", optional=True),
    )

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        refuse_impossible(config, self.name)
        self._batches = batches_of(config, problem)

    def due(self, moment: Moment) -> bool:
        """Whether it is time for it."""
        return moment.step % self.config.batch_sharpness_cadence == 0

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Take the mean over batches at θ; those without a gradient say nothing."""
        found = []
        drawn = self._batches.aside(moment.step, self.config.batch_sharpness_draws)
        for rows in drawn:
            loss = loss_of_rows(self.problem.loss, rows, self.problem.chunk_size)
            own = Point(loss, point.theta)
            gradient = own.gradient
            product = own.hessian_product(gradient)
            both = torch.stack([gradient, product]).to(
                torch.float32 if gradient.device.type == "mps" else torch.float64
            )
            square, curvature = (both @ both[0]).tolist()
            own.release()
            if square > 0:
                found.append(curvature / square)
        if not found:
            return Reading(products=len(drawn))
        values = {
            "batch_sharpness": float(np.mean(found)),
            "batch_sharpness_batches": float(len(found)),
        }
        if len(found) > 1:
            values["batch_sharpness_error"] = float(np.std(found, ddof=1)) / math.sqrt(len(found))
        return Reading({**values}, len(drawn))
