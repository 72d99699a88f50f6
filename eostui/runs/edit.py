"""Names and notes: the facts of a run that people change after it began."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from eostui.errors import EostuiError, InputError
from eostui.runs.shelf import Entry
from eostui.runs.store import commands, schema
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.lookup import events_of
from eostui.runs.store.reader import RunReader
from eostui.runs.store.writer import RunWriter

#: Characters that a name and a note may have at most.
MOST_NAME, MOST_NOTE = 100, 10_000
#: Seconds that a living engine is given to obey: it looks between two steps.
_PATIENCE = 30.0


def set_name(entry: Entry, name: str) -> None:
    """Write a run's name into its record, whatever else has it; an empty one takes it away.

    Raises:
        InputError: if the run can't be written to.
        EostuiError: if its engine doesn't answer.
    """
    _set(entry, "rename", {"name": name})


def note(entry: Entry, text: str) -> None:
    """Write a note into a run's record, in place of the one before; an empty one takes it away.

    Raises:
        InputError: if it is too long, or the run can't be written to.
        EostuiError: if its engine doesn't answer.
    """
    refusal = refuse_note(text)
    if refusal:
        raise InputError(refusal)
    _set(entry, "note", {"note": text})


def refuse_name(name: object, what: str = "name") -> str | None:
    """Return why a run can't have this name, or its group can't, or None."""
    if not isinstance(name, str) or not name.isprintable():
        return f"a {what} must be text without control characters"
    if len(name) > MOST_NAME:
        return f"a {what} has at most {MOST_NAME} characters, but this one has {len(name)}"
    if name != name.strip() or name.startswith(("-", ".")) or "/" in name:
        return (
            f"the {what} `{name}` can't be typed as one: no / in it, no space at its ends, no - or . "
            "at its start"
        )
    return None


def refuse_note(text: object) -> str | None:
    """Return why this can't be a note, or None."""
    if not isinstance(text, str) or not text.replace("\n", "").replace("\t", "").isprintable():
        return "a note must be text without control characters"
    if len(text) > MOST_NOTE:
        return f"a note has at most {MOST_NOTE} characters, but this one has {len(text)}"
    return None


def _set(entry: Entry, kind: str, facts: Mapping[str, str]) -> None:
    """Have the engine set facts, the run's only writer; where there is none, in its place."""
    if engine_alive(entry.path):
        command = commands.send(entry.path, kind, **facts)
        if _answered(entry.path, command):
            return
        (entry.path / schema.COMMANDS / f"{command}.json").unlink(missing_ok=True)
    writer = RunWriter(entry.path)
    for key, value in facts.items():
        writer.fact(key, value)
    writer.close()


def _answered(path: Path, command: str) -> bool:
    """Return whether the engine obeyed; False if it ended before. Raises EostuiError otherwise."""
    reader = RunReader(path)
    deadline = time.monotonic() + _PATIENCE
    try:
        while True:
            alive = engine_alive(path)  # asked first: what it did last is read after
            for event in (*events_of(reader, "obeyed"), *events_of(reader, "refused")):
                if event.payload.get("command") == command:
                    if event.kind == "refused":
                        raise InputError(f"{path.name}: {event.payload['reason']}")
                    return True
            if not alive:
                return False
            if time.monotonic() > deadline:
                raise EostuiError(
                    f"{path.name} hasn't answered within {_PATIENCE:.0f} s; it will when its engine "
                    "gets to it"
                )
            time.sleep(0.02)
    finally:
        reader.close()
