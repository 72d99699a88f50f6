"""Columns that an experiment adds to those of a summary: a number of each member's record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from eostui.runs.analysis.outcome import TAIL_SHARE
from eostui.runs.analysis.resting import late
from eostui.runs.run import Run


class RunColumn(BaseModel):
    """A number of a run: its column `of`, and which of the values.

    The late mean is over the last fifth of the steps. Values that aren't finite are left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str
    take: Literal["first", "least", "greatest", "late mean"]

    def value(self, run: Run) -> float:
        """Return it; NaN where the run has no such column, or nothing in it."""
        begins = math.ceil(len(run.steps) * (1 - TAIL_SHARE)) if self.take == "late mean" else 0
        values = late(run, self.of, begins)
        if values.ndim != 1:
            return math.nan
        values = values[np.isfinite(values)]
        if not len(values):
            return math.nan
        if self.take == "first":
            return float(values[0])
        if self.take == "late mean":
            return float(values.mean())
        return float(values.min() if self.take == "least" else values.max())


def added(run: Run, columns: Mapping[str, RunColumn]) -> dict[str, float]:
    """Return an experiment's own columns of a run."""
    return {name: column.value(run) for name, column in columns.items()}
