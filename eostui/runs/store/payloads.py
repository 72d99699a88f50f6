"""What events tell beside their kind: made safe to show, and of the shape that readers count on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

from pydantic import Field, FiniteFloat, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from eostui.errors import printable

#: What JSON says as an integer, of any size.
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _Calibrated(TypedDict):
    number: Whole
    step: Whole
    eta: Annotated[FiniteFloat, Field(gt=0)]
    weight_decay: FiniteFloat
    alpha: FiniteFloat
    beta: FiniteFloat
    beta_alpha: FiniteFloat
    g: FiniteFloat
    g_x: FiniteFloat
    gradient_u: FiniteFloat
    sharpness: FiniteFloat
    quartic: NotRequired[FiniteFloat]  # which came later: older runs haven't it


class _Reseated(TypedDict):
    step: Whole
    x: FiniteFloat
    q: FiniteFloat


class _Reason(TypedDict):
    reason: str


class _Phase(TypedDict):
    to: str


class _Noted(TypedDict):
    probe: str
    kind: str
    told: dict[str, Any]


class _TurnedOff(TypedDict):
    probe: str
    reason: str


class _StopAt(TypedDict):
    at: NotRequired[str]
    value: NotRequired[FiniteFloat | str]
    after: NotRequired[Whole]
    reached: NotRequired[Whole]
    any: NotRequired[list[_StopAt]]


_ControlName = Annotated[str, StringConstraints(pattern=r"^[^\W\d]\w*$")]
#: A control before and after.
_Change = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]


class _Scheduled(TypedDict):
    at_accuracy: NotRequired[FiniteFloat]
    warm_up: NotRequired[dict[_ControlName, _Change]]
    steps: NotRequired[Whole]


#: What an event of a kind has; others may come with it. A change of controls has their names.
_PAYLOADS: dict[str, TypeAdapter[Any]] = {
    "calibrated": TypeAdapter(_Calibrated),
    "reseated": TypeAdapter(_Reseated),
    "refused": TypeAdapter(_Reason),
    "unmapped": TypeAdapter(_Reason),
    "uncaptured": TypeAdapter(_Reason),
    "phase": TypeAdapter(_Phase),
    "noted": TypeAdapter(_Noted),
    "turned_off": TypeAdapter(_TurnedOff),
    "stop_at": TypeAdapter(_StopAt),
    "scheduled": TypeAdapter(_Scheduled),
    "control": TypeAdapter(dict[_ControlName, _Change]),
}


def safe(value: Any) -> Any:
    """Return a value of JSON, all texts in it `printable`. Raises RecursionError if it is too deep."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): safe(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [safe(entry) for entry in value]
    return value


def check_payload(kind: str, payload: Mapping[str, Any]) -> None:
    """Raise ValueError if an event of this kind tells something else than readers count on."""
    try:
        if kind in _PAYLOADS:
            _PAYLOADS[kind].validate_python(payload, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # "Input should be …", without its subject
        raise ValueError(f"`{first['loc'][0]}` {first['msg'].partition(' ')[2]}") from None
