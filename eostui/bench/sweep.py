"""What a sweep costs beside its members' training: loading PyTorch, processes, records, waiting."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eostui.runs.analysis.duration import seconds_trained
from eostui.runs.run import Run
from eostui.sweeps import log
from eostui.sweeps.shelf import sweeps_of
from eostui.sweeps.sweep import Sweep

PRESET = "digits-mlp"
#: Members, and steps of each: some seconds, which is little for what is spent on any member.
MEMBERS, _STEPS = 20, 2000
#: The bar, by the key of the result.
BARS = {"ratio": 1.1}

Say = Callable[[str, int, int | None], None]


def measure_sweep(say: Say, members: int = MEMBERS, steps: int = _STEPS) -> dict[str, Any]:
    """Run a sweep in a temporary folder, as a whole command.

    Args:
        say: told what is being done.
        members: how many it has.
        steps: of each.

    Returns:
        `members`, `steps`, `workers`; `wall_seconds` of the command, `member_seconds` that a member
        trained in the mean, `ratio` of the first to all that was trained over the workers; the `bars`.
    """
    with tempfile.TemporaryDirectory(prefix="eostui-bench-") as folder:
        say(f"a sweep of {members} members", 0, None)
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "eostui", "sweep", PRESET, "--seed", f"1..{members}",
             "--steps", str(steps), "--runs-dir", folder],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        wall = time.perf_counter() - begun
        (path,) = sweeps_of(Path(folder))
        trained = [_trained(member.path) for member in Sweep(path).members]
        workers = next(e["workers"] for e in log.read(path) if e["kind"] == log.BEGUN)
    return {
        "members": members,
        "steps": steps,
        "workers": workers,
        "wall_seconds": wall,
        "member_seconds": sum(trained) / members,
        "ratio": wall / (sum(trained) / workers),
        "bars": BARS,
    }


def _trained(path: Path) -> float:
    with Run(path) as run:
        return seconds_trained(float(run.facts["created"]), run.events, time.time())
