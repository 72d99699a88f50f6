"""How soon the next run is there: `python -m eostui.bench.start standby|cold TIMES`, in its own process.

The application itself is driven by keys, on a screen that nobody sees. Prints JSON: the seconds from a
key to the first row in the view, by what the key begins, and the memory of the process on standby.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from eostui import presets
from eostui.runs.launch import EngineProcess
from eostui.runs.store import commands
from eostui.tui.app import EostuiApp
from eostui.tui.screens.fork import ForkDialog
from eostui.tui.session import Settings

#: Seconds before a key in which nothing is done.
IDLE = 5.0
#: What a key begins, and the bar in seconds with an engine on standby.
BARS = {"next preset": 1.0, "previous preset": 1.0, "restart": 1.0, "fork": 1.5}
_KEYS = {"next preset": "n", "previous preset": "p", "restart": "r", "fork": "f"}
_PATIENCE = 120.0


def measure_starts(times: int, cold: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Time each of BARS with an engine on standby, and without.

    Args:
        times: how often with one; fewer than one for none.
        cold: how often without.
        say: told what is being done.

    Returns:
        `warm_seconds` and `cold_seconds`, lists by what is begun, the `bars`, and in megabytes
        `standby_resident` and `standby_own`, what would be free without it (None where the system
        doesn't tell).
    """
    say("with an engine on standby")
    warm = _in_its_own_process("standby", times)
    say("without")
    without = _in_its_own_process("cold", cold)
    return {
        "warm_seconds": warm["seconds"], "cold_seconds": without["seconds"], "bars": BARS,
        **warm["memory"],
    }  # fmt: skip


def _in_its_own_process(how: str, times: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "eostui.bench.start", how, str(times)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def _drive(standby: bool, times: int, folder: Path) -> dict[str, Any]:
    config = presets.load(presets.DEFAULT_PRESET).config
    app = EostuiApp(
        Settings(folder, folder, standby=standby), EngineProcess(config, folder, folder)
    )
    seconds: dict[str, list[float]] = {what: [] for what in BARS}
    memory: dict[str, float | None] = {}
    async with app.run_test(size=(120, 40)) as pilot:
        await _until(lambda: _row(app, None))
        for _ in range(times):
            for what, key in _KEYS.items():
                await pilot.pause(IDLE)
                await _until(lambda: not standby or app.engines.standby.warm)
                if standby and not memory and app.engines.standby.idle is not None:
                    memory = _memory(app.engines.standby.idle.process.pid)
                before = app.session.path
                if what == "fork":  # asked for, and then begun by `enter`
                    app.simulate_key(key)
                    await _until(lambda: isinstance(app.screen, ForkDialog))
                    await pilot.pause(0.5)
                    key = "enter"
                begin = time.perf_counter()
                app.simulate_key(key)
                await _until(partial(_row, app, before))
                seconds[what].append(time.perf_counter() - begin)
                if what == "fork" and before is not None:  # it would train on beside it
                    commands.send(before, "stop")
        for path in app.session.training:
            commands.send(path, "stop")
        await _until(lambda: not app.session.training)
    return {"seconds": seconds, "memory": memory}


def _row(app: EostuiApp, before: Path | None) -> bool:
    """Whether a run other than the one before is shown, with a row that it made itself."""
    run = app.session.run
    if run is None or run.path == before:
        return False
    return run.last_step >= int(run.facts.get("parent_step", "0"))


async def _until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing came of a key in {_PATIENCE:g} s")
        await asyncio.sleep(0.005)


def _memory(pid: int) -> dict[str, float | None]:
    """Return what a process has in memory, and what of it is its own, in megabytes."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {"standby_resident": None, "standby_own": None}
    kilobytes = {line.split(":")[0]: float(line.split()[1]) for line in lines}
    own = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return {"standby_resident": kilobytes["Rss"] * 1.024e-3, "standby_own": own * 1.024e-3}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="eostui-bench-", ignore_cleanup_errors=True) as place:
        result = asyncio.run(_drive(sys.argv[1] == "standby", int(sys.argv[2]), Path(place)))
    print(json.dumps(result))
