"""Long curves kept for drawing: few points, with the envelope of all of them."""

from __future__ import annotations

import numpy as np
import pytest

from eostui.charts import dots
from eostui.charts.trace import Trace


def full(x, y, left, right, columns):
    """The envelope of the curve as it is, in float32 as a trace keeps it."""
    return dots.extremes(x, y.astype(np.float32).astype(float), left, right, columns)


def kept(trace, left, right, columns):
    return dots.extremes(*trace.within(left, right, columns), left, right, columns)


@pytest.mark.parametrize("length", [1_000, 100_000, 1_000_000])
@pytest.mark.parametrize("stretch", [(0.0, 1.0), (0.31, 0.87), (0.5, 0.5003)])
def test_the_envelope_is_that_of_all_points(length, stretch):
    """In each column within what its two neighbours have too: a block may reach over an end."""
    rng = np.random.default_rng(length)
    y = np.cumsum(rng.normal(size=length)) + rng.normal(size=length)
    x = np.arange(length, dtype=float)
    left, right = (share * length for share in stretch)
    low, high = full(x, y, left, right, 110)
    for trace in (Trace(y), Trace(y, x)):
        points = trace.within(left, right, 110)[0]
        assert len(points) <= 110 * 2 * 8 * 16 * 2
        assert (np.diff(points) >= 0).all()
        found = kept(trace, left, right, 110)
        wide_low = np.nanmin([np.roll(low, shift) for shift in (-1, 0, 1)], axis=0)
        wide_high = np.nanmax([np.roll(high, shift) for shift in (-1, 0, 1)], axis=0)
        assert (found[0][1:-1] >= wide_low[1:-1]).all()
        assert (found[1][1:-1] <= wide_high[1:-1]).all()
        # whole blocks are never lost: what is drawn spans as far as all of it
        assert np.nanmin(found[0]) == np.nanmin(low)
        assert np.nanmax(found[1]) == np.nanmax(high)


def test_a_single_outlier_among_a_million_is_drawn_where_it_is():
    y = np.zeros(1_000_000)
    y[654_321] = 7.0
    _, high = kept(Trace(y), 0.0, 1e6, 100)
    assert np.flatnonzero(high == 7.0).tolist() == [65]


def test_ends_and_the_last_value_are_exact():
    y = np.sin(np.arange(100_003.0))
    for trace in (Trace(y), Trace(y, np.arange(100_003.0)), Trace(y, start=-500)):
        x, values = trace.within(trace.left, trace.right, 50)
        assert (x[0], x[-1]) == (trace.left, trace.right)
        assert values[-1] == np.float32(y[-1])
    assert Trace(y, start=-500).left == -500
    x, values = Trace(y).within(10_000.5, 20_000.5, 20)
    assert (x[0], x[-1]) == (10_000, 20_001)
    assert values[-1] == np.float32(y[20_001])


def test_gaps_infinities_and_few_points():
    y = np.ones(10_000)
    y[3_000:6_000] = np.nan
    y[9_000] = np.inf
    y[9_001] = 1e300
    low, high = kept(Trace(y), 0.0, 10_000.0, 10)
    assert np.flatnonzero(np.isnan(low)).tolist() == [3, 4, 5]
    assert np.nanmax(high) == 1.0
    assert not len(Trace([]))
    assert [len(part) for part in Trace([]).within(0.0, 1.0, 10)] == [0, 0]
    assert Trace([5.0]).within(-10.0, 10.0, 10)[1].tolist() == [5.0]
    assert np.isnan(Trace([]).left)


def test_it_costs_a_third_more_than_float32():
    """And a curve of every step no positions; what is float32 already isn't copied."""
    values = np.zeros(1_000_000, dtype=np.float32)
    trace = Trace(values)
    assert trace._y is values
    levels = sum(low.nbytes + high.nbytes for _, low, high in trace._levels)
    assert trace._x is None
    assert levels < 0.3 * values.nbytes
