"""Scales and their ticks, ranges that stay put, numbers as text."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eostui.charts.numbers import compact, tick_texts
from eostui.charts.scales import Scale, StickyRange, linear_ticks, nice_above


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


@given(st.floats(1e-9, 1e9))
def test_nice_above_is_near_and_never_below(value: float) -> None:
    assert value * (1 - 1e-9) <= nice_above(value) <= 1.5 * value


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_ranges_hold_their_data(low: float, span: float) -> None:
    bottom, top = StickyRange().fit(low, low + span)
    assert bottom <= low
    assert top >= low + span
    assert top > bottom


def test_ticks_are_round() -> None:
    assert linear_ticks(0, 12_000, 4) == [0, 5000, 10_000]
    assert tick_texts([0.0, 12.5, 5000.0, 0.002, -0.001, 2e7]) == [
        "0", "12.5", "5k", "2e-3", "-1e-3", "2e7",
    ]  # fmt: skip
    assert [compact(v) for v in (13.333, 0.00089, math.nan, 0.0, 1234.5)] == [
        "13.3", "8.9e-4", "–", "0", "1234",
    ]  # fmt: skip


def test_a_symlog_axis_has_ticks_where_no_power_of_ten_lies() -> None:
    scale = Scale("symlog", 0.1)
    low, high = scale.forward(np.array([2.9, 3.2]))
    ticks = scale.ticks(low, high, 4)
    assert len(ticks) >= 2
    assert all(2.9 <= tick <= 3.2 for tick in ticks)
