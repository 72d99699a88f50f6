"""The probe table: everything that is measured, each on its cadence, from one shared point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.curvature.sharpness import measure_drives, measure_sharpness
from eostui.curvature.state import ProbeState


@dataclass(frozen=True)
class Probe:
    """A measurement: its name, how often it is due, and what fills its columns."""

    name: str
    cadence: Callable[[RunConfig], int]
    measure: Callable[[Point, ProbeState], dict[str, float]]


def _measure_test(point: Point, state: ProbeState) -> dict[str, float]:
    """Loss and accuracy on held-out samples."""
    if state.problem.test is None:
        return {}
    evaluation = state.problem.test(point.theta.detach())
    values = {"test_loss": evaluation.loss}
    if evaluation.accuracy is not None:
        values["test_accuracy"] = evaluation.accuracy
    return values


#: In this order: a probe may use what those before it left in the state.
PROBES = (
    Probe("sharpness", lambda config: config.cadence, measure_sharpness),
    Probe("drives", lambda config: config.cadence, measure_drives),
    Probe("test", lambda config: config.test_cadence, _measure_test),
)


def due(config: RunConfig, step: int) -> list[Probe]:
    """Return the probes whose cadence falls on `step`."""
    return [probe for probe in PROBES if step % probe.cadence(config) == 0]
