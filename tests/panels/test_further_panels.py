"""The panels of the loss step, the step cosine, g against its critical value, and the eigenvalues."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made import facts

from eostui.charts.chart import Chart, Curve
from eostui.panels import PANELS
from eostui.panels.crosshair import nth, values_at
from eostui.panels.panel import chart_of, title_of
from eostui.panels.view import RunView
from eostui.runs.export import export_files
from eostui.runs.run import Run
from eostui.runs.store.columns import STORED_STEP_COLUMNS
from eostui.runs.store.writer import RunWriter
from eostui.tui.window import Window

BY_NAME = {panel.name: panel for panel in PANELS}
DECAY = 0.01


def rows(last: int, decay: float) -> np.ndarray:
    """L bounces about 1/(1 + t) by ±0.01; the cosine is −0.9 and κ 20."""
    t = np.arange(last + 1.0)
    columns = {
        "loss": 1 / (1 + t) + 0.01 * (-1.0) ** t, "theta_norm": np.full(len(t), 5.0),
        "decayed_norm": 4 + t / 100, "arrival_curvature": np.full(len(t), 20.0),
        "arrival_cosine": np.where(t < 2, np.nan, -0.9), "arrival_norm": np.full(len(t), 0.01),
        "eta": np.full(len(t), 0.1), "weight_decay": np.full(len(t), decay),
    }  # fmt: skip
    return np.stack([columns[name] for name in STORED_STEP_COLUMNS], axis=1)


@pytest.fixture(params=[DECAY, 0.0])
def view(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunView]:
    """A run of 200 steps; every 20 its three largest eigenvalues and its drives are measured."""
    stated = {"step_columns": json.dumps(STORED_STEP_COLUMNS)}
    writer = RunWriter(tmp_path / "made-aaaa", facts(200, **stated))
    writer.steps(0, rows(200, request.param))
    for step in range(0, 201, 20):
        writer.measurement(
            step,
            {"sharpness": 10 + step / 50, "eig_2": 9.0, "eig_3": 8.0, "beta": 100.0,
             "beta_alpha": 2.0, "g": 50.0 + step},
        )  # fmt: skip
    writer.close()
    with Run(writer.path) as run:
        yield RunView(run, "finished")


def curve(chart: Chart, label: str) -> Curve:
    return next(curve for curve in chart.curves if curve.label == label)


def test_the_loss_step_shows_both_signs_at_every_size(view: RunView) -> None:
    panel = BY_NAME["steps"]
    assert panel.scales[0] == "symlog"
    chart = chart_of(panel, view, "symlog")
    loss = view.run.steps["loss"]
    drawn = curve(chart, "ΔL").y
    np.testing.assert_array_equal(drawn, np.diff(loss))  # that of the newest step isn't known yet
    places = chart.scale.forward(drawn[100:])
    assert (np.sign(places) == np.sign(np.diff(loss)[100:])).all()
    assert chart.scale.threshold <= np.abs(drawn).max()
    decays = view.run.steps["weight_decay"][0] > 0
    assert any(each.label == "ΔLλ" for each in chart.curves) == decays


def test_the_step_cosine_with_the_level_below_which_a_run_bounces(view: RunView) -> None:
    chart = chart_of(BY_NAME["cosine"], view, "linear")
    np.testing.assert_array_equal(curve(chart, "cos").y[1:], -0.9)
    assert curve(chart, "bounces <").y.tolist() == [-0.5, -0.5]


def test_g_and_the_value_beyond_which_the_bounce_collapses(view: RunView) -> None:
    """λ + βα/λ, by hand; there is none without decay, which the title says."""
    panel = BY_NAME["collapse"]
    chart = chart_of(panel, view, "linear")
    np.testing.assert_array_equal(curve(chart, "g").y, 50.0 + np.arange(0, 201, 20))
    labels = {each.label for each in chart.curves}
    if view.run.steps["weight_decay"][0]:
        np.testing.assert_allclose(curve(chart, "g crit").y, DECAY + 2.0 / DECAY)
        assert "λ + βα/λ" in title_of(panel, view, "linear")[1]
    else:
        assert "g crit" not in labels
        assert "λ is 0" in title_of(panel, view, "linear")[1]


def test_eigenvalues_in_order_with_the_thresholds(view: RunView) -> None:
    chart = chart_of(BY_NAME["eigenvalues"], view, "linear")
    labels = [each.label for each in chart.curves]
    thresholds = ["2/η", "2/η−λ"] if view.run.steps["weight_decay"][0] else ["2/η"]
    assert labels == [*thresholds, "λ₃", "λ₂", "λ₁"]
    np.testing.assert_array_equal(curve(chart, "λ₃").y, 8.0)
    assert nth("λ", 12) == "λ₁₂"


def test_values_stand_where_the_export_has_them(view: RunView, tmp_path: Path) -> None:
    export_files(view.run, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        table = list(csv.DictReader(file))
    for step in (0, 19, 20, 21, 199, 200):
        values = values_at(view, step)
        assert {"loss", "sharpness", "step_cosine", "eig_3"} <= {value.column for value in values}
        for value in values:
            cell = table[value.step][value.column]
            assert (float(cell) if cell else None) == (
                None if np.isnan(value.value) else value.value
            )
            assert not any(row[value.column] for row in table[value.step + 1 : step + 1])


def test_a_window_zooms_about_a_point_and_ends_at_both_ends() -> None:
    window = Window()
    for factor in (0.5, 0.5, 0.8, 1.25):
        left, right = window.range(1000.0)
        share = (300.0 - left) / (right - left)
        window.zoom_at(300.0, factor, 1000.0, 1.0)
        x0, x1 = window.range(1000.0)
        assert (300.0 - x0) / (x1 - x0) == pytest.approx(share)
        assert x1 - x0 == pytest.approx((right - left) * factor)
    for _ in range(20):
        window.zoom_at(300.0, 2.0, 1000.0, 1.0)
    assert window.range(1000.0) == (0.0, 1000.0)
    assert window.span is None
    for _ in range(60):
        window.zoom_at(2.0, 0.5, 1000.0, 1.0)
    x0, x1 = window.range(1000.0)
    assert x1 - x0 == 4.0  # steps, at least
    assert x0 >= 0
    window.show(10.0, 11.0, 1.0)
    assert window.range(1000.0) == (8.5, 12.5)
    window.reveal(700.0, 1000.0, 1.0)
    assert window.range(1000.0) == (696.0, 700.0)
