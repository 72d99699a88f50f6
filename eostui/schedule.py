"""Changes of controls that a preset makes by itself: at a step, an epoch or an accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from eostui.errors import did_you_mean
from eostui.stability import CONTROLS, ETA, INTERVENTIONS, Control, refuse

#: The event in which a run records that a change began which isn't over with its step, or that came by
#: itself: `at_accuracy` of the change, `warm_up` ([from, to] by name) with its `steps`.
SCHEDULED = "scheduled"


@dataclass(frozen=True)
class Ramp:
    """A control on its way to another value, in even steps: the last of them is taken with that.

    Attributes:
        first: the first step.
        start: the value that it comes from, which none of its steps has.
        end: the value of the last one.
        steps: how many.
    """

    first: int
    start: float
    end: float
    steps: int

    @property
    def last(self) -> int:
        """The step that is the first to have the value of the end."""
        return self.first + self.steps - 1

    def at(self, step: int) -> float:
        """Return the value with which a step is taken, from the first one on."""
        taken = step - self.first + 1
        if taken >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * taken / self.steps

    def ended_by(self, step: int, change: Sequence[float]) -> bool:
        """Return whether a change on record, [before, after], isn't one of its own steps.

        Its steps change the control to their value: what leaves it as it was holds it there.
        """
        before, after = change
        return before == after or after != self.at(step)


def still_on_way(
    ramps: Mapping[str, Ramp], step: int, changes: Mapping[str, Sequence[float]]
) -> dict[str, Ramp]:
    """Return the ramps that a `control` event of a step didn't end: its changes are [before, after], by
    name."""
    return {
        name: ramp
        for name, ramp in ramps.items()
        if name not in changes or not ramp.ended_by(step, changes[name])
    }


def begun(step: int, told: Mapping[str, Any]) -> dict[str, Ramp]:
    """Return the ramps that begin with a SCHEDULED event of a step, by name."""
    return {
        name: Ramp(step, start, end, told["steps"])
        for name, (start, end) in told.get("warm_up", {}).items()
    }


class ControlChange(BaseModel):
    """New values of controls from one step on, which is the first that they move.

    It is given as `step`, as `epoch` (of the full batch, which is a step), or as the accuracy on the
    training samples, a share: after the first step at which that is reached. What isn't given stays as it
    was. Controls of your own dynamics come by their names beside these.

    Attributes:
        eta_factor: what η is multiplied by, whatever it is then: 0.2 cuts it to a fifth.
        warm_up: steps over which the controls go to their new values.
        warm_up_from: where they come from, by name; from where they are if left out.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Annotated[FiniteFloat, Field(strict=True)]]

    step: Annotated[int, Field(ge=0, strict=True)] | None = None
    epoch: Annotated[int, Field(ge=0, strict=True)] | None = None
    at_accuracy: Annotated[FiniteFloat, Field(gt=0, le=1, strict=True)] | None = None
    eta: Annotated[FiniteFloat, Field(gt=0, strict=True)] | None = None
    weight_decay: Annotated[FiniteFloat, Field(ge=0, strict=True)] | None = None
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1, strict=True)] | None = None
    sharp_step: Annotated[FiniteFloat, Field(ge=0, strict=True)] | None = None
    other_step: Annotated[FiniteFloat, Field(ge=0, strict=True)] | None = None
    sharp_above: Annotated[FiniteFloat, Field(ge=0, strict=True)] | None = None
    eta_factor: Annotated[FiniteFloat, Field(gt=0, strict=True)] | None = None
    beta1: Annotated[FiniteFloat, Field(ge=0, lt=1, strict=True)] | None = None
    warm_up: Annotated[int, Field(ge=1, strict=True)] | None = None
    warm_up_from: dict[str, Annotated[FiniteFloat, Field(ge=0, strict=True)]] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> ControlChange:
        given = [name for name in _WHEN if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "it must be at one of `step`, `epoch` and `at_accuracy`, but "
                + (
                    f"{' and '.join(f'`{name}`' for name in given)} are given"
                    if given
                    else "none is"
                )
            )
        if self.eta is not None and self.eta_factor is not None:
            raise ValueError(f"{self.where} has `eta` and `eta_factor`: give one of them")
        if not self.changed:
            raise ValueError(
                f"{self.where} changes nothing: give "
                f"{', '.join(f'`{name}`' for name in (*CONTROLS, 'eta_factor'))} or several"
            )
        if self.warm_up_from is not None and self.warm_up is None:
            raise ValueError(
                f"{self.where} has `warm_up_from`, but no `warm_up`: over how many steps?"
            )
        for name in self.warm_up_from or {}:
            if name not in self.changed:
                near = did_you_mean(name, self.changed)
                raise ValueError(
                    f"`warm_up_from` of {self.where} has `{name}`, which it doesn't change{near}"
                )
        return self

    @model_serializer(mode="wrap")
    def _without_gaps(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if value is not None}

    def values(self) -> dict[str, float]:
        """Return the new values by name, those that are given."""
        return {
            name: value
            for name, value in dict(self).items()
            if name not in _NOT_CONTROLS and value is not None
        }

    def values_after(self, now: Mapping[str, float]) -> dict[str, float]:
        """Return all new values by name, also what the controls in force before make of `eta_factor`."""
        cut = {} if self.eta_factor is None else {ETA.name: now[ETA.name] * self.eta_factor}
        return {**self.values(), **cut}

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the controls that it changes."""
        return tuple(self.values_after({ETA.name: math.nan}))

    @property
    def at(self) -> int | None:
        """The first step that it moves, None where an accuracy says so. An epoch is a step here: each
        step sees all samples."""
        return self.step if self.step is not None else self.epoch

    @property
    def where(self) -> str:
        """How a sentence calls it."""
        if self.at_accuracy is not None:
            return f"`controls` at accuracy {100 * self.at_accuracy:g} %"
        return f"`controls` at {'step' if self.epoch is None else 'epoch'} {self.at}"

    def ramps(self, step: int, now: Mapping[str, float]) -> dict[str, Ramp]:
        """Return how its controls go to their values from a step on, {} where they are there at once.

        Args:
            step: the first that it moves.
            now: the controls in force before.
        """
        if self.warm_up is None:
            return {}
        start = {**now, **(self.warm_up_from or {})}
        values = self.values_after(now).items()
        return {name: Ramp(step, start[name], end, self.warm_up) for name, end in values}


#: Keys of a change that are no controls.
_WHEN = ("step", "epoch", "at_accuracy")
_NOT_CONTROLS = (*_WHEN, "eta_factor", "warm_up", "warm_up_from")
#: Controls that any dynamics has.
_OF_ANY = {control.name for control in INTERVENTIONS}


def check_schedule(
    start: Mapping[str, float],
    changes: Iterable[ControlChange],
    known: Mapping[str, Control] = CONTROLS,
    *,
    complete: bool = True,
) -> None:
    """Raise ValueError unless steps and accuracies rise, and the controls may be what each makes them.

    Args:
        start: the controls at the start, by name.
        changes: in their order.
        known: what there is to know of the controls.
        complete: whether the dynamics has no controls but those of `start`; else others aren't looked at.
    """
    if refusal := refuse(start, known, by_name=True):
        raise ValueError(refusal)
    before, reached, controls = -1, 0.0, dict(start)
    for number, change in enumerate(changes, 1):
        where = change.where
        if change.at is not None and change.at <= before:
            raise ValueError(f"{where} comes after step {before}: their steps must rise")
        if change.at_accuracy is not None and change.at_accuracy <= reached:
            raise ValueError(f"{where} comes after {100 * reached:g} %: their accuracies must rise")
        before = before if change.at is None else change.at
        reached = change.at_accuracy or reached
        others = [name for name in change.changed if name not in start]
        for name in others if complete else ():
            if name not in CONTROLS:
                near = did_you_mean(name, [*_NOT_CONTROLS, *start])
                raise ValueError(f"change {number} of `controls`: unknown key `{name}`{near}")
            its_own = (control for control in start if control not in _OF_ANY)
            has = ", ".join(f"`{control}`" for control in its_own)
            raise ValueError(f"{where} changes `{name}`, but the dynamics has only {has}")
        changed = {
            name: value for name, value in change.values_after(controls).items() if name in start
        }
        if change.at is not None:
            controls |= changed
        # what comes by an accuracy may come at any time: by itself it must be right
        new = controls if change.at is not None else {**start, **changed}
        if refusal := refuse(new, known, by_name=True):
            raise ValueError(f"{where}: {refusal}")
