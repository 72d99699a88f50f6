"""What a shelf showed last, so that listing its runs, or completing their names, opens no databases.

A file for each shelf in the user's cache folder: a shelf may be read-only or a stranger's, whose word on
what its runs are wouldn't do. A run is taken from it only while all that the file system says of its
store is as it was: sizes, times and inodes of the database and its logs. What changed within the last
moments isn't kept, since a second change might leave the same times; nor are network folders, whose
times may be old ones. Whether an engine lives isn't in it. Without this file all is the same, but slow.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from eostui import locations
from eostui.errors import InputError
from eostui.runs.store.filesystem import on_network, open_regular
from eostui.runs.store.schema import DATABASE
from eostui.version import __version__

#: Of what is kept of a run; with the program's version, whose reading it is.
_FORMAT = 2
#: Seconds after which a change has times of its own, on every file system: FAT counts two at a time.
SETTLED = 3.0
#: The files that a store consists of.
_FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-journal")

#: What the file system says of a run's store: device, inode, size and times of each of its files.
Stamp = list[list[int]]


def run_paths(folder: Path) -> Iterator[Path]:
    """Yield the run directories of a shelf. Raises InputError if it can't be listed."""
    if not os.path.exists(folder):
        return
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise InputError(f"runs folder {folder}: can't be listed: {error.strerror}") from None
    for name in names:
        if name[0] != "." and is_run(folder / name):  # hidden are copies that a repair works on
            yield folder / name


def is_run(path: Path) -> bool:
    """Return whether a path is a run directory; one that its owner keeps to themselves isn't ours."""
    return os.path.isfile(path / DATABASE)


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a run, None where it is none or changed a moment ago."""
    stamp: Stamp = []
    now = time.time()
    for name in _FILES:
        try:
            found = os.lstat(path / name)
        except OSError:
            stamp.append([])
            continue
        if not stat.S_ISREG(found.st_mode):
            return None
        if not found.st_size:  # who only reads makes an empty log
            stamp.append([])
            continue
        if now - max(found.st_mtime, found.st_ctime) < SETTLED:
            return None
        stamp.append(
            [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
        )
    return stamp if stamp[0] else None


class ShelfIndex:
    """The index of one shelf, as it is on disk; what is put into it is written by `save`."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self._kept: dict[str, Any] = {}
        self._file: Path | None = None
        self._changed = False
        with contextlib.suppress(InputError, OSError):
            if not on_network(Path(self._folder)):
                digest = hashlib.sha256(os.fsencode(self._folder)).hexdigest()
                self._file = locations.cache_dir() / "shelves" / f"{digest[:32]}.json"
                self._kept = self._load(self._file)

    def get(self, name: str, stamp: Stamp | None) -> dict[str, Any] | None:
        """Return what was put for a run, None where there is nothing or its store isn't the same."""
        kept = self._kept.get(name)
        if stamp is None or not isinstance(kept, dict) or kept.get("stamp") != stamp:
            return None
        summary = kept.get("summary")
        return summary if isinstance(summary, dict) else None

    def put(self, name: str, stamp: Stamp | None, summary: dict[str, Any]) -> None:
        """Take in what was read of a run that had this stamp before and after; nothing without one."""
        kept = {"stamp": stamp, "summary": summary}
        # a name that is no text, a number that JSON lacks: such a run is read anew each time
        with contextlib.suppress(TypeError):
            if stamp is not None and orjson.dumps({name: kept}):
                self._kept[name] = kept
                self._changed = True

    def save(self, present: set[str]) -> None:
        """Write it, with those runs alone that are on the shelf; where that can't be, do without."""
        gone = self._kept.keys() - present
        if self._file is None or not (self._changed or gone):
            return
        for name in gone:
            del self._kept[name]
        content = {"of": self._of(), "runs": self._kept}
        aside = self._file.with_name(f".{self._file.name}.{secrets.token_hex(4)}")
        with contextlib.suppress(OSError, TypeError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as to:
                    to.write(orjson.dumps(content))
                aside.replace(self._file)  # whole, whoever else writes one
            finally:
                aside.unlink(missing_ok=True)
        self._changed = False

    def _of(self) -> list[Any]:
        return [_FORMAT, __version__, self._folder]

    def _load(self, file: Path) -> dict[str, Any]:
        try:
            with open(open_regular(file, os.O_RDONLY), "rb") as stream:
                if os.fstat(stream.fileno()).st_uid != os.geteuid():
                    return {}
                content = orjson.loads(stream.read())
            runs = content["runs"] if content["of"] == self._of() else {}
        except (OSError, ValueError, TypeError, LookupError):
            return {}
        return runs if isinstance(runs, dict) else {}


def completions(folder: Path, incomplete: str) -> list[str]:
    """Return the ids of a shelf's runs that begin so, and the names among those that are in its index."""
    index = ShelfIndex(folder)
    found = []
    for path in run_paths(folder):
        summary = index.get(path.name, stamp_of(path)) or {}
        found += [path.name, summary.get("name", "")]
    return [
        text
        for text in dict.fromkeys(found)
        if isinstance(text, str)
        and text.startswith(incomplete)
        and text.isprintable()
        and len(text.split()) == 1
    ]
