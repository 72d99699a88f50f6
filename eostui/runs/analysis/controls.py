"""What a recorded run was steered by: its controls, and their changes on the way."""

from __future__ import annotations

from eostui.runs.run import Run
from eostui.stability import CONTROLS, Control, changed_to


def controls_of(run: Run) -> tuple[Control, ...]:
    """Return the controls of a run's dynamics, each a column of its steps."""
    return tuple(control for name, control in CONTROLS.items() if name in run.steps)


def control_changes(run: Run) -> dict[int, dict[str, float]]:
    """Return what its controls were set to, by step: the last of several changes at one step."""
    changes: dict[int, dict[str, float]] = {}
    for event in run.events:
        if event.kind == "control":
            changes.setdefault(event.step, {}).update(changed_to(event.payload))
    return dict(sorted(changes.items()))
