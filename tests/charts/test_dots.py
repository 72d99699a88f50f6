"""From curves to dots: nothing skipped, nothing invented."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eostui.charts import dots

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


@pytest.mark.parametrize("huge", [1e200, -1e200, np.inf, -np.inf])
def test_what_no_axis_can_hold_is_a_gap_and_hides_nothing_beside_it(huge: float) -> None:
    y = np.ones(100)
    y[45], y[99] = huge, huge
    x = np.arange(100.0)
    low, high = dots.extremes(x, y, 0, 100, 10)  # ten points a column
    assert (low == 1).all()
    assert (high == 1).all()
    low, high = dots.extremes(x, y, 0, 100, 1000)  # and one in ten columns
    known = np.isfinite(low)
    assert (low[known] == 1).all()
    assert not known[441:460].any()
