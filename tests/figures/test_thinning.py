"""Few points that draw the same: held against all of them, column of pixels by column of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eostui.figures.thinning import alone, thinned


def ends_of_columns(x, y, left, right, columns):
    """The least and the greatest value in each column of pixels, by a plain loop."""
    place = np.minimum((x - left) / (right - left) * columns, columns - 1).astype(int)
    found = {}
    for column in range(columns):
        inside = y[(place == column) & (x >= left) & (x <= right) & np.isfinite(y)]
        if len(inside):
            found[column] = (inside.min(), inside.max())
    return found


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(
        st.one_of(st.floats(-1e6, 1e6), st.just(np.nan), st.just(np.inf)), min_size=1, max_size=400
    ),
    columns=st.integers(1, 40),
)
def test_each_column_of_pixels_keeps_its_least_and_its_greatest_value(values, columns):
    y = np.array(values)
    x = np.arange(len(y)) + 0.5  # none of them on the edge of a column
    left, right = 0.0, float(len(y))
    rows = thinned(x, y, left, right, columns)
    assert (np.diff(rows) > 0).all()
    every = ends_of_columns(x, y, left, right, columns)
    assert ends_of_columns(x[rows], y[rows], left, right, columns).items() <= every.items()
    finite = y[rows][np.isfinite(y[rows])]
    if every:
        assert finite.min() == min(low for low, _ in every.values())
        assert finite.max() == max(high for _, high in every.values())


def test_a_million_points_become_few_and_no_outlier_is_lost():
    y = np.random.default_rng(0).standard_normal(1_000_000)
    y[123_456], y[654_321] = 50.0, -50.0
    rows = thinned(np.arange(1e6), y, 0.0, 1e6, 1000)
    assert len(rows) <= 4 * 1000 + 2
    assert {123_456, 654_321} <= {*rows.tolist()}
    x = np.arange(1e6)
    assert ends_of_columns(x[rows], y[rows], 0, 1e6, 100) == ends_of_columns(x, y, 0, 1e6, 100)


def test_a_stretch_has_the_point_beyond_either_end_so_that_lines_reach_the_edge():
    x = np.arange(1000.0)
    rows = thinned(x, np.sin(x), 300.5, 310.5, 100)
    assert rows.tolist() == [*range(300, 312)]


def test_a_constant_needs_two_points():
    assert thinned(np.arange(1e5), np.full(100_000, 20.0), 0, 1e5, 500).tolist() == [0, 99_999]


def test_a_gap_stays_one():
    y = np.sin(np.arange(10_000.0))
    y[4000:6000] = np.nan
    rows = thinned(np.arange(10_000.0), y, 0, 1e4, 100)
    seen = y[rows]
    first, last = (np.flatnonzero(np.isnan(seen))[k] for k in (0, -1))
    assert np.isnan(seen[first : last + 1]).all()
    assert rows[first - 1] < 4000
    assert rows[last + 1] >= 6000


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([1.0], [0]),
        ([np.nan, 1.0, np.nan, 2.0, 3.0, np.nan, 4.0], [1, 6]),
        ([1.0, 2.0], []),
        ([], []),
    ],
)
def test_points_between_two_gaps_are_found(values, places):
    assert alone(np.array(values)).tolist() == places
