"""What a run that is shown is steered by: its controls at a step, and the thresholds that they make."""

from __future__ import annotations

import math

from eostui.runs.analysis.controls import controls_of
from eostui.runs.run import Run
from eostui.stability import (
    STABILITY,
    THRESHOLD,
    UNDECAYED,
    Control,
    Description,
    changed_to,
    in_force,
)


def controls_by_name(run: Run) -> dict[str, Control]:
    """Return the controls of a run's dynamics. Raises RunFormatError if its record is damaged."""
    return {control.name: control for control in controls_of(run)}


def controls_at(run: Run, step: float = math.inf) -> dict[str, float]:
    """Return the controls that move θ at a step, by name; those of now without a step."""
    start = {
        control.name: float(getattr(run.config, control.name, control.initial))
        for control in controls_of(run)
    }
    changes = (
        (event.step, changed_to(event.payload)) for event in run.events if event.kind == "control"
    )
    return in_force(start, changes, step)


def thresholds_now(run: Run) -> dict[str, float]:
    """Return up to which sharpness a run is stable, by label: without decay, and with it if there is any.

    With the controls of now; of dynamics that the program doesn't have, as of the newest step.
    """
    dynamics, controls = Description.of_facts(run.facts), controls_at(run)
    if stability := STABILITY.get(dynamics.name):
        levels = [stability.undecayed(controls), stability.threshold(controls)]
    else:
        levels = [float(run.steps[name][-1]) for name in (UNDECAYED, THRESHOLD)]
    labels = (dynamics.undecayed_label, dynamics.label)[: 2 if controls["weight_decay"] else 1]
    return dict(zip(labels, levels, strict=False))
