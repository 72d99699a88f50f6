"""Sharpness, its gradient, and the drives that raise and lower it (MATH §2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eostui.curvature.eigenpairs import Eigenpairs, Target, leading_eigenpairs
from eostui.curvature.point import Point
from eostui.curvature.state import ProbeState

#: Every so many readings are audited by a search that starts cold: a warm start alone could go on
#: following an eigenvector that has ceased to be the leading one.
AUDIT_EVERY = 40
#: A cold search that finds S higher by more than this share of it has found what the warm one lost;
#: later eigenvalues are only as good as the search for them.
AUDIT_TOLERANCE = 1e-3
#: From this overlap on u has come back to where it was two readings ago.
RETURNED = 0.9
#: eigenvalues = "edge" follows those above this share of 2/η.
FOLLOWED_FROM = 0.75


def measure_sharpness(point: Point, state: ProbeState) -> dict[str, float]:
    """Find S = λ_max(∇²L) with its eigenvector and the eigenvalues after it, from where they were last.

    Fills sharpness, sharpness_residual, sharpness_gap, u_error, overlap, hessian_products, eig_2,
    eig_2_residual and so on, eig_guard; leaves the eigenvectors in `state`.
    """
    previous = state.eigenvectors
    pairs = _searched(point, state)
    state.readings += 1
    state.products = pairs.products
    _tell_of_the_end(pairs, state)
    vectors = pairs.vectors
    values = {}
    if previous is not None:
        overlaps = vectors @ previous.T
        # a sign of its own an eigenvector hasn't: that of the one it was, be it in another place
        nearest = overlaps.gather(1, overlaps.abs().argmax(dim=1, keepdim=True))
        vectors = vectors * torch.where(nearest < 0, -1.0, 1.0).to(vectors)
        values["overlap"] = float(overlaps[0, 0].abs())
        before = previous[:1] if state.earlier is None else state.earlier[:1]
        state.earlier = torch.cat([previous[:1], before])
        # what a look in a fresh direction showed is in none of the earlier ones
        state.others = None if pairs.overlooked else _followed(state)[1:]
    state.eigenvectors, state.guards = vectors, pairs.guard_vectors
    state.sharpness = first = pairs.values[0]
    values |= {
        "sharpness": first,
        "sharpness_residual": _relative(pairs.residuals[0], first),
        "u_error": pairs.first_vector_error,
        "hessian_products": float(state.products),
    }
    if not math.isnan(pairs.gap):
        values["sharpness_gap"] = pairs.gap
    following = zip(pairs.values[1:], pairs.residuals[1:], strict=True)
    for number, (value, residual) in enumerate(following, start=2):
        values |= {f"eig_{number}": value, f"eig_{number}_residual": _relative(residual, first)}
    if pairs.guard_values:
        values["eig_guard"] = pairs.guard_values[0]
        values["eig_guard_residual"] = _relative(pairs.guard_residuals[0], first)
    return values


def _searched(point: Point, state: ProbeState) -> Eigenpairs:
    """Search from where the eigenvectors were last, and in a fresh direction where those may err."""
    audited = state.readings % AUDIT_EVERY == 0
    start = _start(point, state)
    known = 0 if state.eigenvectors is None or audited else len(start)
    pairs = leading_eigenpairs(
        point.hessian_product,
        start,
        _target(state),
        memory=state.memory,
        fresh=lambda number: _direction(point, state, 1 + number),
        known=known,
    )
    if state.eigenvectors is not None and pairs.overlooked:
        allowed = AUDIT_TOLERANCE * abs(pairs.values[0])
        for number, found in enumerate(pairs.values, start=1):
            was = pairs.overlooked[number - 1] if number <= len(pairs.overlooked) else -math.inf
            if found > was + allowed:
                payload = {"eigenvalue": number, "found": found, "sharpness": pairs.values[0]}
                if math.isfinite(was):
                    payload["warm_start"] = was
                state.events.append(("audit", payload))
                break
    return pairs


def _followed(state: ProbeState) -> Tensor:
    """Return the eigenvectors found last, and the guards after them."""
    assert state.eigenvectors is not None
    if state.guards is None:
        return state.eigenvectors
    return torch.cat([state.eigenvectors, state.guards])


def _start(point: Point, state: ProbeState) -> Tensor:
    """Return where the search starts: where the eigenvectors were last, or go to and fro between.

    On the edge θ jumps from side to side at every step, and u with it: after an odd number of steps it
    is nearer to where it was two readings ago than one, and has gone on from there as it did before.
    Those after it go to and fro with it.
    """
    if state.eigenvectors is None:
        return _direction(point, state)[None]
    followed = _followed(state)
    if state.earlier is None:
        return followed
    last, others = followed[0], followed[1:] if state.others is None else state.others
    overlaps = state.earlier @ last
    one_ago, two_ago = overlaps.abs().tolist()
    if not two_ago > max(one_ago, RETURNED):
        return followed
    one, two = state.earlier * overlaps.sign()[:, None]
    return torch.cat([(one + (last - two))[None], others])


def measure_smallest(point: Point, state: ProbeState) -> dict[str, float]:
    """Find the smallest eigenvalue, if the config asks for it: the largest of −∇²L, negated.

    Fills eig_min with its residual, and hessian_products with those of this reading so far.
    """
    if not state.config.smallest_eigenvalue:
        return {}
    known = 0 if state.smallest is None else len(state.smallest)
    start = _direction(point, state)[None] if known == 0 else state.smallest
    assert start is not None
    pairs = leading_eigenpairs(
        lambda vector: -point.hessian_product(vector),
        start,
        Target(wanted=1, value_tolerance=state.config.tolerance, vector_tolerance=None),
        fresh=lambda number: _direction(point, state, 1 + number),
        # the sharpness probe has counted this reading already
        known=0 if (state.readings - 1) % AUDIT_EVERY == 0 else known,
    )
    state.smallest = torch.cat([pairs.vectors, pairs.guard_vectors])
    state.products += pairs.products
    residual = _relative(pairs.residuals[0], state.sharpness or pairs.values[0])
    if not pairs.converged and not state.unconverged_smallest:
        told = {"products": pairs.products, "eigenvalues": 1, "residual": residual}
        state.events.append(("unconverged", {**told, "smallest": True}))
    state.unconverged_smallest = not pairs.converged
    return {
        "eig_min": -pairs.values[0],
        "eig_min_residual": residual,
        "hessian_products": float(state.products),
    }


def measure_drives(point: Point, state: ProbeState) -> dict[str, float]:
    """Measure ∇S and what follows from it: β, βα, g, g_u and the alignments theory takes as small.

    Source: WD §4 and Assumptions 1–3; ∇S as in SS, Lemma 2. Those with ⊥ are of ∇S without its part
    along u, as SS has it: near a second eigenvalue of the same size that part need not be small.
    """
    if state.config.measure == "spectrum":
        return {}
    if state.eigenvectors is None:
        raise ValueError("the drives need the eigenvector that the sharpness probe leaves")
    vector = state.eigenvectors[0]
    state.sharpness_gradient = point.third_derivative(vector)
    decayed = state.problem.decayed
    pulled = point.theta if decayed is None else point.theta * decayed
    u, ds, dl, theta = (
        _accurate(tensor) for tensor in (vector, state.sharpness_gradient, point.gradient, pulled)
    )
    products = torch.stack(
        [ds @ ds, dl @ dl, -(dl @ ds), theta @ ds, theta @ u, ds @ u, dl @ u]
    ).tolist()
    if not all(map(math.isfinite, products)):
        state.events.append(("unmeasured", {"reason": "∇S isn't finite here: no drives"}))
        return {}
    beta, gradient_square, beta_alpha, g, g_u, ds_u, dl_u = products
    grad_norm = gradient_square**0.5
    values = {
        "beta": beta,
        "beta_alpha": beta_alpha,
        "g": g,
        "g_u": g_u,
        "grad_norm": grad_norm,
        "beta_perp": max(beta - ds_u**2, 0.0),
        "beta_alpha_perp": beta_alpha + dl_u * ds_u,
        "g_perp": g - g_u * ds_u,
    }
    if beta > 0:
        values["sharpness_gradient_u"] = abs(ds_u) / beta**0.5
    if grad_norm > 0:
        values["gradient_u"] = abs(dl_u) / grad_norm
    return values


def _target(state: ProbeState) -> Target:
    """Return what is looked for, from the config and from what was found last."""
    config = state.config
    wanted, above = config.eigenvalues, float("inf")
    if wanted == "edge":
        wanted, above = 1, FOLLOWED_FROM * 2 / state.eta
    return Target(
        wanted=wanted,
        above=above,
        value_tolerance=config.tolerance,
        vector_tolerance=None if config.measure == "spectrum" else config.vector_tolerance,
    )


def _tell_of_the_end(pairs: Eigenpairs, state: ProbeState) -> None:
    """Say once, for all readings in a row, that values or u weren't found well enough."""
    if not pairs.converged and not state.unconverged:
        relative = [_relative(residual, pairs.values[0]) for residual in pairs.residuals]
        told = {"products": pairs.products, "eigenvalues": len(relative), "residual": max(relative)}
        state.events.append(("unconverged", told))
    degenerate = pairs.converged and not pairs.separated
    if degenerate and not state.degenerate:
        payload = {"u_error": pairs.first_vector_error, "sharpness": pairs.values[0]}
        following = [*pairs.values[1:], *pairs.guard_values]
        if following:
            payload["next"] = following[0]
        state.events.append(("degenerate", payload))
    state.unconverged, state.degenerate = not pairs.converged, degenerate


def _relative(residual: float, value: float) -> float:
    return residual / abs(value) if value else 0.0


def _accurate(vector: Tensor) -> Tensor:
    """Return the vector in float64 where the device has it: dot products of many terms cancel."""
    return vector if vector.device.type == "mps" else vector.double()


def _direction(point: Point, state: ProbeState, number: int = 0) -> Tensor:
    return random_direction(point.theta, state.config.seed, state.step, number)


def random_direction(like: Tensor, seed: int, step: int, number: int = 0) -> Tensor:
    """Return a direction keyed by seed, step and number, so that replay repeats it."""
    key = (seed * 1_000_003 + step + number * 7_368_787_000_003) % 2**63
    generator = torch.Generator().manual_seed(key)
    return torch.randn(like.numel(), generator=generator, dtype=torch.float64).to(like)
