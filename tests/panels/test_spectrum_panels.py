"""The panels of the spectrum: by direction, its density at a step, its trace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made import facts, make_run, rows
from shown import on_screen
from textual.pilot import Pilot

from eostui.cli.static_plot import render
from eostui.figures.one_run import picture_of_run
from eostui.figures.wanted import Wanted
from eostui.panels import PANELS
from eostui.panels.panel import chart_of, title_of
from eostui.panels.view import Overlay, RunView
from eostui.probes import OPTIONAL, described
from eostui.quadrature import Quadrature
from eostui.runs.run import Run
from eostui.runs.store.columns import BUILT_IN_COLUMNS
from eostui.runs.store.own_columns import probes_fact
from eostui.runs.store.readings import ProbeReading
from eostui.runs.store.writer import RunWriter
from eostui.tui.app import EostuiApp
from eostui.tui.widgets.chart import ChartWidget

BY_NAME = {panel.name: panel for panel in PANELS}
NAMES = ("tracked_eigenvalues", "spectral_density", "hessian_trace")
#: Of the made density: 2, 3, 7 and 30 stand alone among 1000 eigenvalues.
ALONE = (30.0, 7.0, 3.0, 2.0)


def density(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of four starts: what stands alone in each, and a bulk that shifts."""
    nodes, weights = np.full((4, 64), np.nan), np.zeros((4, 64))
    for draw in range(4):
        bulk = np.linspace(-0.4, 0.5, 20) + 0.01 * draw + step / 1e5
        nodes[draw, :24] = [*bulk, *sorted(ALONE)]
        weights[draw, :24] = [*[0.996 / 20] * 20, *[0.001] * 4]
    return nodes, weights


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A run of 100 steps, measured every 20: two eigenvalues cross at step 50 and one leaves at 80."""
    probes = (*BUILT_IN_COLUMNS, *described([OPTIONAL[name] for name in NAMES]))
    stated = {"probes": probes_fact(probes), "parameters": "1000"}
    writer = RunWriter(tmp_path / "made-aaaa", facts(100, **stated))
    writer.steps(0, rows(0, 100))
    for step in range(0, 101, 20):
        curves = np.full(24, np.nan)
        curves[:3] = 15 + step / 25, 19 - step / 25, 12
        if step >= 80:
            curves[2:4] = np.nan, 13
        falling = np.sort(curves[np.isfinite(curves)])[::-1]
        values = dict(zip(("sharpness", "eig_2", "eig_3"), falling.tolist(), strict=True))
        writer.reading(ProbeReading(step, "sharpness", values, "raw", 0.1, 1))
        found = {"tracked": curves, "tracked_overlap": np.where(np.isnan(curves), np.nan, 1.0)}
        writer.reading(ProbeReading(step, "tracked_eigenvalues", found, "raw", 0.1, 0))
        trace = {
            "hessian_trace": 100.0 + step, "hessian_trace_error": 5.0, "hessian_trace_samples": 40.0
        }  # fmt: skip
        writer.reading(ProbeReading(step, "hessian_trace", trace, "raw", 0.1, 9))
        if step in (0, 60):
            nodes, weights = density(step)
            values = {"density_nodes": nodes, "density_weights": weights}
            writer.reading(ProbeReading(step, "spectral_density", values, "raw", 0.1, 9))
    writer.close()
    return writer.path


def test_a_curve_stays_with_its_direction_and_its_label_is_its_place(measured: Path) -> None:
    with Run(measured) as run:
        view = RunView(run, "finished")
        chart = chart_of(BY_NAME["eigenvalues"], view, "linear")
        by_label = {curve.label: curve for curve in chart.curves if curve.colour != "theory"}
        assert set(by_label) == {"λ₁", "λ₂", "λ₃", ""}
        np.testing.assert_allclose(by_label["λ₁"].y, 15 + by_label["λ₁"].x / 25)
        np.testing.assert_allclose(by_label["λ₂"].y, 19 - by_label["λ₂"].x / 25)
        np.testing.assert_array_equal(by_label[""].y, [12, 12, 12, 12, np.nan, np.nan])
        np.testing.assert_array_equal(by_label["λ₃"].y, [np.nan] * 4 + [13, 13])
        # 0.92·(2/η − λ) is 18.4: 19 at step 0, and 19 at step 100
        assert title_of(BY_NAME["eigenvalues"], view, "linear")[1:] == (
            "1 at the edge",
            "by direction",
        )
        view.look(59.0)
        assert "0 at the edge" in title_of(BY_NAME["eigenvalues"], view, "linear")
        view.look(10.0)
        chart = chart_of(BY_NAME["eigenvalues"], view, "linear")
        first = next(curve for curve in chart.curves if curve.label == "λ₁")
        assert first.y[0] == 19


def test_the_density_is_that_of_the_last_reading_up_to_the_step_that_is_read(
    measured: Path,
) -> None:
    panel = BY_NAME["density"]
    with Run(measured) as run:
        view = RunView(run, "finished")
        assert "step 60" in title_of(panel, view, "log")[0]
        view.at = 59
        assert "step 0" in title_of(panel, view, "log")[0]
        view.at = None
        view.look(30.0)
        assert "step 0" in title_of(panel, view, "log")[0]
        first, alone, near, trace = title_of(panel, view, "linear")
        assert (first, alone) == ("eigenvalues a decade at step 0", "4 alone (✕)")
        nodes, weights = density(0)
        rule = Quadrature(nodes, weights, 1000)
        assert near.endswith(f"of 1000 within ±{rule.resolution:.3f}")
        assert trace == f"tr H {rule.moment(1)[0]:.0f} ± {rule.moment(1)[1]:.1f}"


def test_areas_under_the_density_count_eigenvalues_and_spots_mark_those_alone(
    measured: Path,
) -> None:
    panel = BY_NAME["density"]
    with Run(measured) as run:
        view = RunView(run, "finished")
        chart = chart_of(panel, view, "log")
        left, right = panel.own_x(view)
        rule = Quadrature(*density(60), 1000)
        assert left == pytest.approx(np.log10(rule.resolution))
        assert right > np.log10(30)
        assert chart.counts == "|λ|"
        by_label = {curve.label: curve for curve in chart.curves}
        for label, sign in (("λ > 0", 1), ("λ < 0", -1)):
            curve = by_label[label]
            area = np.nansum(curve.y) * (curve.x[1] - curve.x[0])
            exact = 250 * (rule.weights * (sign * rule.nodes > 10**left)).sum()
            assert area == pytest.approx(exact, rel=0.1)
        assert sorted(10**spot.x for spot in chart.spots) == pytest.approx(sorted(ALONE))
        (mark,) = chart.marks
        assert mark.x == pytest.approx(np.log10(2 / 0.1 - 0.001))


def test_they_say_what_is_missing(tmp_path: Path) -> None:
    with Run(make_run(tmp_path / "made-aaaa", 60)) as run:
        view = RunView(run, "finished")
        for name, probe in (("density", "spectral_density"), ("trace", "hessian_trace")):
            chart = chart_of(BY_NAME[name], view, "linear")
            assert not chart.curves
            assert chart.waiting.endswith(f"--probe {probe}")
            assert title_of(BY_NAME[name], view, "linear")
        assert title_of(BY_NAME["eigenvalues"], view, "linear")[-1] == "0 at the edge"
        text = render(run, [Wanted("density"), Wanted("trace")], width=100, height=40, color=False)
        assert "no density: --probe spectral_density" in text


def test_a_density_of_zeros_and_of_two_eigenvalues(tmp_path: Path) -> None:
    probes = (*BUILT_IN_COLUMNS, *described([OPTIONAL["spectral_density"]]))
    stated = {"probes": probes_fact(probes), "parameters": "2"}
    writer = RunWriter(tmp_path / "made-aaaa", facts(60, **stated))
    writer.steps(0, rows(0, 60))
    for step, values in ((0, [0.0]), (20, [-1.0, 4.0]), (40, [3.0])):
        nodes, weights = np.full((4, 64), np.nan), np.zeros((4, 64))
        nodes[:, : len(values)], weights[:, : len(values)] = values, 1 / len(values)
        found = {"density_nodes": nodes, "density_weights": weights}
        writer.reading(ProbeReading(step, "spectral_density", found, "raw", 0.1, 9))
    writer.close()
    with Run(writer.path) as run:
        view = RunView(run, "finished")
        for at in (0, 20, 40):
            view.at = at
            chart = chart_of(BY_NAME["density"], view, "log")
            assert chart.curves or chart.waiting == "all eigenvalues are 0 at step 0"
            left, right = BY_NAME["density"].own_x(view)
            assert left < right
            assert title_of(BY_NAME["density"], view, "log")


def test_the_trace_with_its_error(measured: Path) -> None:
    with Run(measured) as run:
        view = RunView(run, "finished")
        low, high, trace = chart_of(BY_NAME["trace"], view, "linear").curves
        np.testing.assert_array_equal(trace.y, 100 + trace.x)
        np.testing.assert_array_equal(high.y - trace.y, 5)
        np.testing.assert_array_equal(trace.y - low.y, 5)
        assert title_of(BY_NAME["trace"], view, "linear")[-1] == "of 40 training samples"


def test_still_pictures_figures_and_an_overlay_have_its_own_x(measured: Path) -> None:
    with Run(measured) as run, Run(measured) as other:
        view = RunView(run, "finished")
        text = render(run, [Wanted("density")], width=100, height=24, color=False)
        assert "1e0" in text
        assert "|λ|" in text
        picture = picture_of_run(view, [Wanted("density"), Wanted("loss")])
        first, second = picture.subplots
        assert first.own_x == BY_NAME["density"].own_x(view)
        assert second.own_x is None
        assert first.chart.counts == "|λ|"
        view.lay_over(Overlay(RunView(other, "finished"), "fork", 50))
        laid = chart_of(BY_NAME["density"], view, "log")
        assert len(laid.curves) == 2 * len(first.chart.curves)
        assert all(len(curve.x) > 10 for curve in laid.curves)


def test_the_live_view_draws_the_density_of_the_crosshairs_step(measured: Path) -> None:
    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        screen = app.screen
        screen.action_panel([panel.name for panel in PANELS].index("density"))
        await pilot.pause(0.1)
        widget = screen.query_one("#density", ChartWidget)
        assert "step 60" in str(widget.border_title)
        screen.action_crosshair()
        screen.action_move_crosshair(-50)
        await pilot.pause(0.1)
        assert "step 0" in str(widget.border_title)
        assert widget._crosshair is None
        screen.action_move_crosshair(20)
        await pilot.pause(0.1)
        assert "step 60" in str(widget.border_title)
        screen.action_move_crosshair(-60)
        screen.action_leave_crosshair()
        await pilot.pause(0.1)
        assert "step 60" in str(widget.border_title)

    on_screen(measured, check)


def test_figures_state_their_data(measured: Path, tmp_path: Path) -> None:
    from eostui.figures.files import Sheet, write_data

    with Run(measured) as run:
        picture = picture_of_run(RunView(run, "finished"), [Wanted("density")])
        target, count = write_data(picture, tmp_path / "density.csv", Sheet())
        assert count > 100
        assert "|λ|" in json.dumps(json.loads(target.read_text()), ensure_ascii=False)


def test_among_others_it_has_an_axis_of_its_own(measured: Path) -> None:
    """And so has the chart above it, whose x isn't that of the one below."""
    with Run(measured) as run:
        wanted = [Wanted("loss"), Wanted("density"), Wanted("trace")]
        lines = render(run, wanted, width=90, height=45, color=False).splitlines()
        places = [n for n, line in enumerate(lines) if line.strip() in ("steps", "|λ|")]
        assert [lines[n].strip() for n in places] == ["steps", "|λ|", "steps"]
        assert "1e0" in lines[places[1] - 1]
        assert "100" in lines[places[0] - 1]
