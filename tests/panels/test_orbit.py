"""Panels of an orbit as data: what its still picture draws explains itself."""

from __future__ import annotations

import numpy as np
import pytest

from eostui import oscillator_presets
from eostui.cli.oscillator_pictures import picture
from eostui.panels.orbit import PANELS, STILLS
from eostui.panels.orbit.drives import drives_chart
from eostui.panels.orbit.envelope import envelope_chart
from eostui.panels.orbit.sharpness import sharpness_chart
from eostui.panels.orbit.view import OrbitView

NAMES = ["oscillator-damped", "oscillator-collapse", "oscillator-escape", "oscillator-gx"]


def view_of(name: str) -> OrbitView:
    return OrbitView.of(oscillator_presets.load(name).simulation)


@pytest.mark.parametrize("name", NAMES)
def test_the_drives_that_are_drawn_move_the_sharpness_that_is(name: str) -> None:
    """S⁺ − S = η(βα − λ(g + q) − ½βx²), from one chart to the other."""
    view = view_of(name)
    drives = {curve.label: curve.y for curve in drives_chart(view, "symlog")[0].curves}
    (sharpness,) = (c.y for c in sharpness_chart(view, "S")[0].curves if c.label == "S")
    pull = drives["βα"] - drives["λ(g+q)"] - drives["½βx²"]
    moved = float(view.parameters.eta) * pull[:-1]
    rounding = 1e-12 * float(np.abs(sharpness).max()) + 1e-12 * np.abs(moved)
    assert (np.abs(np.diff(sharpness) - moved) <= rounding).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_envelope_is_half_of_what_a_step_moves_x(name: str) -> None:
    view = view_of(name)
    predicted, measured = envelope_chart(view, "linear")[0].curves
    x = view.orbit.x[view.sane]
    np.testing.assert_array_equal(measured.y, np.abs(x[1:] - x[:-1]) / 2)
    np.testing.assert_array_equal(predicted.x, view.predicted[0])


def test_each_panel_is_a_chart_or_a_plane() -> None:
    for panel in {panel.name: panel for panel in (*PANELS, *STILLS)}.values():
        assert (panel.chart is None) != (panel.plane is None), panel.name
    assert all(panel.chart for panel in STILLS)
    assert all(panel.meaning for panel in PANELS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(120, 39), (80, 24), (40, 12), (20, 3)])
def test_a_picture_never_exceeds_its_size(name: str, size: tuple[int, int]) -> None:
    orbit = view_of(name).orbit
    lines = picture(orbit, width=size[0], height=size[1], color=False).splitlines()
    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]
    if size == (120, 39):
        text = "\n".join(lines)
        assert all(word in text for word in ("sharpness S", "bounce x", "envelope A", "drives"))
