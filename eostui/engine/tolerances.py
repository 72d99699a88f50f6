"""How far measurements of two versions of eostui may lie apart, each being as good as is stated."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from eostui.config import RunConfig
from eostui.engine.calibration import CONVERGED

#: To what share of S versions before 0.2.0 found the eigenvalues after the first, and the smallest.
FOLLOWED = 0.01
#: What a measurement cost and how good it came out isn't what was measured.
_OF_THE_SEARCH = re.compile(r"sharpness_gap|u_error|eig_guard|\w+_residual")

#: The sign of u is a convention, and so is theirs.
_UP_TO_SIGN = ("g_u",)


def apart(
    config: RunConfig,
    recorded: Mapping[str, float],
    repeated: Mapping[str, float],
    row: Mapping[str, float],
) -> list[str]:
    """Return the columns in which two measurements of one θ differ by more than they may.

    Columns that only one of them has aren't compared.

    Args:
        config: states how well S and u were to be found.
        recorded: what is on record, by the name of the number.
        repeated: what this version measured of it.
        row: the stored row of the step.
    """
    allowed = _allowed(config, recorded, repeated, row)

    def differs(name: str) -> bool:
        one, other = recorded[name], repeated[name]
        if name in _UP_TO_SIGN:
            one, other = abs(one), abs(other)
        return not abs(one - other) <= allowed.get(name, 0.0)

    shared = [name for name in recorded if name in repeated and not _OF_THE_SEARCH.fullmatch(name)]
    return [name for name in shared if differs(name)]


def projections_apart(
    config: RunConfig,
    recorded: tuple[float, float],
    repeated: tuple[float, float],
    norm: float,
    beta: float,
) -> list[str]:
    """Return which of x and q differ by more than they may: their u is that of two calibrations.

    Args:
        config: of the run.
        recorded: x and q on record.
        repeated: those of this version.
        norm: the largest ‖θ‖ up to there.
        beta: β at the calibration.
    """
    import torch

    error = CONVERGED[getattr(torch, config.dtype)].vector_tolerance or 0.0
    farthest = 2 * norm  # ‖θ − θ*‖ at most
    x, q = (abs(abs(one) - abs(other)) for one, other in zip(recorded, repeated, strict=True))
    named = {"x": (x, farthest), "q": (q, math.sqrt(beta) * farthest)}
    return [name for name, (off, scale) in named.items() if not off <= 2 * error * scale]


def _allowed(
    config: RunConfig,
    recorded: Mapping[str, float],
    repeated: Mapping[str, float],
    row: Mapping[str, float],
) -> dict[str, float]:
    """Return the largest difference of each column: twice what each of both may be off.

    A u that is off by the angle ε changes ∇S by about ε‖∇S‖; products with ∇S and u change by what
    Cauchy and Schwarz allow. Where a row itself says that S or u were found less well than was asked
    for, that counts: with the smaller of both gaps, since a search may overlook an eigenvalue.
    """
    rows = (recorded, repeated)
    first = max(abs(values.get("sharpness", 0.0)) for values in rows)
    gaps = [gap for values in rows if (gap := values.get("sharpness_gap", 0.0)) > 0]
    residual = first * max(values.get("sharpness_residual", 0.0) for values in rows)
    of_u = max(config.vector_tolerance, *(values.get("u_error", 0.0) for values in rows))
    of_s = config.tolerance * first
    if gaps:
        of_u = max(of_u, residual / min(gaps))
        of_s = max(of_s, min(residual**2 / min(gaps), residual))
    of_u = 2 * min(of_u, 1.0)
    beta, slope = (max(abs(v.get(name, 0.0)) for v in rows) for name in ("beta", "grad_norm"))
    gradient, decayed = math.sqrt(beta), row["decayed_norm"]
    following = 2 * FOLLOWED * first
    eigenvalues = {f"eig_{n}": following for n in range(2, 100)}
    return {
        **eigenvalues,
        "eig_min": following,
        "sharpness": 2 * of_s,
        "overlap": 2 * of_u,  # with the u before
        "beta": 2 * of_u * beta,
        "beta_perp": 2 * of_u * beta,
        "beta_alpha": of_u * slope * gradient,
        "beta_alpha_perp": of_u * slope * gradient,
        "g": of_u * decayed * gradient,
        "g_perp": of_u * decayed * gradient,
        "g_u": of_u * decayed,
        "gradient_u": of_u,
        "sharpness_gradient_u": 2 * of_u,
    }
