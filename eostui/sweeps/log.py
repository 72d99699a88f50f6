"""What happened to a sweep: a line of JSON for each event, the newest last."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

#: The file in a sweep's directory.
LOG = "log.jsonl"
#: Kinds of events: a process took the sweep up, or let it go; a member's engine was started, or ended;
#: a member could not begin.
BEGUN, LET_GO, STARTED, ENDED, REFUSED = "begun", "let go", "started", "ended", "refused"


def write(path: Path, kind: str, **more: Any) -> None:
    """Append an event; where that can't be, the sweep goes on without."""
    line = json.dumps({"time": time.time(), "kind": kind, **more}, ensure_ascii=False)
    with contextlib.suppress(OSError), open(path / LOG, "a", encoding="utf-8") as log:
        log.write(line + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """Return all events; a line that was cut by the end of its writer is left out."""
    events = []
    with contextlib.suppress(OSError):
        for line in (path / LOG).read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and isinstance(event.get("kind"), str):
                    events.append(event)
    return events


def begun(path: Path) -> set[str]:
    """Return the names of the runs of members that were started."""
    return {str(event.get("run", "")) for event in read(path) if event["kind"] == STARTED}


def refusals(path: Path) -> dict[str, str]:
    """Return why members could not begin when they were tried last, by the names of their runs."""
    found: dict[str, str] = {}
    for event in read(path):
        run = str(event.get("run", ""))
        if event["kind"] == REFUSED:
            found[run] = str(event.get("sentence", ""))
        elif event["kind"] in (STARTED, ENDED):
            found.pop(run, None)
    return found
