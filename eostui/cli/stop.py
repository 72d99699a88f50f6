"""`stop`: a live run is ended."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from eostui.cli.options import LiveRunName, RunsDir
from eostui.errors import InputError, printable

#: How long `stop` waits for the engine to end.
_PATIENCE = 30.0


def stop(run: LiveRunName = None, runs_dir: RunsDir = None) -> None:
    """Stop a live run: the one named, else the newest live one. Its record stays.

    Of a sweep, all members that train save and stop, and no more are begun: `eostui resume` goes on.
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.store import commands
    from eostui.runs.store.liveness import engine_alive
    from eostui.sweeps.lookup import sweep_named

    folder = locations.runs_dir(runs_dir)
    if run is not None and (sweep := sweep_named(folder, run)) is not None:
        _stop_sweep(sweep)
        return
    entry = shelf.find(folder, run, live=True)
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


def _stop_sweep(path: Path) -> None:
    from eostui.sweeps.shelf import at_work, request_stop

    if not at_work(path):
        raise InputError(f"sweep {path.name} isn't at work")
    request_stop(path)
    deadline = time.monotonic() + _PATIENCE
    while at_work(path) and time.monotonic() < deadline:
        time.sleep(0.05)
    if at_work(path):
        raise InputError(
            f"sweep {path.name} was told to stop but hasn't within {_PATIENCE:.0f} s: "
            "its members take long steps"
        )
    print(printable(f"sweep {path.name} stopped"), file=sys.stderr)
