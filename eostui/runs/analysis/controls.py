"""What a recorded run was steered by: its controls, and their changes on the way."""

from __future__ import annotations

from eostui.errors import RunFormatError
from eostui.runs.run import Run
from eostui.stability import Control, Description, changed_to


def controls_of(run: Run) -> tuple[Control, ...]:
    """Return the controls of a run's dynamics that are columns of its steps.

    Raises:
        RunFormatError: if its record is damaged.
    """
    try:
        controls = Description.of_facts(run.facts).controls
    except ValueError as error:
        raise RunFormatError(f"{run.path}: {error}") from None
    return tuple(control for control in controls if control.name in run.steps)


def control_changes(run: Run) -> dict[int, dict[str, float]]:
    """Return what its controls were set to, by step: the last of several changes at one step."""
    changes: dict[int, dict[str, float]] = {}
    for event in run.events:
        if event.kind == "control":
            changes.setdefault(event.step, {}).update(changed_to(event.payload))
    return dict(sorted(changes.items()))
