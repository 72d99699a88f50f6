"""A spectrum as nodes and weights: its moments, and the eigenvalues that stand alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Nodes of all draws are one eigenvalue if they agree to this share of what parts them from others.
AGREE = 0.02


@dataclass(frozen=True)
class Quadrature:
    """Nodes and weights of several random starts z: Σ weight·f(node) estimates tr f(H)/P.

    Attributes:
        nodes: Ritz values in rising order, shape (draws, steps), in the units of H. A start that reaches
            fewer directions has NaN beyond them.
        weights: of the nodes, shape (draws, steps), 0 or more; each row sums to 1.
        size: P, the number of eigenvalues there are.
        products: Hessian products spent.
    """

    nodes: FloatArray
    weights: FloatArray
    size: int
    products: int = 0

    def moment(self, order: int) -> tuple[float, float]:
        """Return tr H^order and the standard error of that over the draws, NaN of one draw.

        A rule of m steps integrates polynomials of degree 2m − 1 exactly, so that each draw's moment is
        zᵀH^order z, as Hutchinson's estimate has it, up to that order.
        """
        each = self.size * np.nansum(self.weights * self.nodes**order, axis=1)
        return mean_and_error(each)

    def count_below(self, levels: FloatArray) -> FloatArray:
        """Return how many eigenvalues are at each level or below, shape (n,).

        What a node stands for is spread evenly between the middles to the nodes beside it: it is known to
        lie thereabouts, and no nearer (Chebyshev, Markov and Stieltjes).

        Args:
            levels: shape (n,), in the units of H.
        """
        counts = np.zeros(len(levels))
        for edges, weights in self._cells():
            shares = np.concatenate([[0.0], np.cumsum(weights)])
            counts += np.interp(levels, edges, shares)
        return counts * self.size / len(self.nodes)

    @property
    def resolution(self) -> float:
        """How near to 0 eigenvalues aren't told from 0: the widest half of the cells about it, or 0."""
        about = [
            max(float(edges[place]), -float(edges[place - 1]))
            for edges, _ in self._cells()
            if 0 < (place := int(np.searchsorted(edges, 0.0))) < len(edges)
        ]
        return max(about, default=0.0)

    def _cells(self) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yield of each draw the edges between its nodes, and the weights between these."""
        for nodes, weights in zip(self.nodes, self.weights, strict=True):
            known = ~np.isnan(nodes)
            places = nodes[known]
            middles = (places[1:] + places[:-1]) / 2
            first = 2 * places[0] - middles[0] if len(middles) else places[0]
            last = 2 * places[-1] - middles[-1] if len(middles) else places[0]
            # np.interp takes the last of equal edges: a lone node is a step
            yield np.concatenate([[first], middles, [last]]), weights[known]

    def outliers(self) -> FloatArray:
        """Return the eigenvalues that stand alone, on which all draws agree, in falling order.

        Lanczos finds eigenvalues that stand apart first, whatever it starts from, while its nodes in the
        bulk lie elsewhere in each draw: counted from either end, what every draw has at one place, to
        AGREE of the distance to its next node, is an eigenvalue, down to the first that isn't. None from
        fewer than three draws, of which two agree by chance.
        """
        falling = [row[~np.isnan(row)][::-1] for row in self.nodes]
        length = min(map(len, falling))
        if len(falling) < 3 or length < 2:
            return np.empty(0)
        from_above = _agreed(np.array([row[:length] for row in falling]))
        from_below = _agreed(-np.array([row[::-1][:length] for row in falling]))
        if len(from_above) + len(from_below) >= length:  # there is no bulk between them
            return from_above
        return np.concatenate([from_above, -from_below[::-1]])


def _agreed(falling: FloatArray) -> FloatArray:
    """Return the values on which all rows agree, from the first on, of rows that fall."""
    apart = falling[:, :-1] - falling[:, 1:]
    gaps = np.minimum(
        np.pad(apart, ((0, 0), (1, 0)), constant_values=np.inf),
        np.pad(apart, ((0, 0), (0, 1)), constant_values=np.inf),
    )
    spread = falling.max(axis=0) - falling.min(axis=0)
    agree = spread <= AGREE * gaps.min(axis=0)
    count = len(agree) if agree.all() else int(agree.argmin())
    return np.asarray(falling[:, :count].mean(axis=0))


def mean_and_error(values: FloatArray) -> tuple[float, float]:
    """Return the mean of independent draws and its standard error, NaN of one draw."""
    count = len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return float(np.mean(values)), error
