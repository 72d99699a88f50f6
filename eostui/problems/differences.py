"""Autograd's derivatives of a loss against finite differences of the same loss.

Whatever makes autograd's word untrue shows in numbers: detached factors, straight-through estimators,
gradients scaled by frequency, checkpoints that recompute with other parameters, wrong formulas.

Kinks (ReLU, max-pooling) mustn't be taken for that. Between its kinks such a loss is smooth, and a kink
at distance r along the line changes central differences of steps above r alone: in those of L it adds
less and less, in those of ∇L its jump over 2h, ten times more for a step ten times smaller, until the
step is below r and it is gone. A wrong derivative is off by the same at every step. So a derivative
passes if it agrees at any one step, and is called wrong only if it is off by the same at three
steps over at least two decades, at two places along two directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from eostui.problems.batch import LossFunction

#: Steps along a direction as long as θ, by precision: the first is tried first. Those of float64 are so
#: small that a network with a million activations has no kink within most of them.
_STEPS = {torch.float64: (1e-6, 1e-7, 1e-8, 1e-5), torch.float32: (1e-2, 3e-3, 3e-2)}
#: Relative difference up to which autograd and differences agree.
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 2e-2}
#: Share of themselves by which three errors may differ and yet be the same.
_SAME = 0.2
#: Rounding of a derivative by differences, in units of what one rounding does.
_ROUNDINGS = 100.0
#: Size of δ, and places tried at most; two of one opinion decide.
_AWAY, _PLACES, _DECIDE = 0.05, 6, 2

#: What each order compares.
DERIVATIVES = ("⟨∇L, v⟩", "Hv", "D³L[v, v, ·]")


class Mismatch(NamedTuple):
    """A derivative that isn't what autograd says.

    Attributes:
        order: of the derivative, from 1.
        autograd: what autograd says of it along v: itself for order 1, else its component along what
            differences say.
        differences: what finite differences say, on the same scale.
    """

    order: int
    autograd: float
    differences: float


class Direction(NamedTuple):
    """A place and a direction there, as long as θ is."""

    theta: Tensor
    v: Tensor


def directions(theta: Tensor, seed: int = 0, away: float = _AWAY) -> Iterator[Direction]:
    """Yield random places θ + δ and directions, each coordinate on its own scale and that of all.

    Drawn by a generator of their own: the run's random numbers stay as they are.
    """
    generator = torch.Generator().manual_seed(seed)
    size = theta.abs() + (float(theta.square().mean().sqrt()) or 1.0)

    def drawn() -> Tensor:
        noise = torch.randn(theta.shape, generator=generator, dtype=torch.float64)
        return size * noise.to(theta)

    while True:
        yield Direction(theta + away * drawn(), drawn())


def mismatch(loss: LossFunction, theta: Tensor) -> tuple[Mismatch | None, bool]:
    """Compare ⟨∇L, v⟩, Hv and D³L[v, v, ·] with differences of L, ∇L and Hv.

    In float32 only the first: the steps that its rounding allows are so long that the secants of ∇L
    meet the kinks' own curvature, which isn't in H, and tell nothing about it.

    Args:
        loss: θ ↦ scalar, differentiable three times almost everywhere.
        theta: shape (P,); its precision is that of the comparison.

    Returns:
        The lowest order that is wrong, or None; and whether that is sure: False where rounding or
        kinks hid the answer at too many places.
    """
    agreed, wrong = 0, []
    tried = zip(range(_PLACES), directions(theta), strict=False)
    for _, place in tried:
        verdict, known = _at(loss, _inside(loss, theta, place))
        if known:
            agreed += verdict is None
            wrong += [] if verdict is None else [verdict]
        if len(wrong) == _DECIDE:
            return min(wrong), True
        if agreed == _DECIDE:
            return None, True
    return None, False


def along(loss: LossFunction, place: Direction) -> tuple[Mismatch | None, bool]:
    """Compare ⟨∇L, v⟩ alone, at one place along one direction."""
    return _at(loss, place, orders=1)


def _inside(loss: LossFunction, theta: Tensor, place: Direction) -> Direction:
    """Return the place, nearer to θ where the loss isn't finite there (a logarithm's domain, say)."""
    for share in (1.0, 0.1, 0.01):
        there = theta + share * (place.theta - theta)
        if torch.isfinite(loss(there.clone())):
            return Direction(there, place.v)
    return Direction(theta, place.v)


def _at(
    loss: LossFunction, place: Direction, orders: int | None = None
) -> tuple[Mismatch | None, bool]:
    """Return the lowest wrong order at a place, and whether all orders could be judged there."""
    theta, v = place
    steps, tolerance = _STEPS[theta.dtype], _TOLERANCE[theta.dtype]
    orders = orders or (3 if theta.dtype == torch.float64 else 1)
    claimed = _derivatives(loss, theta, v, orders + 1)
    told = [claimed[1] @ v, *claimed[2:]]
    slopes: dict[int, list[Tensor]] = {order: [] for order in range(orders)}
    for h in steps:
        up, down = (_derivatives(loss, theta + d * v, v, orders) for d in (h, -h))
        for order in tuple(slopes):
            slope = (up[order] - down[order]) / (2 * h)
            rounding = _ROUNDINGS * torch.finfo(theta.dtype).eps * float(up[order].norm()) / h
            size = max(float(slope.norm()), float(told[order].norm()))
            if float((slope - told[order]).norm()) <= tolerance * size + rounding:
                del slopes[order]
            else:
                slopes[order].append(slope)
        if not slopes:
            return None, True
    for order, found in slopes.items():
        if _three_are_equal([slope - told[order] for slope in found]):
            return _mismatch(order + 1, told[order], found[0]), True
    return None, False


def _three_are_equal(errors: list[Tensor]) -> bool:
    """Return whether three of the errors, those of the shorter steps first, are the same vector."""
    for middle in errors:
        near = [e for e in errors if float((e - middle).norm()) <= _SAME * float(middle.norm())]
        if len(near) >= 3:
            return True
    return False


def _mismatch(order: int, told: Tensor, slope: Tensor) -> Mismatch:
    if order == 1:
        return Mismatch(order, float(told), float(slope))
    size = float(slope.norm())
    return Mismatch(order, float(told @ slope) / size if size else float(told.norm()), size)


def _derivatives(loss: LossFunction, theta: Tensor, v: Tensor, count: int) -> list[Tensor]:
    """Return the first `count` of L, ∇L, Hv and D³L[v, v, ·] at θ, detached."""
    leaf = theta.detach().clone().requires_grad_()
    value = loss(leaf)
    results = [value.detach()]
    while len(results) < count:
        if not value.requires_grad:  # a polynomial: all further derivatives are 0
            results.append(torch.zeros_like(theta))
            continue
        (derivative,) = torch.autograd.grad(
            value, leaf, create_graph=len(results) < count - 1, materialize_grads=True
        )
        results.append(derivative.detach())
        value = derivative @ v
    return results
