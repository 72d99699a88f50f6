"""Maps of loss and sharpness around the path of a two-parameter problem, for the landscape screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eostui.problems import Problem
from eostui.runs.store.landscape import Landscape
from eostui.runs.store.writer import Store

#: Points of a map along θ₁ and θ₂: two for each dot of a small terminal's map, one for a large one's.
COLUMNS, ROWS = 120, 96
#: A map reaches this share of the path's extent beyond it, on every side.
MARGIN = 0.5
#: A path that is flat along one axis is mapped as if it had this share of the other's extent.
_THINNEST = 0.1
_POINTS_AT_ONCE = 512


class LandscapeMapper:
    """Draws a map when there is a path, and anew when the path has left it."""

    def __init__(self, problem: Problem, writer: Store) -> None:
        self._problem = problem
        self._writer = writer
        self._low = np.full(2, np.inf)
        self._high = np.full(2, -np.inf)
        self._mapped: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._refused = False

    def state(self) -> dict[str, Any]:
        """Return what was seen and mapped of the path."""
        mapped = self._mapped and [side.tolist() for side in self._mapped]
        extent = [self._low.tolist(), self._high.tolist()]
        return {"extent": extent, "mapped": mapped, "refused": self._refused}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self._low, self._high = (np.array(side) for side in state["extent"])
        self._refused = state["refused"]
        self._mapped = None
        if state["mapped"] is not None:
            low, high = state["mapped"]
            self._mapped = np.array(low), np.array(high)

    def observe(self, path: NDArray[np.float64]) -> None:
        """Take in further points of the path, shape (n, 2), and queue a map if one is needed."""
        path = path[np.isfinite(path).all(axis=1)]
        if self._refused or not len(path):
            return
        self._low = np.minimum(self._low, path.min(axis=0))
        self._high = np.maximum(self._high, path.max(axis=0))
        extent = self._high - self._low
        if not extent.any():
            return  # it hasn't moved yet
        if self._mapped is not None:
            low, high = self._mapped
            if (self._low >= low).all() and (self._high <= high).all():
                return
        margin = MARGIN * np.maximum(extent, _THINNEST * extent.max())
        self._mapped = self._low - margin, self._high + margin
        self._draw(*self._mapped)

    def _draw(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        try:
            self._writer.landscape(map_landscape(self._problem, low, high))
        except Exception as error:  # a user's loss may not bear many θ at once; training goes on
            self._refused = True
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            self._writer.event(0, "unmapped", {"reason": reason})


def map_landscape(
    problem: Problem, low: NDArray[np.float64], high: NDArray[np.float64]
) -> Landscape:
    """Return L and S = λ_max(∇²L) on a grid over [low, high], each of shape (2,).

    Raises:
        RuntimeError: if the loss can't be evaluated by torch.func.vmap, and whatever it raises itself.
    """
    like = problem.initial.detach()
    across = torch.linspace(low[0], high[0], COLUMNS, dtype=torch.float64).to(like)
    upward = torch.linspace(low[1], high[1], ROWS, dtype=torch.float64).to(like)
    rows, columns = torch.meshgrid(upward, across, indexing="ij")
    points = torch.stack([columns.flatten(), rows.flatten()], dim=1)

    def at(theta: Tensor) -> tuple[Tensor, Tensor]:
        hessian = torch.func.hessian(problem.loss)(theta)
        half_trace = (hessian[0, 0] + hessian[1, 1]) / 2
        half_gap = torch.hypot((hessian[0, 0] - hessian[1, 1]) / 2, hessian[0, 1])
        return problem.loss(theta), half_trace + half_gap

    found = torch.func.vmap(at, chunk_size=_POINTS_AT_ONCE)(points)
    loss, sharpness = (
        torch.where(torch.isfinite(values), values, torch.nan).view(ROWS, COLUMNS).detach()
        for values in found
    )
    region = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    return Landscape(region, loss.float().cpu().numpy(), sharpness.float().cpu().numpy())
