"""Make the store that is kept of a format: run by the program that writes it, in its own checkout.

    git worktree add --detach OLD COMMIT
    cd OLD; PYTHON_OF_OLD KEPT/tests/stores/make.py KEPT/tests/stores/format-N

`OLD` is a checkout of the commit that README.md names for the format. What is made is a run of 60 steps
of ½(1 − xy)² in float64, which every machine computes to the same bits: η goes from 0.3 to 0.25 at step
40, and from format 3 on it is calibrated at step 30. Beside the run, in `format-N.csv`, lies what that
program exports of it. The map of the loss around the path, 80 kB, is kept in format 2 alone, which
brought it.
"""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

CONFIG = """
preset = "kept"
problem = "two-layer-scalar"
eta = 0.3
weight_decay = 0.001
steps = 60
cadence = 5
threads = 1
dtype = "float64"
{more}

[problem_arguments]
start = [2.2, 0.3]
"""
STEERED, CALIBRATED = 40, 30
#: The format whose store keeps its map.
MAPPED = 2


def main(path: Path) -> None:
    """Train, export, and leave nothing that the run doesn't need."""
    sys.path.insert(0, os.getcwd())
    socket.gethostname = lambda: "a-host"
    version = _version()
    scheduled = version >= 4
    if version != MAPPED:
        _without_map()
    if not scheduled:
        _by_commands(version)
    more = f"controls = [{{ step = {STEERED}, eta = 0.25 }}]\ncalibrate_at = {CALIBRATED}"
    request = {
        "config": CONFIG.format(more=more if scheduled else ""),
        "data_dir": str(path),
        "name": "kept",
        "watched": False,
    }
    if version < 6:
        request |= {"run_path": str(path), "resume": False, "changed_data": False}
    else:
        request |= {"path": str(path)}
    sys.stdin = io.StringIO(json.dumps(request))
    from eostui.engine.__main__ import main as train

    assert train() == 0
    asked = [sys.executable, "-m", "eostui", "export", str(path), "-o"]
    subprocess.run([*asked, str(path.with_suffix(".csv"))], check=True)
    path.with_suffix(".json").unlink(missing_ok=True)
    for name in ("lock", "reserve", "engine.log", "run.db-shm", "run.db-wal"):
        (path / name).unlink(missing_ok=True)
    (path / "commands").rmdir()


def _version() -> int:
    try:
        from eostui.runs.store import schema
    except ImportError:
        from eostui.runs import schema  # where it was up to format 5
    return int(schema.SCHEMA_VERSION)


def _without_map() -> None:
    try:
        from eostui.runs.store.writer import RunWriter
    except ImportError:
        from eostui.runs.writer import RunWriter
    RunWriter.landscape = lambda *_: None


def _by_commands(version: int) -> None:
    """Steer by commands, as before configs could: each sent right before its step."""
    from eostui.engine.controls import Controls
    from eostui.runs import commands

    poll = Controls.poll
    script = {STEERED: ("set", {"eta": 0.25})}
    if version >= 3:
        script[CALIBRATED] = ("calibrate", {})

    def polled(self, run_path, writer, step):
        if step in script:
            kind, arguments = script.pop(step)
            commands.send(run_path, kind, **arguments)
            self._polled_at = 0.0
        return poll(self, run_path, writer, step)

    Controls.poll = polled


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
