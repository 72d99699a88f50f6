"""The members of a sweep as rows: settings, state, how far each is, S, phase, how long it takes yet."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eostui.charts.numbers import age, compact, grouped
from eostui.errors import printable
from eostui.panels.compare.table import with_error
from eostui.panels.compare.view import ComparisonView
from eostui.panels.sweep.forecast import Forecast
from eostui.runs.family import symbol_of, told
from eostui.runs.store.schema import LIVE_STATES
from eostui.sweeps.cost import work
from eostui.sweeps.sweep import WAITING, MemberState

#: The states of members, in the order in which they are counted.
_COUNTED = ("finished", "diverged", "stopped", "interrupted", "failed", "unreadable", WAITING)
#: Beside what came to its end, of these nothing more comes without being asked for.
_ENDED = ("failed", "unreadable")
#: Cells of a bar that shows how far a member is.
_BAR = 6


@dataclass(frozen=True)
class MemberRow:
    """A member in words.

    Attributes:
        number: its place in the plan, as its run's id ends.
        settings: what the axes give it, each without its name.
        state: in a word.
        progress: its share, with a bar.
        sharpness: over its last `rest_window` steps, in brackets where it isn't at rest; – without any.
        phase: its newest.
        left: how long it takes yet, "" where that isn't known.
        sentence: why there is nothing to be read of it, or why it failed.
    """

    number: str
    settings: tuple[str, ...]
    state: str
    progress: str
    sharpness: str
    phase: str
    left: str
    sentence: str = ""


def keys_of(states: Sequence[MemberState]) -> tuple[str, ...]:
    """Return the settings that the members have of their own, those with one value for all left out."""
    values: dict[str, set[str]] = {}
    for each in states:
        for key, value in each.member.settings.items():
            values.setdefault(key, set()).add(repr(value))
    return tuple(key for key, found in values.items() if len(found) > 1)


def member_rows(
    states: Sequence[MemberState],
    view: ComparisonView,
    forecast: Forecast,
    *,
    unicode: bool = True,
) -> list[MemberRow]:
    """Return a row for each member, in the order of the plan.

    Args:
        states: of all members.
        view: the comparison of those that began.
        forecast: has seen how far each is, by its path.
        unicode: whether bars may be of blocks.
    """
    keys = keys_of(states)
    places = {entry.path: place for place, entry in enumerate(view.entries)}
    return [_row(each, keys, view, places, forecast, unicode) for each in states]


def _row(
    state: MemberState,
    keys: Sequence[str],
    view: ComparisonView,
    places: Mapping[Path, int],
    forecast: Forecast,
    unicode: bool,
) -> MemberRow:
    member, entry = state.member, state.entry
    settings = member.settings
    left = math.nan
    if state.state == "running":
        left = forecast.seconds(member.path, member.config.steps)
    return MemberRow(
        member.path.name.rpartition(".")[2],
        tuple(printable(told(settings[key])) if key in settings else "—" for key in keys),
        state.state,
        "" if entry is None else progress_bar(share(state), entry.last_step, unicode=unicode),
        _sharpness(state, view, places),
        "" if entry is None else printable(entry.phase),
        "" if math.isnan(left) else age(left),
        printable(state.sentence) if state.state in ("failed", "unreadable") else "",
    )


def _sharpness(state: MemberState, view: ComparisonView, places: Mapping[Path, int]) -> str:
    if state.entry is None:
        return "–"
    place = places.get(state.member.path)
    read = view.members[place] if place is not None else None
    reading = read.readings.get("sharpness") if read is not None else None
    if read is None or reading is None or not math.isfinite(reading.value):
        late = state.entry.late_sharpness
        return f"({compact(late, 4)})" if math.isfinite(late) else "–"
    return with_error(reading) if read.at_rest else f"({compact(reading.value, 4)})"


def share(state: MemberState) -> float:
    """Return how much of its steps a member has taken, from 0 to 1; all where it ended by itself."""
    if state.complete or state.state in _ENDED:
        return 1.0
    if state.entry is None:
        return 0.0
    return min(max(state.entry.last_step, 0) / max(state.member.config.steps, 1), 1.0)


def progress_bar(done: float, step: int, *, unicode: bool = True) -> str:
    """Return a share as a bar, with its step."""
    full, empty = ("█", "·") if unicode else ("#", ".")
    cells = round(done * _BAR)
    return f"{full * cells}{empty * (_BAR - cells)} {grouped(max(step, 0))}"


def done_share(states: Sequence[MemberState]) -> float:
    """Return how much of a sweep is done, from 0 to 1, in what its members cost."""
    costs = [work(each.member.config) for each in states]
    total = sum(costs)
    return sum(c * share(s) for c, s in zip(costs, states, strict=True)) / total if total else 1.0


def counted(states: Sequence[MemberState]) -> str:
    """Return how many members are in which state: `2 running, 6 finished, 12 waiting`."""
    counts = Counter(each.state for each in states)
    order = dict.fromkeys([*LIVE_STATES, *_COUNTED, *counts])
    return ", ".join(f"{counts[state]} {state}" for state in order if counts[state])


def what_varies(states: Sequence[MemberState]) -> str:
    """Return the settings that differ between members: `η, λ`."""
    return ", ".join(map(symbol_of, keys_of(states)))
