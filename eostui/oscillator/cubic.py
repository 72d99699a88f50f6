"""Real roots of cubics without a square term, many at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from eostui.oscillator.parameters import FloatArray

_POLISHINGS = 3


def real_roots(cubic: Any, linear: Any, constant: Any) -> FloatArray:
    """Return the real roots t of cubic·t³ + linear·t + constant = 0.

    Viète's trigonometric and hyperbolic forms, which lose no root where three are real, then Newton
    steps, since the smallest of three is a difference of large numbers.

    Args:
        cubic, linear, constant: coefficients, which broadcast to some shape.

    Returns:
        Shape (3, *shape), the root nearest to 0 first; NaN where there are fewer. Where both leading
        coefficients are 0 there is none.
    """
    a, b, c = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (cubic, linear, constant)))
    with np.errstate(all="ignore"):
        roots = np.where(a == 0, _linear_roots(b, c), _cubic_roots(b / a, c / a))
        for _ in range(_POLISHINGS):
            better = roots - ((a * roots * roots + b) * roots + c) / (3 * a * roots * roots + b)
            roots = np.where(np.isfinite(better), better, roots)
        order = np.argsort(np.abs(roots), axis=0)  # NaN last
    return np.take_along_axis(roots, order, axis=0)


def _linear_roots(b: FloatArray, c: FloatArray) -> FloatArray:
    root = np.where(b != 0, -c / b, np.nan)
    return np.stack([root, np.full_like(root, np.nan), np.full_like(root, np.nan)])


def _cubic_roots(p: FloatArray, q: FloatArray) -> FloatArray:
    """Return the real roots of t³ + pt + q, shape (3, *shape)."""
    radius = np.sqrt(np.abs(p) / 3)
    ratio = np.where(p == 0, 0.0, 1.5 * q / (np.abs(p) * radius))
    three = (p < 0) & (np.abs(ratio) <= 1)
    angle = np.arccos(np.clip(-ratio, -1, 1)) / 3
    several = [2 * radius * np.cos(angle - 2 * np.pi * k / 3) for k in range(3)]
    above = -2 * np.sign(q) * radius * np.cosh(np.arccosh(np.maximum(np.abs(ratio), 1)) / 3)
    below = -2 * radius * np.sinh(np.arcsinh(ratio) / 3)
    one = np.where(p == 0, np.cbrt(-q), np.where(p < 0, above, below))
    nothing = np.full_like(one, np.nan)
    return np.where(three, np.stack(several), np.stack([one, nothing, nothing]))
