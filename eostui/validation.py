"""What pydantic refuses, as the one sentence that a person gets: key, value, what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast

from pydantic_core import ErrorDetails

from eostui.errors import did_you_mean

#: Words of pydantic's messages, and those of the file that a person wrote.
_WORDS = {
    "a valid integer": "a whole number",
    "a valid tuple": "a list",
    "a valid list": "a list",
    "a valid dictionary": "a table, {key = value}",
    "'": '"',
}
#: What an entry of a list of tables is called.
_ENTRIES = {"controls": "change", "forks": "schedule"}


def sentence(
    errors: list[ErrorDetails], keys: Iterable[str], keys_of_changes: Iterable[str] = ()
) -> str:
    """Turn the first of pydantic's errors into a sentence: key, value, what would be right.

    Args:
        errors: at least one.
        keys: that there are, for the nearest one.
        keys_of_changes: those of an entry of `controls`.
    """
    error = errors[0]
    if not error["loc"] or error["msg"].startswith("Value error"):
        return str(error["ctx"]["error"]) if "ctx" in error else error["msg"]
    key, *place = (str(part) for part in error["loc"])
    if key in _ENTRIES and len(place) > 1:  # the number of the entry, then its own key
        same = [e for e in errors if e["loc"][:2] == error["loc"][:2]]
        inner = [cast("ErrorDetails", {**e, "loc": e["loc"][2:]}) for e in same]
        return f"{_ENTRIES[key]} {int(place[0]) + 1} of `{key}`: {sentence(inner, keys_of_changes)}"
    if error["type"] == "missing":
        return f"`{key}` is missing"
    if error["type"] == "extra_forbidden":
        return f"unknown key `{key}`{did_you_mean(key, keys)}"
    value = error["input"]
    shown = f'"{value}"' if isinstance(value, str) else value
    # a union reports one error for each of its branches, under the same key
    wanted = [_requirement(e) for e in errors if e["loc"][:1] == error["loc"][:1]]
    told = f"`{key}` is {shown}, but must be {' or '.join(dict.fromkeys(wanted))}"
    expected = error.get("ctx", {}).get("expected")
    if isinstance(value, str) and isinstance(expected, str):
        told += did_you_mean(value, expected.replace("'", "").replace(" or ", ", ").split(", "))
    return told


def _requirement(error: ErrorDetails) -> str:
    message = error["msg"]
    for opening in ("Input should be ", "Input should "):
        message = message.removeprefix(opening)
    message = re.sub(r", unable to parse.*", "", message)
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return message
