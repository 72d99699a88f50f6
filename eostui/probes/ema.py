"""The mean of the iterates, as a second point that is measured (MATH §7)."""

from __future__ import annotations

from eostui.curvature.point import Point, training_pass
from eostui.curvature.sums import accurate_norm
from eostui.probes.probe import Moment, Probe, Reading, Value
from eostui.runs.store.columns import Column

_AT = "; taken at θ̄_t = β θ̄_{t−1} + (1 − β)θ_t, from θ_0 on or where the run was asked for it"


class Ema(Probe):
    """Evaluates the exponential moving average of the iterates, beside the iterate: at `test_cadence`.

    The average itself is the trajectory's: it takes in every θ_t, be it measured or not.
    """

    name = "ema"
    columns = (
        Column("ema_loss", "L", f"loss on the training samples{_AT}", optional=True),
        Column(
            "ema_train_accuracy",
            "1",
            f"share of the training samples classified correctly{_AT}",
            optional=True,
        ),
        Column("ema_test_loss", "L", f"loss on the test samples{_AT}", optional=True),
        Column(
            "ema_test_accuracy",
            "1",
            f"share of test samples classified correctly{_AT}",
            optional=True,
        ),
        Column("ema_norm", "θ", f"‖θ̄‖ over all parameters{_AT}", optional=True),
        Column("ema_distance", "θ", f"‖θ̄ − θ‖{_AT}", optional=True),
    )
    cost = "pass"

    def due(self, moment: Moment) -> bool:
        """With the test samples at the iterate, whether there are any or not."""
        return moment.step % self.config.test_cadence == 0

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Evaluate the average up to this step."""
        average = moment.average
        if average is None:
            return Reading()
        loss, _, *accuracy = training_pass(self.problem.loss, average)
        here = point.theta if moment.theta is None else moment.theta
        values: dict[str, Value] = {
            "ema_loss": float(loss),
            "ema_norm": float(accurate_norm(average)),
            "ema_distance": float(accurate_norm(average - here)),
        }
        if accuracy:
            values["ema_train_accuracy"] = float(accuracy[0])
        if self.problem.test is not None:
            evaluation = self.problem.test(average)
            values["ema_test_loss"] = evaluation.loss
            if evaluation.accuracy is not None:
                values["ema_test_accuracy"] = evaluation.accuracy
        return Reading(values)
