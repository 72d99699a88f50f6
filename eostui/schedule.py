"""Changes of η and λ that a preset makes by itself, each at its step."""

from __future__ import annotations

import sys
from collections.abc import Iterable
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

#: No η or λ is larger: a step in float32 couldn't be multiplied by it.
LARGEST = 3.4e38


class ControlChange(BaseModel):
    """η, λ or both from one step on: `step` is the first that they move.

    What isn't given stays as it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: Annotated[int, Field(ge=0, strict=True)]
    eta: Annotated[FiniteFloat, Field(gt=0, strict=True)] | None = None
    weight_decay: Annotated[FiniteFloat, Field(ge=0, strict=True)] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> ControlChange:
        if self.eta is None and self.weight_decay is None:
            raise ValueError(
                f"`controls` at step {self.step} changes nothing: give `eta`, `weight_decay` or both"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_gaps(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if value is not None}

    def values(self) -> dict[str, float]:
        """Return the new η and λ by name, those that are given."""
        return {
            name: value
            for name, value in dict(self).items()
            if name != "step" and value is not None
        }


def check_schedule(changes: Iterable[ControlChange], eta: float, weight_decay: float) -> None:
    """Raise ValueError unless the steps rise, η and λ stay up to LARGEST, and η × λ below 1.

    Args:
        changes: in their order.
        eta: η at the start.
        weight_decay: λ at the start.
    """
    before = -1
    _check_size("`eta`", eta)
    _check_size("`weight_decay`", weight_decay)
    for change in changes:
        for name, value in change.values().items():
            _check_size(f"`controls` at step {change.step}: `{name}`", value)
        if change.step <= before:
            raise ValueError(
                f"`controls` at step {change.step} comes after step {before}: their steps must rise"
            )
        before = change.step
        eta = eta if change.eta is None else change.eta
        weight_decay = weight_decay if change.weight_decay is None else change.weight_decay
        if eta * weight_decay >= 1:
            raise ValueError(
                f"`controls` at step {change.step}: `eta` × `weight_decay` is "
                f"{eta * weight_decay:g}, but must be below 1"
            )


def _check_size(name: str, value: float) -> None:
    if value > LARGEST:
        raise ValueError(f"{name} is {value:g}, but must be at most {LARGEST:g}")


def refuse_controls(eta: object, weight_decay: object) -> str | None:
    """Return why these η and λ can't be used, or None."""
    for name, value in (("η", eta), ("λ", weight_decay)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{name} must be a number"
        if not abs(value) <= sys.float_info.max:
            return f"{name} must be finite"
        if abs(value) > LARGEST:
            return f"{name} is {value:g}, but must be at most {LARGEST:g}"
    assert isinstance(eta, (int, float))
    assert isinstance(weight_decay, (int, float))
    if eta <= 0:
        return f"η is {eta:g}, but must be above 0"
    if weight_decay < 0:
        return f"λ is {weight_decay:g}, but must not be below 0"
    if eta * weight_decay >= 1:
        return f"ηλ is {eta * weight_decay:g}, but must be below 1"
    return None
