"""Presets: named, commented TOML files that say what a run is."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eostui import locations
from eostui.config import RunConfig, absolute_files
from eostui.errors import InputError, did_you_mean
from eostui.text import parse_toml, read_text

DEFAULT_PRESET = "digits-mlp"
#: Where all names are.
_LISTED = "`eostui presets list` names them all"


@dataclass(frozen=True)
class PresetFile:
    """The file of a preset of any kind; its description is the comment at its head."""

    name: str
    path: Path
    description: str

    @property
    def summary(self) -> str:
        """The first line of the description."""
        return self.description.partition("\n")[0]


@dataclass(frozen=True)
class Preset(PresetFile):
    """A preset of runs, with its config."""

    config: RunConfig


def available(kind: str = "") -> dict[str, Path]:
    """Return the files of all presets by name, sorted; the user's own hide shipped ones.

    Args:
        kind: the folder beneath presets where those of a kind lie; "" for presets of runs.
    """
    folders = (locations.shipped("presets"), locations.user_presets_dir())
    files = {path.stem: path for folder in folders for path in (folder / kind).glob("*.toml")}
    return dict(sorted(files.items()))


def read(
    name_or_path: str, known: Mapping[str, Path], what: str, listed: str
) -> tuple[Path, str, str]:
    """Read a file by its name, or by its path.

    Args:
        name_or_path: which.
        known: those that have names.
        what: it is, for sentences: "sweep preset".
        listed: where all names are, for a sentence.

    Returns:
        The path; what is written there; and what sentences about it begin with.

    Raises:
        InputError: if there is none (with the nearest name), or it can't be read.
    """
    path = known.get(name_or_path, locations.expanded(Path(name_or_path)))
    if name_or_path not in known and path.suffix != ".toml" and "/" not in name_or_path:
        raise InputError(
            f"there is no {what} `{name_or_path}`{did_you_mean(name_or_path, known)} "
            f"({listed}; your own can be given by path)"
        )
    if not path.is_file():
        why = "that is no file" if path.exists() else "there is no such file"
        raise InputError(f"{what} {path}: {why}")
    where = f"{what} {path.stem if name_or_path in known else path}"
    return path, read_text(path, f"{what} {path}"), where


def load(name_or_path: str) -> Preset:
    """Load a preset by its name, or by the path of its file.

    Raises:
        InputError: if there is none (with the nearest name), or it isn't valid (with the key).
    """
    path, text, where = read(name_or_path, available(), "preset", _LISTED)
    values = absolute_files(parse_toml(text, where), path.parent)
    values.setdefault("preset", path.stem)
    config = RunConfig.build(values, where)
    for change in config.controls:  # a run that is made shorter keeps what it doesn't come to
        if change.at is not None and change.at > config.steps:
            raise InputError(f"{where}: {change.where} would never come: `steps` is {config.steps}")
    return Preset(path.stem, path, head_comment(text), config)


def copy_to_own(name: str) -> Path:
    """Copy a preset into the user's own folder, where it isn't there yet; return the file to edit.

    A file of the user's code that lies beside it goes along: the preset names it by where it lies.

    Raises:
        InputError: if it can't be copied.
    """
    path, _, _ = read(name, available(), "preset", _LISTED)
    folder = locations.user_presets_dir()
    if path.parent == folder:
        return path
    beside = {Path(code.rpartition(":")[0]) for code in load(name).config.own_code()}
    files = [path, *(file for file in beside if file.parent == path.parent)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            if not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)
    except OSError as error:
        raise InputError(f"{folder}: can't be written to: {error.strerror or error}") from None
    return folder / path.name


def neighbour(name: str, offset: int, among: Iterable[str] | None = None) -> str:
    """Return the name `offset` places after `name` in a list, all presets' if left out, going round."""
    names = list(available() if among is None else among)
    position = names.index(name) if name in names else 0
    return names[(position + offset) % len(names)]


def head_comment(text: str) -> str:
    """Return the comment lines that a preset starts with, without their #."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return "\n".join(lines)
