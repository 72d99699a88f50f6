"""Names that runs and sweeps are given: each finds one thing of its shelf, a run or a sweep."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eostui.errors import InputError
from eostui.runs.edit import refuse_name, set_name
from eostui.runs.shelf import Entry, entries
from eostui.sweeps.lookup import found_sweeps

#: The file of a shelf whose lock is held by who makes a sweep or renames a run; it goes with that.
_LOCK = ".naming"
#: Seconds to wait for it: an engine may take half of that to answer that it has a name.
_PATIENCE = 60.0


@contextmanager
def only_namer(folder: Path) -> Iterator[None]:
    """Let nobody else make a sweep or rename a run on a shelf within; whoever does is waited for.

    So what is free when it is looked at within is free when it is taken, but for the name that a new run
    begins with. The shelf is made if it isn't there.

    Raises:
        InputError: if nothing can be made there, or another doesn't come to an end.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _locked_file(folder / _LOCK)
    except OSError as error:
        raise InputError(f"{folder}: nothing can be made there: {error.strerror}") from None
    try:
        yield
    finally:
        try:
            (folder / _LOCK).unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _locked_file(file: Path) -> int:
    """Return a descriptor of a file whose lock it has; the file is made where there is none."""
    end = time.monotonic() + _PATIENCE
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                return descriptor
        except FileNotFoundError:
            pass  # who had the lock took the file along
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(descriptor)
                raise InputError(
                    f"{file.parent}: another process has been making a sweep or renaming a run there for "
                    f"{_PATIENCE:.0f} seconds: end it"
                ) from None
            time.sleep(0.05)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def rename(entry: Entry, name: str, folder: Path) -> None:
    """Give a run a name to find it by; an empty one takes it away.

    Args:
        entry: the run.
        name: printable, and of no other run or sweep on the shelf.
        folder: the shelf.

    Raises:
        InputError: if the name can't be used, or the run can't be written to.
        EostuiError: if its engine doesn't answer.
    """
    with only_namer(folder):
        check_name(name, folder, entry.path)
        set_name(entry, name)


def check_name(name: str, folder: Path, own: Path | None = None) -> None:
    """Raise InputError if a run or a sweep can't have a name, or it finds another of the shelf.

    Args:
        name: may be empty: none.
        folder: the shelf.
        own: the run's directory, if it has one already.
    """
    refusal = refuse_name(name)
    if refusal:
        raise InputError(refusal)
    if not name:
        return
    for run in entries(folder):
        if run.path != own and (name == run.name or run.id.endswith(name)):
            raise InputError(f"the name `{name}` already finds {run.id}: choose another")
    for sweep in found_sweeps(folder, name):
        raise InputError(f"the name `{name}` already finds sweep {sweep.name}: choose another")
