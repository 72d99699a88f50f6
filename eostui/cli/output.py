"""JSON on stdout, for programs."""

from __future__ import annotations

import json
from typing import Any


def print_json(value: Any) -> None:
    """Print a value as one line of JSON; NaN and infinities become null, which JSON lacks."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    # a terminal would obey some of what JSON may hold as it is
    print("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text))


def plain(value: Any) -> Any:
    """Return a value with NaN and infinities in it replaced by None."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value
