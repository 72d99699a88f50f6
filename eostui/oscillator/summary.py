"""One orbit beside theory: the paper's leading order, the exact answer, what the orbit itself shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from eostui.oscillator.orbit import Orbit
from eostui.oscillator.parameters import Parameters
from eostui.oscillator.readings import reached, read
from eostui.oscillator.theory import (
    Solutions,
    cycle_amplitude,
    fixed_points,
    leading_order,
    regime,
    two_cycles,
)


def summarize(orbit: Orbit) -> dict[str, Any]:
    """Return an orbit's summary: where it went, and three answers side by side.

    `leading_order` is the paper's, `exact` the map's own for the attractor reached (else for the cycle,
    which then repels, or the fixed point), `measured` what this orbit shows by itself.
    """
    p = orbit.parameters
    cycles, points = two_cycles(p), fixed_points(p)
    leading = {name: value.item() for name, value in leading_order(p)._asdict().items()}
    leading["amplitude_off_centre"] = cycle_amplitude(p, centred=False).item()
    ratio = leading["damping_ratio"]
    leading["damping"] = None if ratio != ratio else "under" if ratio < 1 else "over"
    attractor = "escaped"
    if orbit.escape_step is None:
        attractor = str(reached(p, orbit.x[-1], orbit.q[-1], np.array(False)).attractor)
    all_cycles = [_solution(cycles, k, p) for k in range(3) if np.isfinite(cycles.x[k])]
    all_points = [_solution(points, k, p) for k in range(3) if np.isfinite(points.x[k])]
    kinds = [("collapsed", s) for s in all_points] + [("cycle", s) for s in all_cycles]
    where = [s for kind, s in kinds if kind == attractor and s["attracts"]]
    exact = next(iter(where + all_cycles + all_points), None)
    return {
        "regime": regime(p).item(),
        "attractor": attractor,
        "escape_step": orbit.escape_step,
        "last_step": len(orbit.x) - 1,
        "leading_order": leading,
        "exact": exact,
        "measured": read(orbit)._asdict(),
        "two_cycles": all_cycles,
        "fixed_points": all_points,
    }


def _solution(found: Solutions, k: int, parameters: Parameters) -> dict[str, Any]:
    """Return one exact solution: its states as (x, y), and what goes with them."""
    offset = float(parameters.offset)
    states = [[found.x[k].item(), found.q[k].item() + offset]]
    if found.next_x[k] != found.x[k]:
        states.append([found.next_x[k].item(), found.next_q[k].item() + offset])
    return {
        "states": states,
        "sharpness": float(parameters.reference_sharpness + found.mean_q[k]),
        "amplitude": found.amplitude[k].item(),
        "centre": found.centre[k].item(),
        "decay": found.decay[k].item(),
        "frequency": found.frequency[k].item(),
        "multiplier": abs(found.multiplier[k].item()),
        "attracts": found.attract[k].item(),
    }
