"""What viewers ask of a running engine: one small file each, taken in the order of their names."""

from __future__ import annotations

import itertools
import json
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eostui.errors import EostuiError
from eostui.runs.schema import COMMANDS

_counter = itertools.count()


def send(run_path: Path, kind: str, **arguments: Any) -> str:
    """Ask the engine of `run_path` for something; return the command's id, which its event repeats.

    Kinds: `set` (eta and/or weight_decay), `pause`, `resume`, `step`, `stop`, `calibrate`, `reseat`,
    `checkpoint`, `rename` (name), `note` (note).

    Raises:
        EostuiError: if the command can't be written.
    """
    folder = _folder(run_path)
    command_id = f"{_stamp(folder):020d}-{os.getpid()}-{next(_counter):06d}"
    aside = folder / f".{command_id}"
    try:
        aside.write_text(json.dumps({"kind": kind, **arguments}), encoding="utf-8")
        aside.rename(folder / f"{command_id}.json")
    except OSError as error:
        raise EostuiError(f"{folder}: the command can't be written: {error.strerror}") from None
    return command_id


def take(run_path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Return and remove the waiting commands in order, as (id, content); used by the engine.

    A file that isn't a JSON object comes back as kind `unreadable`, for the engine to refuse.
    """
    folder = _folder(run_path)
    taken: list[tuple[str, Mapping[str, Any]]] = []
    for name in sorted(n for n in os.listdir(folder) if n.endswith(".json") and n[0] != "."):
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


def _stamp(folder: Path) -> int:
    """Return a time in ns after that of all commands that wait: a clock may have been put back."""
    try:
        waiting = [int(name[:20]) for name in os.listdir(folder) if name[:20].isdecimal()]
    except OSError:
        waiting = []  # writing there says what is wrong
    return max([time.time_ns(), *(stamp + 1 for stamp in waiting)])


def _folder(run_path: Path) -> Path:
    """Return the folder of commands. Raises EostuiError where it would lead out of the run."""
    folder = run_path / COMMANDS
    if folder.is_symlink():
        raise EostuiError(f"{folder}: is a link, and commands aren't passed through links")
    return folder


def _read(file: Path) -> str:
    """Return a command's text. Raises OSError if it is a link, a pipe or the like."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, encoding="utf-8") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("no regular file")
        return stream.read()
