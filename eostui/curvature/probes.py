"""The probe table: everything that is measured, each on its cadence, from one shared point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eostui.curvature.point import Point
from eostui.curvature.sharpness import measure_drives, measure_sharpness, measure_smallest
from eostui.curvature.state import ProbeState

#: Below this share of 2/η − λ, S is far from the edge.
NEAR = 0.75


@dataclass(frozen=True)
class Probe:
    """A measurement: its name, when it is due, and what fills its columns."""

    name: str
    due: Callable[[ProbeState], bool]
    measure: Callable[[Point, ProbeState], dict[str, float]]


def _curvature_due(state: ProbeState) -> bool:
    """Whether curvature is measured at this step: every `cadence` steps, or as the state asks for.

    With `far_cadence`, S far below the edge is looked at more rarely; a change of η or λ is looked at
    at once, and closely from there on for as long as one such stretch.
    """
    cadence, far = state.config.cadence, state.config.far_cadence
    if not far:
        return state.step % cadence == 0
    if state.step == state.changed_at:
        return True
    if state.step % cadence:
        return False
    threshold = 2 / state.eta - state.weight_decay
    near = state.sharpness is None or state.sharpness >= NEAR * threshold
    return near or state.step % far == 0 or state.step - state.changed_at <= far


def _measure_test(point: Point, state: ProbeState) -> dict[str, float]:
    """Loss and accuracy on held-out samples."""
    if state.problem.test is None:
        return {}
    evaluation = state.problem.test(point.theta)
    values = {"test_loss": evaluation.loss}
    if evaluation.accuracy is not None:
        values["test_accuracy"] = evaluation.accuracy
    return values


#: In this order: a probe may use what those before it left in the state.
PROBES = (
    Probe("sharpness", _curvature_due, measure_sharpness),
    Probe("smallest_eigenvalue", _curvature_due, measure_smallest),
    Probe("drives", _curvature_due, measure_drives),
    Probe("held_out", lambda state: state.step % state.config.test_cadence == 0, _measure_test),
)


def due(state: ProbeState) -> list[Probe]:
    """Return the probes that are due at the step of `state`."""
    return [probe for probe in PROBES if probe.due(state)]
