"""Panels of a run as data: what is in the table, and that each draws whatever a run holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made import facts, make_run, measure, rows

from eostui.charts.chart import Chart
from eostui.charts.layout import lay_out
from eostui.charts.picture import draw
from eostui.charts.scales import StickyRange
from eostui.panels import PANELS
from eostui.panels.panel import Panel, chart_of, in_last_place, title_of
from eostui.panels.view import RunView
from eostui.runs.analysis.monitors import monitors
from eostui.runs.run import Run
from eostui.runs.store.rows import Event
from eostui.runs.store.writer import RunWriter
from eostui.stability import FACT, HEAVY_BALL, Description


def nothing(_: RunView, __: str = "") -> Chart:
    return Chart([])


def panel(name: str, *, own_place: bool = False, claims: bool = False) -> Panel:
    return Panel(
        name, lambda _: (name,), ("linear",), nothing, own_place=own_place,
        claims_place=lambda _: claims,
    )  # fmt: skip


@pytest.fixture
def view(tmp_path: Path) -> Iterator[RunView]:
    with Run(make_run(tmp_path / "made-aaaa", 60)) as run:
        yield RunView(run, "finished")


def test_the_last_place_goes_to_who_is_chosen_then_to_the_last_that_claims_it(
    view: RunView,
) -> None:
    alone, first, second, third = (
        panel("alone", own_place=True, claims=True),
        panel("first", claims=True),
        panel("second", claims=True),
        panel("third"),
    )
    table = [alone, first, second, third]
    assert in_last_place(table, view) is second
    assert in_last_place(table, view, third) is third
    assert in_last_place(table, view, alone) is second
    assert in_last_place(table, None) is first
    assert in_last_place([alone, third], view) is third


def test_the_table_has_three_places_and_one_that_is_shared(view: RunView) -> None:
    assert [panel.name for panel in PANELS if panel.own_place] == ["sharpness", "drives", "loss"]
    assert in_last_place(PANELS, view).name == "norm"  # without a calibration
    assert len({panel.name for panel in PANELS}) == len(PANELS)


def odd_runs(path: Path) -> dict[str, Run]:
    """Runs with next to nothing in them, or with what isn't finite."""
    runs = {}
    for name, steps, measured, factor in (
        ("no rows", 0, False, 1.0),
        ("one row", 1, False, 1.0),
        ("one row, measured", 1, True, 1.0),
        ("unmeasured", 60, False, 1.0),
        ("huge", 60, True, 1e300),
        ("tiny", 60, True, 1e-310),
        ("infinite", 60, True, np.inf),
        ("none", 60, True, np.nan),
        ("negative", 60, True, -1.0),
    ):
        writer = RunWriter(path / name.replace(" ", "-"), facts(max(steps, 1)))
        if steps:
            table = rows(0, steps - 1)
            table[:, :4] *= factor
            writer.steps(0, table)
        if measured:
            measure(writer, 0, steps - 1, sharpness=10 * factor)
        writer.close()
        with np.errstate(all="ignore"):
            runs[name] = Run(writer.path)
    return runs


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("state", ["running", "finished"])
def test_every_panel_draws_every_run(tmp_path: Path, state: str) -> None:
    for name, run in odd_runs(tmp_path).items():
        view = RunView(run, state)
        for panel in PANELS:
            for kind in panel.scales:
                assert title_of(panel, view, kind), name
                chart = chart_of(panel, view, kind)
                for size in ((58, 15), (40, 8), (20, 4)):
                    draw(chart, *size, (0.0, 60.0), StickyRange())
        run.close()


def test_what_is_waited_for(tmp_path: Path) -> None:
    """A run that ended waits for nothing: what it has is shown, or that it has nothing."""
    runs = odd_runs(tmp_path)
    sharpness, drives = PANELS[:2]

    def drawn(panel: Panel, name: str, state: str) -> str:
        chart = chart_of(panel, RunView(runs[name], state), "linear")
        return draw(chart, 60, 10, (0.0, 60.0), StickyRange()).text()

    assert "waiting for the first step" in drawn(sharpness, "no rows", "running")
    assert "no step was taken" in drawn(sharpness, "no rows", "finished")
    assert "measuring for the first time" in drawn(sharpness, "unmeasured", "running")
    assert "2/η 20.0" in drawn(sharpness, "unmeasured", "finished")
    assert "nothing was measured" in drawn(drives, "unmeasured", "finished")


def test_thresholds_are_those_of_the_dynamics(tmp_path: Path) -> None:
    """Their values are the run's own columns, their names the dynamics'."""
    path = make_run(tmp_path / "made-aaaa", 60)
    with Run(path) as run:
        view = RunView(run, "finished")
        assert [label for _, label, _ in view.thresholds()] == ["2/η", "2/η−λ"]
        (undecayed, *_), (threshold, *_) = view.thresholds()
        np.testing.assert_array_equal(undecayed, 2 / run.steps["eta"])
        np.testing.assert_array_equal(threshold, 2 / run.steps["eta"] - run.steps["weight_decay"])
        run.facts = {**run.facts, FACT: Description.of("heavy-ball", HEAVY_BALL).to_json()}
        view = RunView(run, "finished")
        labels = {curve.label for curve in chart_of(PANELS[0], view, "linear").curves}
        assert {"(2+2μ)/η", "(2+2μ)/η−λ"} <= labels


@pytest.mark.parametrize(
    ("changes", "of_next", "labels"),
    [
        ({"eta": [0.1, 0.125]}, (16.0,), ("2/η→16.0",)),
        ({"weight_decay": [0.0, 0.5]}, (None, 19.5), ("2/η 20.0", "2/η−λ→19.5")),
        ({"eta": [0.1, 0.125], "weight_decay": [0.0, 1]}, (16.0, 15.0), ("2/η→16.0", "2/η−λ→15.0")),
    ],
)
def test_a_threshold_changed_while_the_run_waits_is_that_of_the_next_step(
    tmp_path: Path,
    changes: dict[str, list[float]],
    of_next: tuple[float | None, ...],
    labels: tuple[str, ...],
) -> None:
    """Its line goes on at the value that the step to come has, and its label says that it is to come."""
    without_decay = rows(0, 60)
    without_decay[:, -1] = 0.0
    writer = RunWriter(tmp_path / "made-aaaa", facts(60))
    writer.steps(0, without_decay)
    measure(writer, 0, 60, 15.5)
    writer.close()
    with Run(writer.path) as run:
        view = RunView(run, "paused")
        assert [coming for *_, coming in view.thresholds()] == [None]
        run.events.append(Event(61, 0.0, "control", changes))
        found = view.thresholds()
        assert [coming for *_, coming in found] == [*of_next]
        chart = chart_of(PANELS[0], view, "linear")
        text = draw(chart, 80, 24, (0.0, 100.0), StickyRange()).text()
        assert all(label in text for label in labels)
        layout = lay_out(chart, 6, 50, 20, (0.0, 100.0), StickyRange())
        assert layout is not None
        undecayed = next(i for i, curve in enumerate(chart.curves) if curve.pattern == "dashed")
        ends = layout.high[undecayed]
        assert ends[59] == pytest.approx(20.0)  # x = 59: as it was
        assert ends[62:] == pytest.approx(of_next[0] or 20.0)
        assert chart.curves[undecayed].y[-1] == 20.0  # the record is as it was
        past = draw(chart, 80, 24, (0.0, 50.0), StickyRange()).text()
        assert "→" not in past
        run.events.pop()
        run.events.append(Event(60, 0.0, "control", changes))  # which moves the newest row's step
        assert [coming for *_, coming in view.thresholds()] == [None]


def test_every_control_is_marked_by_its_symbol(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "made-aaaa", facts(60))
    writer.steps(0, rows(0, 60))
    writer.close()
    with Run(writer.path) as run:
        run.facts = {**run.facts, FACT: Description.of("heavy-ball", HEAVY_BALL).to_json()}
        run.events += [
            Event(20, 0.0, "control", {"eta": [0.1, 0.2], "momentum": [0.5, 0.25]}),
            Event(30, 0.0, "control", {"weight_decay": [0.0, 0.001]}),
        ]
        marks = [(mark.x, mark.text) for mark in RunView(run, "finished").marks()]
    assert marks == [(20.0, "η→0.2 μ→0.25"), (30.0, "λ→0.001")]


def test_measured_curves_differ_without_colour(view: RunView) -> None:
    """In one chart no two labelled curves of a pattern lack a sign, but for thresholds."""
    for panel in PANELS:
        chart = chart_of(panel, view, panel.scales[0])
        measured = [
            (curve.pattern, curve.sign)
            for curve in chart.curves
            if curve.label and curve.colour != "theory"
        ]
        assert len(set(measured)) == len(measured), panel.name


def test_a_threshold_is_seen_on_the_edge(tmp_path: Path) -> None:
    """κ lies along 2/η and spreads around it, S is far below: every dash of it has its own colour."""
    path = tmp_path / "made-edge"
    writer = RunWriter(path, facts(4000))
    stored = rows(0, 4000)
    stored[:, 3] = 20 + 4 * np.sin(np.arange(4001.0)) ** 3  # κ
    stored[:, 5] = 0.0
    writer.steps(0, stored)
    measure(writer, 0, 4000)
    writer.close()
    with Run(path) as run:
        (sharpness,) = (panel for panel in PANELS if panel.name == "sharpness")
        chart = chart_of(sharpness, RunView(run, "finished"), "linear")
        threshold = [curve for curve in chart.curves if curve.colour == "theory"]
        grids = [
            draw(drawn, 58, 15, (0.0, 4000.0), StickyRange())
            for drawn in (Chart(threshold, chart.scale), chart)
        ]
    dashes = [(grid.colours == "theory").any(axis=0)[6:46].tolist() for grid in grids]
    assert dashes[0] == dashes[1]
    assert 20 < sum(dashes[0]) < 40
    assert (grids[1].colours == "path").any()


def test_probes_of_other_cadences_change_no_panel(tmp_path: Path) -> None:
    """What is measured between two readings of S and the drives tears no curve and hides no crossing."""
    drawn, told = [], []
    for often in (0, 10, 3):
        writer = RunWriter(tmp_path / f"made-{often}", facts(1000))
        stored = rows(0, 1000)
        stored[:, 3] = 4.0  # κ, far below the edge
        writer.steps(0, stored)
        for step in range(1001):
            values = {} if step % 25 else {
                "sharpness": 4 + step / 200, "sharpness_residual": 1e-3, "beta": 100.0, "g": 500.0,
                "beta_alpha": 1 - step / 700, "eig_2": 1.0, "sharpness_gap": 1.0, "u_error": 1.0,
                "sharpness_gradient_u": 0.1, "gradient_u": 0.1,
            }  # fmt: skip
            if often and step % often == 0:
                values["eig_min"] = -1.0
            if values:
                writer.measurement(step, values)
        writer.close()
        with Run(writer.path) as run:
            view = RunView(run, "finished")
            panels = [panel for panel in PANELS if panel.name in ("sharpness", "drives")]
            charts = [chart_of(panel, view, "linear") for panel in panels]
            drawn.append(
                [
                    draw(chart, 58, 15, x_range, StickyRange()).text()
                    for chart in charts
                    for x_range in ((0.0, 1000.0), (300.0, 400.0))
                ]
            )
            held = monitors(run.steps, run.measured, "raw")
            titles = [title_of(panel, view, "linear") for panel in panels]
            told.append([held, run.measured.newest("sharpness"), *titles])
    assert drawn[1:] == drawn[:1] * 2
    assert told[1:] == told[:1] * 2
    assert "crossed at step 350" in told[0][-1]
    assert "✕" in drawn[0][2]
