"""Where runs, presets, data and settings live. Each place can be moved by a flag or a variable."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from eostui.errors import InputError

_PACKAGE = Path(__file__).resolve().parent


def runs_dir(chosen: Path | None = None) -> Path:
    """Return the shelf of run directories: `--runs-dir`, else EOSTUI_RUNS, else the data folder."""
    return _place(chosen, "EOSTUI_RUNS", Path(platformdirs.user_data_dir("eostui")) / "runs")


def cache_dir() -> Path:
    """Return where is kept what can be made again: EOSTUI_CACHE, else the system's place for that."""
    return _place(None, "EOSTUI_CACHE", Path(platformdirs.user_cache_dir("eostui")))


def data_dir(chosen: Path | None = None) -> Path:
    """Return where downloaded data sets are kept: `--data-dir`, else EOSTUI_DATA, else the cache."""
    return _place(chosen, "EOSTUI_DATA", Path(platformdirs.user_cache_dir("eostui")) / "data")


def settings_dir() -> Path:
    """Return the user's settings folder: EOSTUI_SETTINGS, else the system's place for settings."""
    return _place(None, "EOSTUI_SETTINGS", Path(platformdirs.user_config_dir("eostui")))


def user_presets_dir() -> Path:
    """Return the folder of the user's own presets, inside the settings folder."""
    return settings_dir() / "presets"


def preferences_file() -> Path:
    """Return the file of what the program remembers of how its user likes it."""
    return settings_dir() / "settings.toml"


def keys_file() -> Path:
    """Return the user's file of keys."""
    return settings_dir() / "keys.toml"


#: Data sets that are downloaded on first use: the folder they come to lie in, and megabytes.
DOWNLOADS = {
    "cifar10": ("cifar-10-batches-py", 170),
    "cifar100": ("cifar-100-python", 169),
    "fashion-mnist": ("FashionMNIST", 31),
}


def present_folder() -> Path:
    """Return the folder that relative paths start from. Raises InputError if it is gone.

    Whatever loads PyTorch asks first: without a folder Intel's MKL ends the process, in its own words.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise InputError(
            f"the folder you are in isn't there any more ({error.strerror}): `cd` to another one"
        ) from None


def absolute(path: Path) -> Path:
    """Return a path as the user means it, from the root on. Raises InputError where it can't be told."""
    known = expanded(path)
    return known if known.is_absolute() else present_folder() / known


def expanded(path: Path) -> Path:
    """Return a path with `~` replaced. Raises InputError if nobody's home is known by that name."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise InputError(f"{path}: `{path.parts[0]}` is nobody's home here: write it out") from None


def missing_download(data: str, folder: Path) -> int:
    """Return how many megabytes a data set must download into `folder`; 0 if it is there."""
    place, megabytes = DOWNLOADS.get(data, ("", 0))
    return 0 if (folder / place).is_dir() else megabytes


def shipped(kind: str) -> Path:
    """Return the folder of shipped `presets` or `assets`: in the wheel, or beside it in a checkout."""
    in_wheel = _PACKAGE / "shipped" / kind
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent / kind


def _place(chosen: Path | None, variable: str, default: Path) -> Path:
    if chosen is not None:
        return absolute(chosen)
    from_environment = os.environ.get(variable)
    return absolute(Path(from_environment)) if from_environment else default
