"""Loss and accuracy on held-out samples."""

from __future__ import annotations

from eostui.curvature.point import Point
from eostui.probes.probe import Moment, Probe, Reading, Value, built_in_columns


class HeldOut(Probe):
    """Evaluates the problem's test samples every `test_cadence` steps, where it has any."""

    name = "held_out"
    columns = built_in_columns("held_out")
    cost = "pass"

    def due(self, moment: Moment) -> bool:
        """Whether it is time for it."""
        return self.problem.test is not None and moment.step % self.config.test_cadence == 0

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Evaluate them at θ."""
        del moment
        assert self.problem.test is not None
        evaluation = self.problem.test(point.theta)
        values: dict[str, Value] = {"test_loss": evaluation.loss}
        if evaluation.accuracy is not None:
            values["test_accuracy"] = evaluation.accuracy
        return Reading(values)
