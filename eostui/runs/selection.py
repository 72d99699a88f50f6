"""Which runs of a shelf are meant: by their names, by a filter, by their group."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from eostui.errors import EostuiError, InputError
from eostui.runs import shelf
from eostui.runs.filter_fields import run_filter
from eostui.runs.shelf import Entry


@dataclasses.dataclass(frozen=True)
class Selection:
    """Runs that were chosen.

    Attributes:
        entries: the readable ones, each once.
        unread: why others of them can't be read.
    """

    entries: tuple[Entry, ...]
    unread: tuple[tuple[Path, str], ...] = ()

    @property
    def left_out(self) -> tuple[str, ...]:
        """A sentence on each of those."""
        return tuple(f"{path.name} is left out: {why}" for path, why in self.unread)


def filtered(entries: Iterable[Entry], text: str) -> list[Entry]:
    """Return the runs that a filter lets through, in their order. Raises InputError."""
    return list(filter(run_filter(text), entries))


def select(folder: Path, names: Sequence[str], text: str = "", group: str = "") -> Selection:
    """Return the runs that are named, and those of the shelf that a filter and a group let through.

    A run that is named and can't be read is told, and the rest goes on. The oldest of the filtered come
    first, as they were made; those named keep their order.

    Args:
        folder: the shelf.
        names: each as `shelf.find` takes it.
        text: a filter; "" for none.
        group: of the runs; "" for any.

    Raises:
        InputError: if a name is of no run, or of several; or the filter can't be understood.
    """
    found: dict[Path, Entry] = {}
    unread: dict[Path, str] = {}
    for name in names:
        try:
            entry = shelf.find(folder, name)
            found[entry.path] = entry
        except InputError:
            raise
        except EostuiError as error:
            unread[shelf.find_path(folder, name)] = str(error)
    if text or group or not names:
        entries, damaged = shelf.read(folder)
        entries = [entry for entry in entries if group in ("", entry.group)]
        for entry in reversed(filtered(entries, text)):
            found.setdefault(entry.path, entry)
        unread |= {path: str(error) for path, error in damaged.items()}
    return Selection(tuple(found.values()), tuple(unread.items()))
