"""When a run has diverged (MATH §4): one rule for the engine that stops and for the phases."""

from __future__ import annotations

import math

from eostui.runs.series import FloatArray

#: A loss this many times its start ends the run.
DIVERGED_FACTOR = 1e4
#: So does a loss, of either sign, or a ‖θ‖ beyond this: float32 can't square it.
BOUND = 1e20


def first_diverged(
    loss: FloatArray, theta_norm: FloatArray, start: float | None
) -> tuple[int, str] | None:
    """Return the first row at which a run has diverged, and what was seen there; None if it hasn't.

    Args:
        loss: L, shape (n,).
        theta_norm: ‖θ‖, shape (n,).
        start: the first loss, or None if it wasn't finite.
    """
    limit = DIVERGED_FACTOR * abs(start) if start else math.inf
    sound = (abs(theta_norm) < BOUND) & (abs(loss) < BOUND) & (loss <= limit)
    if sound.all():
        return None
    row = int(sound.argmin())
    if not math.isfinite(theta_norm[row]):
        return row, "the parameters aren't finite"
    if not math.isfinite(loss[row]):
        return row, f"the loss is {loss[row]:g}"
    if not abs(theta_norm[row]) < BOUND:
        return row, f"‖θ‖ is {theta_norm[row]:.3g}, beyond {BOUND:g}"
    if not abs(loss[row]) < BOUND:
        return row, f"the loss is {loss[row]:.3g}, beyond ±{BOUND:g}"
    return row, f"the loss is {loss[row]:.3g}, more than 10,000 times its start of {start:.3g}"
