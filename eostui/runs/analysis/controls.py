"""What a recorded run is steered by: its controls, their changes and values, the thresholds they make."""

from __future__ import annotations

import math

from eostui.errors import RunFormatError
from eostui.runs.run import Run
from eostui.stability import (
    GRADIENT_DESCENT,
    INTERVENTIONS,
    STABILITY,
    THRESHOLD,
    UNDECAYED,
    Control,
    Description,
    at_start,
    changed_to,
    in_force,
)


def description_of(run: Run) -> Description:
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
    return tuple(control for control in description_of(run).controls if control.name in run.steps)


def steered_by(run: Run) -> tuple[Control, ...]:
    """Return the controls of a run's dynamics, and after them interventions, where S is the Hessian's.

    Raises:
        RunFormatError: if what it states about its dynamics is damaged.
    """
    own = controls_of(run)
    return own if description_of(run).operator else (*own, *INTERVENTIONS)


def is_of_theory(dynamics: Description) -> bool:
    """Return whether the theory is derived for a dynamics: its assumptions, and the oscillator."""
    return STABILITY.get(dynamics.name) is GRADIENT_DESCENT


def not_of_theory(run: Run) -> str:
    """Return that the reduced oscillator isn't derived for a run's dynamics; "" where it is.

    Raises:
        RunFormatError: if what it states about its dynamics is damaged.
    """
    dynamics = description_of(run)
    if is_of_theory(dynamics):
        return ""
    derived = "the reduced oscillator is derived for gradient descent"
    return f"{derived}, and this run's dynamics is {dynamics.name}"


def control_changes(run: Run) -> dict[int, dict[str, float]]:
    """Return what its controls were set to, by step: the last of several changes at one step."""
    changes: dict[int, dict[str, float]] = {}
    for event in run.events:
        if event.kind == "control":
            changes.setdefault(event.step, {}).update(changed_to(event.payload))
    return dict(sorted(changes.items()))


def controls_at(run: Run, step: float = math.inf) -> dict[str, float]:
    """Return the controls that move θ at a step, by name; those of now without a step."""
    changes = (
        (event.step, changed_to(event.payload)) for event in run.events if event.kind == "control"
    )
    return in_force(at_start(steered_by(run), run.config), changes, step)


def coming_thresholds(run: Run) -> dict[str, float | None]:
    """Return up to which sharpness the next step will be stable, by column: UNDECAYED and THRESHOLD.

    None where no control was changed since the newest row, without a row, and of dynamics that the
    program doesn't have.
    """
    stability = STABILITY.get(description_of(run).name)
    controls = controls_at(run)
    if stability is None or run.last_step < 0 or controls == controls_at(run, run.last_step):
        return {UNDECAYED: None, THRESHOLD: None}
    return {
        UNDECAYED: float(stability.undecayed(controls)),
        THRESHOLD: float(stability.threshold(controls)),
    }


def thresholds_now(run: Run) -> dict[str, float]:
    """Return up to which sharpness a run is stable, by label: without decay, and with it if there is any.

    With the controls of now; of dynamics that the program doesn't have, as of the newest step.
    """
    dynamics, controls = description_of(run), controls_at(run)
    if stability := STABILITY.get(dynamics.name):
        levels = [stability.undecayed(controls), stability.threshold(controls)]
    else:
        levels = [float(run.steps[name][-1]) for name in (UNDECAYED, THRESHOLD)]
    labels = (dynamics.undecayed_label, dynamics.label)[: 2 if controls["weight_decay"] else 1]
    return dict(zip(labels, levels, strict=False))
