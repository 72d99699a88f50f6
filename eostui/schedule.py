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

from eostui.stability import refuse


class ControlChange(BaseModel):
    """New values of controls from one step on: `step` is the first that they move.

    What isn't given stays as it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: Annotated[int, Field(ge=0, strict=True)]
    eta: Annotated[FiniteFloat, Field(gt=0, strict=True)] | None = None
    weight_decay: Annotated[FiniteFloat, Field(ge=0, strict=True)] | None = None
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1, strict=True)] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> ControlChange:
        if not self.values():
            raise ValueError(
                f"`controls` at step {self.step} changes nothing: give `eta`, `weight_decay` or both"
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


def check_schedule(start: Mapping[str, float], changes: Iterable[ControlChange]) -> None:
    """Raise ValueError unless the steps rise, and the controls may be what they are after each.

    Args:
        start: the controls at the start, by name: all that there are.
        changes: in their order.
    """
    if refusal := refuse(start, by_name=True):
        raise ValueError(refusal)
    before, controls = -1, dict(start)
    for change in changes:
        where = f"`controls` at step {change.step}"
        if change.step <= before:
            raise ValueError(f"{where} comes after step {before}: their steps must rise")
        before = change.step
        for name in change.values():
            if name not in controls:
                raise ValueError(
                    f"{where} changes `{name}`, but the dynamics has only "
                    f"{', '.join(f'`{control}`' for control in controls)}"
                )
        controls |= change.values()
        if refusal := refuse(controls, by_name=True):
            raise ValueError(f"{where}: {refusal}")
