"""The landscape along lines and over planes: L by forward passes, S by a search at every point.

Each search goes on from its neighbour's eigenvectors, and looks in a fresh direction as well: along a
line eigenvalues cross, and a warm start alone would go on following what has ceased to lead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eostui.curvature.directions import random_direction
from eostui.curvature.eigenpairs import Eigenpairs, NotFiniteError, Target, leading_eigenpairs
from eostui.curvature.hessian_memory import HessianMemory
from eostui.curvature.point import LossFunction, Point
from eostui.slices import FloatArray

#: u is found to this sine, so that curvatures along it are right to its square.
VECTOR_TOLERANCE = 1e-3
_MOST_PRODUCTS = 400


@dataclass
class Values:
    """L and S at points, in the order in which they were visited.

    Attributes:
        loss, sharpness, residual: shape (n,); S is NaN where it isn't finite or wasn't asked for.
        products: Hessian products spent.
        unconverged: at how many points S wasn't found to its tolerance.
    """

    loss: FloatArray
    sharpness: FloatArray
    residual: FloatArray
    products: int = 0
    unconverged: int = 0

    @classmethod
    def of_nothing(cls, count: int) -> Values:
        """Return room for so many points."""
        loss, sharpness, residual = np.full((3, count), np.nan)
        return cls(loss, sharpness, residual)


class Searcher:
    """Finds S at one point after another, each near the one before."""

    def __init__(self, tolerance: float, seed: int, step: int) -> None:
        """Take to which share of itself S is found, and the keys of what is random."""
        self._tolerance = tolerance
        self._key = seed, step
        self._memory = HessianMemory()
        self._found: Eigenpairs | None = None

    def search(self, point: Point, *, vector: bool = False) -> Eigenpairs:
        """Return the leading eigenpairs; of u to VECTOR_TOLERANCE where the `vector` is wanted.

        Raises:
            NotFiniteError: if a product isn't finite; the next search starts where this one did.
        """
        seed, step = self._key
        if self._found is None:
            start = random_direction(point.theta, seed, step)[None]
        else:
            start = torch.cat([self._found.vectors, self._found.guard_vectors])
        target = Target(
            wanted=2 if vector else 1,
            value_tolerance=self._tolerance,
            vector_tolerance=VECTOR_TOLERANCE if vector else None,
            max_products=_MOST_PRODUCTS,
        )
        self._found = leading_eigenpairs(
            point.hessian_product,
            start,
            target,
            memory=self._memory,
            fresh=lambda number: random_direction(point.theta, seed, step, 1 + number),
            independent=self._found is None,
        )
        return self._found

    def from_here(self) -> Searcher:
        """Return another that starts where this one has come to, and leaves it there."""
        other = Searcher(self._tolerance, *self._key)
        other._found = self._found
        return other


def along(
    loss: LossFunction,
    theta: Tensor,
    direction: Tensor,
    offsets: Sequence[float],
    searcher: Searcher | None,
    progress: Callable[[], None] = lambda: None,
) -> Values:
    """Return L, and S where there is a searcher, at θ + x d for each offset x.

    Args:
        loss: θ ↦ L.
        theta: θ, shape (P,).
        direction: d, shape (P,).
        offsets: x, in an order in which each is near the one before.
        searcher: finds S; None for L alone.
        progress: called after each point.
    """
    found = Values.of_nothing(len(offsets))
    for number, offset in enumerate(offsets):
        at = theta + offset * direction
        if searcher is None:
            with torch.no_grad():
                found.loss[number] = float(loss(at))
        else:
            _measure(Point(loss, at), searcher, found, number)
        progress()
    return found


def _measure(point: Point, searcher: Searcher, found: Values, number: int) -> None:
    """Enter L and S of a point, and free it."""
    found.loss[number] = float(point.loss)
    if math.isfinite(found.loss[number]) and bool(torch.isfinite(point.gradient).all()):
        try:
            pairs = searcher.search(point)
        except NotFiniteError:
            pass  # S stays NaN, as L does where it isn't finite
        else:
            value, residual = pairs.values[0], pairs.residuals[0]
            found.sharpness[number] = value
            found.residual[number] = residual / abs(value) if value else 0.0
            found.products += pairs.products
            found.unconverged += not pairs.converged
    point.release()


def over_line(
    loss: LossFunction,
    theta: Tensor,
    direction: Tensor,
    x: FloatArray,
    searcher: Searcher | None,
    progress: Callable[[], None] = lambda: None,
) -> Values:
    """Return L and S at θ + x d for rising x with 0 in their middle: from there outwards, both ways.

    The searcher stays at θ.
    """
    middle = len(x) // 2
    ways = (np.arange(middle, len(x)), np.arange(middle - 1, -1, -1))
    whole = Values.of_nothing(len(x))
    for rows in ways:
        own = searcher and searcher.from_here()
        part = along(loss, theta, direction, x[rows].tolist(), own, progress)
        _put(whole, rows, part)
    return whole


def over_plane(
    loss: LossFunction,
    theta: Tensor,
    axes: tuple[Tensor, Tensor],
    x: FloatArray,
    y: FloatArray,
    searcher: Searcher | None,
    progress: Callable[[], None] = lambda: None,
) -> Values:
    """Return L and S at θ + x a + y b, row by row to and fro: shape (m·n,), that of y varying slowest.

    Args:
        loss: θ ↦ L.
        theta: θ, shape (P,).
        axes: a and b, each of shape (P,).
        x, y: rising, shapes (n,) and (m,).
        searcher: finds S; None for L alone.
        progress: called after each point.
    """
    right, up = axes
    whole = Values.of_nothing(len(x) * len(y))
    for row, height in enumerate(y.tolist()):
        columns = np.arange(len(x))[:: 1 if row % 2 == 0 else -1]
        part = along(loss, theta + height * up, right, x[columns].tolist(), searcher, progress)
        _put(whole, row * len(x) + columns, part)
    return whole


def _put(whole: Values, rows: NDArray[np.int64], part: Values) -> None:
    """Enter values where they belong."""
    for name in ("loss", "sharpness", "residual"):
        getattr(whole, name)[rows] = getattr(part, name)
    whole.products += part.products
    whole.unconverged += part.unconverged
