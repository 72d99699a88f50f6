"""Values of a setting over which a sweep goes, as people type them.

A list, with a comma between its items; each is a value, or a range:

    0.1,0.15,2/100         numbers, fractions too
    relu,tanh              words
    [16,16],[32,32]        lists, each one value
    0:0.03:20              20 numbers at equal distances, both ends among them
    1e-5:1e-2:9log         9 numbers at equal ratios; also 1e-5..1e-2:9log
    0..5                   whole numbers, both ends among them
    0,1e-5..1e-2:9log      a value before a range
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import numpy as np

from eostui.errors import InputError
from eostui.text import parse_number

#: Values that one list has at most: what is more than this was typed by mistake.
MOST_VALUES = 10_000

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?:/\d+\.?\d*)?"
_RANGE = re.compile(
    rf"(?P<low>{_NUMBER})\s*(?::|\.\.)\s*(?P<high>{_NUMBER})"
    r"(?:\s*:\s*(?P<count>[-+]?[\d.eE+]*?)\s*:?\s*(?P<scale>log|lin)?)?"
)
_WHOLE = re.compile(r"[-+]?\d+")
_PAIRS = {"[": "]", "{": "}"}


def parse_values(text: str, where: str, *, distinct_values: bool = True) -> list[Any]:
    """Return the values of a list, in its order.

    Args:
        text: as this module's head says.
        where: names the text in an error.
        distinct_values: whether none may be given twice.

    Raises:
        InputError: if a range is empty, reversed or no range, a value is given twice, or there is none.
    """
    values: list[Any] = []
    for item in _items(text, where):
        values += _values_of(item, where)
        if len(values) > MOST_VALUES:
            raise InputError(
                f"{where}: more than {MOST_VALUES} values, but must be at most so many"
            )
    return distinct(values, where) if distinct_values else values


def distinct(values: list[Any], where: str) -> list[Any]:
    """Return the values. Raises InputError if there is none, or one is given twice."""
    if not values:
        raise InputError(f"{where}: no value is given")
    found: list[str] = []
    for value in values:
        same = repr(float(value)) if _is_number(value) else repr(value)
        if same in found:
            raise InputError(f"{where}: {_shown(value)} is given twice")
        found.append(same)
    return values


def _items(text: str, where: str) -> Iterator[str]:
    """Yield what stands between commas that are in no bracket and no quotes."""
    item, closing, quote = "", [], ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _PAIRS:
            closing.append(_PAIRS[letter])
        elif closing and letter == closing[-1]:
            closing.pop()
        elif letter == "," and not closing:
            yield _item(item, text, where)
            item = ""
            continue
        item += letter
    if quote or closing:
        raise InputError(f"{where}: `{quote or closing[-1]}` is missing at the end of `{text}`")
    yield _item(item, text, where)


def _item(item: str, text: str, where: str) -> str:
    if not item.strip():
        what = "no value is given" if not text.strip() else f"`{text}` has an empty item"
        raise InputError(f"{where}: {what}")
    return item.strip()


def _values_of(item: str, where: str) -> list[Any]:
    if match := _RANGE.fullmatch(item):
        return _range(match, item, where)
    if re.fullmatch(rf"{_NUMBER}\s*(?::|\.\.).*|.*\d\.\.+\d.*", item) and ".py:" not in item:
        raise InputError(
            f"{where}: `{item}` is no range: write LOW:HIGH:COUNT, LOW:HIGH:COUNTlog, or FIRST..LAST "
            "of whole numbers"
        )
    try:
        return [tomllib.loads(f"value = {item}")["value"]]
    except tomllib.TOMLDecodeError:
        return [_number(item, item, where) if re.fullmatch(_NUMBER, item) else item]


def _range(match: re.Match[str], item: str, where: str) -> list[Any]:
    low, high = match["low"], match["high"]
    first, last = _number(low, item, where), _number(high, item, where)
    if last < first:
        raise InputError(f"{where}: `{item}` is reversed: write the lower end first")
    whole = bool(_WHOLE.fullmatch(low) and _WHOLE.fullmatch(high))
    if match["count"] is None and match["scale"] is None:
        if not whole or ":" in item:
            raise InputError(
                f"{where}: `{item}` has no count: write {low}:{high}:COUNT, or {low}:{high}:COUNTlog"
            )
        if last - first >= MOST_VALUES:
            raise InputError(
                f"{where}: `{item}` has {last - first + 1:.0f} values, but must have at most "
                f"{MOST_VALUES}"
            )
        return list(range(int(low), int(high) + 1))
    count = _count(match["count"] or "", item, where)
    if (count == 1 and first != last) or (count > 1 and first == last):
        raise InputError(
            f"{where}: `{item}` is empty: {count} value{'s' * (count > 1)} from {low} to {high}"
        )
    if match["scale"] == "log":
        if first <= 0:
            raise InputError(
                f"{where}: `{item}` is logarithmic and must begin above 0; 0 can stand before it: "
                f"0,LOW..{high}:{count}log"
            )
        return [_neat(value) for value in np.geomspace(first, last, count)]
    values = [_neat(value) for value in np.linspace(first, last, count)]
    if whole and all(value.is_integer() for value in values):
        return [int(value) for value in values]
    return values


def _number(text: str, item: str, where: str) -> float:
    try:
        return parse_number(text)
    except InputError as error:
        raise InputError(f"{where}: `{item}`: {error}") from None


def _count(text: str, item: str, where: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise InputError(f"{where}: `{item}`: its count must be a whole number, 1 or more")
    count = int(text)
    if count < 1:
        raise InputError(f"{where}: `{item}` is empty: its count is {count}, but must be 1 or more")
    if count > MOST_VALUES:
        raise InputError(
            f"{where}: `{item}` has {count} values, but must have at most {MOST_VALUES}"
        )
    return count


def _neat(value: float) -> float:
    """Return a number without the last digits' rounding: 0.001, not 0.0010000000000000002."""
    return float(f"{value:.12g}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
