"""What commands print: JSON for programs, tables and ages for people."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from rich.cells import cell_len

from eostui.cli.streams import sayable, speaks_unicode
from eostui.errors import InputError, printable
from eostui.text import plain

AnyPreset = TypeVar("AnyPreset", bound="PresetFile")

if TYPE_CHECKING:
    from eostui.config import RunConfig
    from eostui.presets import PresetFile
    from eostui.runs.shelf import Entry


def print_json(value: Any) -> None:
    """Print a value as one line of JSON; NaN and infinities become null, which JSON lacks."""
    whole = speaks_unicode(sys.stdout)
    text = json.dumps(plain(value), ensure_ascii=not whole, allow_nan=False)
    # a terminal would obey some of what JSON may hold as it is
    print("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text))


def print_table(
    rows: Sequence[Sequence[str]], file: TextIO | None = None, *, named: int | None = None
) -> None:
    """Print rows of texts in columns, the first row their titles.

    Args:
        rows: of one length.
        file: stdout if left out.
        named: the column that says which a row is. With it columns are left out from the right where a
            terminal is too narrow for all; alone it is cut at its beginning, since runs are found by the
            end of their ids. In a pipe, or without it, nothing is cut: ids are copied.
    """
    stream = file or sys.stdout
    cells = [[sayable(printable(cell), stream) for cell in row] for row in rows]
    room = math.inf
    if named is not None and stream.isatty():
        room = shutil.get_terminal_size().columns
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    shown = len(widths)
    while shown > (named or 0) + 1 and sum(widths[:shown]) + 2 * (shown - 1) > room:
        shown -= 1
    for row in cells:
        padded = [
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ]
        line = "  ".join(padded[:shown]).rstrip()
        if cell_len(line) > room:
            assert named is not None
            before = "  ".join([*padded[:named], ""])
            line = before + _end_of(row[named], int(room) - cell_len(before), stream)
        print(line, file=file)


def _end_of(text: str, room: int, stream: TextIO) -> str:
    """Return the end of a text that fits into `room` columns, marked as cut."""
    mark = "…" if sayable("…", stream) == "…" else "~"
    while text and cell_len(mark + text) > room:
        text = text[1:]
    return mark + text


def print_presets(
    names: Iterable[str],
    load: Callable[[str], AnyPreset],
    as_json: bool,
    passes: Callable[[AnyPreset], bool] = lambda _: True,
) -> None:
    """List presets of any kind that pass; one that can't be loaded is told on stderr, and hides none."""
    loaded = []
    for name in names:
        try:
            preset = load(name)
        except InputError as error:
            print(f"eostui: {printable(str(error))}", file=sys.stderr)
        else:
            if passes(preset):
                loaded.append((name, preset))
    if as_json:
        print_json([{"name": n, "path": str(p.path), "summary": p.summary} for n, p in loaded])
        return
    width = max((len(name) for name, _ in loaded), default=0)
    for name, preset in loaded:
        print(printable(f"{name:<{width}}  {preset.summary}"))


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


def unusual_dynamics(config: RunConfig) -> str:
    """Return the dynamics of a run in short, "" for gradient descent."""
    return "" if config.dynamics == "gradient-descent" else _in_short(config.dynamics)


def own_probes(config: RunConfig) -> str:
    """Return the user's own probes of a run in short."""
    return ", ".join(map(_in_short, config.probes))


def _in_short(name: str) -> str:
    """Return a name without the folder of a "file.py:Name"."""
    return name.rpartition("/")[2]
