"""Sweep presets: named, commented TOML files that say what a sweep runs.

# What to look for.
preset = "digits-mlp"

[set]
steps = 4000

[axes]
weight_decay = "0,1e-5..1e-2:9log"
seed = [0, 1, 2]

[[zip]]
eta = [0.1, 0.15]
width = [100, 50]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eostui import locations, presets
from eostui.config import absolute_files
from eostui.errors import InputError, did_you_mean
from eostui.presets import PresetFile, head_comment
from eostui.sweeps.plan import Draft, Plan
from eostui.sweeps.values import parse_values
from eostui.text import parse_toml, read_text

_KEYS = ("preset", "set", "axes", "zip")


@dataclass(frozen=True)
class SweepPreset(PresetFile):
    """A preset of sweeps, with what it says.

    Attributes:
        preset: the name of the preset that its members are of.
        draft: its settings and axes; a command line may add to it.
    """

    preset: str
    draft: Draft

    def plan(self) -> Plan:
        """Return the plan of the file alone. Raises InputError."""
        return self.draft.plan(f"sweep {self.name}")


def available() -> dict[str, Path]:
    """Return the files of all sweep presets by name; the user's own hide shipped ones."""
    return presets.available("sweeps")


def is_meant(name_or_path: str) -> bool:
    """Return whether a name or a path is that of a sweep's preset, not of a run's."""
    if name_or_path in available():
        return True
    path = locations.expanded(Path(name_or_path))
    if name_or_path in presets.available() or not path.is_file():
        return False
    try:
        content = parse_toml(read_text(path, str(path)), str(path))
    except InputError:  # no TOML: it is told as a run's
        return False
    return "zip" in content or any(isinstance(content.get(key), dict) for key in ("axes", "set"))


def load(name_or_path: str) -> SweepPreset:
    """Load a sweep preset by its name, or by the path of its file.

    Raises:
        InputError: if there is none (with the nearest name), or it isn't valid (with the key).
    """
    listed = "`eostui presets list --sweeps` names them all"
    path, text, where = presets.read(name_or_path, available(), "sweep preset", listed)
    content = parse_toml(text, where)
    for key in content:
        if key not in _KEYS:
            raise InputError(f"{where}: unknown key `{key}`{did_you_mean(key, _KEYS)}")
    preset = content.get("preset")
    if not isinstance(preset, str):
        raise InputError(f"{where}: `preset` is missing: the name of the preset that is swept")
    draft = Draft(presets.load(_beside(path, preset)).config)
    shared = _table(content, "set", where)
    for key, value in _flat(absolute_files(shared, path.parent)):
        draft.take_list(key, [value], f"{where}: `set`")
    for key, value in _flat(_table(content, "axes", where)):
        told = f"{where}: `axes`: `{key}`"
        draft.take_list(key, _values(key, value, told, path.parent), told)
    groups = content.get("zip", [])
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise InputError(f"{where}: `zip` must be tables, each as [[zip]]")
    for number, group in enumerate(groups, 1):
        told = f"{where}: `zip` {number}"
        lists = {
            key: _values(key, value, f"{told}: `{key}`", path.parent, zipped=True)
            for key, value in _flat(group)
        }
        draft.zip(lists, told)
    return SweepPreset(path.stem, path, head_comment(text), preset, draft)


def _beside(path: Path, preset: str) -> str:
    """Return a preset as `presets.load` takes it: a file is meant relative to the sweep's."""
    if preset.endswith(".toml") or "/" in preset:
        return str(path.parent.absolute() / locations.expanded(Path(preset)))
    return preset


def _table(content: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    table = content.get(key, {})
    if not isinstance(table, dict):
        raise InputError(f"{where}: `{key}` must be a table, as [{key}]")
    return table


def _flat(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield keys and values; of tables within others, which TOML makes of `controls.0.step`, by path."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _values(key: str, value: Any, where: str, folder: Path, *, zipped: bool = False) -> list[Any]:
    """Return the values that a file lists of a setting; files in them are meant relative to `folder`."""
    if isinstance(value, str):
        value = parse_values(value, where, distinct_values=not zipped)
    if isinstance(value, list):
        return [absolute_files({key: each}, folder)[key] for each in value]
    raise InputError(f'{where} must be a list, or a text such as "0:0.03:20"')
