"""The sharpness at radii in the sharpness chart: which of them, beside S and κ, and by which key."""

from __future__ import annotations

import numpy as np
import pytest
from edge_runs import make
from engines import here, small
from shown import SIZES, on_screen, screen_text, settled

from eostui.panels.crosshair import values_at
from eostui.panels.panel import chart_of, title_of
from eostui.panels.sharpness import AT_RADII, SHARPNESS
from eostui.panels.view import Overlay, RunView
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = small(probes=["radius", "radii"], cadence=1, far_cadence=0, steps=60, eta=0.9)
    with Run(here(config, tmp_path_factory.mktemp("radii"))) as found:
        yield found


def labels(view):
    return [curve.label for curve in chart_of(SHARPNESS, view, "linear").curves if curve.label]


def test_that_of_the_bounce_then_all_then_none(run):
    view = RunView(run, "finished")
    assert [label for label in labels(view) if "δ" in label] == ["Sδ"]
    assert "Sδ" in title_of(SHARPNESS, view, "linear")[-1]
    view.switch_radii()
    assert [label for label in labels(view) if "δ" in label] == ["S10δ", "S3δ", "S0.1δ", "Sδ"]
    view.switch_radii()
    assert labels(view)[-1] == "S"
    assert not any("δ" in part for part in title_of(SHARPNESS, view, "linear"))
    view.switch_radii()
    assert "Sδ" in labels(view)


def test_it_is_what_is_on_record(run):
    view = RunView(run, "finished")
    (curve,) = (c for c in chart_of(SHARPNESS, view, "linear").curves if c.label == "Sδ")
    np.testing.assert_array_equal(curve.x, [0, 20, 40, 60])
    np.testing.assert_array_equal(curve.y, run["sharpness_at_radius"][[0, 20, 40, 60]])


def test_an_overlay_shows_the_same(run):
    view, other = RunView(run, "finished"), RunView(run, "finished")
    view.switch_radii()
    view.lay_over(Overlay(other, "run", None))
    assert other.radii == view.radii == "all"
    view.switch_radii()
    assert other.radii == "none"


def test_they_are_no_ones_own_and_the_crosshair_reads_them(run):
    assert {*AT_RADII} <= {column.name for column in run.further_scalars}
    assert run.own_scalars == ()
    read = {value.column: value.symbol for value in values_at(RunView(run, "finished"), 40)}
    assert read["sharpness_at_radius"] == "Sδ"
    assert {*AT_RADII} <= {*read}


@pytest.mark.parametrize("size", SIZES)
def test_by_its_key(run, size):
    async def check(app, pilot):
        for shown in (("Sδ", True), ("S10δ", True), ("Sδ", False), ("Sδ", True)):
            label, there = shown
            assert (label in screen_text(app)) == there, shown
            await pilot.press("B")
            await settled(pilot)

    on_screen(run.path, check, size)


def test_of_a_run_without_it_the_key_says_so(tmp_path):
    async def check(app, pilot):
        before = [curve.label for curve in chart_of(SHARPNESS, app.session.view, "linear").curves]
        await pilot.press("B")
        await settled(pilot)
        assert any("radius" in told.message for told in app._notifications)
        after = [curve.label for curve in chart_of(SHARPNESS, app.session.view, "linear").curves]
        assert after == before

    on_screen(make(tmp_path / "plain"), check)
