"""The panel of the noise: cosines with their errors, chance, and how to get them."""

from __future__ import annotations

import math
from pathlib import Path

from made import facts, make_run, rows

from eostui.cli.static_plot import render
from eostui.figures.wanted import Wanted
from eostui.panels.noise import NOISE
from eostui.panels.panel import chart_of, title_of
from eostui.panels.view import RunView
from eostui.probes import OPTIONAL, described
from eostui.runs.run import Run
from eostui.runs.store.columns import BUILT_IN_COLUMNS
from eostui.runs.store.own_columns import probes_fact
from eostui.runs.store.readings import ProbeReading
from eostui.runs.store.writer import RunWriter


def test_it_draws_cosines_with_their_errors_and_chance(tmp_path: Path) -> None:
    stated = {"probes": probes_fact((*BUILT_IN_COLUMNS, *described([OPTIONAL["noise"]])))}
    writer = RunWriter(tmp_path / "made-aaaa", facts(60, **stated))
    writer.steps(0, rows(0, 60))
    for step in (0, 20, 40):
        cosines = {"noise_hessian_cosine": 0.5 + step / 100, "noise_gauss_newton_cosine": 0.9}
        values = cosines | {f"{name}_error": 0.05 for name in cosines}
        values |= {"noise_turned_cosine": 1e-3, "noise_directions": 20.0, "noise_trace": 3.0}
        if step == 40:  # one at which nothing moves has no cosine
            values = {"noise_directions": 0.0, "noise_trace": 0.0}
        writer.reading(ProbeReading(step, "noise", values, "raw", 0.1, 9))
    writer.close()
    with Run(writer.path) as run:
        view = RunView(run, "finished")
        curves = chart_of(NOISE, view, "linear").curves
        by_label = {curve.label: curve for curve in curves if curve.label}
        assert [*by_label] == ["chance", "Gv", "Hv"]
        known = by_label["Hv"]
        assert [y for y in known.y if not math.isnan(y)] == [0.5, 0.7]
        low, high = (c for c in curves if c.yields and c.colour.startswith("sharpness"))
        assert (low.y[0], high.y[0]) == (0.45, 0.55)
        assert title_of(NOISE, view, "linear")[-1] == "mean of 0 v ± its standard error"
        text = render(run, [Wanted("noise")], width=100, height=20, color=False)
        assert "Hv 0.7" in text


def test_without_the_probe_it_says_how_to_get_it(tmp_path: Path) -> None:
    with Run(make_run(tmp_path / "made-aaaa", 60)) as run:
        view = RunView(run, "finished")
        assert chart_of(NOISE, view, "linear").waiting == "no noise: --probe noise"
        assert title_of(NOISE, view, "linear") == ("cos(Hv, Σv), cos(Gv, Σv)",)
