"""What a full shelf costs: `runs list`, and completing the name of a run, with a thousand runs on it."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eostui.bench.store import write_record
from eostui.runs.shelf_index import SETTLED

RUNS = 1000
#: Steps of each run.
_STEPS = 200
_TURNS = 5
#: The bars, for RUNS runs, by the key of the result: seconds.
BARS = {"list_seconds": 1.0, "completion_seconds": 0.3}

Say = Callable[[str, int, int | None], None]


def measure_shelf(say: Say, runs: int = RUNS, turns: int = _TURNS) -> dict[str, Any]:
    """Make a shelf in a temporary folder, and time whole commands on it.

    Args:
        say: told what is being done, and how much of how much.
        runs: how many there are.
        turns: of which the median is taken.

    Returns:
        `runs`; `first_list_seconds` of a list with nothing known of them, `list_seconds` of one after
        that, `completion_seconds` of `eostui attach ben<tab>`; and the `bars`.
    """
    with tempfile.TemporaryDirectory(prefix="eostui-bench-") as folder:
        shelf, cache = Path(folder) / "runs", Path(folder) / "cache"
        write_record(shelf / "bench-0000", _STEPS, lambda _: None)
        for number in range(1, runs):
            say("making runs", number, runs)
            shutil.copytree(shelf / "bench-0000", shelf / f"bench-{number:04}")
        time.sleep(SETTLED)  # what changed a moment ago isn't remembered
        environment = {**os.environ, "EOSTUI_RUNS": str(shelf), "EOSTUI_CACHE": str(cache)}

        def taken(*arguments: str, **more: str) -> tuple[float, str]:
            begun = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "eostui", *arguments], env={**environment, **more},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            return time.perf_counter() - begun, done.stdout

        say("listing them", 0, None)
        first, listed = taken("runs", "list")
        lists = [taken("runs", "list")[0] for _ in range(turns)]
        say("completing a name", 0, None)
        asked = {"COMP_WORDS": "eostui attach ben", "COMP_CWORD": "2"}
        completed = [
            taken(_EOSTUI_COMPLETE="complete_bash", **asked)
            for _ in range(turns)
        ]  # fmt: skip
        assert listed.count("bench-") == runs
        assert all(names.count("bench-") == runs for _, names in completed)
    return {
        "runs": runs,
        "first_list_seconds": first,
        "list_seconds": statistics.median(lists),
        "completion_seconds": statistics.median(seconds for seconds, _ in completed),
        "bars": BARS,
    }
