"""Axes: how values map to heights, which range to show, where to put ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_NICE = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_TICK_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
#: A range spans at least this share of its ends: ticks in it have digits of their own.
_FINEST = 1e-9
#: What a close range leaves free at either end, as a share of itself.
_MARGIN = 0.05


@dataclass(frozen=True)
class Scale:
    """A map from values to the line, and back: `linear`, `log`, or `symlog`.

    Attributes:
        kind: which map. symlog is asinh(v/threshold): linear around 0, logarithmic away from it.
        threshold: where symlog turns from linear to logarithmic.
    """

    kind: str = "linear"
    threshold: float = 1.0

    def forward(self, values: FloatArray) -> FloatArray:
        """Map values; what a log scale can't show becomes NaN."""
        if self.kind == "linear":
            return values
        if self.kind == "symlog":
            return np.arcsinh(values / self.threshold)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, np.log10(values), np.nan)

    def place(self, value: float) -> float:
        """Map one value."""
        return float(self.forward(np.array([value]))[0])

    def backward(self, place: float) -> float:
        """Return the value that maps to `place`."""
        if self.kind == "linear":
            return place
        return self.threshold * math.sinh(place) if self.kind == "symlog" else 10.0**place

    def ticks(self, low: float, high: float, most: int) -> list[float]:
        """Return at most about `most` round values whose places lie in [low, high]."""
        if self.kind == "log":
            return _log_ticks(low, high, most)
        if self.kind == "symlog":
            return _symlog_ticks(self, low, high, most)
        return linear_ticks(low, high, most)


def linear_part(*columns: FloatArray) -> float:
    """Return a power of ten below most values: where symlog should turn linear."""
    sizes = np.abs(np.concatenate(columns))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not len(sizes):
        return 1.0
    return float(10.0 ** math.floor(math.log10(np.quantile(sizes, 0.25))))


class StickyRange:
    """A range that grows in jumps and shrinks rarely, so that a live axis seldom moves.

    Works on places (after the scale's map).

    Attributes:
        low, high: the range.
        close: whether it fits closely to what is in sight, and moves whenever that does.
        held: whether it stays what it is, whatever is in sight.
    """

    def __init__(self, *, close: bool = False) -> None:
        self.low = math.nan
        self.high = math.nan
        self.close = close
        self.held = False

    def zoom(self, factor: float, centre: float) -> None:
        """Span so many times as much about a place, which keeps its share of the range; hold that."""
        low, high = (centre + (end - centre) * factor for end in (self.low, self.high))
        if high - low > _FINEST * max(abs(low), abs(high)):
            self.low, self.high, self.held = low, high, True

    def fit(self, low: float, high: float, floor: float = -math.inf) -> tuple[float, float]:
        """Return a range that holds [low, high], the last one if it still serves.

        It never reaches below `floor` for room's sake alone.
        """
        if self.held:
            return self.low, self.high
        span = high - low
        if self.close:
            room = max(
                _MARGIN * span, _MARGIN * max(abs(low), abs(high)) if span == 0 else 0, 1e-12
            )
            self.low, self.high = low - room, high + room
            return self.low, self.high
        fits = self.low <= low and high <= self.high
        if fits and span >= 0.35 * (self.high - self.low):
            return self.low, self.high
        size = max(abs(low), abs(high))
        least = span * 0.05 if span > 1e-9 * size else max(size * 0.1, 1e-12)
        # where the data went beyond the last range it is likely to go on: room for a third more
        below = max(span / 3, least) if low < self.low else least
        above = max(span / 3, least) if high > self.high else least
        grid = _tick_step(span + below + above, 8)
        bottom = math.floor((low - below) / grid) * grid
        self.low = max(bottom, min(low, floor))
        self.high = math.ceil((high + above) / grid) * grid
        return self.low, self.high


def nice_above(value: float) -> float:
    """Return the next round number at or above a positive value: 1, 1.2, 1.5, 2, … times a power."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    # sums of many steps of flow time miss a round number by more than a rounding
    return next(n * power for n in (*_NICE, 12.0) if n * power >= value * (1 - 1e-9))


def linear_ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Return round values in [low, high]; on an axis that counts, `whole` ones."""
    step = _tick_step(high - low, max(most, 1))
    if whole and step % 1:
        step = 1.0 if step < 1 else 5.0  # of the round steps above 1, 2.5 alone isn't whole
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def _tick_step(span: float, most: int) -> float:
    raw = max(span, 1e-300) / most
    power = 10.0 ** math.floor(math.log10(raw))
    return next(n * power for n in (*_TICK_STEPS, 20.0) if n * power >= raw * (1 - 1e-12))


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = [10.0**n for n in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
    if len(decades) > most:
        return decades[:: math.ceil(len(decades) / most)]
    if len(decades) >= min(3, most):
        return decades
    first, last = math.floor(low), math.ceil(high)
    for mantissas in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [
            m * 10.0**n
            for n in range(first, last + 1)
            for m in mantissas
            if low <= math.log10(m) + n <= high
        ]
        if len(ticks) >= min(3, most):
            return ticks
    return linear_ticks(10**low, 10**high, most)


def _symlog_ticks(scale: Scale, low: float, high: float, most: int) -> list[float]:
    """Return 0 and powers of ten on both sides, the largest kept, crowded ones left out; where none of
    them lies, round values.
    """
    apart = (high - low) / (most + 1)
    largest = max(abs(scale.backward(low)), abs(scale.backward(high)), scale.threshold)
    places = {0.0: 0.0}
    for exponent in range(math.floor(math.log10(largest)), -300, -1):
        place = math.asinh(10.0**exponent / scale.threshold)
        if place < apart:
            break
        if all(abs(place - other) >= apart for other in places.values()):
            places[10.0**exponent] = place
    values = [*places, *(-value for value in places if value)]
    ticks = sorted(v for v in values if low <= math.asinh(v / scale.threshold) <= high)
    return ticks or linear_ticks(scale.backward(low), scale.backward(high), most)
