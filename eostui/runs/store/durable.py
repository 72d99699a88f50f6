"""Writing a store that may refuse: full, read-only, locked, failing. What helps is tried, then named."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

from eostui.errors import StoreError
from eostui.runs.store.filesystem import is_full, open_regular
from eostui.runs.store.schema import DATABASE, RESERVE

#: Bytes that a live run keeps free for its end: the rows in hand, its status, the log's last words.
RESERVED = 1 << 19
#: Seconds between tries.
PAUSE = 0.1


class Trouble:
    """A reason why a store can't be written.

    Attributes:
        cause: what it is.
        advice: what to do about it.
        patience: seconds for which writing is tried again before the run ends.
    """

    def __init__(self, cause: str, advice: str, patience: float) -> None:
        self.cause = cause
        self.advice = advice
        self.patience = patience


FULL = Trouble("the disk is full", "free some space", 5.0)
READ_ONLY = Trouble("it has become read-only", "make it writable, or move the run", 0.0)
LOCKED = Trouble("it is locked by another program", "end what holds it, a `sqlite3` maybe", 300.0)
FAILING = Trouble("I/O error", "check the disk, its quota or the network", 5.0)
DAMAGED = Trouble("it was damaged from outside", "`eostui runs repair` keeps what can be read", 0.0)

_BY_CODE = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_PERM: READ_ONLY,
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_PROTOCOL: LOCKED,
    sqlite3.SQLITE_IOERR: FAILING,
    sqlite3.SQLITE_CANTOPEN: FAILING,
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
}


def trouble(path: Path, error: sqlite3.Error) -> Trouble | None:
    """Return why writing a run's store failed, or None if the store isn't to blame."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    found = _BY_CODE.get(code & 0xFF)
    if found is FAILING:  # so says SQLite where it can't make or map a journal, whatever the reason
        return READ_ONLY if is_read_only(path) else FULL if is_full(path) else FAILING
    return found


def is_read_only(path: Path) -> bool:
    """Return whether nothing can be written into a folder that is there."""
    try:
        mounted = os.statvfs(path).f_flag & os.ST_RDONLY
    except OSError:
        return False
    return bool(mounted) or not os.access(path, os.W_OK, effective_ids=True)


def persist(path: Path, write: Callable[[], None], *, patient: bool = True) -> None:
    """Call `write`, one whole transaction, again and again until it succeeds.

    Args:
        path: the run directory.
        write: raises sqlite3.Error where it fails, and then has changed nothing.
        patient: whether to try again at all.

    Raises:
        StoreError: with the cause and what to do, when the patience with that cause is over.
        sqlite3.Error: if what was written is to blame, not the store.
    """
    begun = monotonic()
    while True:
        try:
            write()
        except sqlite3.Error as error:
            found = trouble(path, error)
            if found is None:
                raise
            waited = monotonic() - begun
            if not patient or waited >= found.patience:
                raise StoreError(_sentence(path, found, error, waited), found.cause) from error
            sleep(PAUSE)
        else:
            return


def _sentence(path: Path, found: Trouble, error: sqlite3.Error, waited: float) -> str:
    after = f" after {waited:.0f} s of trying" if waited >= 1 else ""
    said = f" ({error})" if found in (FAILING, DAMAGED) else ""
    return (
        f"{path / DATABASE} can't be written{after}: {found.cause}{said}; "
        f"{found.advice}, then `eostui resume {path.name}`; all that was flushed is kept"
    )


def reserve(path: Path) -> None:
    """Take up the room that the end of a run may need. Raises StoreError where there is none."""
    try:
        descriptor = open_regular(path / RESERVE, os.O_WRONLY | os.O_CREAT)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(RESERVED))  # zeros take no room on a disk that compresses
    except OSError as error:
        free_reserve(path)
        raise StoreError(f"{path}: no run can be written there: {error.strerror}") from None


def free_reserve(path: Path) -> None:
    """Give that room back; it is used by what is written next."""
    try:
        (path / RESERVE).unlink(missing_ok=True)
    except OSError:
        return  # read-only: nothing can be written then, so nothing needs the room
