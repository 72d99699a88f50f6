"""Runs side by side: curves, means, differences, readings at rest and names, against numpy and CSVs."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
from made import make_run
from toy_runs import toy_config, train

from eostui.charts.dots import DOTS_X
from eostui.charts.palette import COLOURS
from eostui.charts.picture import draw
from eostui.charts.scales import StickyRange
from eostui.config import RunConfig
from eostui.panels.compare.charts import PANELS, chart_of, resting_points
from eostui.panels.compare.crosshair import steps_at
from eostui.panels.compare.lines import difference
from eostui.panels.compare.member import G_RATIO, read_member
from eostui.panels.compare.table import flat_records, records, rows, with_error
from eostui.panels.compare.view import AXES, SINCE_ONSET, ComparisonView, in_order
from eostui.runs.analysis.ensemble import mean_and_deviation, on_grid
from eostui.runs.analysis.resting import Resting
from eostui.runs.export import RunTable, write_stream
from eostui.runs.run import Run
from eostui.runs.shelf import read_entry
from eostui.runs.store.writer import RunWriter

STEPS = 400


def stored(last, decay=0.0, *, eta=0.1, lift=0.0, fails_at=None):
    """Rows whose loss is lift + 1/(1 + t) and alternates from the middle on, then NaN."""
    t = np.arange(last + 1)
    loss = lift + 1 / (1 + t) + np.where(t > last // 2, 0.01 * (-1.0) ** t, 0.0)
    if fails_at is not None:
        loss = np.where(t >= fails_at, np.nan, loss)
    kappa = np.where(t == 0, np.nan, 19 + lift + np.sin(t))
    columns = [loss, t * 0 + 8.0, t * 0 + 7.0, kappa, t * 0 + eta, t * 0 + decay]
    return np.stack(columns, axis=1)


def made(folder, run, *, last=STEPS, decay=0.0, seed=0, phase="edge", top=20.5, name="", **how):
    """Write a run whose S rises to `top` in the middle and rests there."""
    settings = {"preset": "made", "steps": last, "eta": 0.1, "weight_decay": decay, "seed": seed,
                "rest_window": max(last // 5, 1)}  # fmt: skip
    config = RunConfig.build({**settings, **how.pop("settings", {})}, "test")
    facts = {"config": config.to_toml(), "created": f"{how.pop('created', 1)}.0", "status": "finished",
             "name": name}  # fmt: skip
    writer = RunWriter(folder / run, facts)
    writer.event(0, "started")
    writer.steps(0, stored(last, decay, **how))
    for step in range(0, last + 1, 5):
        rest = top if step >= last // 2 else 8 + (top - 8) * step / (last // 2)
        writer.measurement(
            step,
            {"sharpness": rest, "sharpness_residual": 1e-4, "eig_2": 6.0, "beta": 2.0,
             "beta_alpha": 1.0, "g": 50.0, "test_loss": 2.0 + seed},
        )  # fmt: skip
    for at, word in ((0, "transient"), (last // 2, phase)):
        writer.event(at, "phase", {"from": None, "to": word, "step": at, "why": "made so"})
    writer.close()
    return folder / run


def compared(*paths, **shown):
    """A view of runs that are read."""
    view = ComparisonView([read_entry(path) for path in paths])
    view.show(**shown)
    for place, entry in enumerate(view.entries):
        view.take(place, read_member(entry, view.wanted))
    return view


def table_of(path):
    """A run's own export, as columns of numbers."""
    stream = io.StringIO()
    with Run(path) as run:
        write_stream(RunTable(run), stream, "csv")
    lines = list(csv.DictReader(io.StringIO(stream.getvalue())))
    return {name: np.array([float(line[name] or "nan") for line in lines]) for name in lines[0]}


@pytest.fixture
def family(tmp_path):
    """Three λ with two seeds each, as they were made."""
    return [
        made(tmp_path, f"run-{n}", decay=decay, seed=seed, lift=0.1 * seed, name=f"n{n}",
             top=20.5 - 100 * decay - seed, created=n + 1)
        for n, (decay, seed) in enumerate(
            [(0.01, 0), (0.0, 0), (0.001, 0), (0.01, 1), (0.0, 1), (0.001, 1)]
        )
    ]  # fmt: skip


# --- curves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loss", "sharpness", "path_curvature", "eig_2"])
def test_a_curve_is_the_column_of_the_export(family, name):
    view = compared(*family, quantity=name)
    for path, line in zip(family, view.lines(name), strict=True):
        x, y = line.trace.points()
        column = table_of(path)[name]
        known = np.isfinite(column)
        assert x.tolist() == np.flatnonzero(known).tolist()
        assert y == pytest.approx(column[known], rel=1e-6)


def test_flow_time_and_onset_as_x(family):
    view = compared(*family, axis=AXES[1])
    table = table_of(family[0])
    x, _ = view.lines("loss")[0].trace.points()
    assert x == pytest.approx(table["flow_time"], rel=1e-6)
    x, _ = view.lines("sharpness")[0].trace.points()
    assert x == pytest.approx(table["flow_time"][::5], rel=1e-6)
    view = compared(*family, axis=SINCE_ONSET)
    for place, path in enumerate(family):
        table = table_of(path)
        limit = 2 / table["eta"] - table["weight_decay"]
        reached = np.flatnonzero(table["sharpness"] >= limit)
        trace = view.lines("loss")[place].trace
        if not len(reached):
            assert place in view.without_onset()
            assert not len(trace)
        else:
            assert (trace.left, trace.right) == (-reached[0], STEPS - reached[0])
    assert view.without_onset() == [0, 3, 4, 5]


def test_an_x_is_a_step_of_each_run_that_reaches_it(tmp_path):
    """By steps, by flow time at another η, by steps since the onset; a run that ends before has none."""
    paths = [
        made(tmp_path, "long", eta=0.1, settings={"eta": 0.1}),
        made(tmp_path, "short", last=100, eta=0.05, settings={"eta": 0.05}),
        made(tmp_path, "calm", top=9.0),
    ]
    view = compared(*paths)
    assert steps_at(view, 100.4) == {0: 100, 1: 100, 2: 100}
    assert steps_at(view, 101) == {0: 101, 2: 101}
    view = compared(*paths, axis=AXES[1])
    for x in (0.0, 2.49, 4.3):
        steps = [round(x / 0.1), round(x / 0.05), round(x / 0.1)]
        assert steps_at(view, x) == dict(enumerate(steps))
    assert steps_at(view, 7.0) == {0: 70, 2: 70}
    view = compared(*paths, axis=SINCE_ONSET)
    onsets = [member.onset for member in view.members]
    assert onsets[0] is not None
    assert onsets[2] is None
    at = steps_at(view, -20)
    assert at == {place: onset - 20 for place, onset in enumerate(onsets) if onset is not None}


def test_mean_and_deviation_over_seeds(family):
    view = compared(*family, grouped=True)
    assert view.groups == [[0, 3], [1, 4], [2, 5]]
    for group, line in zip(view.groups, view.lines("loss"), strict=True):
        losses = np.stack([table_of(family[place])["loss"] for place in group])
        x, mean = line.trace.points()
        assert x.tolist() == list(range(STEPS + 1))
        assert mean == pytest.approx(losses.mean(axis=0), rel=1e-6)
        low, high = (band.points()[1] for band in line.band)
        assert (high - low) / 2 == pytest.approx(losses.std(axis=0, ddof=1), rel=1e-5)


def test_runs_of_different_lengths_and_steps_on_a_common_grid():
    long, short = np.arange(0, 101.0), np.arange(0, 31.0, 3)
    x, mean, deviation = mean_and_deviation([(long, 2 * long), (short, 2 * short + 4)])
    assert x.tolist() == long.tolist()
    assert mean[:31] == pytest.approx(2 * long[:31] + 2)
    assert deviation[:31] == pytest.approx(np.full(31, math.sqrt(8)))
    assert np.isnan(mean[31:]).all()  # one run alone is no mean
    x, mean, _ = mean_and_deviation([(long, long), (short + 50, short + 50), (short, short)])
    assert mean[60] == pytest.approx(60.0)
    assert [len(part) for part in mean_and_deviation([])] == [0, 0, 0]


def test_gaps_stay_gaps():
    x = np.arange(10.0)
    y = np.where((x > 3) & (x < 6), np.nan, x)
    assert np.isnan(on_grid((x, y), np.array([3.5, 4.0, 5.0]))).all()
    _, mean, _ = mean_and_deviation([(x, y), (x, x), (x, x + 3)])
    assert mean[4] == pytest.approx(4 + 1.5)
    assert mean[8] == pytest.approx(9.0)


def test_a_difference_is_taken_where_both_are(family, tmp_path):
    short = made(tmp_path, "short", last=100, seed=7)
    view = compared(*family, short)
    view.pin(6)
    view.show(differing=True)
    a, b = (table_of(path)["loss"] for path in (family[0], short))
    _x, y = view.lines("loss")[0].trace.points()
    assert y[:101] == pytest.approx(a[:101] - b, abs=1e-7)
    assert np.isnan(y[101:]).all()
    assert (view.lines("loss")[6].trace.points()[1] == 0).all()
    assert (
        difference((np.arange(3.0), np.ones(3)), (np.empty(0), np.empty(0)))[1].tolist() != [1] * 3
    )
    view.pin(None)
    assert not view.differing


def test_a_million_steps_beside_ten(tmp_path):
    view = compared(made(tmp_path, "a", last=10), made(tmp_path, "b", last=1_000_000 // 10, seed=1))
    chart = chart_of(PANELS[0], view, "linear", view.ends(), 100)
    assert view.ends() == (0.0, 100_000.0)
    assert max(len(curve.x) for curve in chart.curves) < 10_000
    assert "○" in draw(chart, 100, 20, view.ends(), StickyRange()).text()
    kept = view.members[1].columns
    assert {column.values.dtype for column in kept.values()} == {np.dtype("float32")}
    assert len(kept["stability_threshold"].values) == 2  # a constant costs nothing
    assert set(kept) == {*view.wanted, "stability_undecayed", "stability_threshold"}


# --- readings at rest ---------------------------------------------------------------------------------


def test_readings_at_rest_are_those_of_the_csv(family):
    view = compared(*family)
    for path, record in zip(family, records(view), strict=True):
        table = table_of(path)
        late = table["step"] > STEPS - STEPS // 5
        for name, take in (("sharpness", np.nanmean), ("path_curvature", np.nanmedian),
                           ("loss", np.nanmean), ("test_loss", np.nanmean)):  # fmt: skip
            assert record["readings"][name]["value"] == pytest.approx(take(table[name][late]))
        assert record["at_rest"]


def test_runs_not_at_rest_are_drawn_as_such_and_in_no_mean(tmp_path):
    paths = [
        made(tmp_path, "a", seed=0, top=20.0), made(tmp_path, "b", seed=1, top=22.0),
        made(tmp_path, "c", seed=2, top=90.0, phase="sharpening"),
    ]  # fmt: skip
    view = compared(*paths, grouped=True)
    points = resting_points(view, "sharpness")
    assert [point.kind for point in points] == ["mean", "unrest"]
    assert points[0].reading.value == pytest.approx(21.0)
    assert points[0].reading.error == pytest.approx(np.std([20, 22], ddof=1) / math.sqrt(2))
    assert points[1].reading.value == pytest.approx(90.0)
    assert math.isnan(points[1].reading.error)
    chart = chart_of(PANELS[1], view, "linear", (0.0, 1.0), 100)
    assert {spot.sign for spot in chart.spots} == {"○", "◆", "◌"}
    assert "◌ not at rest" in PANELS[1].title(view)
    assert rows(view)[3][4] == "(90.00)"


def test_at_rest_against_the_setting_stands_at_its_values(family):
    view = compared(*family)
    stretch = PANELS[1].own_x(view)
    chart = chart_of(PANELS[1], view, "linear", stretch, 100)
    assert [text for _, text in chart.places] == ["0", "0.001", "0.01"]
    assert all(stretch[0] < at < stretch[1] for at, _ in chart.places)
    text = draw(chart, 70, 20, stretch, StickyRange()).text()
    assert text.splitlines()[-1].split() == ["0", "0.001", "0.01"]
    assert chart.counts == "λ"
    at = {text: x for x, text in chart.places}
    values = [spot.y for spot in chart.spots if spot.sign == "●" and spot.x == at["0.01"]]
    assert values == pytest.approx([19.5, 18.5])


def test_errors_are_told_to_the_digits_they_leave():
    assert with_error(Resting(12.98123, 0.0213, 9)) == "12.98 ± 0.02"
    assert with_error(Resting(0.0043219, 0.0001, 9)) == "0.0043 ± 1e-4"
    assert with_error(Resting(5.0, math.nan, 2)) == "5.000"


# --- names, colours, signs ----------------------------------------------------------------------------


def test_curves_are_called_by_what_differs_never_by_ids_alone(family):
    view = compared(*family)
    assert next(look.name for look in view.looks()) == "n0 · λ 0.01, seed 0"
    view.show(grouped=True)
    assert [look.label for look in view.looks()] == ["0.01", "0", "0.001"]
    assert view.key == "weight_decay"
    ordered = in_order([read_entry(path) for path in family])
    assert [(e.weight_decay, e.config.seed) for e in ordered] == [
        (0.0, 0), (0.0, 1), (0.001, 0), (0.001, 1), (0.01, 0), (0.01, 1)
    ]  # fmt: skip


def test_the_ramp_rises_with_the_setting_and_every_colour_is_lighter_than_the_last(family):
    view = compared(*family, grouped=True)
    by_value = {look.label: look.colour for look in view.looks()}
    assert (by_value["0"], by_value["0.01"]) == ("ramp 0", "ramp 15")

    def luminance(colour):
        red, green, blue = (int(COLOURS[colour][n : n + 2], 16) / 255 for n in (1, 3, 5))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    levels = [luminance(f"ramp {n}") for n in range(16)]
    assert levels == sorted(levels)
    assert levels[-1] > 3 * levels[0]


def test_signs_tell_curves_apart_without_colour(family, tmp_path):
    view = compared(*family)
    assert len({look.sign for look in view.looks()}) == 6
    chart = chart_of(PANELS[0], view, "linear", view.ends(), 100)
    assert {look.sign for look in view.looks()} <= {spot.sign for spot in chart.spots}
    plain = ComparisonView(view.entries, unicode=False)
    assert "".join(look.sign for look in plain.looks()) == "abcdef"
    many = [read_entry(made(tmp_path, f"m{n}", last=10, seed=n)) for n in range(60)]
    assert {look.sign for look in ComparisonView(many).looks()} == {""}
    assert ComparisonView(many[:50]).looks()[27].sign == "B"


def test_labels_do_not_lie_on_each_other_and_more_than_eight_have_none(tmp_path):
    paths = [made(tmp_path, f"r{n}", decay=n / 1000, top=20 + n / 100) for n in range(9)]
    eight = compared(*paths[:8])
    chart = chart_of(PANELS[0], eight, "linear", eight.ends(), 100)
    lines = draw(chart, 80, 20, eight.ends(), StickyRange()).text().splitlines()
    labels = [line[69:].strip() for line in lines if line[69:].strip()]
    for look in eight.looks():
        assert any(label.startswith(f"{look.sign}{look.label}") for label in labels), labels
    nine = compared(*paths)
    chart = chart_of(PANELS[0], nine, "linear", nine.ends(), 100)
    assert {curve.label for curve in chart.curves if curve.colour != "theory"} == {""}


def test_the_baseline_is_on_top(family):
    view = compared(*family)
    view.pin(2)
    chart = chart_of(PANELS[0], view, "linear", view.ends(), 100)
    assert chart.curves[-1].colour == "baseline"
    assert [curve.colour for curve in chart.curves].count("baseline") == 1


# --- odd input ----------------------------------------------------------------------------------------


def drawn(view, size=(60, 16)):
    """The text of all charts."""
    texts = []
    for panel in PANELS:
        for kind in panel.scales(view):
            stretch = panel.own_x(view) if panel.own_x else view.ends()
            stretch = stretch if stretch[1] > stretch[0] else (stretch[0], stretch[0] + 1)
            chart = chart_of(panel, view, kind, stretch, size[0] * DOTS_X)
            texts.append(draw(chart, *size, stretch, StickyRange()).text())
            assert panel.title(view)[0]
    return "\n".join(texts)


def test_one_run_and_none(tmp_path):
    assert "no runs to compare" in drawn(ComparisonView([]))
    assert rows(ComparisonView([]))[0][0] == "run"
    view = compared(made(tmp_path, "only", name="only"))
    assert "●" in drawn(view)
    assert view.key is None
    assert not view.family.has_seeds
    view.show(grouped=True)
    assert "●" in drawn(view)
    assert rows(view)[1][0] == "only"


def test_nothing_read_yet_says_so(family):
    view = ComparisonView([read_entry(path) for path in family])
    assert "reading the runs: 0 of 6" in drawn(view)
    assert rows(view)[1][-3:]


def test_a_run_that_cannot_be_read_is_named_and_the_rest_goes_on(family):
    view = compared(*family)
    view.members[1] = None
    view.refuse(1, "damaged")
    assert view.read == len(family)
    assert "●" in drawn(view)
    record = records(view)[1]
    assert (record["trouble"], record["at_rest"]) == ("damaged", False)
    assert flat_records(view)[1]["sharpness"] == ""
    view.show(quantity="theta_norm")
    assert view.lacks(0)
    assert not view.lacks(1)


def test_runs_of_different_problems_and_dynamics(tmp_path):
    toy, _ = train(tmp_path / "toy", toy_config("cubic-normal-form", steps=60))
    toy.close()
    heavy, _ = train(
        tmp_path / "heavy",
        toy_config("cubic-normal-form", steps=60, dynamics="heavy-ball", momentum=0.5),
    )
    heavy.close()
    view = compared(tmp_path / "toy/r", tmp_path / "heavy/r", make_run(tmp_path / "m", 60))
    assert {"dynamics", "problem"} <= set(view.family.differing)
    assert "●" in drawn(view)
    view.show(quantity="x")
    for place, entry in enumerate(view.entries):
        view.take(place, read_member(entry, view.wanted))
    assert [len(line.trace) > 0 for line in view.lines("x")][2] is False
    assert len(rows(view)) == 4


def test_nan_stretches_and_a_divergence(tmp_path):
    view = compared(made(tmp_path, "a", fails_at=100), made(tmp_path, "b", seed=1), quantity="loss")
    assert "●" in drawn(view)
    _, y = view.lines("loss")[0].trace.points()
    assert np.isnan(y[100:]).all()
    view.show(grouped=True)
    _x, mean = view.lines("loss")[0].trace.points()
    assert np.isnan(mean[100:]).all()
    view.pin(0)
    view.show(differing=True)
    drawn(view)


def test_wide_and_right_to_left_names(tmp_path):
    names = ["学習率の掃引", "שלום", "مرحبا", "e\u0301\u200f", "nl"]
    paths = [made(tmp_path, f"r{n}", name=name) for n, name in enumerate(names)]
    view = compared(*paths)
    assert [look.name for look in view.looks()][:3] == names[:3]
    assert "\u200f" not in "".join(look.label for look in view.looks())
    drawn(view)
    drawn(view, (40, 12))
    drawn(view, (12, 4))


def test_g_over_critical_off_the_bounce(tmp_path):
    view = compared(made(tmp_path, "a", decay=0.01))
    x, y = view.trace(0, G_RATIO).points()
    before = x < STEPS // 2
    assert y[before] == pytest.approx(50 / (0.01 + 1.0 / 0.01), rel=1e-5)
    assert np.isnan(y[~before]).all()
    assert "no reading of g" in drawn(compared(made(tmp_path, "b")))
