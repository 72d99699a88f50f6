"""The largest eigenvalues by their directions: what crosses keeps its curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eostui.config import MOST_EIGENVALUES, RunConfig
from eostui.curvature.point import Point
from eostui.curvature.tracking import Directions
from eostui.probes.probe import Moment, Probe, Reading
from eostui.probes.sharpness import Sharpness, sharpness_of
from eostui.problems import Problem
from eostui.runs.store.columns import Column

#: So many directions that left the largest are told again where they come back.
DEPARTED = 4


class TrackedEigenvalues(Probe):
    """Tells each of the eigenvectors that the sharpness probe found by its overlap with those before.

    Attributes:
        directions: those seen so far, by number.
    """

    name = "tracked_eigenvalues"
    columns = (
        Column(
            "tracked",
            "L/θ²",
            "largest eigenvalues of the Hessian, each at the number of its direction, which it keeps "
            "through crossings; empty where that isn't among the largest",
            optional=True,
            shape=(MOST_EIGENVALUES,),
        ),
        Column(
            "tracked_overlap",
            "1",
            "overlap of each direction with what it was one or two measurements before, the larger; "
            "empty where it is new",
            optional=True,
            shape=(MOST_EIGENVALUES,),
        ),
    )
    cost = "pass"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self.directions = Directions(MOST_EIGENVALUES, DEPARTED)

    def due(self, moment: Moment) -> bool:
        """Whether S is measured."""
        return sharpness_of(moment).due(moment)

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Number the directions found at this point."""
        del point
        found = moment.readings[Sharpness.name].values
        vectors = sharpness_of(moment).eigenvectors
        assert vectors is not None
        numbers, overlaps = self.directions.follow(vectors)
        tracked, kept = np.full((2, MOST_EIGENVALUES), np.nan)
        values = [found["sharpness"], *(found[f"eig_{n}"] for n in range(2, len(vectors) + 1))]
        tracked[numbers], kept[numbers] = values, overlaps
        return Reading({"tracked": tracked, "tracked_overlap": kept})

    def state(self) -> dict[str, Any]:
        """Return the directions."""
        return self.directions.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.directions.restore(state)

    def forget(self) -> None:
        """Number directions anew."""
        self.directions.forget()
