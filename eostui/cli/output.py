"""What commands print: JSON on stdout for programs, progress on stderr for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from eostui.errors import printable

if TYPE_CHECKING:
    from eostui.runs.shelf import Entry

#: Told how much of how much is done.
Report = Callable[[int, int], None]


def drop(stream: TextIO) -> None:
    """Let go nowhere what a stream can't take any more, or Python fails by it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_json(value: Any) -> None:
    """Print a value as one line of JSON; NaN and infinities become null, which JSON lacks."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    # a terminal would obey some of what JSON may hold as it is
    print("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text))


def plain(value: Any) -> Any:
    """Return a value with NaN and infinities in it replaced by None."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value


def print_table(rows: Sequence[Sequence[str]], file: TextIO | None = None) -> None:
    """Print rows of texts in columns, the first row their titles; nothing is cut: ids are copied."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(map(str.ljust, row, widths)).rstrip(), file=file)


def readable(folder: Path) -> list[Entry]:
    """Return all readable runs of a folder, newest first; stderr tells of the others.

    Raises:
        InputError: if the folder can't be listed.
    """
    from eostui.runs import shelf

    entries, unread = shelf.read(folder)
    if unread:
        print(f"eostui: {printable(shelf.told_unread(unread))}", file=sys.stderr)
    return entries


@contextmanager
def progress_bar(label: str) -> Iterator[Report]:
    """A bar on stderr while the block runs, told how much of how much is done; none in a pipe."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
