"""Charts as pure functions: nothing skipped, nothing invented, axes that stay put."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eostui.charts import dots
from eostui.charts.chart import Chart, Curve, Mark, Spot
from eostui.charts.numbers import compact, tick_text
from eostui.charts.picture import draw
from eostui.charts.scales import Scale, StickyRange, linear_ticks, nice_above
from eostui.tui.svg import portable
from eostui.tui.window import Window

finite = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(
    y=hnp.arrays(float, st.integers(1, 400), elements=finite),
    columns=st.integers(1, 60),
    left=st.floats(0, 300),
    width=st.floats(1, 500),
)
def test_envelope_covers_every_point(y, columns: int, left: float, width: float) -> None:
    """Each visible point lies within the envelope of its column: nothing is subsampled."""
    x = np.arange(len(y), dtype=float)
    low, high = dots.envelope(x, y, left, left + width, columns)
    edges = np.linspace(left, left + width, columns + 1)
    for position, value in zip(x, y, strict=True):
        if edges[0] <= position <= edges[-1]:
            column = min(int(np.searchsorted(edges, position, side="right")) - 1, columns - 1)
            assert low[column] <= value <= high[column]
    assert np.nanmin(low, initial=np.inf) >= y.min() - 1e-9 * abs(y).max()
    assert np.nanmax(high, initial=-np.inf) <= y.max() + 1e-9 * abs(y).max()


def test_an_alternation_is_a_band() -> None:
    """A period-2 motion faster than a column shows as a band of its full height in each column."""
    y = np.where(np.arange(10_000) % 2 == 0, 1.0, -1.0)
    low, high = dots.envelope(np.arange(10_000.0), y, 0, 10_000, 100)
    assert (low == -1).all()
    assert (high == 1).all()


def test_nan_is_a_gap_and_nothing_is_drawn_beyond_the_ends() -> None:
    x = np.array([10.0, 20.0, 30.0, 40.0])
    low, high = dots.envelope(x, np.array([1.0, np.nan, 3.0, 5.0]), 0, 50, 50)
    assert np.isnan(low[:10]).all()
    assert np.isnan(high[11:30]).all()
    assert low[35] <= 4.1 <= high[35] <= low[35] + 0.3  # interpolated, joined to its neighbours
    assert np.isnan(low[41:]).all()


def test_curves_are_unbroken() -> None:
    """From column to column the drawn spans touch, however steep the curve."""
    x = np.arange(40.0)
    y = np.cumsum(np.random.default_rng(1).normal(size=40))
    low, high = dots.envelope(x, y, 0, 39, 80)
    first, last = dots.spans(low, high, y.min(), y.max(), 60)
    assert (first <= last).all()
    assert (first[1:] <= last[:-1] + 1).all()
    assert (last[1:] >= first[:-1] - 1).all()


@given(hnp.arrays(bool, st.tuples(st.integers(1, 5).map(lambda n: 4 * n),
                                  st.integers(1, 9).map(lambda n: 2 * n))))  # fmt: skip
def test_braille_has_the_right_dots(grid) -> None:
    """Decoding the code points by Unicode's numbering gives the dots back."""
    codes = dots.braille(grid)
    for row in range(grid.shape[0]):
        for column in range(grid.shape[1]):
            code = int(codes[row // 4, column // 2])
            bits = code - 0x2800 if code else 0
            number = {(0, 0): 1, (1, 0): 2, (2, 0): 3, (0, 1): 4, (1, 1): 5, (2, 1): 6, (3, 0): 7,
                      (3, 1): 8}[row % 4, column % 2]  # fmt: skip
            assert bool(bits >> (number - 1) & 1) == grid[row, column]


@pytest.mark.parametrize("kind", ["linear", "log", "symlog"])
def test_scales_go_there_and_back(kind: str) -> None:
    scale = Scale(kind, 0.01)
    values = np.array([1e-6, 0.3, 7.0, 1e5])
    assert [scale.backward(p) for p in scale.forward(values)] == pytest.approx(values.tolist())
    low, high = scale.forward(np.array([1e-6, 1e5]))
    ticks = scale.ticks(low, high, 6)
    assert 2 <= len(ticks) <= 9
    places = scale.forward(np.array(ticks))
    slack = 1e-9 * (high - low)
    assert ((low - slack <= places) & (places <= high + slack)).all()


def test_symlog_ticks_are_apart_and_symmetric() -> None:
    scale = Scale("symlog", 1e-2)
    low, high = scale.forward(np.array([-300.0, 300.0]))
    ticks = scale.ticks(low, high, 5)
    assert 0.0 in ticks
    assert ticks == [-t for t in ticks[::-1]]
    places = scale.forward(np.array(ticks))
    assert np.diff(places).min() >= (high - low) / 6


def test_log_shows_no_value_below_zero() -> None:
    assert np.isnan(Scale("log").forward(np.array([0.0, -1.0]))).all()


def test_ticks_are_round() -> None:
    assert linear_ticks(0, 12_000, 4) == [0, 5000, 10_000]
    assert [tick_text(v) for v in (0.0, 12.5, 5000.0, 0.002, -0.001, 2e7)] == [
        "0", "12.5", "5k", "2e-3", "-1e-3", "2e7",
    ]  # fmt: skip
    assert [compact(v) for v in (13.333, 0.00089, math.nan, 0.0, 1234.5)] == [
        "13.3", "8.9e-4", "–", "0", "1234",
    ]  # fmt: skip


@given(st.floats(1e-9, 1e9))
def test_nice_above_is_near_and_never_below(value: float) -> None:
    assert value * (1 - 1e-9) <= nice_above(value) <= 1.5 * value


def test_a_live_axis_moves_seldom() -> None:
    """While a curve climbs through 1000 frames, its axis changes a handful of times."""
    sticky = StickyRange()
    seen = {sticky.fit(0.0, top, floor=0.0) for top in np.linspace(1, 100, 1000)}
    assert len(seen) < 18
    assert all(bottom == 0 for bottom, _ in seen)
    window = Window()
    assert len({window.range(last) for last in range(12_000)}) < 30


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_ranges_hold_their_data(low: float, span: float) -> None:
    bottom, top = StickyRange().fit(low, low + span)
    assert bottom <= low
    assert top >= low + span
    assert top > bottom


def test_window_zooms_pans_and_follows() -> None:
    window = Window()
    assert window.range(9_000) == (0, 10_000)
    window.scale(-1, 9_000, 1)
    left, right = window.range(9_000)
    assert right - left == 5_000
    assert left < 9_000 < right
    assert window.range(right + 1)[1] > right  # following: it jumps ahead
    window.pan(-1, 9_000, 1)
    assert window.range(9_000) == window.range(20_000)  # looking back: it stays
    window.follow()
    left, right = window.range(20_000)
    assert left <= 20_000 <= right
    window.show_all()
    assert window.range(9_000) == (0, 10_000)


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


def test_pictures_place_words_and_draw_dots() -> None:
    """Every braille dot becomes a square at its place, every word a text at its own x."""
    svg = (
        '<text class="a" x="12.2" y="20" textLength="85.4" clip-path="url(#c)">'
        "&#160;&#160;ab&#160;⠁⢀</text>"
    )
    out = portable(svg)
    assert '<text class="a" x="36.6" y="20" textLength="24.4" clip-path="url(#c)">ab</text>' in out
    assert out.count("z") == 2
    assert "⠁" not in out
    assert "&#160;" not in out
    assert '<path class="a"' in out


def test_pictures_have_a_shape_for_every_sign() -> None:
    """Each stands in its own cell, as tall as the others, so that a column is a column."""
    svg = '<text class="a" x="0" y="18.5" textLength="36.6" clip-path="url(#c)">▲▼◆</text>'
    (path,) = re.findall(r'<path class="a" d="([^"]*)"/>', portable(svg))
    shapes = [shape for shape in path.split("z") if shape]
    assert len(shapes) == 3
    for cell, shape in enumerate(shapes):
        start = [float(number) for number in re.findall(r"-?[\d.]+", shape)[:2]]
        assert 12.2 * cell <= start[0] <= 12.2 * (cell + 1)
        assert 0 <= start[1] <= 24.4
    assert "text" not in portable(svg)
