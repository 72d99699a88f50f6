"""What events tell beside their kind: made safe to show, and of the shape that readers count on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from eostui.errors import printable

#: Numbers and texts that an event of a kind has; others may come with them.
_NUMBERS = {
    "calibrated": (
        "number", "step", "eta", "weight_decay", "alpha", "beta", "beta_alpha", "g", "g_x",
        "gradient_u", "sharpness",
    ),
    "reseated": ("step", "x", "q"),
}  # fmt: skip
#: Numbers that came later: older runs haven't them.
_MAYBE = {"calibrated": ("quartic",)}
_WHOLE = ("number", "step")
_TEXTS = {"refused": ("reason",), "unmapped": ("reason",), "phase": ("to",)}


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
    for name in _NUMBERS.get(kind, ()):
        value = payload.get(name)
        if not _is_number(value) or (name in _WHOLE and not isinstance(value, int)):
            raise ValueError(f"`{name}` is no number")
    for name in _MAYBE.get(kind, ()):
        if not _is_number(payload.get(name, 0.0)):
            raise ValueError(f"`{name}` is no number")
    if kind == "calibrated" and not payload["eta"] > 0:
        raise ValueError("`eta` isn't above 0")
    for name in _TEXTS.get(kind, ()):
        if not isinstance(payload.get(name), str):
            raise ValueError(f"`{name}` is no text")
    if kind == "control":
        for name, change in payload.items():
            if not (
                name.isidentifier()
                and isinstance(change, list)
                and len(change) == 2
                and all(map(_is_number, change))
            ):
                raise ValueError(f"`{name}` is no change of a control")


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max  # an integer of JSON may be larger
