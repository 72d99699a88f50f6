"""What a recorded run was steered by: its controls, and their changes on the way."""

from __future__ import annotations

from eostui.errors import RunFormatError
from eostui.runs.run import Run
from eostui.stability import Control, Description, changed_to


def dynamics_of(run: Run) -> Description:
    """Return what a run states about its dynamics.

    Raises:
        RunFormatError: if that is damaged.
    """
    try:
        return Description.of_facts(run.facts)
    except ValueError as error:
        raise RunFormatError(f"{run.path}: {error}") from None


def controls_of(run: Run) -> tuple[Control, ...]:
    """Return the controls of a run's dynamics, each a column of its steps.

    Raises:
        RunFormatError: if what it states about its dynamics is damaged.
    """
    return tuple(control for control in dynamics_of(run).controls if control.name in run.steps)


def control_changes(run: Run) -> dict[int, dict[str, float]]:
    """Return what its controls were set to, by step: the last of several changes at one step."""
    changes: dict[int, dict[str, float]] = {}
    for event in run.events:
        if event.kind == "control":
            changes.setdefault(event.step, {}).update(changed_to(event.payload))
    return dict(sorted(changes.items()))
