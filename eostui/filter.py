"""What is typed to find runs and presets: words, and conditions on settings and readings.

Shelf, comparison and every list take the same: `digits weight_decay>1e-3 state:live -phase:diverged`.
All parts must hold. A plain word is looked for in names; `key:pattern` compares text, a comma gives
several, `*` stands for anything; `key<value` compares numbers, with =, !=, <, <=, >, >=; a `-` before a
part turns it round. A part with spaces in it is quoted.
"""

from __future__ import annotations

import contextlib
import fnmatch
import math
import operator
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eostui.errors import InputError, did_you_mean
from eostui.stability import CONTROLS
from eostui.text import parse_number

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip

#: What can be typed, as help and documentation say it.
GRAMMAR = (
    "Words and conditions that must all hold: a word is looked for in names, notes and presets; "
    "`key<0.01` compares numbers, with =, !=, <, <=, > or >=; `key:text` compares text, where * is "
    "anything and a comma gives several; - before a part turns it round; a part with spaces is quoted."
)
#: What of a run can be compared beside its settings, and what each is.
OF_RUNS = {
    "id": "the run's id",
    "name": "its name",
    "state": "running or paused (live is both), finished, stopped, diverged, failed, interrupted, or "
    "unreadable",
    "phase": "its newest phase, such as edge or lowered",
    "step": "its newest step",
    "late_sharpness": "the mean S over the last fifth of its steps",
    "age": "how long ago it was made, such as 90min, 12h, 30d",
    "ended": "how long ago it ended, such as 90min, 12h, 30d",
    "note": "its note",
    "group": "its group",
    "parent": "the id of the run that it was forked from",
    "parent_step": "the step at which it was forked",
}
_PART = re.compile(r"(-?)([^\W\d]\w*)(<=|>=|!=|<|>|=|:)(.*)", re.DOTALL)
#: What a control may be called beside its name.
_SYMBOLS = {control.symbol: name for name, control in CONTROLS.items()}


@dataclass(frozen=True)
class Condition:
    """One part of a filter.

    Attributes:
        text: as it was typed.
        holds: (names, fields) ↦ whether it does.
    """

    text: str
    holds: Callable[[str, Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Filter:
    """Conditions that must all hold; without any, everything passes."""

    conditions: tuple[Condition, ...] = ()

    def matches(self, names: Iterable[str], fields: Mapping[str, Any]) -> bool:
        """Return whether all conditions hold.

        Args:
            names: what plain words are looked for in.
            fields: settings and readings by name; what isn't there is equal to nothing.
        """
        text = "\n".join(names).casefold()
        return all(condition.holds(text, fields) for condition in self.conditions)


def parse_filter(
    text: str,
    keys: Collection[str],
    words: Mapping[str, Sequence[str]] | None = None,
    units: Mapping[str, Callable[[str], float]] | None = None,
) -> Filter:
    """Parse what was typed.

    Args:
        text: the parts, with spaces between them.
        keys: what can be compared.
        words: values of several keys that stand for others, by their word: `live` for running and
            paused.
        units: how the numbers of some keys are read, by key, where they have units: `age>30d`. They
            raise InputError, as everything here.

    Raises:
        InputError: if a key isn't one, or a value isn't what its comparison needs.
    """
    try:
        parts = shlex.split(text)
    except ValueError:
        raise InputError(f"filter {text}: a quote isn't closed") from None
    return Filter(tuple(_condition(part, keys, words or {}, units or {}) for part in parts))


def _condition(
    part: str,
    keys: Collection[str],
    words: Mapping[str, Sequence[str]],
    units: Mapping[str, Callable[[str], float]],
) -> Condition:
    found = _PART.fullmatch(part)
    if found is None:
        negated, word = (True, part[1:]) if part[0] == "-" and part[1:] else (False, part)
        pattern = word.casefold()
        return Condition(part, lambda names, _: (pattern in names) != negated)
    sign, key, comparison, wanted = found.groups()
    key = _SYMBOLS.get(key, key)
    if key not in keys:
        raise InputError(f"filter {part}: unknown key `{key}`{did_you_mean(key, keys)}")
    if not wanted:
        raise InputError(f"filter {part}: what `{key}` is compared with is missing")
    compare = (
        _ordered(part, comparison, wanted, units.get(key))
        if comparison in _ORDERS
        else _equal(comparison, [w for each in wanted.split(",") for w in words.get(each, (each,))])
    )
    turned = bool(sign)
    return Condition(part, lambda _, fields: compare(fields.get(key)) != turned)


def _ordered(
    part: str, comparison: str, wanted: str, unit: Callable[[str], float] | None
) -> Callable[[Any], bool]:
    """Return a comparison of numbers; what is no number is neither below nor above any."""
    bound = unit(wanted) if unit is not None else _number(wanted)
    if bound is None:
        raise InputError(
            f"filter {part}: `{wanted}` isn't a number; type one like 0.02, 1e-3 or 2/100"
        )
    compare = _ORDERS[comparison]
    return lambda value: _is_number(value) and compare(value, bound)


def _equal(comparison: str, wanted: Sequence[str]) -> Callable[[Any], bool]:
    """Return whether a value is one of those wanted, as a number or as text with `*`."""
    numbers = [number for each in wanted if (number := _number(each)) is not None]
    patterns = [each.casefold() for each in wanted]

    def equal(value: Any) -> bool:
        if _is_number(value):
            return any(math.isclose(value, number, rel_tol=1e-9) for number in numbers)
        if isinstance(value, list | tuple):
            return any(map(equal, value))
        text = "" if value is None else str(value).casefold()
        return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)

    return equal if comparison != "!=" else lambda value: not equal(value)


def _number(text: str) -> float | None:
    with contextlib.suppress(InputError):
        return parse_number(text)
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
