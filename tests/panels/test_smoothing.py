"""Medians over the raw curves: which, of how many points, and that the raw ones stay."""

from __future__ import annotations

import numpy as np
from made import make_run

from eostui.panels import PANELS
from eostui.panels.panel import chart_of, title_of
from eostui.panels.view import SMOOTHINGS, RunView
from eostui.runs.run import Run

LOSS, OSCILLATOR = (next(p for p in PANELS if p.name == name) for name in ("loss", "oscillator"))


def curves(view, panel=LOSS):
    chart = chart_of(panel, view, "linear")
    return {curve.label: curve for curve in chart.curves}, title_of(panel, view, "linear", chart)


def test_medians_lie_over_the_raw_curve_and_the_title_says_so(tmp_path):
    """Of 20 points each, as numpy has them; the raw curve is stippled below, whole."""
    with Run(make_run(tmp_path / "r", 250)) as run:
        view = RunView(run, "finished")
        before, title = curves(view)
        assert "~L" not in before
        assert not any("median" in part for part in title)
        view.smoothing = SMOOTHINGS[0]
        chart = chart_of(LOSS, view, "linear")
        (at,) = (at for at, curve in enumerate(chart.curves) if curve.label == "~L")
        raw, smooth = chart.curves[at - 1], chart.curves[at]
        loss = run.steps["loss"]
        blocks = loss[: len(loss) // 20 * 20].reshape(-1, 20)
        np.testing.assert_array_equal(smooth.y, np.median(blocks, axis=1))
        np.testing.assert_array_equal(smooth.x, np.arange(len(blocks)) * 20 + 9)
        assert (raw.pattern, raw.colour, raw.label, len(raw.y)) == (
            "stippled",
            "loss dim",
            "",
            len(loss),
        )
        assert title_of(LOSS, view, "linear", chart)[1] == "~ median of 20 points"


def test_what_has_too_few_points_stays_as_it_is_and_says_nothing(tmp_path):
    with Run(make_run(tmp_path / "r", 250)) as run:
        view = RunView(run, "finished")
        view.smoothing = 500
        shown, title = curves(view)
        assert "L" in shown
        assert "~L" not in shown
        assert not any("median" in part for part in title)


def test_an_alternation_is_gone_from_its_medians(tmp_path):
    """L = 1 ± 1: the median of an even number of points is the middle of the band."""
    with Run(make_run(tmp_path / "r", 250)) as run:
        view = RunView(run, "finished")
        view.smoothing = 20
        bounce = 1 + (-1.0) ** np.arange(101)
        _, medians = view.smoothed("bounce", bounce)
        np.testing.assert_array_equal(medians, np.ones(5))
        longer = np.concatenate([bounce, np.full(40, 3.0)])
        np.testing.assert_array_equal(view.smoothed("bounce", longer)[1][5:], [3.0, 3.0])
        np.testing.assert_array_equal(view.smoothed("bounce", bounce)[1], np.ones(5))
