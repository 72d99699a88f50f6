"""A comparison as it is looked at: its runs, the quantity, the x axis, groups and the baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eostui.charts.chart import FLOW_TIME, STEPS
from eostui.charts.scales import FloatArray
from eostui.charts.trace import Trace
from eostui.errors import printable
from eostui.panels.compare.lines import Line, difference
from eostui.panels.compare.member import DRAWN, Kept, Member
from eostui.runs.analysis.ensemble import Points, mean_and_deviation
from eostui.runs.family import Family, is_number, settings_of, symbol_of, told
from eostui.runs.shelf import Entry

#: What x counts besides steps and flow time: steps since S first reached its threshold.
SINCE_ONSET = "since onset"
AXES = (STEPS, FLOW_TIME, SINCE_ONSET)
#: So many runs are compared at most: beyond, nobody tells their curves apart.
MOST_RUNS = 200
#: Of so many curves each has its label at its right end; of more the ramp tells.
MOST_LABELS = 8
#: Colours of the ramp in the palette.
RAMP = tuple(f"ramp {index}" for index in range(16))
#: The baseline's.
BASELINE = "baseline"
#: Which curve is which without colours, of few and of many.
_SIGNS = "●○◆◇■□▲△"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Curves are called by the values alone of so many settings at most.
_MOST_KEYS = 3
#: The setting over which runs are averaged.
SEED = "seed"


@dataclass(frozen=True)
class Look:
    """How a curve is told from the others.

    Attributes:
        label: in a chart, in few characters.
        name: where there is room.
        colour: in the palette.
        sign: of it, "" where there are too many.
    """

    label: str
    name: str
    colour: str
    sign: str


class ComparisonView:
    """Runs side by side, as far as they are read, and what is shown of them.

    Attributes:
        entries: the runs in their order.
        members: what is kept of each, None until it is read.
        troubles: why a run can't be read, by its place; what was read of it before stays.
        quantity: the column that is drawn.
        axis: what x counts, one of `AXES`.
        grouped: whether runs that differ in the seed alone are one curve, their mean.
        baseline: the place of the run on top of the others, None without one.
        varying: settings in which they will differ once all have come.
        differing: whether all is drawn as its difference from the baseline.
        unicode: whether signs may be other than letters.
        write_key: writes a key of the live view by its id; None where nobody can press one.
    """

    def __init__(
        self, entries: Sequence[Entry], *, varying: Sequence[str] = (), unicode: bool = True
    ) -> None:
        self.entries = list(entries)
        self.members: list[Member | None] = [None] * len(self.entries)
        self.troubles: dict[int, str] = {}
        self.quantity = "sharpness"
        self.axis = STEPS
        self.grouped = False
        self.baseline: int | None = None
        self.differing = False
        self.unicode = unicode
        self.write_key: Callable[[str], str] | None = None
        self.revision = 0
        self.varying = tuple(varying)
        self.family = Family.of(self.entries, varying)
        self._further: tuple[str, ...] = ()
        self._key: str | None = None
        self._groups: list[list[int]] = []
        self._lines: dict[tuple[object, ...], list[Line]] = {}
        self._traces: dict[tuple[int, str, str], tuple[Member, Trace]] = {}
        self._looks: dict[bool, list[Look]] = {}

    # --- runs that are read ---------------------------------------------------------------------------

    @property
    def wanted(self) -> tuple[str, ...]:
        """The columns that have to be kept of every run."""
        flow = ("flow_time",) if self.axis == FLOW_TIME else ()
        return tuple(dict.fromkeys([*DRAWN, self.quantity, *flow, *self._further]))

    def need(self, columns: Sequence[str]) -> None:
        """Have further columns kept of every run: for several quantities, shown one after another."""
        self._further = tuple(columns)

    def lacks(self, place: int) -> bool:
        """Return whether a run has to be read for what is drawn."""
        member = self.members[place]
        if member is None:
            return place not in self.troubles
        return place not in self.troubles and not set(self.wanted) <= set(member.columns)

    def take(self, place: int, member: Member) -> None:
        """Take in a run that was read, for the first time or once more."""
        self.members[place] = member
        self.troubles.pop(place, None)
        before, self.entries[place] = self.entries[place], member.entry
        if settings_of(member.entry) != settings_of(before):
            self.family = Family.of(self.entries, self.varying)
        self._changed()

    def arrange(self, entries: Sequence[Entry]) -> None:
        """Have these runs, in their order.

        Of those that are here already nothing is read again, but of one that had ended and lives.
        """
        live = {entry.path for entry in entries if entry.live}
        before = {
            entry.path: place
            for place, entry in enumerate(self.entries)
            if entry.live or entry.path not in live
        }
        baseline = self.entries[self.baseline].path if self.baseline is not None else None
        places = [before.get(entry.path) for entry in entries]
        self.entries = [
            entry if place is None else self.entries[place]
            for entry, place in zip(entries, places, strict=True)
        ]
        self.members = [None if place is None else self.members[place] for place in places]
        self.troubles = {
            now: self.troubles[place]
            for now, place in enumerate(places)
            if place is not None and place in self.troubles
        }
        now = [entry.path for entry in self.entries]
        self.baseline = now.index(baseline) if baseline in now else None
        self.differing = self.differing and self.baseline is not None
        self.family = Family.of(self.entries, self.varying)
        self._traces.clear()  # they are by place
        self._changed()

    def refuse(self, place: int, sentence: str) -> None:
        """Take note of why a run can't be read."""
        self.troubles[place] = sentence
        self._changed()

    @property
    def read(self) -> int:
        """How many runs are read, or can't be."""
        return sum(not self.lacks(place) for place in range(len(self.entries)))

    def names(self) -> tuple[str, ...]:
        """Return the columns that any of the runs has, in the order of the exports."""
        members = [member for member in self.members if member is not None]
        return tuple(dict.fromkeys(name for member in members for name in member.names))

    # --- what is shown --------------------------------------------------------------------------------

    def show(
        self,
        *,
        quantity: str | None = None,
        axis: str | None = None,
        grouped: bool | None = None,
        differing: bool | None = None,
        key: str | None = None,
    ) -> None:
        """Show something else; what isn't given stays, as does a `key` not among `keys`."""
        self.quantity = self.quantity if quantity is None else quantity
        self.axis = self.axis if axis is None else axis
        self.grouped = self.grouped if grouped is None else grouped
        self.differing = self.differing if differing is None else differing
        self._key = key if key in self.keys else self._key
        self._changed()

    def pin(self, place: int | None) -> None:
        """Have a run as the baseline, or none."""
        self.baseline = place
        self.differing = self.differing and place is not None
        self._changed()

    @property
    def keys(self) -> tuple[str, ...]:
        """The settings that differ and whose values are numbers: runs can be laid out by each."""
        return tuple(
            key
            for key in self.family.differing
            if all(is_number(settings.get(key)) for settings in self.family.settings)
        )

    @property
    def key(self) -> str | None:
        """The setting that the runs are laid out and coloured by; None where they are by their order."""
        return self._key if self._key is not None and self._key in self.keys else self.family.ramp

    def next_key(self) -> None:
        """Lay the runs out by the next setting that differs in numbers."""
        keys = self.keys
        if self.key in keys:
            self._key = keys[(keys.index(self.key) + 1) % len(keys)]
            self._changed()

    @property
    def groups(self) -> list[list[int]]:
        """The runs of each curve, by their places."""
        if not self._groups:
            self._groups = (
                self.family.groups(SEED)
                if self.averaged
                else [[place] for place in range(len(self.entries))]
            )
        return self._groups

    @property
    def averaged(self) -> bool:
        """Whether there are means to draw, and they are drawn."""
        return self.grouped and self.family.has_seeds

    def value(self, place: int) -> Any:
        """Return a run's value of the key, its place in the order without one."""
        return place if self.key is None else self.family.settings[place][self.key]

    def looks(self) -> list[Look]:
        """Return how each group is told from the others."""
        if self.grouped not in self._looks:
            self._looks[self.grouped] = self._found_looks()
        return self._looks[self.grouped]

    def _found_looks(self) -> list[Look]:
        groups = self.groups
        values = sorted({self.value(group[0]) for group in groups})
        signs = _LETTERS
        if self.unicode and len(groups) <= len(_SIGNS):
            signs = _SIGNS
        shorts, names = self._short_labels(groups), self._names(groups)
        looks = []
        for number, group in enumerate(groups):
            rank = values.index(self.value(group[0]))
            colour = RAMP[round(rank / max(len(values) - 1, 1) * (len(RAMP) - 1))]
            if self.baseline in group:
                colour = BASELINE
            sign = signs[number] if len(groups) <= len(signs) else ""
            looks.append(Look(printable(shorts[number]), printable(names[number]), colour, sign))
        return looks

    def _of_groups(self) -> tuple[str, ...]:
        """Return the settings by which curves are called: without that over which they are averaged."""
        return tuple(key for key in self.family.differing if not (self.averaged and key == SEED))

    @property
    def labelled_by(self) -> tuple[str, ...]:
        """The settings whose values alone tell the curves apart in a chart; () if it takes more."""
        return self._of_groups() if self._values() else ()

    def _values(self) -> list[str]:
        """Return the values of the settings that differ, as `0.001·0`; [] where they aren't enough."""
        keys = self._of_groups()
        settings = [self.family.settings[group[0]] for group in self.groups]
        values = ["·".join(told(each.get(key, "—")) for key in keys) for each in settings]
        if not 0 < len(keys) <= _MOST_KEYS or len({*values}) < len(values):
            return []
        return values

    def _short_labels(self, groups: Sequence[Sequence[int]]) -> list[str]:
        if values := self._values():
            return values
        if self.averaged:
            return self._names(groups)
        return list(self.family.short_labels)

    def _names(self, groups: Sequence[Sequence[int]]) -> list[str]:
        if not self.averaged:
            return list(self.family.labels)
        names = []
        for group in groups:
            settings = self.family.settings[group[0]]
            parts = [
                f"{symbol_of(key)} {told(settings[key])}"
                for key in self._of_groups()
                if key in settings
            ]
            names.append(", ".join(parts) or self.entries[group[0]].config.preset)
        counts = Counter(names)
        return [
            name if counts[name] == 1 else f"{name} {number + 1}"
            for number, name in enumerate(names)
        ]

    # --- curves ---------------------------------------------------------------------------------------

    def lines(self, name: str) -> list[Line]:
        """Return the curve of each group of a column, in the order of the groups; empty where the runs
        haven't it, aren't read, or have no place on the x axis."""
        differs = self.differing and self.baseline is not None
        key = (name, self.axis, self.grouped, self.baseline if differs else None)
        if key not in self._lines:
            self._lines[key] = [self._line(group, name, differs) for group in self.groups]
        return self._lines[key]

    def trace(self, place: int, name: str) -> Trace:
        """Return a run's column on the x axis; empty as in `lines`."""
        member = self.members[place]
        if member is None or name not in member.columns:
            return Trace([])
        known = self._traces.get((place, name, self.axis))
        if known is not None and known[0] is member:
            return known[1]
        trace = self._placed(member, member.columns[name])
        self._traces[place, name, self.axis] = (member, trace)
        return trace

    def _placed(self, member: Member, column: Kept) -> Trace:
        if self.axis == FLOW_TIME:
            flow = member.columns.get("flow_time")
            if flow is None:
                return Trace([])
            positions = flow_positions(flow, len(column.values), column.steps)
            return Trace(column.values, positions)
        start = 0
        if self.axis == SINCE_ONSET:
            if member.onset is None:
                return Trace([])
            start = -member.onset
        if column.steps is None:
            return Trace(column.values, start=start)
        return Trace(column.values, column.steps + start)

    def _line(self, group: Sequence[int], name: str, differs: bool) -> Line:
        if len(group) == 1 and not differs:
            return Line(tuple(group), self.trace(group[0], name))
        curves = [self._points(place, name, differs) for place in group]
        if len(group) == 1:
            x, y = curves[0]
            return Line(tuple(group), Trace(y, x))
        x, mean, deviation = mean_and_deviation(curves)
        band = Trace(mean - deviation, x), Trace(mean + deviation, x)
        return Line(tuple(group), Trace(mean, x), band)

    def _points(self, place: int, name: str, differs: bool) -> Points:
        points = self.trace(place, name).points()
        if differs and self.baseline is not None:
            return difference(points, self.trace(self.baseline, name).points())
        return points

    def ends(self) -> tuple[float, float]:
        """Return where x begins and ends, over all that is drawn against it."""
        traces = [
            self.trace(place, name)
            for place in range(len(self.entries))
            for name in (self.quantity, *DRAWN)
        ]
        known = [(trace.left, trace.right) for trace in traces if len(trace)]
        if not known:
            return 0.0, 1.0
        return min(left for left, _ in known), max(right for _, right in known)

    def without_onset(self) -> list[int]:
        """Return the places of the runs that are read and whose S never reached the threshold."""
        return [
            place
            for place, member in enumerate(self.members)
            if member is not None and member.onset is None
        ]

    def _changed(self) -> None:
        self.revision += 1
        self._groups = []
        self._lines.clear()
        self._looks.clear()


def flow_positions(flow: Kept, rows: int, steps: Any) -> FloatArray:
    """Return the flow time of the rows of a column, of all its steps or of those given."""
    every = flow.values
    if flow.steps is not None:  # few rows
        at = np.arange(rows) if steps is None else steps
        return np.interp(at, flow.steps, every)
    positions: Any = every[:rows] if steps is None else every[steps]
    return np.asarray(positions)


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return runs by the values of the settings in which they differ, the ramp's first, then by age."""
    family = Family.of(entries)
    keys = [key for key in family.differing if key != SEED and key != family.ramp]
    keys = [*([family.ramp] if family.ramp else []), *keys, SEED]

    def place(entry: Entry) -> tuple[Any, ...]:
        settings = settings_of(entry)
        values = [settings.get(key) for key in keys]
        numbers = [(value, "") if is_number(value) else (0, told(value)) for value in values]
        return (*numbers, entry.created)

    return sorted(family.entries, key=place)


@dataclass(frozen=True)
class Compare:
    """A comparison to begin with.

    Attributes:
        view: of runs that aren't read yet.
        left_out: sentences on those that were meant too, and can't be read.
    """

    view: ComparisonView
    left_out: tuple[str, ...] = ()
