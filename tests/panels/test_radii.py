"""The sharpness at radii in the sharpness chart: which of them, beside S and κ, and by which key."""

from __future__ import annotations

import numpy as np
import pytest
from engines import here, small

from eostui.panels.panel import chart_of, title_of
from eostui.panels.sharpness import AT_RADII, SHARPNESS
from eostui.panels.view import Overlay, RunView
from eostui.runs.run import Run
from eostui.tui.keys import KEYS

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


def test_the_crosshair_and_a_key_know_them(run):
    assert {*AT_RADII} <= {column.name for column in run.further_scalars}
    assert run.own_scalars == ()
    assert [key.keys for key in KEYS if key.action == "screen.switch_radii"] == ["B"]
