"""Values between two ends as one line of characters that rise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.:-=+*#"


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
    letters = _BARS if unicode else _ASCII_BARS
    known = np.isfinite(values)
    places = np.zeros(len(values), dtype=np.int64)
    exact = (values[known] - low) / (high - low) * (len(letters) - 1)
    rounded = np.ceil(exact) if up else np.round(exact)
    places[known] = np.clip(rounded, 0, len(letters) - 1).astype(np.int64)
    return "".join(
        letters[place] if is_known else " "
        for place, is_known in zip(places.tolist(), known.tolist(), strict=True)
    )
