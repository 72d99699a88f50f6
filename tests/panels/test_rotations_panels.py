"""The panels of rotations: what they draw of a run, in cells and on paper, and why there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made import make_run
from toy_runs import toy_config, train

from eostui.charts import shades
from eostui.charts.picture import draw
from eostui.charts.scales import StickyRange
from eostui.cli.static_plot import render
from eostui.figures.draw import draw as draw_figure
from eostui.figures.picture import Picture, Subplot
from eostui.figures.style import styled
from eostui.figures.wanted import Wanted
from eostui.panels.rotation_map import ROTATION_MAP
from eostui.panels.rotations import ROTATIONS
from eostui.panels.view import RunView
from eostui.problems import Problem
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")
TURN = 0.02


@pytest.fixture(scope="module")
def turning(tmp_path_factory):
    """A run at whose every step u₁ turns out of the span of the leading three by TURN."""
    values = torch.tensor([5.0, 4.0, 3.0, 1.0], dtype=torch.float64)

    def loss(theta):
        x, angle = theta[:4], 10 * TURN * theta[4]
        cosine, sine = torch.cos(angle), torch.sin(angle)
        turned = torch.stack([cosine * x[0] + sine * x[3], x[1], x[2], cosine * x[3] - sine * x[0]])
        return 0.5 * (values * turned**2).sum() - theta[4]

    problem = Problem(initial=torch.zeros(5).double(), loss=loss, convention="it turns")
    config = toy_config(
        "diagonal-net", steps=100, eta=0.1, cadence=5, probes=["rotations"], pin_at=20
    )
    return train(tmp_path_factory.mktemp("turning"), config, problem)[0]


def similarity(steps):
    """Of spans so many steps apart."""
    angle = np.arccos(np.abs(np.cos(TURN * np.abs(steps))))
    return np.cos(angle / np.sqrt(3))


def test_curves_are_those_of_the_known_rotation(turning):
    view = RunView(turning, "finished")
    chart = ROTATIONS.build(view, "linear")
    curves = {curve.label: curve for curve in chart.curves}
    assert [*curves] == ["T=1", "T=2", "u₁", "u₂", "u₃", "span"]
    assert curves["T=1"].pattern == "stippled"
    for lag in (1, 2):
        np.testing.assert_allclose(curves[f"T={lag}"].y, similarity(lag), atol=1e-9)
    x = curves["span"].x
    np.testing.assert_allclose(curves["span"].y, similarity(x - 20), atol=1e-9)
    np.testing.assert_allclose(curves["u₁"].y, np.abs(np.cos(TURN * (x - 20))), atol=1e-9)
    np.testing.assert_allclose(curves["u₂"].y, 1, atol=1e-9)
    assert [(mark.x, mark.text) for mark in chart.marks] == [(20.0, "t₀")]
    assert f"ρ = {np.cos(2 * TURN):.4f}" in ROTATIONS.title(view)


def test_the_map_is_that_of_the_known_rotation(turning):
    view = RunView(turning, "finished")
    chart = ROTATION_MAP.build(view, "linear")
    assert chart.shades is not None
    x, y = np.array([10.0, 50.0, 90.0, 101.0]), np.array([0.0, 13.0, 40.0, 95.0])
    wanted = np.full((4, 4), np.nan)  # of the last even reading, and the last landmark at or below
    for column, (t, others) in enumerate([(10, (0,)), (50, (0, 10, 40)), (90, (0, 10, 40))]):
        for row, other in enumerate(others):
            wanted[row, column] = similarity(t - other)
    np.testing.assert_allclose(chart.shades.values(x, y), wanted, atol=1e-9)


@pytest.mark.parametrize("unicode", [True, False])
def test_the_map_is_drawn_in_cells(turning, unicode):
    chart = ROTATION_MAP.build(RunView(turning, "finished"), "linear")
    grid = draw(chart, 70, 24, (0.0, 100.0), StickyRange(), unicode=unicode)
    signs = shades.SIGNS if unicode else shades.ASCII_SIGNS
    inside = grid.codes[:22, 6:]
    # spans of which one vector of three turns keep a similarity of cos(π/2√3), 0.62, at the least
    drawn = [sign for sign in signs if (inside == ord(sign)).any()]
    assert {*signs[3:]} <= {*drawn}
    assert not unicode or drawn == [*signs[3:]]  # curves have some of those of ASCII
    brightest = {*grid.colours[:22, 6:][inside == ord(signs[-1])]} - {"theory"}
    assert brightest <= {"ramp 12", "ramp 13", "ramp 14", "ramp 15"}


def test_plot_and_paper_have_it(turning):
    lines = render(turning, [Wanted("rotation_map")], width=100, height=30, color=False)
    assert "█" in lines
    assert "▓" in lines
    chart = ROTATION_MAP.build(RunView(turning, "finished"), "linear")
    picture = Picture([Subplot("rotation_map", "s", chart)], (0.0, 100.0), [])
    with styled(4.0):
        (axes,) = draw_figure(picture, 4.0).axes
    (mesh,) = axes.collections
    values = np.ma.filled(mesh.get_array(), np.nan)
    assert np.nanmax(values) == pytest.approx(similarity(5), abs=0.02)
    assert np.isnan(values).mean() > 0.4


def test_a_run_without_the_probe_says_so(tmp_path):
    with Run(make_run(tmp_path / "made-aaaa", 60)) as run:
        view = RunView(run, "finished")
        for panel in (ROTATIONS, ROTATION_MAP):
            chart = panel.build(view, "linear")
            assert not chart.curves
            assert chart.waiting == "the probe rotations isn't on: --probe rotations"
            assert panel.title(view)


def test_levels_of_shades():
    values = np.array([[0.0, 0.19, 0.5], [0.99, 1.0, np.nan]])
    found = shades.signs(values, unicode=True)
    assert [chr(code) for code in found.ravel()[:5]] == ["·", "·", "▒", "█", "█"]
    assert found[1, 2] == 0
    assert shades.colours(values)[0, 0] == "ramp 0"
    assert shades.colours(values)[1, 1] == "ramp 15"
