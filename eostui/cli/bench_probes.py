"""`bench --probes`: the table of what each probe costs."""

from __future__ import annotations

import math
from typing import Any


def probe_lines(found: dict[str, Any]) -> list[str]:
    """Return the lines of the table for one place: a reading in steps of bare descent, how often there
    is one, and what that adds to bare descent."""
    bare = found["bare_step"]
    lines = [
        f"{'one step of bare descent':<24}{bare * 1e3:10.2f} ms",
        f"{'':<24}{'a reading':>13}{'products':>11}{'every':>13}{'beside bare descent':>22}",
    ]
    for name, times in found["probes"].items():
        if times["why_not"]:
            lines.append(f"{name:<24}{'':>7}{times['why_not']}")
            continue
        reading, every = times["reading_seconds"] / bare, times["every"]
        often, share = "once", ""
        if not math.isnan(every):
            often = f"{every:.4g} steps" if every > 1 else "step"
            share = f"{100 * reading / every:.1f} %"
        lines.append(
            f"{name:<24}{reading:>7.3g} steps{times['products']:>11.1f}{often:>13}{share:>22}"
        )
    return lines
