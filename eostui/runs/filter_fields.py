"""What a filter compares of runs and of presets: settings and readings by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from eostui.config import RunConfig
from eostui.filter import OF_RUNS, Filter, parse_filter
from eostui.presets import Preset
from eostui.runs.family import settings_of
from eostui.runs.prune import parse_duration
from eostui.runs.shelf import Entry
from eostui.runs.store.schema import LIVE_STATES

#: The state of what no program here can read.
UNREADABLE = "unreadable"
_WORDS = {"live": LIVE_STATES}
_UNITS = {key: partial(parse_duration, flag=key) for key in ("age", "ended")}


def parse_run_filter(text: str) -> Filter:
    """Parse a filter of runs. Raises InputError."""
    return parse_filter(text, (*OF_RUNS, *RunConfig.keys()), _WORDS, _UNITS)


def parse_preset_filter(text: str) -> Filter:
    """Parse a filter of presets, which have a name and settings. Raises InputError."""
    return parse_filter(text, ("name", *RunConfig.keys()))


def run_filter(text: str) -> Callable[[Entry], bool]:
    """Return whether a run passes a filter, as a function of the run. Raises InputError."""
    parsed, now = parse_run_filter(text), time.time()
    return lambda entry: parsed.matches(names_of(entry), filter_fields(entry, now))


def names_of(entry: Entry) -> tuple[str, ...]:
    """Return what a filter's plain words are looked for in."""
    return entry.id, entry.name, entry.note, entry.group, entry.config.preset


def filter_fields(entry: Entry, now: float) -> dict[str, Any]:
    """Return what can be compared of a run: `filter.OF_RUNS`, and its settings.

    η and λ are those of its newest step.

    Args:
        entry: the run.
        now: in Unix time.
    """
    return {
        **settings_of(entry),
        "id": entry.id,
        "name": entry.name,
        "state": entry.state,
        "phase": entry.phase,
        "step": entry.last_step,
        "late_sharpness": entry.late_sharpness,
        "age": now - entry.created,
        "ended": None if entry.live else now - entry.ended,
        "note": entry.note,
        "group": entry.group,
        "parent": entry.parent,
        "parent_step": entry.parent_step,
    }


def unread_fields(path: Path) -> dict[str, Any]:
    """Return what can be compared of a run that can't be read."""
    return {"id": path.name, "state": UNREADABLE}


def preset_fields(preset: Preset) -> Mapping[str, Any]:
    """Return what can be compared of a preset: its settings, and its name."""
    return {**preset.config.acting(mode="json"), "name": preset.name}


def preset_names(preset: Preset) -> tuple[str, ...]:
    """Return what a filter's plain words are looked for in: the name and the whole description."""
    return preset.name, preset.description
