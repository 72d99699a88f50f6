"""Opening a store to read it, whoever wrote it: nothing in it may run, reach out or fill the memory."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from eostui.errors import BusyError, RunFormatError, printable
from eostui.runs.store import schema
from eostui.runs.store.filesystem import is_full, open_regular

#: No cell is larger, in bytes: 5 million steps in one flush; what an engine writes has 1024 at most.
MOST_BYTES = 1 << 28
#: What Python raises for a damaged store: names, and what SQLite says of them, may be no text.
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
#: How a rollback journal ends that has a super-journal.
_SEVERAL = bytes.fromhex("d9d505f920a163d7")
#: Seconds that a reader waits for another program's lock.
PATIENCE = 1.0


def connect(database: Path) -> sqlite3.Connection:
    """Open a store read-only. Where no log can be made, and there is none to read, skip its locks.

    Raises:
        RunFormatError: if it is no store, or has in it what no eostui puts there.
    """
    refuse_foreign_files(database)
    connection = _open(database, "")
    try:
        connection.execute("SELECT 1 FROM run LIMIT 1").fetchall()
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK:
            raise RunFormatError(
                f"{database}: a write to it was interrupted and isn't rolled back yet; "
                f"`eostui runs repair {database.parent.name}` makes a copy in which it is"
            ) from None
        if not _makes_no_log(database, error.sqlite_errorcode & 0xFF):
            raise unreadable(database, error) from None
        connection = _open(database, "&immutable=1")
    except UNREADABLE as error:
        connection.close()
        raise unreadable(database, error) from None
    try:
        _refuse_foreign_schema(connection, database)
    except RunFormatError:
        connection.close()
        raise
    return connection


def _makes_no_log(database: Path, code: int) -> bool:
    """Return whether a store failed with a code only since nothing can be written beside it."""
    unwritable = code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
    if not unwritable and not (code == sqlite3.SQLITE_IOERR and is_full(database.parent)):
        return False
    log = database.with_name(f"{database.name}-wal")
    return not log.exists() or (not unwritable and not log.stat().st_size)


def unreadable(database: Path, error: Exception) -> RunFormatError:
    """Return the error, with a sentence, that reading a store failed with."""
    said = printable(" ".join(str(error).split()))  # it may quote what is in the file
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return BusyError(
            f"{database}: locked by another program, and can be read when that lets go"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return RunFormatError(f"{database}: damaged or not a run: {said}")
    return RunFormatError(f"{database}: can't be read: {said}")


def _open(database: Path, options: str) -> sqlite3.Connection:
    uri = f"{database.absolute().as_uri()}?mode=ro{options}"
    try:
        connection = sqlite3.connect(
            uri, uri=True, check_same_thread=False, isolation_level=None, timeout=PATIENCE
        )
    except sqlite3.Error as error:
        raise unreadable(database, error) from None
    restrain(connection)
    return connection


def refuse_foreign_files(database: Path) -> None:
    """Raise RunFormatError if SQLite, by opening a store, could change files elsewhere.

    It writes through a store or log that is a link, and deletes the file that a journal of several
    databases names (https://www.sqlite.org/fileformat2.html, the super-journal).
    """
    for ending in ("", "-wal", "-shm", "-journal"):
        file = database.with_name(database.name + ending)
        if file.is_symlink():
            raise RunFormatError(f"{file}: is a link, and a run's files lie in its own directory")
    journal = database.with_name(f"{database.name}-journal")
    try:
        with open(open_regular(journal, os.O_RDONLY), "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(size - len(_SEVERAL), 0))
            if stream.read() == _SEVERAL:
                raise RunFormatError(f"{journal}: is of several databases, and a run has one")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunFormatError(f"{journal}: can't be read: {error.strerror}") from None


def restrain(connection: sqlite3.Connection) -> None:
    """Let a connection only read, with no functions that have effects, and no huge cells."""
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA query_only=ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)


def _refuse_foreign_schema(connection: sqlite3.Connection, database: Path) -> None:
    """Raise RunFormatError unless the store has only tables and indices, and columns that are stored."""
    try:
        found = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        for kind, name, sql in found:
            if kind not in ("table", "index") or str(sql).lstrip().upper().startswith(
                "CREATE VIRTUAL"
            ):
                what = "a virtual table" if kind == "table" else f"a {kind}"
                raise RunFormatError(f"{database}: not a run: `{name}` in it is {what}")
        for table in ("run", "seal", *schema.appended(1), *schema.appended()):
            columns = connection.execute(f"PRAGMA table_xinfo({table})").fetchall()
            if any(hidden for *_, hidden in columns):
                raise RunFormatError(f"{database}: not a run: `{table}` has computed columns")
    except UNREADABLE as error:
        raise unreadable(database, error) from None
