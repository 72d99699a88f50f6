"""The panel of what a user's own probes measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import facts, make_run, rows

from eostui.panels import PANELS
from eostui.panels.panel import chart_of, in_last_place, title_of
from eostui.panels.view import RunView
from eostui.runs.run import Run
from eostui.runs.store.columns import BUILT_IN_COLUMNS, Column, ProbeColumns
from eostui.runs.store.own_columns import probes_fact
from eostui.runs.store.readings import ProbeReading
from eostui.runs.store.writer import RunWriter

OWN = ProbeColumns(
    "own",
    "pass",
    (
        Column("trace", "L/θ²", "tr H"),
        Column("bins", "1", "an array", shape=(2,)),
        Column("never", "1", "is never measured", optional=True),
    ),
)
PROBES = next(panel for panel in PANELS if panel.name == "probes")


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A run of 60 steps whose own probe found 3·step every 20."""
    writer = RunWriter(
        tmp_path / "made-bbbb", facts(60, probes=probes_fact((*BUILT_IN_COLUMNS, OWN)))
    )
    writer.steps(0, rows(0, 60))
    for step in range(0, 61, 20):
        values = {"trace": 3.0 * step, "bins": np.ones(2)}
        writer.reading(ProbeReading(step, "own", values, "raw", 0.1, 1))
    writer.close()
    return writer.path


def test_it_draws_each_number_against_its_step(measured: Path) -> None:
    with Run(measured) as run:
        view = RunView(run, "finished")
        (curve,) = chart_of(PROBES, view, "linear").curves
        assert curve.label == "trace"
        np.testing.assert_array_equal(curve.x, [0, 20, 40, 60])
        np.testing.assert_array_equal(curve.y, [0, 60, 120, 180])
        assert title_of(PROBES, view, "linear") == ("own probes", "trace [L/θ²]", "never [1]")
        assert in_last_place(PANELS, view) is PROBES


def test_without_such_probes_it_takes_no_place_and_says_how_to_have_one(tmp_path: Path) -> None:
    with Run(make_run(tmp_path / "made-aaaa", 60)) as run:
        view = RunView(run, "finished")
        assert in_last_place(PANELS, view).name == "norm"
        assert "--probe FILE.py:CLASS" in chart_of(PROBES, view, "linear").waiting
