"""The controls of a run that is shown: which it has, and where they are at a step."""

from __future__ import annotations

import math

from eostui.runs.run import Run
from eostui.stability import GRADIENT_DESCENT, STABILITY, Stability, changed_to, in_force


def stability_of(run: Run) -> Stability:
    """Return what the dynamics of a run is steered by, and its threshold."""
    return STABILITY.get(run.config.dynamics, GRADIENT_DESCENT)


def controls_of(run: Run, step: float = math.inf) -> dict[str, float]:
    """Return the controls that move θ at a step, by name; those of now without a step."""
    start = {
        control.name: float(getattr(run.config, control.name))
        for control in stability_of(run).controls
    }
    changes = (
        (event.step, changed_to(event.payload)) for event in run.events if event.kind == "control"
    )
    return in_force(start, changes, step)
