"""How a run ended, in a sentence, also where its engine could not record it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from eostui.errors import printable
from eostui.runs.store.durable import is_read_only
from eostui.runs.store.filesystem import open_regular
from eostui.runs.store.schema import ENGINE_LOG

#: Before an engine's last words in its log: other lines there are those of libraries.
LAST_WORDS = "eostui: "
_TAIL = 8192


def end_sentence(path: Path, facts: Mapping[str, str], state: str) -> str:
    """Return how a run ended that is no longer live.

    Args:
        path: the run directory.
        facts: its facts.
        state: its state; `interrupted` where the engine is gone without having recorded its end.
    """
    if state != "interrupted":
        return facts.get("sentence", f"the run is {state}")
    said = last_words(path)
    if said:
        return f"interrupted: {said}"
    if is_read_only(path):
        return f"interrupted: its engine is gone, and {path} can't be written to"
    return "interrupted: its engine is gone"


def last_words(path: Path) -> str:
    """Return what the engine said last in its log, or "" if it was silenced."""
    try:
        descriptor = open_regular(path / ENGINE_LOG, os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as log:
            log.seek(max(os.fstat(descriptor).st_size - _TAIL, 0))
            lines = log.read(_TAIL).decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    last = lines[-1] if lines else ""
    return printable(last.removeprefix(LAST_WORDS)) if last.startswith(LAST_WORDS) else ""
