"""`stop`: a live run is ended."""

from __future__ import annotations

import sys
import time

from eostui.cli.options import LiveRunName, RunsDir
from eostui.errors import InputError, printable

#: How long `stop` waits for the engine to end.
_PATIENCE = 30.0


def stop(run: LiveRunName = None, runs_dir: RunsDir = None) -> None:
    """Stop a live run: the one named, else the newest live one. Its record stays."""
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.store import commands
    from eostui.runs.store.liveness import engine_alive

    entry = shelf.find(locations.runs_dir(runs_dir), run, live=True)
    commands.send(entry.path, "stop")
    deadline = time.monotonic() + _PATIENCE
    while engine_alive(entry.path) and time.monotonic() < deadline:
        time.sleep(0.05)
    ended = shelf.read_entry(entry.path)
    if ended.live:
        raise InputError(
            f"{entry.id} was told to stop but hasn't within {_PATIENCE:.0f} s; "
            f"its engine's output is in {entry.path}/engine.log"
        )
    print(printable(f"{ended.id}: {ended.sentence}"), file=sys.stderr)
