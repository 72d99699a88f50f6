"""What a sweep runs: a preset's config, and the settings that vary over it."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eostui.config import RunConfig, absolute_files
from eostui.errors import InputError, did_you_mean
from eostui.locations import present_folder
from eostui.sweeps.values import distinct, parse_values

#: Members that a sweep has at most.
MOST_MEMBERS = 10_000


@dataclass(frozen=True)
class Axis:
    """Settings that vary together.

    Attributes:
        keys: their names, `controls.0.step` for one within another; several are zipped.
        values: of each of its points, in order, a value for each key.
    """

    keys: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the settings of each point."""
        for values in self.values:
            yield dict(zip(self.keys, values, strict=True))

    @property
    def name(self) -> str:
        """Its keys, as a sentence has them."""
        return ",".join(self.keys)


@dataclass(frozen=True)
class Plan:
    """The product of some axes over a config.

    Attributes:
        base: what all members have in common.
        axes: the last varies fastest.
    """

    base: RunConfig
    axes: tuple[Axis, ...]

    @property
    def count(self) -> int:
        """How many members it has."""
        return math.prod(len(axis.values) for axis in self.axes)

    @property
    def keys(self) -> tuple[str, ...]:
        """The settings of its axes."""
        return tuple(dict.fromkeys(key for axis in self.axes for key in axis.keys))

    def settings(self) -> Iterator[dict[str, Any]]:
        """Yield what each member has of its own, in order."""
        for points in itertools.product(*(tuple(axis.points()) for axis in self.axes)):
            yield {key: value for point in points for key, value in point.items()}

    def configs(self) -> Iterator[RunConfig]:
        """Yield the config of each member, in order."""
        for settings in self.settings():
            yield self.config(settings, "sweep")

    def config(self, settings: Mapping[str, Any], where: str) -> RunConfig:
        """Return the config of a member. Raises InputError, with `where`, if it isn't valid."""
        return changed(self.base, settings, where)


@dataclass
class Draft:
    """A plan that is put together from what a file and a command line say.

    Attributes:
        base: the preset's config.
        values: settings that all members share, by key.
        lists: settings that vary on their own.
        zipped: groups of settings that vary together.
    """

    base: RunConfig
    values: dict[str, Any] = field(default_factory=dict)
    lists: dict[str, list[Any]] = field(default_factory=dict)
    zipped: list[dict[str, list[Any]]] = field(default_factory=list)

    def take(self, key: str, text: str, where: str) -> None:
        """Take the values of one setting, as people type them; one alone is shared by all members.

        What was said of the setting before doesn't count any more.

        Raises:
            InputError: if there is no such setting, or the values can't be understood.
        """
        check_key(key, where)
        self._take(key, parse_values(text, where))

    def take_list(self, key: str, values: Sequence[Any], where: str) -> None:
        """Take the values of one setting, as a file lists them. Raises InputError as `take`."""
        check_key(key, where)
        self._take(key, distinct(list(values), where))

    def zip(self, lists: Mapping[str, Sequence[Any]], where: str) -> None:
        """Take settings that vary together, the first values of all, then the second ones.

        Raises:
            InputError: if there is no such setting, or their lists aren't of one length.
        """
        for key in lists:
            check_key(key, where)
            self._forget(key)
        lengths = {key: len(values) for key, values in lists.items()}
        if len({*lengths.values()}) > 1:
            told = ", ".join(f"`{key}` has {count}" for key, count in lengths.items())
            raise InputError(
                f"{where}: settings that vary together need equally many values: {told}"
            )
        points = list(zip(*lists.values(), strict=True))
        distinct([dict(zip(lists, map(repr, point), strict=True)) for point in points], where)
        self.zipped.append({key: list(values) for key, values in lists.items()})

    def _take(self, key: str, values: list[Any]) -> None:
        self._forget(key)
        if len(values) > 1:
            self.lists[key] = values
        else:
            self.values[key] = values[0]

    def _forget(self, key: str) -> None:
        for known in (self.values, self.lists):
            known.pop(key, None)
        self.zipped = [group for group in self.zipped if key not in group]

    def axes(self) -> list[Axis]:
        """Return what was taken as axes, those of one value among them."""
        shared = [Axis((key,), ((value,),)) for key, value in self.values.items()]
        return [*shared, *self._varying()]

    def _varying(self) -> list[Axis]:
        axes = [
            Axis((key,), tuple((each,) for each in values)) for key, values in self.lists.items()
        ]
        return axes + [
            Axis(tuple(group), tuple(zip(*group.values(), strict=True))) for group in self.zipped
        ]

    def plan(self, where: str) -> Plan:
        """Return the plan, its values as the members' configs have them. Raises InputError.

        Seeds vary fastest, whoever named them first: runs that are averaged stand together.
        """
        # a part of what varies in another part is no setting by itself: a change's η without its step
        parts = {
            key.partition(".")[0] for axis in self._varying() for key in axis.keys if "." in key
        }
        with_them = {
            k: v for k, v in self.values.items() if "." in k and k.partition(".")[0] in parts
        }
        shared = {key: value for key, value in self.values.items() if key not in with_them}
        base = changed(self.base, shared, where)
        if base.threads == "auto":  # a member for each core: more threads would wait for each other
            base = base.changed({"threads": 1})
        axes = [Axis((key,), ((value,),)) for key, value in with_them.items()]
        axes += sorted(self._varying(), key=_of_seeds)
        return canonical(Plan(base, tuple(axes)), where)


def canonical(plan: Plan, where: str) -> Plan:
    """Return the plan with its axes' values as validated configs have them: 0.0 for 0.

    Raises:
        InputError: if a member's config isn't valid, with its settings; if there are too many members.
    """
    if plan.count > MOST_MEMBERS:
        lengths = " × ".join(str(len(axis.values)) for axis in plan.axes)
        raise InputError(
            f"{where}: {lengths} = {plan.count} members, but a sweep has at most {MOST_MEMBERS}"
        )
    values: list[dict[str, Any]] = [{} for _ in plan.axes]
    for settings in plan.settings():
        told = ", ".join(f"{key} = {value}" for key, value in settings.items())
        config = plan.config(settings, f"{where}: the member with {told}" if told else where)
        stated = config.model_dump(mode="json")
        for axis, found in zip(plan.axes, values, strict=True):
            point = tuple(settings[key] for key in axis.keys)
            try:
                found.setdefault(repr(point), tuple(within(stated, key) for key in axis.keys))
            except LookupError as error:
                raise InputError(
                    f"{where}: the member with {told} has no `{error}`: an empty entry isn't kept"
                ) from None
    axes = tuple(
        Axis(axis.keys, tuple(found.values()))
        for axis, found in zip(plan.axes, values, strict=True)
    )
    for axis in axes:
        distinct([dict(zip(axis.keys, map(repr, point), strict=True)) for point in axis.values],
                 f"{where}: `{axis.name}`")  # fmt: skip
    return Plan(plan.base, axes)


def check_key(key: str, where: str) -> None:
    """Raise InputError unless a setting of this name can vary."""
    head = key.partition(".")[0]
    if head not in RunConfig.model_fields:
        raise InputError(f"{where}: unknown key `{head}`{did_you_mean(head, RunConfig.keys())}")
    if head == "preset":
        raise InputError(f"{where}: `preset` can't vary: a sweep has one")


def changed(config: RunConfig, settings: Mapping[str, Any], where: str) -> RunConfig:
    """Return a config with some settings replaced, those within others by their path.

    Args:
        config: as it is.
        settings: by key: `eta`, `controls.0.step`, `problem_arguments.depth`.
        where: names their source in an error.

    Raises:
        InputError: if there is no such place, or the config isn't valid then.
    """
    if not settings:
        return config
    values = copy.deepcopy(config.model_dump(mode="json"))
    for key, value in settings.items():
        *path, last = key.split(".")
        place: Any = values
        for depth, part in enumerate(path):
            place = _entered(place, part, path[depth + 1 :] or [last], key, where)
        _put(place, last, value, key, where)
    return RunConfig.build(absolute_files(values, present_folder()), where)


def _entered(place: Any, part: str, then: Sequence[str], key: str, where: str) -> Any:
    """Return what is at a part of a path; the entry after a list's last one is made."""
    if isinstance(place, dict):
        return place.setdefault(part, [] if then[0].isdecimal() else {})
    index = _index(place, part, key, where)
    if index == len(place):
        place.append({})
    return place[index]


def _put(place: Any, part: str, value: Any, key: str, where: str) -> None:
    if isinstance(place, dict):
        place[part] = value
        return
    index = _index(place, part, key, where)
    if index == len(place):
        place.append(value)
    place[index] = value


def _index(place: Any, part: str, key: str, where: str) -> int:
    if not isinstance(place, list):
        raise InputError(f"{where}: `{key}`: there is nothing within a value such as {place!r}")
    if not part.isdecimal() or int(part) > len(place):
        most = f"0 to {len(place)}" if place else "0"
        raise InputError(f"{where}: `{key}`: `{part}` must be the number of an entry, {most}")
    return int(part)


def within(values: Any, key: str) -> Any:
    """Return what a path leads to. Raises LookupError if it leads nowhere."""
    for part in key.split("."):
        try:
            values = values[int(part) if isinstance(values, list) else part]
        except (LookupError, TypeError, ValueError):
            raise LookupError(key) from None
    return values


def merged(plan: Plan, more: Iterable[Axis], where: str) -> Plan:
    """Return a plan over which the values of more axes are put beside those that it has.

    A setting that didn't vary keeps the value that it had, as the first of its axis. Values that are
    there already, however they are written, are left out.

    Raises:
        InputError: if a setting is part of an axis of several, isn't there, or can't have such a value.
    """
    axes = list(plan.axes)
    stated = plan.base.model_dump(mode="json")
    for axis in more:
        place = next((n for n, each in enumerate(axes) if {*each.keys} & {*axis.keys}), None)
        if place is None:
            try:
                own = tuple(within(stated, key) for key in axis.keys)
            except LookupError:
                raise InputError(
                    f"{where}: `{axis.name}` can't be added: the members there have no such setting"
                ) from None
            place = len(axes)
            axes.append(Axis(axis.keys, (own,)))
        there = axes[place]
        if {*there.keys} != {*axis.keys}:
            raise InputError(
                f"{where}: `{axis.name}` can't be added: the sweep varies {there.name} together"
            )
        order = [axis.keys.index(key) for key in there.keys]
        points = tuple(tuple(point[n] for n in order) for point in axis.values)
        # as the first members have all else: what is valid there alone may vary
        around = [Axis(each.keys, each.values[:1]) for each in axes]
        around[place] = Axis(there.keys, points)
        points = canonical(Plan(plan.base, tuple(around)), where).axes[place].values
        known = {repr(point) for point in there.values}
        added = (point for point in points if repr(point) not in known)
        axes[place] = Axis(there.keys, (*there.values, *added))
    return Plan(plan.base, tuple(sorted(axes, key=_of_seeds)))


def _of_seeds(axis: Axis) -> bool:
    """Return whether an axis is of seeds: they vary fastest, so that runs of a mean stand together."""
    return "seed" in axis.keys
