"""A quantity of two others, from 0 to 1, as shades below the curves of a chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eostui.charts.palette import RAMP
from eostui.charts.scales import FloatArray

#: Signs that rise from 0 to 1, so that nothing is lost without colour, and those of ASCII.
SIGNS, ASCII_SIGNS = "·░▒▓█", ".:=*#"


@dataclass(frozen=True)
class Line:
    """A line in a figure where what is shaded has this value, from 0 to 1, with what stands on it."""

    value: float
    label: str


@dataclass(frozen=True)
class Shades:
    """What is shaded.

    Attributes:
        values: from x of shape (n,) and y of shape (m,) to the values there, shape (m, n), from 0 to 1;
            NaN where there is none.
        lines: drawn over it in figures.
    """

    values: Callable[[FloatArray, FloatArray], FloatArray]
    lines: Sequence[Line] = ()


def centres(low: float, high: float, count: int) -> FloatArray:
    """Return the middles of `count` equal parts of a stretch, rising."""
    return low + (np.arange(count) + 0.5) * (high - low) / count


def signs(values: FloatArray, *, unicode: bool) -> NDArray[np.uint32]:
    """Return the code of the sign of each value, 0 where it is NaN."""
    codes = np.array([ord(sign) for sign in (SIGNS if unicode else ASCII_SIGNS)], dtype=np.uint32)
    found = codes[_level(values, len(codes))]
    found[np.isnan(values)] = 0
    return found


def colours(values: FloatArray) -> NDArray[np.object_]:
    """Return the name of the colour of each value; any where it is NaN."""
    names = np.array([f"ramp {index}" for index in range(len(RAMP))], dtype=object)
    found: NDArray[np.object_] = names[_level(values, len(names))]
    return found


def _level(values: FloatArray, levels: int) -> NDArray[np.int64]:
    """Return which of so many levels each value is on."""
    known = np.nan_to_num(values, nan=0.0)
    return np.clip((known * levels).astype(np.int64), 0, levels - 1)
