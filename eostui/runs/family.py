"""Runs that are compared: the settings in which they differ, and what each is called by them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from eostui.config import RunConfig
from eostui.runs.shelf import Entry
from eostui.stability import CONTROLS, INTERVENTIONS, STABILITY

#: Settings that decide nothing of what is computed, or only how far it goes: runs aren't called by them
#: where others tell them apart.
_OF_THE_MACHINE = (
    "preset", "steps", "pause_at", "checkpoint_every", "checkpoint_budget", "chunk_size", "device",
    "threads", "processes", "cadence", "far_cadence", "test_cadence", "ntk_cadence", "density_cadence",
    "trace_cadence", "noise_cadence", "pin_at", "eigenvectors_budget", "calibrate_at", "rest_window",
    "rest_drift",
)  # fmt: skip

#: Letters of settings that a chart has no room for.
_LONG = 24


@dataclass(frozen=True)
class Family:
    """Runs side by side.

    Attributes:
        entries: the runs, in the order in which they were given.
        differing: the settings in which they differ, by which they are called.
        others: further settings that differ, and decide nothing.
    """

    entries: tuple[Entry, ...]
    differing: tuple[str, ...]
    others: tuple[str, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry], known: Iterable[str] = ()) -> Family:
        """Compare the settings of some runs.

        Args:
            entries: the runs.
            known: settings in which they will differ once all are there, whatever these have.
        """
        runs = tuple(entries)
        settings = [settings_of(entry) for entry in runs]
        known = frozenset(known)
        keys = [key for key in (*RunConfig.keys(), "group") if _differs(key, settings)
                or (key in known and all(key in each for each in settings))]  # fmt: skip
        differing = tuple(key for key in keys if key in known or key not in _OF_THE_MACHINE)
        others = tuple(key for key in keys if key not in differing)
        if differing or not _told_by_names(runs):
            differing += _telling(settings, differing, others)
        return cls(runs, differing, tuple(key for key in others if key not in differing))

    @cached_property
    def settings(self) -> tuple[dict[str, Any], ...]:
        """The settings of each run that act, as `settings_of` has them."""
        return tuple(map(settings_of, self.entries))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What each run is called where there is room: its name and its settings that differ.

        Each is another's only if two runs have one name and equal settings: then their ids tell.
        """
        parts = [
            [entry.name, self.settings_label(entry)] if self.differing else [entry.name]
            for entry in self.entries
        ]
        return self._unique([" · ".join(filter(None, each)) for each in parts])

    @cached_property
    def short_labels(self) -> tuple[str, ...]:
        """What each run is called in a chart: its settings that differ, or its name where they don't.

        Or where they are too many words for a chart, and each run has a name of its own.
        """
        told = [self.settings_label(entry) for entry in self.entries]
        names = [entry.name for entry in self.entries]
        if any(len(text) > _LONG for text in told) and all(names) and len({*names}) == len(names):
            return tuple(names)
        counts = Counter(told)
        return self._unique(
            [
                text if text and counts[text] == 1 else " · ".join(filter(None, (text, entry.name)))
                for text, entry in zip(told, self.entries, strict=True)
            ]
        )

    def settings_label(self, entry: Entry) -> str:
        """Return a run's settings that differ, as `λ 0.001, width 50`."""
        settings = settings_of(entry)
        parts = [
            f"{symbol_of(key)} {told(settings[key])}" for key in self.differing if key in settings
        ]
        return ", ".join(parts)

    @cached_property
    def ramp(self) -> str | None:
        """The setting that the runs are laid out by: the first but the seed whose values are numbers."""
        for key in self.differing:
            values = [settings.get(key) for settings in self.settings]
            if key != "seed" and all(is_number(value) for value in values):
                return key
        return None

    def groups(self, over: str = "seed") -> list[list[int]]:
        """Return the runs, by their places, that differ in nothing but the setting `over`, together."""
        found: dict[tuple[str, ...], list[int]] = {}
        for place, settings in enumerate(self.settings):
            same = tuple(repr(settings.get(key)) for key in self.differing if key != over)
            found.setdefault(same, []).append(place)
        return list(found.values())

    @cached_property
    def has_seeds(self) -> bool:
        """Whether some runs differ in the seed alone."""
        seeds = [settings.get("seed") for settings in self.settings]
        return any(len({seeds[place] for place in group}) > 1 for group in self.groups("seed"))

    def _unique(self, labels: Sequence[str]) -> tuple[str, ...]:
        counts = Counter(labels)
        return tuple(
            label
            if label and counts[label] == 1
            else f"{label or entry.config.preset} {_tag(entry)}"
            for label, entry in zip(labels, self.entries, strict=True)
        )


def _told_by_names(runs: Sequence[Entry]) -> bool:
    """Return whether each run has a name of its own."""
    names = [run.name for run in runs]
    return all(names) and len({*names}) == len(names)


def _differs(key: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether runs differ in a setting.

    One that doesn't act in all of them, as a network's beside a toy's, tells them apart only where it
    isn't what it is by default: that the toy has none is told by `problem` already.
    """
    values = {repr(each[key]) for each in settings if key in each}
    if len(values) != 1 or all(key in each for each in settings):
        return len(values) > 1
    return values != {repr(RunConfig().model_dump(mode="json").get(key))}


def _telling(
    settings: Sequence[Mapping[str, Any]], differing: Iterable[str], others: Iterable[str]
) -> tuple[str, ...]:
    """Return which of the others tell runs apart whose settings that count are all the same."""
    alike: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for each in settings:
        alike.setdefault(tuple(repr(each.get(key)) for key in differing), []).append(each)
    return tuple(key for key in others if any(_differs(key, group) for group in alike.values()))


def settings_of(entry: Entry) -> dict[str, Any]:
    """Return the settings of a run that act, with controls and probes as they are at its newest step.

    Interventions are among them where a run can have any, so that one without is told from one with.
    """
    stability = STABILITY.get(entry.config.dynamics)
    possible = () if stability is not None and stability.operator else INTERVENTIONS
    settings: dict[str, Any] = {each.name: each.initial for each in possible}
    settings |= {**entry.config.acting(mode="json"), "group": entry.group, **entry.further}
    if entry.probes is not None:
        settings["probes"] = list(entry.probes)
    for name, value in (("eta", entry.eta), ("weight_decay", entry.weight_decay)):
        if math.isfinite(value):
            settings[name] = value
    return settings


def symbol_of(key: str) -> str:
    """Return what a setting is called in a label: η, λ and μ by their symbols."""
    return CONTROLS[key].symbol if key in CONTROLS else key


def told(value: Any) -> str:
    """Return the value of a setting as a label has it."""
    if is_number(value):
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    if isinstance(value, list | tuple):
        return "+".join(map(told, value)) or "none"
    if isinstance(value, dict):
        return "+".join(f"{key} {told(each)}" for key, each in value.items()) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value) or "none"


def is_number(value: Any) -> bool:
    """Return whether a value is a number, and no switch."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _tag(entry: Entry) -> str:
    """Return the end of a run's id, by which commands know it too."""
    return entry.id.rpartition("-")[2]
