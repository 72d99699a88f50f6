"""The stage that each step of an orbit is in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eostui.oscillator.orbit import Orbit
from eostui.stability import two_over_eta

#: At rest, relative to what would move it: the envelope's growth rate to η√β A, the balance of the
#: pulls on the sharpness to the largest of them.
AT_REST = 0.05
#: SS's four stages in turn, then the two states of rest.
STAGES = ("sharpening", "blow-up", "self-stabilization", "return", "edge", "collapsed")


def stages(orbit: Orbit) -> NDArray[np.str_]:
    """Return the stage of each row, shape (n,); "" where there are fewer than three rows.

    All are decided by means over two steps, which the bounce itself doesn't move. While something
    moves, the stage is the quarter of the turn (SS §4 with 2/η − λ as the edge): below the edge and
    rising is sharpening, above it and rising blow-up, above and falling self-stabilization, below and
    falling the return. At rest, a step is at the edge where it bounces, and collapsed where the bounce
    no longer pulls on the sharpness. The last two rows repeat the one before.
    """
    n = len(orbit.x)
    if n < 3:
        return np.full(n, "", dtype=np.str_)
    p, eta, decay = orbit.parameters, orbit.eta[:-2], orbit.weight_decay[:-2]
    mean_q = (orbit.q[:-2] + orbit.q[1:-1]) / 2
    above = orbit.sharpness[:-2] - orbit.q[:-2] + mean_q + decay - two_over_eta(eta)
    change = (orbit.q[2:] - orbit.q[:-2]) / 2
    bounce = p.beta * orbit.envelope[:-2] ** 2 / 2
    pulls = np.maximum(np.abs(p.beta * p.alpha), np.abs(decay * (p.g + mean_q)))
    settled = np.abs(change) <= AT_REST * eta * np.maximum(pulls, bounce)
    neutral = np.abs(above) <= AT_REST * np.sqrt(2 * bounce)
    choice = np.select(
        [settled & neutral, settled & (bounce <= AT_REST * pulls) & (above < 0)],
        [STAGES.index("edge"), STAGES.index("collapsed")],
        default=np.where(change > 0, np.where(above > 0, 1, 0), np.where(above > 0, 2, 3)),
    )
    named: NDArray[np.str_] = np.array(STAGES)[np.append(choice, [choice[-1]] * 2)]
    return named
