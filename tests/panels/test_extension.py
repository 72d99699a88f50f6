"""A panel that only this test defines: a line of the table, and the application and `plot` draw it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made import make_run
from shown import on_screen
from textual.pilot import Pilot

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.cli.static_plot import render
from eostui.panels import PANELS
from eostui.panels.panel import Panel
from eostui.panels.view import RunView
from eostui.runs.run import Run
from eostui.tui.app import EostuiApp
from eostui.tui.widgets.grid import GridWidget


def chart(view: RunView, kind: str) -> Chart:
    """Return how far the loss fell in a step, as a share of it."""
    loss = view.run.steps["loss"]
    share = np.full(len(loss), np.nan)
    share[:-1] = 1 - loss[1:] / loss[:-1]
    return Chart([Curve(view.x, share, "warm", label="fall")], Scale(kind), view.marks())


FALL = Panel(
    "fall", lambda _: ("fall of the loss a step",), ("linear",), chart, claims_place=lambda _: True
)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A run of 60 steps; the table has one panel more."""
    PANELS.append(FALL)
    yield make_run(tmp_path / "made-aaaa", 60)
    PANELS.remove(FALL)


def test_plot_draws_it(run: Path) -> None:
    with Run(run) as opened:
        lines = render(opened, width=100, height=50, color=False).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("fall of the loss"))
    # 1 − (t + 1)/(t + 2) at the last step that was taken, 59
    assert any(line.endswith("fall 0.0164") for line in lines[first:])


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_the_application_draws_it(run: Path, size: tuple[int, int]) -> None:
    """In the place that it claims, and alone where it is chosen."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        if size[0] < 100:
            app.screen.action_panel(len(PANELS) - 1)
            await pilot.pause(0.1)
        widget = app.screen.query_one("#fall", GridWidget)
        assert widget.display
        assert str(widget.border_title).startswith("fall of the loss")
        assert "fall 0.0164" in widget._grid.text()
        assert not app.screen.query_one("#norm", GridWidget).display

    on_screen(run, check, size)
