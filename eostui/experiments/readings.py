"""Readings: from the rows of a summary to one number, with its error and what it is of.

Each is a function of rows and of the arguments that an experiment's file gives it. Members that lack
what is read are left out, and named; where too few are left, `NotReadError` says why. Repetitions over
seeds are read seed by seed, and give the standard error of their mean.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from eostui.errors import InputError, did_you_mean
from eostui.runs.family import is_number, symbol_of, told
from eostui.sweeps.knee import KNEE, TOO_FEW
from eostui.sweeps.transition import ENDED, SEED, transitions

Row = Mapping[str, Any]
End = Literal["smallest", "largest"]

#: State of a member that was stopped before what was asked of it: no reading counts it.
UNFINISHED = "unfinished"
#: Arguments of readings that name a column.
COLUMN_ARGUMENTS = ("column", "to", "known", "never")
#: Arguments that name a setting or a column.
OVER = "over"


class NotReadError(Exception):
    """The members that are there don't give this reading; the sentence says why.

    Attributes:
        left_out: a line for each member that has no value.
    """

    def __init__(self, sentence: str, left_out: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.left_out = tuple(left_out)


@dataclass(frozen=True)
class Rows:
    """Members of a sweep as a reading gets them.

    Attributes:
        rows: one for each member that counts, as a summary has them, or with columns of the experiment's.
        settings: the settings that differ over the sweep.
    """

    rows: tuple[Row, ...]
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Value:
    """What a reading came to.

    Attributes:
        value: the number.
        error: its standard error over seeds; NaN where a single seed was read.
        seeds: how many seeds it is of.
        members: of how many members.
        left_out: a line for each member that has no value here, with the reason.
    """

    value: float
    error: float
    seeds: int
    members: int
    left_out: tuple[str, ...] = ()


def change(rows: Rows, *, column: str, over: str, never: str = "") -> Value:
    """Return by which share a column differs between the largest and the smallest of a setting.

    −0.2 is a fall by a fifth of the value at the smallest. No member replaces one at an end that has no
    value; but what diverged is no end: members get as far as the next one.

    Args:
        rows: the members.
        column: what is read.
        over: a setting or a column.
        never: the column that stands in where `column` is empty, for an event that never came.
    """
    return _by_seed(rows, column, over, never, _change, both_ends=True)


def order(rows: Rows, *, column: str, over: str, never: str = "") -> Value:
    """Return Kendall's τ of a column and a setting: 1 where it rises throughout, −1 where it falls.

    Pairs that tie in either count as neither. Arguments as of `change`.
    """
    return _by_seed(rows, column, over, never, _kendall)


def least_change(rows: Rows, *, column: str, over: str, never: str = "") -> Value:
    """Return the least `change` among groups of members that differ in other settings."""
    return _extreme_group(_by_group(rows, column, over, never, _change, both_ends=True), min)


def least_order(rows: Rows, *, column: str, over: str, never: str = "") -> Value:
    """Return the least `order` among groups of members that differ in other settings."""
    return _extreme_group(_by_group(rows, column, over, never, _kendall), min)


def greatest_order(rows: Rows, *, column: str, over: str, never: str = "") -> Value:
    """Return the greatest `order` among groups of members that differ in other settings."""
    return _extreme_group(_by_group(rows, column, over, never, _kendall), max)


def mean_order(rows: Rows, *, column: str, over: str, never: str = "") -> Value:
    """Return the mean `order` over groups of members that differ in other settings, each for as much.

    Its standard error is that over the seeds that every group has; NaN where that is a single one.
    """
    groups = [_of_seeds(group, column, over, never, _kendall) for group in _groups(rows, over)]
    if not groups:
        raise NotReadError("no member can be read")
    seeds = [seed for seed in groups[0].values if all(seed in each.values for each in groups)]
    left_out = tuple(line for each in groups for line in each.left_out)
    if not seeds:
        raise NotReadError("no seed can be read in every group", left_out)
    values = np.array([[each.values[seed] for seed in seeds] for each in groups]).mean(axis=0)
    members = sum(each.members for each in groups)
    return Value(float(values.mean()), _error(values), len(seeds), members, left_out)


def order_over_seeds(rows: Rows, *, column: str, over: str) -> Value:
    """Return Kendall's τ of two columns over the seeds of members that agree in all settings else.

    Its mean over groups of such members, with the standard error over the groups.
    """
    found, left_out = _values(rows, column)
    found = [each for each in found if math.isfinite(_number(each[0], over))]
    groups: dict[tuple[str, ...], _Found] = {}
    others = [key for key in rows.settings if key != SEED]
    for each in found:
        groups.setdefault(tuple(repr(each[0][key]) for key in others), []).append(each)
    whole = [group for group in groups.values() if len(group) > 2]
    if not whole:
        raise NotReadError(
            f"it takes three seeds in one place, {len(found)} members can be read", left_out
        )
    values = np.array([_kendall(group, over) for group in whole])
    every = [each for group in whole for each in group]
    return Value(float(values.mean()), _error(values), _seeds(every), len(every), tuple(left_out))


def peak_over_end(rows: Rows, *, column: str, over: str, at: End) -> Value:
    """Return by how much a column at its best value of a setting exceeds what it is at one end.

    The best value is the one with the largest mean over seeds; for each seed that of the other seeds, so
    that what chose it doesn't count again. 0 where it is the end itself. The ends are those of the
    members that can be read.
    """
    found, left_out = _values(rows, column)
    found = [each for each in found if math.isfinite(_number(each[0], over))]
    _refuse_others(rows, [row for row, _ in found], (over,))
    seeds: dict[str, dict[float, float]] = {}
    for row, value in found:
        seeds.setdefault(repr(row.get(SEED)), {})[_number(row, over)] = value
    places = sorted(set.intersection(*map(set, seeds.values()))) if seeds else []
    if len(places) < 2:
        raise NotReadError(
            f"it takes two values of {symbol_of(over)} that each seed has, {len(places)} can be read",
            left_out,
        )
    curves = np.array([[curve[place] for place in places] for curve in seeds.values()])
    chooses = curves if len(curves) == 1 else curves.sum(axis=0) - curves
    best = chooses.argmax(axis=1)
    end = 0 if at == "smallest" else -1
    values = curves[np.arange(len(curves)), best] - curves[:, end]
    return Value(float(values.mean()), _error(values), len(curves), curves.size, tuple(left_out))


def mean(rows: Rows, *, column: str) -> Value:
    """Return the mean of a column over seeds."""
    found, left_out = _values(rows, column)
    _refuse_others(rows, [row for row, _ in found], ())
    return _mean(found, left_out)


def mean_at(rows: Rows, *, column: str, over: str, at: End) -> Value:
    """Return `mean` at the smallest or the largest value of a setting, which no other one replaces."""
    found, left_out = _values(_at_end(rows, over, at), column)
    _refuse_others(rows, [row for row, _ in found], (over,))
    return _mean(found, left_out)


def ratio_at(rows: Rows, *, column: str, to: str, over: str, at: End) -> Value:
    """Return a column over another at the smallest or the largest value of a setting, over seeds.

    A member there that has no value isn't replaced by the next one.
    """
    found, left_out = _values(_at_end(rows, over, at), column, to)
    _refuse_others(rows, [row for row, _ in found], (over,))
    return _mean(found, left_out)


def least_ratio(rows: Rows, *, column: str, to: str) -> Value:
    """Return the least ratio of two columns over all members."""
    return _extreme(*_values(rows, column, to), min)


def greatest_ratio(rows: Rows, *, column: str, to: str) -> Value:
    """Return the greatest ratio of two columns over all members."""
    return _extreme(*_values(rows, column, to), max)


def least(rows: Rows, *, column: str) -> Value:
    """Return the least value of a column over all members."""
    return _extreme(*_values(rows, column), min)


def greatest(rows: Rows, *, column: str) -> Value:
    """Return the greatest value of a column over all members."""
    return _extreme(*_values(rows, column), max)


def share(rows: Rows, *, column: str, known: str = "") -> Value:
    """Return the share of members that have a value: of those at which an event came.

    Args:
        rows: the members.
        column: of the event's step.
        known: a column without which a member that has no event doesn't count, since it wasn't looked at.
    """
    counted, left_out = [], []
    for row in rows.rows:
        came = math.isfinite(_number(row, column))
        looked_at = not known or math.isfinite(_number(row, known))
        if row["state"] in (*ENDED, "diverged") and (came or looked_at):
            counted.append((row, float(came)))
        else:
            left_out.append(_left_out(row, rows, known or column))
    mean = _mean(counted, left_out)
    return replace(mean, error=math.nan)  # a count has none


def share_at(rows: Rows, *, column: str, over: str, at: End, known: str = "") -> Value:
    """Return `share` of the members at the smallest or the largest value of a setting."""
    return share(_at_end(rows, over, at), column=column, known=known)


def diverged(rows: Rows) -> Value:
    """Return the share of members that diverged, of those that came to any end."""
    counted, left_out = [], []
    for row in rows.rows:
        if row["state"] in (*ENDED, "diverged"):
            counted.append((row, float(row["state"] == "diverged")))
        else:
            left_out.append(_left_out(row, rows, "state"))
    return replace(_mean(counted, left_out), error=math.nan)


def spread(rows: Rows, *, column: str) -> Value:
    """Return the standard deviation of a column over seeds as a share of the size of its mean.

    Its standard error is that of a deviation of a normal distribution.
    """
    found, left_out = _values(rows, column)
    _refuse_others(rows, [row for row, _ in found], ())
    if len(found) < 2:
        raise NotReadError(f"a deviation takes two seeds, {len(found)} can be read", left_out)
    values = np.array([value for _, value in found])
    relative = float(np.std(values, ddof=1) / abs(values.mean()))
    error = relative / math.sqrt(2 * (len(values) - 1))
    return Value(relative, error, _seeds(found), len(values), tuple(left_out))


def knee(rows: Rows, *, column: str, over: str) -> Value:
    """Return 1 where a column leaves its level as a setting grows, 0 where it doesn't.

    By the fit of `eostui runs summary`; members that hardly lie on a level and a line decide nothing.
    """
    found, left_out = _values(rows, column)
    if not found:
        raise NotReadError("no member can be read", left_out)
    _refuse_others(rows, [row for row, _ in found], (over,))
    try:
        (fit,) = transitions([row for row, _ in found], rows.settings, over, column)
    except InputError as error:  # `over` isn't one of numbers, or has a single value
        raise NotReadError(str(error), left_out) from error
    if fit.knee.outcome == TOO_FEW or fit.knee.doubtful:
        raise NotReadError(fit.sentence(), left_out)
    told_value = float(fit.knee.outcome == KNEE)
    return Value(told_value, math.nan, _seeds(found), len(found), tuple(left_out))


#: All readings, by the names that files give.
READINGS: dict[str, Callable[..., Value]] = {
    each.__name__: each
    for each in (
        change, order, least_change, least_order, greatest_order, mean_order, order_over_seeds,
        peak_over_end, mean, mean_at, ratio_at, least_ratio, greatest_ratio, least, greatest,
        share, share_at, diverged, spread, knee,
    )
}  # fmt: skip


def check(name: str, arguments: Mapping[str, Any]) -> None:
    """Raise ValueError, with a sentence, unless there is such a reading with such arguments."""
    if name not in READINGS:
        raise ValueError(f"there is no reading `{name}`{did_you_mean(name, READINGS)}")
    parameters = dict(list(inspect.signature(READINGS[name]).parameters.items())[1:])
    for key, value in arguments.items():
        if key not in parameters:
            raise ValueError(
                f"reading `{name}`: unknown argument `{key}`{did_you_mean(key, parameters)}"
            )
        if not isinstance(value, str):
            raise ValueError(f"reading `{name}`: `{key}` is {value!r}, but must be a text")
        if key == "at" and value not in ("smallest", "largest"):
            raise ValueError(
                f'reading `{name}`: `at` is "{value}", but must be smallest or largest'
            )
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in arguments:
            raise ValueError(f"reading `{name}`: its argument `{key}` is missing")


def number(row: Row, column: str, to: str = "", never: str = "") -> float:
    """Return a member's value of a column as readings take it; NaN where it has none.

    Args:
        row: of the member.
        column: which.
        to: the column over which it is taken.
        never: the column that stands in where it is empty.
    """
    value = _number(row, column)
    if never and math.isnan(value):
        value = _number(row, never)
    if to:
        below = _number(row, to)
        value = value / below if below else math.nan
    return value


def _number(row: Row, column: str) -> float:
    value = row.get(column, math.nan)
    return float(value) if is_number(value) else math.nan


_Found = list[tuple[Row, float]]


def _values(rows: Rows, column: str, to: str = "", never: str = "") -> tuple[_Found, list[str]]:
    """Return each member that has a value with it, and lines on the others."""
    found: _Found = []
    left_out = []
    for row in rows.rows:
        value = number(row, column, to, never)
        if math.isfinite(value) and row["state"] in ENDED:
            found.append((row, value))
        else:
            left_out.append(_left_out(row, rows, column))
    return found, left_out


def _left_out(row: Row, rows: Rows, column: str) -> str:
    label = ", ".join(f"{symbol_of(key)} {told(row[key])}" for key in rows.settings)
    if row["state"] not in ENDED:
        why = ": ".join(text for text in (row["state"], row["sentence"]) if text)
    elif column.startswith("resting_") and not row["at_rest"]:
        why = f"not at rest: {row['not_at_rest']}" if row["not_at_rest"] else "not at rest"
    else:
        why = f"has no `{column}`"
    return f"{label}: {why}" if label else why


def _refuse_others(rows: Rows, found: Sequence[Row], over: Sequence[str]) -> None:
    """Raise NotReadError if settings differ that the reading takes no account of."""
    for key in rows.settings:
        if key not in (SEED, *over) and len({repr(row[key]) for row in found}) > 1:
            raise NotReadError(f"`{key}` differs too: the criterion's `where` has to choose one")


class _OfSeeds(NamedTuple):
    """What is read of each seed's members: by the seed, of how many members, and lines on the others."""

    values: dict[str, float]
    members: int
    left_out: tuple[str, ...]


def _of_seeds(
    rows: Rows,
    column: str,
    over: str,
    never: str,
    read: Callable[[_Found, str], float],
    *,
    both_ends: bool = False,
) -> _OfSeeds:
    """Return what is read of each seed's members.

    With `both_ends`, where it is over a setting, of seeds alone that have a value at both of its ends.
    """
    found, left_out = _values(rows, column, never=never)
    found = [each for each in found if math.isfinite(_number(each[0], over))]
    ends: set[float] = set()
    if over in rows.settings:  # over a column every setting may differ
        _refuse_others(rows, [row for row, _ in found], (over,))
        if both_ends:
            tried = [_number(row, over) for row in rows.rows if row["state"] != "diverged"]
            known = [value for value in tried if math.isfinite(value)]
            ends = {min(known), max(known)} if known else set()
    seeds: dict[str, _Found] = {}
    for each in found:
        seeds.setdefault(repr(each[0].get(SEED)), []).append(each)
    places = {seed: {_number(row, over) for row, _ in group} for seed, group in seeds.items()}
    several = [seed for seed in seeds if len(places[seed]) > 1]
    whole = [seed for seed in several if ends <= places[seed]]
    symbol = symbol_of(over)
    if not several:
        raise NotReadError(
            f"it takes two values of {symbol}, {len(found)} members can be read", left_out
        )
    if not whole:
        named = " and ".join(f"{end:g}" for end in sorted(ends))
        raise NotReadError(f"no seed can be read at both ends, {symbol} {named}", left_out)
    values = {seed: read(seeds[seed], over) for seed in whole}
    if not np.isfinite([*values.values()]).all():
        raise NotReadError(f"`{column}` is 0 where the change is counted from", left_out)
    return _OfSeeds(values, sum(len(seeds[seed]) for seed in whole), tuple(left_out))


def _by_seed(
    rows: Rows,
    column: str,
    over: str,
    never: str,
    read: Callable[[_Found, str], float],
    *,
    both_ends: bool = False,
) -> Value:
    """Return the mean over seeds of what is read of each seed's members."""
    found = _of_seeds(rows, column, over, never, read, both_ends=both_ends)
    values = np.array([*found.values.values()])
    return Value(float(values.mean()), _error(values), len(values), found.members, found.left_out)


def _change(found: _Found, over: str) -> float:
    ordered = sorted(found, key=lambda each: _number(each[0], over))
    first, last = ordered[0][1], ordered[-1][1]
    return (last - first) / abs(first) if first else math.nan


def _kendall(found: _Found, over: str) -> float:
    x = np.array([_number(row, over) for row, _ in found])
    y = np.array([value for _, value in found])
    above = np.triu_indices(len(x), 1)
    signs = np.sign(np.subtract.outer(x, x)) * np.sign(np.subtract.outer(y, y))
    return float(signs[above].mean())


def _groups(rows: Rows, over: str) -> list[Rows]:
    """Return groups of members that agree in all settings but `over` and the seed."""
    others = [key for key in rows.settings if key not in (over, SEED)]
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows.rows:
        groups.setdefault(tuple(repr(row[key]) for key in others), []).append(row)
    return [Rows(tuple(group), rows.settings) for group in groups.values()]


def _by_group(
    rows: Rows,
    column: str,
    over: str,
    never: str,
    read: Callable[[_Found, str], float],
    *,
    both_ends: bool = False,
) -> list[Value]:
    """Return what is read of each of the `_groups`."""
    found = [
        _by_seed(group, column, over, never, read, both_ends=both_ends)
        for group in _groups(rows, over)
    ]
    if not found:
        raise NotReadError("no member can be read")
    return found


def _extreme_group(groups: list[Value], take: Callable[..., Value]) -> Value:
    extreme: Value = take(groups, key=lambda each: each.value)
    return replace(_joined(groups), value=extreme.value, error=extreme.error)


def _joined(groups: list[Value]) -> Value:
    """Return a value that is of all of these groups, with that of the first."""
    return replace(
        groups[0], seeds=min(each.seeds for each in groups),
        members=sum(each.members for each in groups),
        left_out=tuple(line for each in groups for line in each.left_out),
    )  # fmt: skip


def _at_end(rows: Rows, over: str, at: End) -> Rows:
    known = [row for row in rows.rows if math.isfinite(_number(row, over))]
    if not known:
        raise NotReadError(f"no member has a value of {symbol_of(over)}")
    end = (min if at == "smallest" else max)(_number(row, over) for row in known)
    kept = [row for row in known if _number(row, over) == end]
    return Rows(tuple(kept), rows.settings)


def _mean(found: _Found, left_out: Sequence[str]) -> Value:
    if not found:
        raise NotReadError("no member can be read", left_out)
    values = np.array([value for _, value in found])
    return Value(float(values.mean()), _error(values), _seeds(found), len(values), tuple(left_out))


def _extreme(found: _Found, left_out: Sequence[str], take: Callable[[list[float]], float]) -> Value:
    if not found:
        raise NotReadError("no member can be read", left_out)
    value = take([value for _, value in found])
    return Value(value, math.nan, _seeds(found), len(found), tuple(left_out))


def _error(values: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Return the standard error of a mean; NaN of a single value."""
    if len(values) < 2:
        return math.nan
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def _seeds(found: _Found) -> int:
    return len({repr(row.get(SEED)) for row, _ in found})
