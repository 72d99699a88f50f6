"""Which part of x the charts show, and axes that stay put while a run goes on."""

from __future__ import annotations

import numpy as np

from eostui.charts.scales import StickyRange
from eostui.tui.window import Window


def test_a_live_axis_moves_seldom() -> None:
    """While a curve climbs through 1000 frames, its axis changes a handful of times."""
    sticky = StickyRange()
    seen = {sticky.fit(0.0, top, floor=0.0) for top in np.linspace(1, 100, 1000)}
    assert len(seen) < 18
    assert all(bottom == 0 for bottom, _ in seen)
    window = Window()
    assert len({window.range(last) for last in range(12_000)}) < 30


def test_window_zooms_pans_and_follows() -> None:
    window = Window()
    assert window.range(9_000) == (0, 10_000)
    window.scale(-1, 9_000, 1)
    left, right = window.range(9_000)
    assert right - left == 5_000
    assert left < 9_000 < right
    assert window.range(right + 1)[1] > right  # following: it jumps ahead
    window.pan(-1, 9_000, 1)
    assert window.range(9_000) == window.range(20_000)  # looking back: it stays
    window.follow()
    left, right = window.range(20_000)
    assert left <= 20_000 <= right
    window.show_all()
    assert window.range(9_000) == (0, 10_000)
