"""What the live view spends on one run: `python -m eostui.bench.viewer RUN`, in a process of its own.

Prints JSON: the seconds until all rows are read as the viewer reads them, those of a frame of its four
charts over the first FRAME_STEPS steps, those of a frame of the Compare screen with twenty times these
steps, and the peak memory of the process before that.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path

import eostui.tui.app  # noqa: F401 - all that the viewer loads
from eostui.bench import comparison
from eostui.charts.picture import draw
from eostui.charts.scales import StickyRange
from eostui.panels import PANELS
from eostui.panels.panel import chart_of
from eostui.panels.view import RunView
from eostui.runs.run import Run
from eostui.tui.follower import Follower

FRAME_STEPS = 100_000
#: Cells of one of four charts on a screen of 120 × 40.
_WIDTH, _HEIGHT = 58, 15
_FRAMES = 20


def main(path: Path) -> None:
    """Open the run, draw it, and print what that took."""
    start = time.perf_counter()
    feed = Follower(path)
    while True:
        reading = feed.fetch()
        feed.apply(reading)
        if not reading.more:
            break
    opened = time.perf_counter() - start
    _frame(feed.run)
    part = feed.run.until(FRAME_STEPS - 1)
    _frame(part)
    peak = _peak_bytes()
    several = comparison.compared(part)
    frames, compared = [], []
    for turn in range(_FRAMES):  # by turns: what else the machine does slows both
        frames.append(_frame(part))
        compared.append(comparison.frame(several, _WIDTH, _HEIGHT, float(turn)))
    print(
        json.dumps(
            {
                "last_step": feed.run.last_step,
                "open_seconds": opened,
                "frame_seconds": statistics.median(frames),
                "compared_runs": comparison.RUNS,
                "compared_frame_seconds": statistics.median(compared),
                "viewer_megabytes": peak / 1e6,
            }
        )
    )


def _frame(run: Run) -> float:
    """Draw the four charts; return the seconds that took. What a view derives once isn't counted."""
    view = RunView(run, "finished")
    start = time.perf_counter()
    for panel in PANELS:
        chart = chart_of(panel, view, panel.scales[0])
        draw(chart, _WIDTH, _HEIGHT, (0.0, float(run.last_step)), StickyRange())
    return time.perf_counter() - start


def _peak_bytes() -> float:
    """Return the peak of this process alone; getrusage counts what started it too."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
