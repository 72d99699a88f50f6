"""What viewers ask of a running engine: one small file each, taken in the order of their names."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from eostui.errors import EostuiError
from eostui.runs.store.filesystem import open_regular
from eostui.runs.store.schema import COMMANDS

_counter = itertools.count()
#: No command was given later, in ns: the year 2262. What says so has its name from somebody else.
_LAST_STAMP = 1 << 63


def send(run_path: Path, kind: str, **arguments: Any) -> str:
    """Ask the engine of `run_path` for something; return the command's id, which its event repeats.

    Kinds: `set` (controls by name), `probe` (its name, whether it is `on`), `pause`, `resume`, `step`,
    `stop`, `calibrate`, `reseat`, `checkpoint`, `stop_at` (at, value, after, or several as `any`; nothing
    to take it back), `rename` (name), `note` (note).

    Raises:
        EostuiError: if the command can't be written.
    """
    folder = _folder(run_path)
    stamp = f"{_stamp(folder):020d}-{os.getpid()}"
    try:
        command_id, file = _made_aside(folder, stamp)
        aside = folder / f".{command_id}"
        try:
            with file:
                file.write(json.dumps({"kind": kind, **arguments}))
            aside.rename(folder / f"{command_id}.json")
        except OSError:
            aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise EostuiError(f"{folder}: the command can't be written: {error.strerror}") from None
    return command_id


def take(run_path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Return and remove the waiting commands in order, as (id, content); used by the engine.

    A file that isn't a JSON object comes back as kind `unreadable`, for the engine to refuse. The folder
    is made anew where it is missing: not everything that copies a run keeps empty folders.
    """
    folder = _folder(run_path)
    taken: list[tuple[str, Mapping[str, Any]]] = []
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        folder.mkdir(mode=0o700)
        return taken
    for name in sorted(n for n in names if n.endswith(".json") and n[0] != "."):
        file = folder / name
        try:
            content = json.loads(_read(file))
        except (OSError, ValueError, RecursionError):
            content = None
        file.unlink(missing_ok=True)
        if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
            content = {"kind": "unreadable"}
        taken.append((file.stem, content))
    return taken


def _made_aside(folder: Path, stamp: str) -> tuple[str, TextIO]:
    """Return the id of a new command, and the new file, still hidden, that it is written to."""
    while True:
        command_id = f"{stamp}-{next(_counter):06d}"
        with contextlib.suppress(FileExistsError):  # a link maybe: nothing is written through it
            return command_id, (folder / f".{command_id}").open("x", encoding="utf-8")


def _stamp(folder: Path) -> int:
    """Return a time in ns after that of all commands that wait: a clock may have been put back."""
    try:
        waiting = [int(name[:20]) for name in os.listdir(folder) if name[:20].isdecimal()]
    except OSError:
        waiting = []  # writing there says what is wrong
    return max([time.time_ns(), *(stamp + 1 for stamp in waiting if stamp < _LAST_STAMP)])


def _folder(run_path: Path) -> Path:
    """Return the folder of commands. Raises EostuiError where it would lead out of the run."""
    folder = run_path / COMMANDS
    if folder.is_symlink():
        raise EostuiError(f"{folder}: is a link, and commands aren't passed through links")
    return folder


def _read(file: Path) -> str:
    """Return a command's text. Raises OSError if it is a link, a pipe or the like."""
    with os.fdopen(open_regular(file, os.O_RDONLY), encoding="utf-8") as stream:
        return stream.read()
