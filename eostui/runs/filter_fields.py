"""What a filter compares of runs: settings and readings by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eostui.config import RunConfig
from eostui.filter import parse_filter
from eostui.runs.family import settings_of
from eostui.runs.shelf import Entry
from eostui.runs.store.schema import LIVE_STATES

_FIELDS = ("id", "name", "state", "phase", "step", "late_sharpness", "note", "group", "parent")


def run_filter(text: str) -> Callable[[Entry], bool]:
    """Return whether a run passes a filter, as a function of the run. Raises InputError."""
    parsed = parse_filter(text, (*_FIELDS, *RunConfig.keys()), {"live": LIVE_STATES})
    return lambda entry: parsed.matches(names_of(entry), filter_fields(entry))


def names_of(entry: Entry) -> tuple[str, ...]:
    """Return what a filter's plain words are looked for in."""
    return entry.id, entry.name, entry.note, entry.group, entry.config.preset


def filter_fields(entry: Entry) -> dict[str, Any]:
    """Return what can be compared of a run. η and λ are those of its newest step."""
    return {
        **settings_of(entry), **{name: getattr(entry, name) for name in _FIELDS if name != "step"},
        "step": entry.last_step,
    }  # fmt: skip
