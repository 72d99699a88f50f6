"""The file lock by which a living engine is known. POSIX only, as detached runs are."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from eostui.errors import EostuiError
from eostui.runs.store.schema import LOCK

#: A viewer's look at the lock holds it for microseconds; an engine waits that out.
_PATIENCE = 2.0


class EngineLock:
    """Held by an engine for as long as it lives; the system releases it however the engine ends."""

    def __init__(self, run_path: Path) -> None:
        try:
            self._descriptor = os.open(
                run_path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600
            )
        except OSError as error:
            raise EostuiError(f"{run_path / LOCK}: can't be opened: {error.strerror}") from None
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(self._descriptor)
                    raise EostuiError(f"{run_path}: another engine drives this run") from None
                time.sleep(0.02)
        try:
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            self.release()
            raise EostuiError(f"{run_path / LOCK}: can't be written: {error.strerror}") from None

    def release(self) -> None:
        """Give the lock up before the process ends."""
        os.close(self._descriptor)


def engine_alive(run_path: Path) -> bool:
    """Return whether an engine holds the lock of this run. Needs read permission only."""
    try:
        descriptor = os.open(run_path / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
