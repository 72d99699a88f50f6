"""Charts as grids of characters: axes, labels, marks, at every size."""

from __future__ import annotations

import numpy as np
import pytest

from eostui.charts.chart import Chart, Curve, Mark, Spot
from eostui.charts.layout import LABEL_ROOM, Told, labelled
from eostui.charts.picture import draw
from eostui.charts.scales import Scale, StickyRange


def example(n: int = 400) -> Chart:
    x = np.arange(float(n))
    return Chart(
        [
            Curve(x, np.full(n, 13.3), "theory", "dashed", "2/η 13.3", extended=True),
            Curve(x, 7 + 6 * (1 - np.exp(-x / 80)), "sharpness", label="S 13.0"),
        ],
        marks=[Mark(200, "λ→.001")],
        spots=[Spot(100, 11, "warm")],
    )


def test_a_mark_that_has_no_room_is_not_taken_for_an_older_one() -> None:
    """Ten presses of a key, then a fork: the fork's label leaves no room for the last press's."""
    presses = [Mark(200 + n, f"λ→{0.0001 * 1.25**n:.3g}") for n in range(10)]
    x = np.arange(500.0)
    curves = [Curve(x, x, "sharpness")]
    alone = draw(Chart(curves, marks=presses), 60, 16, (0, 500), StickyRange()).text()
    assert presses[-1].text in alone
    for step in range(210, 400, 5):
        crowded = Chart(curves, marks=[*presses, Mark(step, "fork λ→0")])
        text = draw(crowded, 60, 16, (0, 500), StickyRange()).text()
        assert "fork λ→0" in text
        assert not any(press.text in text for press in presses[:-1])


def test_a_chart_has_axes_labels_marks() -> None:
    grid = draw(example(), 60, 16, (0, 500), StickyRange())
    text = grid.text()
    assert "2/η 13.3" in text
    assert "S 13.0" in text
    assert "λ→.001" in text
    assert "✕" in text
    lines = text.splitlines()
    assert all(len(line) == 60 for line in lines)
    assert all(line[5] in "│┤└" for line in lines[:15])
    # the mark stands at 200/500 of the plot's 42 columns, from the top to the axis
    column = 6 + int(200 / 500 * 42)
    assert all(line[column] != " " for line in lines[:14])
    assert lines[14][column] == "┴"


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (12, 4), (30, 8), (200, 60)])
@pytest.mark.parametrize("unicode", [True, False])
def test_charts_of_every_size(size: tuple[int, int], unicode: bool) -> None:
    grid = draw(example(), *size, (0, 500), StickyRange(), unicode=unicode)
    assert grid.codes.shape == size[::-1]
    assert unicode or not (grid.codes >= 0x2800).any()


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, np.nan], [5.0], [0.0, 0.0]])
@pytest.mark.parametrize("kind", ["linear", "log", "symlog"])
def test_odd_data(values: list[float], kind: str) -> None:
    """Empty, a single point, constants, NaN, infinity: a chart or its waiting text, no error."""
    y = np.array(values, dtype=float)
    chart = Chart([Curve(np.arange(float(len(y))), y, "loss")], Scale(kind), waiting="waits")
    text = draw(chart, 60, 10, (0, 50), StickyRange()).text()
    shown = bool(np.isfinite(Scale(kind).forward(y)).any()) if len(y) else False
    assert ("waits" in text) != shown


def test_a_dashed_line_shows_through_what_lies_along_it() -> None:
    """A sharpness that stays within a cell of its threshold leaves the dashes to be seen, as dots."""
    x = np.arange(400.0)
    ends = Curve(x[:2], np.array([0.0, 20.0]), "norm")  # the same y axis for each
    along = Curve(x, 13.0 + 0.3 * np.sin(x / 30), "sharpness")
    threshold = Curve(x, np.full(400, 13.0), "theory", "dashed")

    def bits(*curves: Curve) -> tuple[np.ndarray, np.ndarray]:
        grid = draw(Chart([ends, *curves]), 60, 16, (0.0, 399.0), StickyRange())
        codes = np.where(grid.codes >= 0x2800, grid.codes - 0x2800, 0)
        return codes[:, 7:], grid.colours[:, 7:]

    below, _ = bits(threshold)
    above, own = bits(along)
    both, colours = bits(threshold, along)
    assert (both == below | above).all()
    assert (both != above).sum() > 10
    assert (colours[own == "sharpness"] == "sharpness").all()  # its cells stay its own
    solid = Curve(x, threshold.y, "theory")
    covered, _ = bits(solid, along)
    assert (covered[own == "sharpness"] == above[own == "sharpness"]).all()


def test_a_label_without_room_is_told_by_its_short_name() -> None:
    def text(label: str, short: str = "") -> str:
        curve = Curve(np.arange(3.0), np.full(3, 38000.0), "theory", label=label, short=short)
        return labelled(Told(curve, 38000.0), 4, LABEL_ROOM)

    assert text("2/η", "edge") == "2/η 38000"
    assert text("(2+2μ)/η−λ", "edge") == "(2+2μ)/η−λ"
    assert text("(2/η)(1+β₁)/(1−β₁)", "edge") == "edge 38000"
    assert text("a name of many words") == "a name of …"
    assert text("0.0003·1") == "0.0003·1"
    assert text("λ 0.0003, width 50") == "λ 0.0003, …"
    assert text("◇0.0003162·12") == "◇…"  # neither 0.000316 nor 0.0003162 alone
    assert text("◇0·1.234e-05") == "◇0·…"
    assert text("◇width 1234567") == "◇width …"
