"""Which runs to clear away: by age, size and state; and how much that frees."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eostui.errors import InputError, did_you_mean
from eostui.runs.shelf import STATES, Entry
from eostui.runs.store import schema
from eostui.runs.store.liveness import EngineLock, engine_alive

CHECKPOINTS = "checkpoints"

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}  # fmt: skip


@dataclass(frozen=True)
class Criteria:
    """What a run must be to be cleared away; a live one never is.

    Attributes:
        older_than: seconds since it ended, or if that isn't on record since it was last written to.
        larger_than: bytes.
        states: any of these, all if empty.
        keep: so many of the newest that match are spared.
    """

    older_than: float = 0.0
    larger_than: float = 0.0
    states: tuple[str, ...] = ()
    keep: int = 0

    def choose(self, shelf: Sequence[Entry], now: float) -> list[Entry]:
        """Return those of a shelf, newest first, that are to go."""
        matching = [
            entry
            for entry in shelf
            if not entry.live
            and now - entry.ended >= self.older_than
            and (not self.states or entry.state in self.states)
            and (not self.larger_than or size(entry.path) > self.larger_than)
        ]
        return matching[self.keep :]


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder; links aren't followed."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue  # gone meanwhile
    return total


def checkpoint_files(entry: Entry) -> list[Path]:
    """Return the checkpoints that a run can do without, oldest first.

    That at which its own steps begin stays, where they don't begin at 0: nothing else leads to them.
    None are returned if their folder is a link elsewhere.
    """
    folder = entry.path / CHECKPOINTS
    if folder.is_symlink() or not folder.is_dir():
        return []
    origin = f"{entry.origin:012d}.safetensors" if entry.origin else ""
    return sorted(file for file in folder.glob("*.safetensors") if file.name != origin)


def delete_checkpoints(entry: Entry) -> int:
    """Delete the `checkpoint_files` of a run that no engine drives; return the bytes freed.

    Raises:
        InputError: if its engine is alive, or they can't be deleted.
        EostuiError: if an engine begins to drive it.
    """
    if engine_alive(entry.path):
        raise InputError(f"{entry.id} is still {entry.state}: `eostui stop {entry.id}` first")
    freed = 0
    try:
        lock = EngineLock(entry.path)  # nobody resumes from one while it goes
        try:
            for file in checkpoint_files(entry):
                length = file.lstat().st_size
                file.unlink()
                freed += length
        finally:
            lock.release()
    except OSError as error:
        raise InputError(f"{entry.path}: can't be deleted from: {error.strerror}") from None
    return freed


def parse_duration(text: str, flag: str) -> float:
    """Return seconds of a text such as 30d, 12h, 90min. Raises InputError."""
    return _parse(text, flag, _SECONDS, "30d, 12h or 90min")


def parse_size(text: str, flag: str) -> float:
    """Return bytes of a text such as 1GB, 500MB, 2GiB. Raises InputError."""
    return _parse(text, flag, _BYTES, "1GB, 500MB or 2GiB")


def parse_states(text: str, flag: str) -> tuple[str, ...]:
    """Return the states in a text such as finished,stopped; `live` is running and paused.

    Raises:
        InputError: if there is no such state.
    """
    found: list[str] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word == "live":
            found += schema.LIVE_STATES
        elif word in STATES:
            found.append(word)
        else:
            raise InputError(
                f"{flag} is `{word}`, but must be among live, {', '.join(STATES)}"
                f"{did_you_mean(word, ['live', *STATES])}"
            )
    return tuple(found)


def shown_size(count: float) -> str:
    """Return bytes as people read them."""
    for unit in ("TB", "GB", "MB", "kB"):
        if count >= _BYTES[unit]:
            return f"{count / _BYTES[unit]:.3g} {unit}"
    return f"{count:.0f} B"


def _parse(text: str, flag: str, units: dict[str, int], examples: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text.strip())
    if match is None or match[2] not in units:
        raise InputError(f"{flag} is `{text}`, but must be like {examples}")
    return float(match[1]) * units[match[2]]
