"""The signs of the loss steps: the edge's own signature (WD A.1, MATH §2). Every step counts."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eostui.runs.series import FloatArray

#: Steps over which shares are taken.
WINDOW = 200


class SignSummary(NamedTuple):
    """Over a window of steps: the share that went up, and sign changes a step; NaN when empty."""

    up_share: float
    changes: float


def summarize(loss_steps: FloatArray, window: int = WINDOW) -> SignSummary:
    """Summarize the newest `window` loss steps.

    Args:
        loss_steps: L(θ_{t+1}) − L(θ_t), shape (n,); a NaN at the end (the newest row) is left out.
        window: how many steps to look back.
    """
    recent = loss_steps[-window - 1 :]
    recent = recent[np.isfinite(recent)][-window:]
    if not len(recent):
        return SignSummary(math.nan, math.nan)
    up = recent > 0
    changes = float(np.mean(up[1:] != up[:-1])) if len(up) > 1 else math.nan
    return SignSummary(float(up.mean()), changes)


def up_shares(x: FloatArray, loss_steps: FloatArray, edges: FloatArray) -> FloatArray:
    """Return the share of up-steps among all steps in each slice of x; NaN where there are none.

    Args:
        x: rising positions, shape (n,).
        loss_steps: loss changes at them, shape (n,); NaN counts as no step.
        edges: rising ends of the slices, shape (k + 1,).
    """
    known = np.isfinite(loss_steps)
    ups = np.concatenate(([0], np.cumsum((loss_steps > 0) & known)))
    counts = np.concatenate(([0], np.cumsum(known)))
    bounds = np.searchsorted(x, edges)
    bounds[-1:] = np.searchsorted(x, edges[-1:], side="right")  # as in the charts
    steps = np.diff(counts[bounds])
    shares = np.full(len(edges) - 1, np.nan)
    np.divide(np.diff(ups[bounds]), steps, out=shares, where=steps > 0)
    return shares
