"""Values between two ends as one line of characters that rise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Characters that rise, and those of ASCII that stand for them.
BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.:-=+*#"


def carried(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a copy in which each NaN between two values is the value before it, shape (n,).

    Where there are fewer steps than cells, a cell between two steps shows so the step before it.
    """
    values = values.copy()
    known = np.flatnonzero(np.isfinite(values))
    if len(known):
        before = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
        values[known[0] : known[-1]] = values[before][known[0] : known[-1]]
    return values


def bars(
    values: NDArray[np.float64], low: float, high: float, *, unicode: bool, up: bool = False
) -> str:
    """Return a character for each value: the lowest at `low`, the highest at `high`, a space for NaN.

    Args:
        values: shape (n,).
        low, high: values of the lowest and of the highest character.
        unicode: whether there are others than those of ASCII.
        up: whether a value between two characters is the higher one, not the nearer.
    """
    letters = BARS if unicode else ASCII_BARS
    known = np.isfinite(values)
    places = np.zeros(len(values), dtype=np.int64)
    exact = (values[known] - low) / (high - low) * (len(letters) - 1)
    rounded = np.ceil(exact) if up else np.round(exact)
    places[known] = np.clip(rounded, 0, len(letters) - 1).astype(np.int64)
    return "".join(
        letters[place] if is_known else " "
        for place, is_known in zip(places.tolist(), known.tolist(), strict=True)
    )
