"""Changes of controls that a preset makes by itself, each at its step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from eostui.stability import CONTROLS, Control, refuse


class ControlChange(BaseModel):
    """New values of controls from one step on: `step` is the first that they move.

    What isn't given stays as it was. Controls of your own dynamics come by their names beside these.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Annotated[FiniteFloat, Field(strict=True)]]

    step: Annotated[int, Field(ge=0, strict=True)]
    eta: Annotated[FiniteFloat, Field(gt=0, strict=True)] | None = None
    weight_decay: Annotated[FiniteFloat, Field(ge=0, strict=True)] | None = None
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1, strict=True)] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> ControlChange:
        if not self.values():
            raise ValueError(
                f"`controls` at step {self.step} changes nothing: give "
                f"{', '.join(f'`{name}`' for name in CONTROLS)} or several"
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
            if name != "step" and value is not None
        }


def check_schedule(
    start: Mapping[str, float],
    changes: Iterable[ControlChange],
    known: Mapping[str, Control] = CONTROLS,
    *,
    complete: bool = True,
) -> None:
    """Raise ValueError unless the steps rise, and the controls may be what they are after each.

    Args:
        start: the controls at the start, by name.
        changes: in their order.
        known: what there is to know of the controls.
        complete: whether the dynamics has no controls but those of `start`; else others aren't looked at.
    """
    if refusal := refuse(start, known, by_name=True):
        raise ValueError(refusal)
    before, controls = -1, dict(start)
    for number, change in enumerate(changes, 1):
        where = f"`controls` at step {change.step}"
        if change.step <= before:
            raise ValueError(f"{where} comes after step {before}: their steps must rise")
        before = change.step
        others = [name for name in change.values() if name not in start]
        for name in others if complete else ():
            if name not in CONTROLS:
                near = did_you_mean(name, ["step", *start])
                raise ValueError(f"change {number} of `controls`: unknown key `{name}`{near}")
            has = ", ".join(f"`{control}`" for control in start)
            raise ValueError(f"{where} changes `{name}`, but the dynamics has only {has}")
        controls |= {name: value for name, value in change.values().items() if name in start}
        if refusal := refuse(controls, known, by_name=True):
            raise ValueError(f"{where}: {refusal}")
