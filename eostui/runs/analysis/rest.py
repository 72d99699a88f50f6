"""Whether a run has come to rest: only then are its last readings resting values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from eostui.runs.analysis.phases import COLLAPSED, CONVERGED_PHASE, EDGE, LOWERED
from eostui.runs.analysis.run_phases import Span
from eostui.runs.series import FloatArray, Series
from eostui.stability import THRESHOLD, Control

#: Phases in which a run can rest.
PHASES_OF_REST = (EDGE, LOWERED, COLLAPSED, CONVERGED_PHASE)
#: Between the halves of the last fifth S may move by this share of the threshold.
DRIFT = 0.03
#: Readings of S that the last fifth must have at least.
LEAST_READINGS = 4


def not_at_rest(
    phases: Sequence[Span], steps: Series, measured: Series, controls: Iterable[Control]
) -> str:
    """Return why a run isn't at rest over the last fifth of its steps; "" if it is.

    Args:
        phases: of the run, in turn.
        steps: its columns of every step.
        measured: its measured columns.
        controls: of its dynamics.
    """
    if not len(steps) or not phases:
        return "it has no steps yet"
    first = len(steps) * 4 // 5
    last = phases[-1]
    if last.phase not in PHASES_OF_REST:
        return f"its phase is {last.phase.name}"
    if last.first > first:
        before = phases[-2].phase.name if len(phases) > 1 else "nothing"
        return f"it went from {before} to {last.phase.name} at step {last.first}, in its last fifth"
    for control in controls:
        changed = np.flatnonzero(np.diff(steps[control.name][first:]))
        if len(changed):
            step = first + int(changed[-1]) + 1
            return f"{control.symbol} was changed at step {step}, in its last fifth"
    late = measured["step"] >= first
    sharpness = measured["sharpness"][late]
    sharpness = sharpness[np.isfinite(sharpness)]
    if len(sharpness) < LEAST_READINGS:
        return (
            f"S was measured {len(sharpness)} times in its last fifth, fewer than {LEAST_READINGS}"
        )
    older, newer = _halves(sharpness)
    if abs(newer - older) > DRIFT * float(steps[THRESHOLD][-1]):
        return f"S goes from {older:.4g} to {newer:.4g} between the halves of its last fifth"
    return ""


def _halves(sharpness: FloatArray) -> tuple[float, float]:
    """Return the mean of S in both halves; each of an even number, as S alternates on the bounce."""
    half = len(sharpness) // 4 * 2
    return float(sharpness[:half].mean()), float(sharpness[-half:].mean())
