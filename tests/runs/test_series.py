"""Columns that grow: what was written comes back, and what wasn't is NaN and takes no memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from eostui.runs.series import Series


def test_a_column_without_numbers_takes_no_memory() -> None:
    """Fifty columns of 2e5 rows would be 80 MB; those of NaN alone, given or not, are none."""
    names = [f"column_{number}" for number in range(50)]
    nothing = np.full(100_000, np.nan)
    tracemalloc.start()
    try:
        series = Series(["step", *names], {"column_7": (4,)})
        for first in (0, 100_000):
            given = {name: nothing for name in names[:20] if name != "column_7"}
            series.append(100_000, {"step": np.arange(first, first + 100_000), **given})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10e6
    assert np.isnan(series["column_3"]).all()
    assert series["column_7"].shape == (200_000, 4)
    with pytest.raises(ValueError, match="read-only"):
        series["column_3"][0] = 1.0


def test_a_column_that_begins_late_is_empty_before() -> None:
    """The first number makes it a column, NaN up to there, in what shares the columns as well."""
    series = Series(["step", "late", "array"], {"array": (2,)})
    series.append(70, {"step": np.arange(70)})  # more than it has room for
    before = series.head(40)
    series.append(2, {"step": [70, 71], "late": [np.nan, 3.0], "array": [[1, 2], [3, np.nan]]})
    assert np.isnan(series["late"][:71]).all()
    assert series["late"][71] == 3
    assert np.isnan(series["array"][:70]).all()
    assert series["array"][70:].tolist()[0] == [1, 2]
    assert len(before) == 40
    assert np.isnan(before["late"]).all()
    assert before["array"].shape == (40, 2)
    series.write("late", np.array([0, 5]), [1.0, 2.0])
    assert series["late"][[0, 1, 5]].tolist()[::2] == [1, 2]
    series.append(200, {"step": np.arange(72, 272), "late": 4.0})
    assert series["late"][[0, 5, 71, 271]].tolist() == [1, 2, 3, 4]
    assert np.isnan(series["late"][6:71]).all()
