"""Whether a run came to its end, or may be gone on with to get there."""

from __future__ import annotations

from eostui.runs.analysis.stops import KINDS, ended_by
from eostui.runs.shelf import Entry
from eostui.runs.store.lookup import events_of
from eostui.runs.store.reader import RunReader

#: States of runs that came to their end.
ENDS = ("finished", "diverged")


def is_complete(run: Entry) -> bool:
    """Return whether a run came to its end: its last step, what it was to stop at, or divergence.

    Raises:
        RunFormatError: if its events can't be read.
    """
    if run.state != "stopped":
        return run.state in ENDS
    reader = RunReader(run.path)
    try:
        return ended_by(events_of(reader, *KINDS)) is not None
    finally:
        reader.close()
