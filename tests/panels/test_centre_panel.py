"""The panel of the prediction that lasts: what it draws, and what it says before there is anything."""

from __future__ import annotations

import re

import numpy as np
import pytest
from engines import here, small
from shown import on_screen, settled

from eostui.panels import PANELS
from eostui.panels.centre import CENTRE
from eostui.panels.panel import chart_of, title_of
from eostui.panels.view import RunView
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

TOY = {
    "problem": "cubic-normal-form", "dtype": "float64", "eta": 0.5, "weight_decay": 0.05, "cadence": 5,
    "far_cadence": 0, "steps": 300,
    "problem_arguments": {"a": 0.06, "b": 1.0, "s_star": 0.5, "x_star": 0.0, "eta_star": 0.5,
                          "start": [0.02, 0.0]},
}  # fmt: skip


def test_the_prediction_stands_beside_what_was_measured(tmp_path):
    with Run(here(small(**TOY, probes=["centre"]), tmp_path)) as run:
        view, measured = RunView(run, "finished"), run.measured
        drawn = {curve.label: curve for curve in chart_of(CENTRE, view, "linear").curves}
        known = np.isfinite(measured["centre_sharpness"])
        np.testing.assert_array_equal(drawn["S of c"].y, measured["centre_sharpness"][known])
        np.testing.assert_array_equal(drawn["S of c"].x, measured["step"][known])
        np.testing.assert_array_equal(drawn["S"].y, measured["sharpness"])
        _, off, bounce = title_of(CENTRE, view, "linear")
        share = 100 * measured["centre_distance"][-1] / measured["centre_way"][-1]
        assert off == f"off by {share:.0f} % of its way"
        predicted, met = map(float, re.findall(r"\d[\d.e-]*", bounce))
        assert predicted == pytest.approx(measured["centre_radius"][-1], rel=0.06)
        assert met == pytest.approx(run.steps["bounce_norm"][-2], rel=0.06)


def test_without_the_probe_and_before_the_edge_it_says_so(tmp_path):
    with Run(here(small(**TOY), tmp_path)) as run:
        chart = chart_of(CENTRE, RunView(run, "finished"), "linear")
        assert (chart.curves, chart.waiting) == ([], "no prediction: --probe centre")
    below = {**TOY, "eta": 0.1, "steps": 20}
    with Run(here(small(**below, probes=["centre"]), tmp_path)) as run:
        chart = chart_of(CENTRE, RunView(run, "finished"), "linear")
        assert chart.waiting == "it begins when S reaches its threshold"
        assert title_of(CENTRE, RunView(run, "finished"), "linear") == (
            "prediction: centre and bounce",
        )


@pytest.mark.parametrize("probes", [[], ["centre"]])
def test_a_panel_has_a_tab_where_its_probe_measures(tmp_path, probes):
    """The key that goes from panel to panel goes round those that have one."""
    path = here(small(**TOY, probes=probes), tmp_path)
    expected = [panel.name for panel in PANELS if not panel.probes or (panel is CENTRE and probes)]

    async def check(app, pilot):
        await settled(pilot)
        seen = []
        for _ in expected:
            seen.append(PANELS[app.screen.focused_panel].name)
            app.screen.action_next_panel(1)
        assert seen == expected
        assert app.screen.focused_panel == 0
        app.screen.action_next_panel(-1)
        await settled(pilot)
        assert PANELS[app.screen.focused_panel].name == expected[-1]
        tabs = app.screen.query_one("#tabs").render().plain
        assert expected[-1] in tabs
        assert ("centre" in tabs) == bool(probes)

    on_screen(path, check, (80, 24))
