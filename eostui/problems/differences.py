"""Autograd's derivatives of a loss against finite differences of the same loss.

Whatever makes autograd's word untrue shows in numbers: detached factors, straight-through estimators,
gradients scaled by frequency, checkpoints that recompute with other parameters, wrong formulas.

Kinks (ReLU, max-pooling) mustn't be taken for that. Between its kinks such a loss is smooth, and a kink
at distance r along the line changes central differences of steps above r alone: in those of L it adds
less and less, in those of ∇L its jump over 2h, ten times more for a step ten times smaller, until the
step is below r and it is gone. A wrong derivative is off by the same at every step. So a derivative
passes if it agrees at any one step, and is called wrong only if it is off by the same at the first
three, at two places along two directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from eostui.problems.batch import LossFunction


class Steps(NamedTuple):
    """How long steps are, along a direction as long as θ, and what may be expected of them.

    Attributes:
        lengths: the longest first.
        tolerance: relative difference up to which autograd and differences agree.
        rounding: of one evaluation, relative to it.
        orders: how many derivatives are compared.
    """

    lengths: tuple[float, ...]
    tolerance: float
    rounding: float
    orders: int


#: So short that a network with a million activations has no kink within most of them.
FINE = Steps((1e-6, 1e-7, 1e-8, 1e-9), 1e-5, 100 * torch.finfo(torch.float64).eps, 3)
#: For what is computed in float32. ∇L alone: steps of this length meet many kinks, whose own curvature
#: isn't in H, and differences of ∇L tell nothing about it.
COARSE = Steps((3e-2, 1e-2, 3e-3), 2e-2, 100 * torch.finfo(torch.float32).eps, 1)

#: Share of themselves by which errors may differ and yet be the same.
_SAME = 0.2
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


def directions(
    theta: Tensor, held: Tensor | None = None, away: float = _AWAY
) -> Iterator[Direction]:
    """Yield random places θ + δ and directions, each coordinate on its own scale and that of all.

    Drawn by a generator of their own: the run's random numbers stay as they are.

    Args:
        theta: shape (P,).
        held: True for coordinates that stay, shape (P,).
        away: size of δ in that of θ.
    """
    generator = torch.Generator().manual_seed(0)
    size = theta.abs() + (float(theta.square().mean().sqrt()) or 1.0)
    if held is not None:
        size = size.masked_fill(held, 0.0)

    def drawn() -> Tensor:
        noise = torch.randn(theta.shape, generator=generator, dtype=torch.float64)
        return size * noise.to(theta)

    while True:
        yield Direction(theta + away * drawn(), drawn())


def mismatch(
    loss: LossFunction, theta: Tensor, steps: Steps, held: Tensor | None = None
) -> tuple[Mismatch | None, bool]:
    """Compare ⟨∇L, v⟩, Hv and D³L[v, v, ·] with differences of L, ∇L and Hv.

    Args:
        loss: θ ↦ scalar, differentiable three times almost everywhere.
        theta: shape (P,).
        steps: `FINE` for a loss that is computed in float64, else `COARSE`.
        held: True for coordinates that aren't moved, shape (P,).

    Returns:
        The lowest order that is wrong, or None; and whether that is sure: False where rounding or
        kinks hid the answer at too many places.
    """
    agreed, wrong = 0, []
    tried = zip(range(_PLACES), directions(theta, held), strict=False)
    for _, place in tried:
        verdict, known = _at(loss, _inside(loss, theta, place), steps)
        if known:
            agreed += verdict is None
            wrong += [] if verdict is None else [verdict]
        if len(wrong) == _DECIDE:
            return min(wrong), True
        if agreed == _DECIDE:
            return None, True
    return None, False


def resolved(loss: LossFunction, theta: Tensor) -> bool:
    """Return whether L moves with θ in steps as fine as the finest: not if float32 is within it."""
    place, v = next(directions(theta))
    slopes = []
    for h in FINE.lengths[-2:]:
        up, down = (_derivatives(loss, place + d * v, v, 1)[0] for d in (h, -h))
        slopes.append(float(up - down) / (2 * h))
    return abs(slopes[0] - slopes[1]) <= _SAME * abs(slopes[0])


def along(loss: LossFunction, place: Direction, steps: Steps) -> tuple[Mismatch | None, bool]:
    """Compare ⟨∇L, v⟩ alone, at one place along one direction."""
    return _at(loss, place, steps._replace(orders=1))


def _inside(loss: LossFunction, theta: Tensor, place: Direction) -> Direction:
    """Return the place, nearer to θ where the loss isn't finite there (a logarithm's domain, say)."""
    for share in (1.0, 0.1, 0.01):
        there = theta + share * (place.theta - theta)
        if torch.isfinite(loss(there.clone().requires_grad_())):
            return Direction(there, place.v)
    return Direction(theta, place.v)


def _at(loss: LossFunction, place: Direction, steps: Steps) -> tuple[Mismatch | None, bool]:
    """Return the lowest wrong order at a place, and whether all orders could be judged there."""
    theta, v = place
    claimed = _derivatives(loss, theta, v, steps.orders + 1)
    told = [claimed[1] @ v, *claimed[2:]]
    slopes: dict[int, list[Tensor]] = {order: [] for order in range(steps.orders)}
    for h in steps.lengths:
        up, down = (_derivatives(loss, theta + d * v, v, max(slopes) + 1) for d in (h, -h))
        for order in tuple(slopes):
            slope = (up[order] - down[order]) / (2 * h)
            size = max(float(slope.norm()), float(told[order].norm()))
            allowed = steps.tolerance * size + steps.rounding * float(up[order].norm()) / h
            if float((slope - told[order]).norm()) <= allowed:
                del slopes[order]
            else:
                slopes[order].append(slope)
        if not slopes:
            return None, True
    for order, found in slopes.items():
        errors = [slope - told[order] for slope in found]
        one, *others = errors[2], *errors[:2]
        if all(float((e - one).norm()) <= _SAME * float(one.norm()) for e in others):
            return _mismatch(order + 1, told[order], found[0]), True
    return None, False


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
