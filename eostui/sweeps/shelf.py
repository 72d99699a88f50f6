"""The sweeps of a shelf: which there are, their names, and whether anybody is at work on one.

Completion at a prompt loads this: nothing here loads more than a directory's listing takes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tomllib
from pathlib import Path

from eostui.errors import InputError

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


def names_of_sweeps(runs_dir: Path) -> list[str]:
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
        for text in dict.fromkeys(names_of_sweeps(runs_dir))
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
