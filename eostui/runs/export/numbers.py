"""The shortest texts that read back as the same float64, for whole columns at once.

What `repr` writes, at a tenth of its time: v·10^k is computed as an integer of 17 digits and a fraction,
by products that carry their own rounding error (T. J. Dekker, Numerische Mathematik 18, 1971), and digits
are taken off while a number of fewer still lies within half a unit in the last place of v. Where that
leaves a doubt `repr` itself decides.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from eostui.runs.series import FloatArray

Bytes = NDArray[np.uint8]
Whole = NDArray[np.int64]

#: Room for the longest text, such as -2.2250738585072014e-308.
WIDTH = 24
_DIGITS = 17
#: Magnitudes within 10^±_REACH are worked out here; others are rare.
_REACH = 30
#: Far above the error of what is compared, which is about 1e-14, and far below what decides.
_DOUBT = 1e-6


def _power(exponent: int) -> tuple[float, float]:
    """Return 10^exponent as the sum of two floats."""
    exact = Fraction(10) ** exponent
    return float(exact), float(exact - Fraction(float(exact)))


_MANTISSA = 2**52 - 1
_LOWEST = _DIGITS - 1 - _REACH
_HIGH, _LOW = np.array([_power(n) for n in range(_LOWEST, _DIGITS + _REACH + 1)]).T
#: The texts of 0000 to 9999, four bytes as one number.
_FOURS = np.array([f"{n:04d}" for n in range(10_000)], dtype="S4").view(np.uint32)


def shortest(values: FloatArray) -> Bytes:
    """Return `repr` of each value as a row of bytes, filled up with zeros; nothing for NaN.

    Args:
        values: shape (n,).

    Returns:
        Shape (n, WIDTH). Zeros stand before, after and within a text: leave them out.
    """
    texts = np.zeros((len(values), WIDTH), dtype=np.uint8)
    magnitude = np.abs(values)
    plain = (magnitude > 10.0**-_REACH) & (magnitude < 10.0**_REACH)
    # at a power of two the floats below lie closer than those above
    plain &= np.ascontiguousarray(values).view(np.int64) & _MANTISSA != 0
    places = np.flatnonzero(plain)
    exponent = np.floor(np.log10(magnitude[places])).astype(np.int64)
    number, count, sure = _decimal(magnitude[places], exponent)
    if not sure.all():
        places, exponent, number, count = places[sure], exponent[sure], number[sure], count[sure]
    digits = _digits(number)
    minus = np.where(values[places] < 0, np.uint8(ord("-")), np.uint8(0))
    for each in np.flatnonzero(np.bincount(exponent + _REACH)) - _REACH:
        group = np.flatnonzero(exponent == each)
        if len(group) == len(values):
            return _layout(digits, count, minus, int(each))
        laid = _layout(digits.take(group, axis=0), count[group], minus[group], int(each))
        texts[places[group]] = laid
    rest = ~np.isnan(values)
    rest[places] = False
    left = np.array([repr(value) for value in values[rest].tolist()], dtype=f"S{WIDTH}")
    texts[rest] = left.view(np.uint8).reshape(-1, WIDTH)
    return texts


def whole(values: FloatArray) -> Bytes:
    """Return whole numbers as `shortest` does, without a point; nothing for NaN."""
    texts = np.zeros((len(values), WIDTH), dtype=np.uint8)
    known = ~np.isnan(values)
    numbers = values[known].astype(np.int64).astype(f"S{WIDTH}")
    texts[known] = numbers.view(np.uint8).reshape(-1, WIDTH)
    return texts


def _decimal(magnitude: FloatArray, exponent: Whole) -> tuple[Whole, Bytes, NDArray[np.bool_]]:
    """Return the digits of each as a number of 17 digits, how many of them count, and if it is sure."""
    high = _HIGH[_DIGITS - 1 - exponent - _LOWEST]
    product, error = _exact_product(magnitude, high)
    error += magnitude * _LOW[_DIGITS - 1 - exponent - _LOWEST]
    carry = np.floor(error)
    integer = product.astype(np.int64) + carry.astype(np.int64)
    fraction = error - carry
    half = np.spacing(magnitude) / 2 * high  # half a unit in the last place of v, in these units
    number = integer + (fraction > 0.5)
    count = np.full(len(integer), _DIGITS, dtype=np.uint8)
    sure = np.abs(fraction - 0.5) > _DOUBT
    sure &= integer >= 10 ** (_DIGITS - 1)  # else the logarithm was wrong
    at = np.arange(len(integer))
    for fewer in range(1, _DIGITS):
        unit = 10**fewer
        below = integer // unit * unit
        down = integer - below + fraction
        up = below + unit - integer - fraction
        nearest = np.minimum(down, up)
        doubt = (np.abs(nearest - half) <= _DOUBT) | (np.abs(down - up) <= _DOUBT)
        sure[at[doubt]] = False
        within = np.flatnonzero(nearest < half)
        if not len(within):
            break
        at, integer = at[within], integer[within]
        fraction, half = fraction[within], half[within]
        number[at] = (below + unit * (up < down))[within]
        count[at] = _DIGITS - fewer
    sure &= number < 10**_DIGITS
    return number, count, sure


def _exact_product(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a·b rounded, and what was rounded off (Dekker 1971)."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def _halves(value: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a number as the sum of two with half its bits each."""
    scaled = value * 134217729.0  # 2²⁷ + 1
    high = scaled - (scaled - value)
    return high, value - high


def _digits(number: Whole) -> Bytes:
    """Return 17 digits of each, shape (n, 17)."""
    fours = np.empty((len(number), 5), dtype=np.uint32)
    rest = number // 10
    last = number - rest * 10
    for place in (3, 2, 1):
        front = rest // 10**4
        fours[:, place] = _FOURS[rest - front * 10**4]
        rest = front
    fours[:, 0] = _FOURS[rest]
    digits = fours.view(np.uint8)[:, :_DIGITS]
    digits[:, -1] = last + ord("0")
    return digits


def _layout(digits: Bytes, count: Bytes, minus: Bytes, exponent: int) -> Bytes:
    """Return texts of the digits d₁d₂… of ±d₁.d₂…·10^exponent, point and exponent where `repr` has them.

    Shape (n, WIDTH).
    """
    texts = np.zeros((len(digits), WIDTH), dtype=np.uint8)
    texts[:, 0] = minus
    fixed = -4 <= exponent < _DIGITS - 1
    shown = np.maximum(count, np.uint8(max(exponent + 2, 0))) if fixed else count
    digits *= np.arange(_DIGITS, dtype=np.uint8) < shown[:, None]
    if fixed and exponent < 0:
        before = np.frombuffer(b"0.0000"[: 1 - exponent], np.uint8)
        texts[:, 1 : 1 + len(before)] = before
        texts[:, 1 + len(before) : 1 + len(before) + _DIGITS] = digits
        return texts
    whole_digits = exponent + 1 if fixed else 1
    texts[:, 1 : 1 + whole_digits] = digits[:, :whole_digits]
    texts[:, 1 + whole_digits] = ord(".") if fixed else ord(".") * (count > 1)
    texts[:, 2 + whole_digits : 2 + _DIGITS] = digits[:, whole_digits:]
    if not fixed:
        power = np.frombuffer(f"e{exponent:+03d}".encode(), np.uint8)
        texts[:, 2 + _DIGITS : 2 + _DIGITS + len(power)] = power
    return texts
