"""The sweeps of a shelf: which there are, how to find one, and whether anybody is at work on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from eostui.errors import InputError, did_you_mean
from eostui.locations import absolute
from eostui.runs.shelf import NoSuchRunError, exact_path, find_path

#: The file that makes a directory a sweep.
MANIFEST = "sweep.toml"
#: The file whose lock is held by who begins members.
LOCK = "lock"
#: The file by which who begins members is asked to stop.
_STOP = "stop"
#: Bytes at the head of a manifest, among which its name is.
_HEAD = 4096


def is_sweep(path: Path) -> bool:
    """Return whether a path is a sweep's directory."""
    return os.path.isfile(path / MANIFEST)


def sweeps_of(runs_dir: Path) -> list[Path]:
    """Return the directories of all sweeps on a shelf, the newest first; none that is being made."""
    found = []
    with contextlib.suppress(OSError):
        for name in (each for each in os.listdir(runs_dir) if not each.startswith(".")):
            with contextlib.suppress(OSError):
                found.append((os.stat(runs_dir / name / MANIFEST).st_mtime, runs_dir / name))
    return [path for _, path in sorted(found, reverse=True)]


def find_sweep(runs_dir: Path, wanted: str) -> Path | None:
    """Return the sweep that `wanted` names: a path, an id, a name, or the end of an id; None for none.

    Raises:
        InputError: if it could be several.
    """
    found = found_sweeps(runs_dir, wanted)
    if len(found) > 1:
        raise _could_be(wanted, found)
    return found[0] if found else None


def found_sweeps(runs_dir: Path, wanted: str) -> list[Path]:
    """Return the sweeps that `wanted` could name: that of its path or id alone, else all of that name,
    or with that end of an id."""
    if (path := _exact(runs_dir, wanted)) is not None:
        return [path]
    return [
        path
        for path in sweeps_of(runs_dir)
        if wanted and (path.name.endswith(wanted) or name_of(path) == wanted)
    ]


def _exact(runs_dir: Path, wanted: str) -> Path | None:
    """Return the sweep that `wanted` is the path of, or the id; None for none."""
    for path in (Path(wanted), runs_dir / wanted) if wanted else ():
        if is_sweep(path):
            return absolute(path)
    return None


def _could_be(wanted: str, paths: Sequence[Path]) -> InputError:
    return InputError(f"`{wanted}` could be {', '.join(p.name for p in paths)}: type more of it")


def sweep_named(runs_dir: Path, wanted: str) -> Path | None:
    """Return the sweep that `wanted` names, as `find_sweep` does; None where it names a run.

    Raises:
        InputError: if there is neither, or it could be several, runs among them.
    """
    path = _exact(runs_dir, wanted)
    if path is not None or not wanted or exact_path(runs_dir, wanted) is not None:
        return path
    path = find_sweep(runs_dir, wanted)
    try:
        run = find_path(runs_dir, wanted)
    except NoSuchRunError as error:
        if path is not None:
            return path
        names = [*error.names, *_names(runs_dir)]
        raise NoSuchRunError("run or sweep", wanted, runs_dir, names, error.unread) from None
    if path is not None:
        raise _could_be(wanted, [path, run])
    return None


def no_such_sweep(runs_dir: Path, wanted: str) -> InputError:
    """Return the error that there is no sweep of that name."""
    near = did_you_mean(wanted, _names(runs_dir))
    return InputError(f"there is no sweep `{wanted}` in {runs_dir}{near}")


def _names(runs_dir: Path) -> list[str]:
    """Return the ids of a shelf's sweeps, and their names."""
    return [text for path in sweeps_of(runs_dir) for text in (path.name, name_of(path)) if text]


def name_of(path: Path) -> str:
    """Return the name of a sweep, "" if it has none or can't be read."""
    with contextlib.suppress(OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        with open(path / MANIFEST, "rb") as file:
            head = file.read(_HEAD).decode(errors="ignore")
        if line := re.search(r"^name = .*$", head, re.MULTILINE):
            name = tomllib.loads(line[0])["name"]
            return name if isinstance(name, str) else ""
    return ""


def completions(runs_dir: Path, incomplete: str) -> list[str]:
    """Return the ids of a shelf's sweeps that begin so, and their names."""
    return [
        text
        for text in dict.fromkeys(_names(runs_dir))
        if text.startswith(incomplete) and text.isprintable() and len(text.split()) == 1
    ]


def at_work(path: Path) -> bool:
    """Return whether a process is at work on a sweep."""
    try:
        descriptor = os.open(path / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not locked(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def request_stop(path: Path) -> None:
    """Ask whoever is at work on a sweep to let its members save and stop. Raises InputError."""
    try:
        (path / _STOP).touch(mode=0o600)
    except OSError as error:
        raise InputError(f"{path}: can't be written to: {error.strerror}") from None


def take_stop_request(path: Path) -> bool:
    """Return whether a stop was asked for since this was called last."""
    with contextlib.suppress(OSError):
        (path / _STOP).unlink()
        return True
    return False


def locked(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    """Take a file's lock; return whether it was free."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
