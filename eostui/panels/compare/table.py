"""A comparison as a table: what differs between the runs, and what each came to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len

from eostui.charts.numbers import compact, grouped, percent
from eostui.errors import printable
from eostui.panels.compare.charts import title_of
from eostui.panels.compare.member import READ, Member
from eostui.panels.compare.view import ComparisonView
from eostui.runs.analysis.resting import Resting
from eostui.runs.family import settings_of, symbol_of, told
from eostui.runs.shelf import Entry

#: The readings of the table, by their column.
_READINGS = {"sharpness": "S at rest", "path_curvature": "κ", "eig_2": "λ₂", "loss": "loss"}
#: Columns that are left out where no run has anything in them.
_OFTEN_EMPTY = ("κ", "λ₂", "test", "phase")
#: What a reading of a run that isn't at rest stands in.
_UNREST = "({})"


def rows(view: ComparisonView, room: float = math.inf) -> list[tuple[str, ...]]:
    """Return the table as texts, the titles first; a column in which nothing stands is left out.

    Readings are over the last `rest_window` steps; of a run that isn't at rest they stand in brackets.

    Args:
        view: whose runs.
        room: columns of a terminal; where they aren't enough, the state goes if it is one, then the
            last of the table's columns.
    """
    keys = view.family.differing
    titles = ("run", *map(symbol_of, keys), "state", "steps", *_READINGS.values(), "test", "phase")
    table = [titles]
    for place, entry in enumerate(view.entries):
        member = view.members[place]
        settings = settings_of(entry)
        cells = [told(settings[key]) if key in settings else "—" for key in keys]
        label = entry.name or (entry.id if not keys else "") or view.family.labels[place]
        table.append(
            (
                printable(label),
                *map(printable, cells),
                "unreadable" if place in view.troubles and member is None else entry.state,
                grouped(max(entry.last_step, 0)),
                *(_cell(member, name) for name in _READINGS),
                _accuracy(member),
                entry.phase,
            )
        )
    columns = [
        column
        for column in zip(*table, strict=True)
        if column[0] not in _OFTEN_EMPTY or any(cell not in ("", "—") for cell in column[1:])
    ]
    if _width(columns) > room:
        columns = [column for column in columns if column[0] != "state" or len({*column[1:]}) > 1]
    while len(columns) > 1 and _width(columns) > room:
        columns.pop()
    return list(zip(*columns, strict=True))


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(cell_len, column)) + 2 for column in columns) - 2


def _cell(member: Member | None, name: str) -> str:
    if member is None:
        return "—"
    reading = member.readings[name]
    if not math.isfinite(reading.value):
        return "—"
    if not member.at_rest:
        return _UNREST.format(compact(reading.value, 4))
    return with_error(reading)


def short_lines(view: ComparisonView) -> list[str]:
    """Return the quantity's readings, a line a run, where there is no room for anything else."""
    lines = [f"{view.read}/{len(view.entries)} {title_of(view.quantity)}"]
    for member, label in zip(view.members, view.family.short_labels, strict=True):
        reading = member.readings.get(view.quantity) if member is not None else None
        value = "–" if reading is None else compact(reading.value)
        unrest = member is not None and not member.at_rest
        lines.append(f"{printable(label)} {_UNREST.format(value) if unrest else value}")
    return lines


def with_error(reading: Resting) -> str:
    """Return a value with its error, to the digits that the error leaves: 12.98 ± 0.02."""
    value, error = reading.value, reading.error
    if not math.isfinite(error) or not error:
        return compact(value, 4)
    digits = 3
    if value:
        digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(error)) + 1
    return f"{compact(value, min(max(digits, 2), 6))} ± {compact(error, 1)}"


def _accuracy(member: Member | None) -> str:
    value = member.readings["test_accuracy"].value if member is not None else math.nan
    return percent(value) if math.isfinite(value) else "—"


def records(view: ComparisonView) -> list[dict[str, Any]]:
    """Return the table for programs: a record a run, numbers in full, NaN where they aren't known."""
    labels = view.family.labels
    return [
        _record(view, place, entry, labels[place], view.members[place])
        for place, entry in enumerate(view.entries)
    ]


def _record(
    view: ComparisonView, place: int, entry: Entry, label: str, member: Member | None
) -> dict[str, Any]:
    settings = settings_of(entry)
    readings = member.readings if member is not None else {}
    nothing = Resting()
    return {
        "id": entry.id,
        "name": entry.name,
        "label": label,
        "path": str(entry.path),
        "settings": {key: settings.get(key) for key in view.family.differing},
        "state": entry.state,
        "last_step": entry.last_step,
        "phase": entry.phase,
        "onset": member.onset if member is not None else None,
        "at_rest": member is not None and member.at_rest,
        "not_at_rest": member.unrest if member is not None else "it can't be read",
        "readings": {
            name: {
                "value": readings.get(name, nothing).value,
                "error": readings.get(name, nothing).error,
                "count": readings.get(name, nothing).count,
            }
            for name in _in_order([*READ, *readings])
        },
        "trouble": view.troubles.get(place, ""),
    }


def _in_order(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def flat_records(view: ComparisonView) -> list[dict[str, Any]]:
    """Return the same as rows of one table: a column for each setting and reading, "" for no number."""
    lines = []
    for record in records(view):
        settings, readings = record.pop("settings"), record.pop("readings")
        flat = {key: record[key] for key in ("id", "name", "label")}
        flat |= {key: value if value is not None else "" for key, value in settings.items()}
        flat |= {key: record[key] for key in ("state", "last_step", "phase", "onset", "at_rest")}
        for name, reading in readings.items():
            for part, end in (("value", ""), ("error", "_error")):
                number = reading[part]
                flat[f"{name}{end}"] = repr(number) if math.isfinite(number) else ""
        flat["onset"] = "" if flat["onset"] is None else flat["onset"]
        lines.append({**flat, "not_at_rest": record["not_at_rest"], "trouble": record["trouble"]})
    names = dict.fromkeys(name for line in lines for name in line)
    return [{name: line.get(name, "") for name in names} for line in lines]
