"""What is drawn: read back from the axes and held against the run's columns; and pictures."""

from __future__ import annotations

import itertools
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from edge_runs import STEPS, make
from made import facts, measure, rows
from matplotlib.testing.compare import compare_images

from eostui.cli.comparison import read_all
from eostui.figures.draw import draw
from eostui.figures.files import Sheet, write_figure
from eostui.figures.one_run import picture_of_run
from eostui.figures.several_runs import columns_of, picture_of_comparison
from eostui.figures.style import ink, styled
from eostui.figures.wanted import wanted_of
from eostui.panels.compare.view import ComparisonView, in_order
from eostui.panels.view import RunView
from eostui.runs import shelf
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter

BASELINE = Path(__file__).parent / "baseline"
#: Root mean square of the differences of pixels, of 255: letters differ a little with FreeType.
TOLERANCE = 6.0


@pytest.fixture
def steered(tmp_path: Path) -> Path:
    """A run whose λ was changed."""
    return make(tmp_path / "runs" / "made-aaaa", steered=True, name="steered")


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """The shelf of three λ × two seeds."""
    folder = tmp_path / "runs"
    for number, (decay, seed) in enumerate((d, s) for d in (0.0, 0.5, 1.0) for s in (0, 1)):
        make(folder / f"made-{number}{number}{number}{number}", decay, seed)
    return folder


def panels(text):
    return wanted_of(text)


def columns(text):
    return wanted_of(text, is_column=True)


def of_run(path, wanted=(), ends=(None, None), **axis):
    with Run(path) as run:
        view = RunView(run, run.state)
        if axis.get("flow"):
            view.toggle_axis()
        return picture_of_run(view, wanted, ends)


def of_runs(folder, wanted=(), *, grouped=False):
    view = ComparisonView(in_order(shelf.entries(folder)))
    view.show(grouped=grouped)
    view.need(columns_of(wanted))
    read_all(view)
    return picture_of_comparison(view, wanted)


def drawn(picture, width=3.35, height=None):
    with styled(width):
        figure = draw(picture, width, height)
        figure.canvas.draw()
    return figure


def lines(axes, least=3):
    """The curves: marks and spots have fewer points."""
    return [line for line in axes.get_lines() if len(line.get_xdata()) >= least]


def line_of(axes, colour):
    """The last curve in a colour of the palette, which lies on top."""
    return [line for line in lines(axes, 2) if line.get_color() == ink(colour)][-1]


def test_a_short_run_is_drawn_point_by_point(steered):
    sharpness, loss = drawn(of_run(steered, panels("sharpness,loss"))).axes
    with Run(steered) as run:
        s = line_of(sharpness, "sharpness")
        np.testing.assert_array_equal(s.get_xdata(), run.measured["step"])
        np.testing.assert_array_equal(s.get_ydata(), run.measured["sharpness"])
        curve = line_of(loss, "loss")
        np.testing.assert_array_equal(curve.get_xdata(), run.steps["step"])
        np.testing.assert_array_equal(curve.get_ydata(), run.steps["loss"])


@pytest.mark.parametrize(
    ("name", "every_step"),
    [("path_curvature", True), ("loss_step", True), ("theta_norm", True), ("beta_alpha", False),
     ("eig_2", False), ("alpha", False)],
)  # fmt: skip
def test_any_column_is_drawn_where_the_export_has_it(steered, name, every_step):
    with Run(steered) as run:
        table = run.columns()
    (axes,) = drawn(of_run(steered, columns(name))).axes
    line = line_of(axes, "norm" if every_step else "sharpness")
    known = np.isfinite(table[name])
    np.testing.assert_array_equal(line.get_xdata(), table["step"][known])
    np.testing.assert_array_equal(line.get_ydata(), table[name][known])


def test_x_is_flow_time_where_it_is_asked_for(steered):
    (axes,) = drawn(of_run(steered, panels("norm"), flow=True)).axes
    with Run(steered) as run:
        np.testing.assert_array_equal(
            line_of(axes, "norm").get_xdata()[[0, -1]], run.steps["flow_time"][[0, -1]]
        )
    assert axes.get_xlabel() == "flow time ηt"


def test_axes_share_x_and_the_lowest_alone_says_its_values(steered):
    first, second = drawn(of_run(steered, panels("sharpness,loss"), (100.0, 300.0))).axes
    assert first.get_xlim() == second.get_xlim() == (100.0, 300.0)
    assert not any(label.get_visible() for label in first.get_xticklabels())
    assert second.get_xlabel() == "step"
    assert "200" in [label.get_text() for label in second.get_xticklabels()]


def test_side_by_side_in_two_columns_width(steered):
    axes = drawn(of_run(steered), 6.9).axes
    assert len(axes) == 4
    assert axes[0].get_position().y0 == axes[1].get_position().y0
    assert [each.get_xlabel() for each in axes] == ["", "", "step", "step"]


@pytest.mark.parametrize(
    ("kind", "scale"), [("linear", "linear"), ("log", "log"), ("symlog", "asinh")]
)
def test_scales_are_the_panels_or_as_asked(steered, kind, scale):
    (axes,) = drawn(of_run(steered, columns(f"theta_norm:{kind}"))).axes
    assert axes.get_yscale() == scale


def test_symlog_is_that_of_the_panels(steered):
    """The asinh of matplotlib is linear on the stretch that the panel's is."""
    picture = of_run(steered, panels("drives"))
    (axes,) = drawn(picture).axes
    scale = picture.subplots[0].chart.scale
    values = np.array([-0.4, -0.01, 0.0, 0.02, 0.5])
    place = axes.yaxis.get_transform().transform(values) / scale.threshold
    np.testing.assert_allclose(place, scale.forward(values), rtol=1e-12, atol=1e-12)


def test_changes_of_controls_are_marked_and_thresholds_are_dashed(steered):
    axes = drawn(of_run(steered, panels("sharpness"))).axes[0]
    marks = [line for line in axes.get_lines() if list(line.get_xdata()) == [200, 200]]
    assert len(marks) == 1
    assert "λ→2" in [text.get_text() for text in axes.texts]
    dashed = [line for line in axes.get_lines() if line.is_dashed() and line not in marks]
    ends = {(line.get_ydata()[0], line.get_ydata()[-1]) for line in dashed}
    assert (20.0, 20.0) in ends
    assert (19.5, 18.0) in ends
    named = {text.get_text() for text in axes.texts}
    assert {"S", "κ", "2/η", "2/η−λ"} <= named


def test_names_of_curves_stand_apart(steered):
    axes = drawn(of_run(steered, panels("sharpness"))).axes[0]
    names = [text for text in axes.texts if text.get_text() in ("S", "κ", "2/η", "2/η−λ", "rest")]
    boxes = [text.get_window_extent() for text in names]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_curves_of_several_runs_are_theirs_and_called_by_what_differs(family):
    figure = drawn(of_runs(family, columns("theta_norm")))
    (axes,) = figure.axes
    assert len(lines(axes)) == 6
    texts = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert [text for text in texts if "λ 0.5, seed 1" in text]
    assert len({*texts}) == 6
    with Run(family / "made-0000") as run:
        norm = run.steps["theta_norm"]
    for line in lines(axes):
        np.testing.assert_allclose(line.get_ydata(), norm, rtol=1e-6)


def test_a_group_of_seeds_is_a_mean_in_its_band(family):
    figure = drawn(of_runs(family, columns("sharpness"), grouped=True))
    (axes,) = figure.axes
    legend = figure.legends[0]
    assert legend.get_title().get_text() == "λ"
    assert [text.get_text().strip() for text in legend.get_texts()] == ["0", "0.5", "1"]
    assert len(axes.collections) == 3
    share = np.arange(0, STEPS + 1, 25) / STEPS
    for decay, colour in ((0.0, "ramp 0"), (1.0, "ramp 15")):
        line = line_of(axes, colour)
        expected = 8.5 + (10 - 4 * decay) * share
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)
    bottom, top = axes.collections[0].get_datalim(axes.transData).intervaly
    deviation = np.sqrt(0.5)  # of two values one apart, n − 1 in the denominator
    np.testing.assert_allclose([bottom, top], [8.5 - deviation, 18.5 + deviation], atol=0.02)


def test_readings_at_rest_stand_over_their_setting(family):
    (axes,) = drawn(of_runs(family, panels("rest"))).axes
    assert axes.get_xlabel() == "λ"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.5", "1"]


def brightness(colour):
    import matplotlib as mpl

    return float(np.dot(mpl.colors.to_rgb(ink(colour)), (0.299, 0.587, 0.114)))


def test_the_ramp_reads_in_grey_and_its_lightest_on_white():
    grey = np.array([brightness(f"ramp {number}") for number in range(16)])
    assert (np.diff(grey) > 0.02).all()
    assert grey[-1] < 0.8


def test_curves_of_one_panel_differ_without_colour(steered):
    """By their dashes or their signs, those that have a name."""
    for axes in drawn(of_run(steered)).axes:
        looks = [
            (
                line.get_linestyle(),
                line.get_marker() not in ("None", "", None),
                line.get_linewidth(),
            )
            for line in lines(axes, 2)
            if line.get_label().startswith("_child") and line.get_color() != ink("theory")
        ]
        named = [look for look in looks if look[2] > 0.5]
        assert len({*named}) == len(named)


def test_letters_are_seven_to_nine_points_at_the_final_size(steered):
    figure = drawn(of_run(steered))
    sizes = [text.get_fontsize() for axes in figure.axes for text in axes.texts]
    sizes += [label.get_fontsize() for axes in figure.axes for label in axes.get_xticklabels()]
    sizes += [axes.yaxis.label.get_fontsize() for axes in figure.axes]
    assert min(sizes) >= 7
    assert max(sizes) <= 9


# --- pictures -----------------------------------------------------------------------------------------


def same_picture(picture, name, tmp_path, width="3.35x3"):
    """Compare with the kept picture; FIGURES=renew keeps this one instead."""
    style = tmp_path / "small.mplstyle"
    style.write_text("savefig.dpi: 80\n")
    target = (BASELINE if os.environ.get("FIGURES") == "renew" else tmp_path) / f"{name}.png"
    write_figure(picture, target, Sheet(width, style))
    return compare_images(str(BASELINE / f"{name}.png"), str(target), TOLERANCE)


def test_picture_of_a_run(steered, tmp_path):
    assert same_picture(of_run(steered, panels("sharpness,loss")), "run", tmp_path) is None


def test_picture_of_a_comparison(family, tmp_path):
    picture = of_runs(family, panels("sharpness,rest,loss") + columns("beta_alpha"), grouped=True)
    assert same_picture(picture, "comparison", tmp_path, "6.9x4") is None


def test_picture_in_letters(family, tmp_path):
    for number in range(6, 10):
        make(family / f"made-more-{number}", number / 4)
    picture = of_runs(family, columns("sharpness"))
    assert same_picture(picture, "letters", tmp_path) is None


def test_a_curve_that_is_lacking_is_seen(steered, tmp_path):
    picture = of_run(steered, panels("sharpness,loss"))
    picture.subplots[1].chart.curves.pop()
    found = same_picture(picture, "run", tmp_path) if "FIGURES" not in os.environ else "renewed"
    assert found is not None


# --- odd input ----------------------------------------------------------------------------------------


def test_a_run_without_a_step_says_so(tmp_path):
    writer = RunWriter(tmp_path / "made-none", facts(10))
    writer.event(0, "started")
    writer.close()
    for axes in drawn(of_run(writer.path)).axes:
        assert [text.get_text() for text in axes.texts] == ["no step was taken"]


def test_what_is_not_finite_is_a_gap_and_a_point_alone_is_a_point(tmp_path):
    stored = rows(0, 100)
    stored[30:50, 0] = np.nan
    stored[60:, 0] = np.inf
    stored[70, 0] = 0.01
    writer = RunWriter(tmp_path / "made-gaps", facts(100))
    writer.steps(0, stored)
    measure(writer, 0, 100, np.nan)
    writer.close()
    (axes,) = drawn(of_run(writer.path, columns("loss"))).axes
    line = line_of(axes, "norm")
    known = np.isfinite(line.get_ydata())
    assert not known[30:50].any()
    assert known[:30].all()
    alone = [int(line.get_xdata()[place]) for place in line.get_markevery()]
    assert alone == [70]


@pytest.mark.parametrize(
    "name", ["_hidden", "$x_1$", "学習率", "שלום", "عربى", "a" * 200, "x\x1b[31m"]
)
@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_names_of_any_letters_are_written_in_silence(tmp_path, capfd, caplog, name, ending):
    make(tmp_path / "runs" / "made-aaaa", name=name)
    make(tmp_path / "runs" / "made-bbbb", name="plain")
    picture = of_runs(tmp_path / "runs", panels("loss"))
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_figure(picture, tmp_path / f"out.{ending}", Sheet())
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    figure = drawn(picture)
    texts = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert len(texts) == 2
    if name in ("_hidden", "$x_1$", "学習率"):
        assert any(name in text for text in texts)


def test_colours_of_many_runs_are_named_by_the_setting_that_they_are_of(tmp_path):
    """Of 30 runs with three λ each colour stands for ten: the legend has the three, and no letters."""
    folder = tmp_path / "runs"
    for number in range(30):
        make(folder / f"made-{number:04d}", (0.0, 1e-3, 1e-2)[number % 3], seed=number // 3)
    picture = of_runs(folder, panels("sharpness"))
    assert [entry.label for entry in picture.legend] == ["0", "0.001", "0.01"]
    assert picture.legend_title == "λ, 30 curves"
    assert len({entry.colour for entry in picture.legend}) == 3
    assert not any(entry.sign for entry in picture.legend)
    assert not picture.subplots[0].chart.spots


def test_two_hundred_runs_have_a_legend_of_a_few(tmp_path):
    folder = tmp_path / "runs"
    for number in range(200):
        make(folder / f"made-{number:04d}", number / 1000)
    figure = drawn(of_runs(folder, panels("sharpness,rest")))
    legend = figure.legends[0]
    assert legend.get_title().get_text() == "λ, 200 curves"
    texts = [text.get_text().strip() for text in legend.get_texts()]
    assert texts[0] == "0"
    assert texts[-1] == "0.199"
    assert len(texts) == 8
    assert len(lines(figure.axes[0])) == 200
    ticks = [label.get_window_extent() for label in figure.axes[1].get_xticklabels()]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(ticks))
