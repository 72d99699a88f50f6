"""Leading eigenpairs of a symmetric operator that is known only by its products."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from eostui.config import MOST_EIGENVALUES
from eostui.curvature.basis import Basis, NotFiniteError, Ritz
from eostui.curvature.estimates import Errors, errors_of
from eostui.curvature.gram_basis import GramBasis
from eostui.curvature.hessian_memory import KEPT, HessianMemory
from eostui.curvature.host import FloatArray, waits

__all__ = ["Eigenpairs", "NotFiniteError", "Target", "leading_eigenpairs"]


@dataclass(frozen=True)
class Eigenpairs:
    """The largest (algebraic) eigenvalues found, with how well each was found.

    Attributes:
        values: eigenvalues in falling order, length k.
        vectors: unit eigenvectors, shape (k, P), orthonormal.
        residuals: ‖Hu − μu‖ of each pair, in the units of the values.
        first_vector_error: estimated sine of the angle between the first vector and its eigenvector.
        guard_values: what comes after the last of the values, found as well as it had to be: one or two,
            or none where there is nothing more.
        guard_vectors: where the next search starts too, shape (m, P): their vectors, corrected by the
            memory, which costs no product.
        guard_residuals: of the guards as they were found, before that correction.
        gap: first value less the next, found here; NaN where that isn't known to a tenth of it.
        products: Hessian products spent.
        converged: whether the values met their tolerance before the products ran out: as eigenvalues,
            and as the largest there are if a fresh direction was looked in.
        separated: whether the first vector met its own, or none was asked for.
        overlooked: the values as they were before a fresh direction showed more; empty if none did.
    """

    values: list[float]
    vectors: Tensor
    residuals: list[float]
    first_vector_error: float
    guard_values: list[float]
    guard_vectors: Tensor
    guard_residuals: list[float]
    gap: float
    products: int
    converged: bool
    separated: bool
    overlooked: list[float]


#: Products allowed for each pair, beside those allowed at all.
PER_PAIR = 20

#: Errors are estimated to a factor of this.
SAFETY = 2.0
#: Values that differ by less than this share of S over the tolerance of u aren't told apart.
PARTED = 1e-10
#: A guard nearer to the last pair than this share of S gets a guard of its own.
NEAR = 0.01
#: The guard is found to this residual at the least, as a share of S: a looser one isn't near any pair.
GUARD = 0.05
#: The first vector has turned where it has less of the direction that the search began with.
STEADY = 0.9
#: Where it has less than this of it, eigenvalues may have changed places.
STILL = 0.98
#: Where it has turned the guard is found to this share of its distance from the pairs told.
TURNED = 0.5
#: The guard's own guard is found to this one: it only tells how far what comes after is from both.
SECOND_GUARD = 0.1
#: A pair holds the first start direction from this share of it on.
HELD = 0.5
#: A gap is known if both its ends are within this share of it.
KNOWN = 0.1
#: A pair with this many times the residual of another, whose error is too large, is improved before it.
LAGS = 30.0
#: Ritz pairs beyond those followed that a restart keeps, and the memory.
SPARE = 4
#: A look across ends at the latest when the largest pair there has this residual, as a share of S.
LOOKED = 1e-6
#: The chance that a look overlooks an eigenvalue, at which it may end.
MISSED = 1e-4


@dataclass(frozen=True)
class Target:
    """What is looked for, and when it is found.

    Attributes:
        wanted: how many pairs; fewer where P is smaller.
        above: pairs with values from here on are wanted too, up to MOST_EIGENVALUES.
        value_tolerance: bound on the error of every value, relative to the first. A residual below 16
            times the rounding of the products' precision counts as found, whatever is asked for; where
            products are worse than that the search ends with what was allowed, unconverged.
        vector_tolerance: bound on the error of the first vector, as a sine: what is derived from u (α,
            β, g) is as good as this. None if only values are wanted.
        max_products: the search ends here at the latest, reporting the residuals it reached; PER_PAIR
            more are allowed for each pair, and as many again to a look in a fresh direction.
    """

    wanted: int = 2
    above: float = float("inf")
    value_tolerance: float = 1e-5
    vector_tolerance: float | None = 0.02
    max_products: int = 120


def leading_eigenpairs(
    product: Callable[[Tensor], Tensor],
    start: Tensor,
    target: Target = Target(),
    *,
    memory: HessianMemory | None = None,
    fresh: Callable[[int], Tensor] | None = None,
    known: int = 0,
    independent: bool = False,
    basis_size: int = 24,
) -> Eigenpairs:
    """Find the largest (algebraic) eigenvalues by restarted Lanczos or Davidson with stored products.

    The search space starts as the span of `start` and grows towards the pair that is in the way of
    the first tolerance that isn't met: by its residual, which for a single start vector is Lanczos in
    exact arithmetic, or by the correction that `memory` makes of the residual. One pair more than is
    told is followed, the guard: errors depend on what comes next. Full reorthogonalisation and a
    Rayleigh–Ritz step on stored products keep it honest in float32.

    What a search space doesn't contain it can't see: a second eigenvector of a multiple eigenvalue is
    in no Krylov space of one vector. So pairs that weren't known before are looked for in a fresh
    direction too, until such a look finds nothing more.

    Args:
        product: v ↦ Hv on vectors of shape (P,).
        start: starting directions, shape (m, P) with m ≥ 1: a random one, or the last eigenvectors.
        target: what is looked for.
        memory: what is known of H from measurements nearby; it learns the products spent here.
        fresh: number ↦ a random direction of shape (P,), to look for what was overlooked; None for
            no such look: a larger eigenvalue that `start` has next to no part of can then be missed.
        known: how many pairs were followed before and needn't be looked for in a fresh direction.
        independent: that the start directions are nearly orthogonal, and none is zero, is known: then
            their products are asked for without a look at anything between.
        basis_size: vectors kept before a thick restart.

    Raises:
        NotFiniteError: if a product isn't finite.
    """
    search = _Search(product, start, target, memory or HessianMemory(), independent, basis_size)
    search.run()
    overlooked: list[float] = []
    looks = 0
    while fresh is not None and search.least > known and search.may_look(looks):
        before = search.values()
        found_more = search.look(fresh(looks))
        looks += 1
        search.run()  # what comes after the last pair may be known better now
        if not found_more:
            break
        overlooked = overlooked or before
    if memory is not None:
        search.basis.learn(max(KEPT, search.followed + SPARE))
    return search.result(overlooked)


class _Search:
    """A search space, what is looked for in it, and how far that has come."""

    def __init__(
        self,
        product: Callable[[Tensor], Tensor],
        start: Tensor,
        target: Target,
        memory: HessianMemory,
        independent: bool,
        basis_size: int,
    ) -> None:
        first = start[0]
        self.target, self.size = target, first.numel()
        most = target.wanted if math.isinf(target.above) else MOST_EIGENVALUES
        capacity = min(max(basis_size, len(start) + 4, 2 * most + 10), self.size)
        make = GramBasis if waits(first) else Basis
        self.basis = make(product, capacity, first, memory)
        self.basis.begin(start[:capacity], independent)
        if self.basis.size == 0:
            raise ValueError("every start direction is zero")
        self.begun = self.basis.size
        self.wanted = min(target.wanted, self.size)
        self.guards = 1
        self.extra = 0  # products of looks in fresh directions
        self.ritz = Ritz(self.basis)
        self.missing: int | None = None
        self._estimated: tuple[Ritz, int, tuple[Errors, FloatArray]] | None = None

    @property
    def reported(self) -> int:
        """How many pairs are told."""
        return min(self.wanted, self.basis.size)

    @property
    def least(self) -> int:
        """How many pairs have to be followed: one more than are told, where there is one."""
        return min(self.wanted + 1, self.size)

    @property
    def followed(self) -> int:
        """How many pairs are followed: those told and the guards, where there are so many."""
        return min(self.wanted + self.guards, self.size)

    @property
    def _allowed(self) -> int:
        return self.target.max_products + PER_PAIR * self.wanted + self.extra

    def run(self) -> None:
        """Go on until every tolerance is met, there is nothing more, or the products are spent."""
        while True:
            self.ritz = ritz = Ritz(self.basis)
            self.missing = self._missing()
            most = min(MOST_EIGENVALUES, self.size)
            if (
                self.missing is None
                and self.wanted < most
                and ritz.reaches(self.wanted - 1, self.target.above)
            ):
                self.wanted += 1
                continue
            if self.guards == 1 and self._guard_is_near() and self.wanted + 1 < self.size:
                self.guards = 2
                continue
            if self._complete or self._spent:
                return
            if self.missing is None:
                if not self._leaves_out_what_is_remembered():
                    return
                self._make_room(self.followed + SPARE)
                if not self.basis.recollect():
                    return
                continue
            if ritz.scale == 0.0 and self.basis.size > 1:
                return
            # one that is in the way may be further down than what is followed: it is kept too
            self._make_room(max(self.followed + SPARE, self.missing + 1))
            if not self.basis.grow(self.ritz, self.missing):
                return

    def may_look(self, looks: int) -> bool:
        """Whether something may have been overlooked, and there are products to look for it."""
        return not (self._complete or self._spent or self.ritz.scale == 0.0) and looks < self.size

    def look(self, direction: Tensor) -> bool:
        """Search across the pairs found, from a random direction; return whether values told rose.

        It goes on until nothing told has been overlooked, but for a chance below MISSED, or the largest
        eigenvalue across is found: see `_nothing_hides`.
        """
        told, found = self.reported, min(self.followed, self.basis.size)
        before = self.ritz.values[:told]
        guard = self.ritz.values[told] if found > told else -math.inf
        allowed = max(self.target.value_tolerance * abs(before[0]), self.ritz.rounding)
        spent, most = self.basis.products, self.target.max_products + PER_PAIR * self.wanted
        self.basis.restart(self.ritz.coefficients[:found])
        dropped, lengths = np.empty(0), 0.0  # Ritz values that restarts left out, and log ∏βₙ
        # of a random direction that much of the square is left: 1 − k/P, about
        added = self.basis.add(direction, independent=4 * self.basis.size < self.size)
        while added:
            self.ritz = Ritz(self.basis)
            risen = (self.ritz.values[:told] > before + allowed).any()
            if self._complete or risen or self.basis.products - spent >= most:
                break
            across, mix = np.linalg.eigh(self.basis.projected[found:, found:])
            following, length = self.basis.beyond_last()
            lengths += math.log(max(length, self.ritz.rounding))
            largest = across[-1]
            level = max((before[-1] + max(guard, largest)) / 2, largest + allowed)
            growth = np.log(level - np.append(dropped, across)).sum() - lengths
            if self._nothing_hides(growth, length * abs(mix[-1, -1])):
                break
            if self.basis.size == self.basis.capacity:
                kept = max(min(len(across) - 1, SPARE), len(across) // 2)
                dropped = np.append(dropped, across[:-kept])
                of_basis = np.eye(self.basis.size)[: found + kept]
                of_basis[found:, found:] = mix.T[-kept:]
                self.basis.restart(of_basis)
            added = self.basis.add(following, independent=length > self.ritz.rounding)
        self.extra += self.basis.products - spent
        self.ritz = Ritz(self.basis)
        return bool((self.ritz.values[:told] > before + allowed).any())

    def _nothing_hides(self, growth: float, residual: float) -> bool:
        """Whether a look has gone far enough.

        Lanczos' n-th residual is p(H)q with the Ritz values θ as the zeros of p, from the start q and
        divided by ∏β, the lengths it had on the way. So an eigenvector of λ > θ₁ of which q has a part c
        would have the part c ∏(λ − θᵢ)/∏βᵢ of it, and no part is more than 1; while a random q in P
        dimensions has a part |c| below x with a chance of x √(2P/π) at most. No bound on the spectrum is
        needed: what was seen of it says how far was seen.

        Args:
            growth: log ∏(λ − θᵢ)/∏βᵢ for the least λ that must not be overlooked.
            residual: of the largest Ritz pair across. What is as near to it as λ is can't be told apart
                by fewer steps than are needed to find it: at LOOKED it is left at that, and what is
                larger by δ is overlooked with a chance of about the residual over δ.
        """
        part = MISSED * math.sqrt(math.pi / (2 * self.size))
        found = max(LOOKED * abs(self.ritz.values[0]), self.ritz.rounding)
        return growth >= -math.log(part) or residual <= found

    def values(self) -> list[float]:
        """Return the values told, as they are known now."""
        told: list[float] = self.ritz.values[: self.reported].tolist()
        return told

    def result(self, overlooked: list[float]) -> Eigenpairs:
        """Return what was found."""
        told, ritz = self.reported, self.ritz
        found = min(self.followed, self.basis.size)
        errors, residuals = self._errors()[0], self.basis.reported(ritz, found)
        vectors = self.basis.found_vectors(ritz, told, found)
        tolerance = self.target.value_tolerance * abs(ritz.values[0])
        gap = float(ritz.values[0] - ritz.values[1]) if found > 1 else math.nan
        if not (found > 1 and errors.values[:2].sum() <= max(KNOWN * gap, 2 * tolerance)):
            gap = math.nan
        wanted = self.target.vector_tolerance
        return Eigenpairs(
            values=self.values(),
            vectors=vectors[:told],
            residuals=residuals[:told].tolist(),
            first_vector_error=errors.first_vector,
            guard_values=ritz.values[told:found].tolist(),
            guard_vectors=vectors[told:],
            guard_residuals=residuals[told:found].tolist(),
            gap=gap,
            products=self.basis.products,
            # where the products didn't run out there was nothing more to be found
            converged=self.missing is None or self._complete or not self._spent,
            separated=wanted is None or errors.first_vector <= wanted,
            overlooked=overlooked,
        )

    def _leaves_out_what_is_remembered(self) -> bool:
        """Whether a remembered eigenvalue is larger than the last one told, and in no direction yet.

        Or than the guard, as well as that is found at the least. What isn't coupled with the directions
        searched through shows in no residual.
        """
        values = self.ritz.values
        guard = float(values[min(self.followed, self.basis.size) - 1])
        least = min(guard + GUARD * abs(float(values[0])), float(values[self.reported - 1]))
        return self.basis.recall.next_value() > least

    def _guard_is_near(self) -> bool:
        """Whether the guard is so near the last pair told that it must count as one of them."""
        values = self.ritz.values
        if not self.reported < self.basis.size:
            return False
        return bool(values[self.reported - 1] - values[self.reported] < NEAR * abs(values[0]))

    @property
    def _complete(self) -> bool:
        return self.basis.size == self.size

    @property
    def _spent(self) -> bool:
        return self.basis.products >= self._allowed

    def _make_room(self, kept: int) -> None:
        """Restart if the basis is full, with `kept` Ritz vectors."""
        if self.basis.size == self.basis.capacity:
            self.basis.restart(self.ritz.coefficients[: min(kept, self.basis.capacity - 1)])
            self.ritz = Ritz(self.basis)

    def _errors(self) -> tuple[Errors, FloatArray]:
        """Return the estimated errors of the pairs followed, and their residuals."""
        ritz, followed = self.ritz, min(self.followed, self.basis.size)
        if self._estimated is not None and self._estimated[:2] == (ritz, followed):
            return self._estimated[2]
        residuals = ritz.residuals(followed)
        inside = max(followed - 1, 1)
        at_beyond = residuals
        if self._complete:
            beyond, inside = -math.inf, followed
        else:  # what is remembered steers the search, and weighs what is left over
            beyond = self.basis.recall.next_value()
            if self.basis.size > followed:
                beyond = max(beyond, float(ritz.values[followed]))
            if not math.isfinite(beyond):
                beyond = math.nan
            elif beyond <= ritz.values[followed - 1] and self._is_steady:  # or it tells too little
                pairs = ritz.coefficients[:followed], ritz.values[:followed]
                at_beyond = self.basis.recall.lengths_at(beyond, *pairs, residuals)
        values = ritz.values[:followed]
        errors = errors_of(values, residuals, beyond, ritz.rounding, inside, at_beyond)
        self._estimated = ritz, followed, (errors, residuals)
        return self._estimated[2]

    def _missing(self) -> int | None:
        """Return the index of the pair that keeps the first unmet tolerance from being met, or None."""
        if self.basis.size < self.followed:
            return self.basis.size - 1
        ritz = self.ritz
        allowed = self.target.value_tolerance * abs(ritz.values[0]) / SAFETY
        if self._first_is_in_the_way(allowed):
            return 0
        errors, residuals = self._errors()
        for index in range(self.reported):
            unknown = errors.values[index] > allowed and residuals[index] > ritz.rounding
            if unknown or (index == 0 and not self._first_vector_is_found(errors, residuals)):
                return _in_the_way(index, residuals)
        if residuals[-1] > max(self._loosest_guard(), ritz.rounding):
            return len(residuals) - 1
        return self._may_be_larger(len(residuals))

    def _may_be_larger(self, followed: int) -> int | None:
        """Return a pair after the guard that may be as large as those told, and is hardly known; or None.

        Of those that the search began with, and of the one next to the guard where u isn't still what it
        was. Where u has turned far, what it was has fallen behind others, and leads to what it is now.
        """
        ritz = self.ritz
        last, hardly = float(ritz.values[self.reported - 1]), GUARD * abs(float(ritz.values[0]))
        looked_at = max(self.begun, followed + (self._first_kept < STILL))
        for index in range(followed, min(looked_at, self.basis.size)):
            held = abs(float(ritz.coefficients[index] @ self.basis.first))
            leads = held > HELD or ritz.reaches(index, last)
            if leads and ritz.residual(index) > hardly:
                return index
        return None

    def _first_is_in_the_way(self, allowed: float) -> bool:
        """Whether the first pair is the one to improve, as residuals alone tell.

        None lags behind it, and what its residual does to the value is more than allowed if all of it
        lies at the other end of what was seen of the spectrum: estimates say the same, for longer work.
        """
        residuals = self.ritz.residuals(self.followed)
        least = residuals[0] ** 2 / (2 * self.ritz.scale) if self.ritz.scale else 0.0
        none_lags = not self._complete and _in_the_way(0, residuals) == 0
        return bool(none_lags and least > allowed and residuals[0] > self.ritz.rounding)

    @property
    def _is_steady(self) -> bool:
        """Whether the first vector is still that with which the search began, nearly.

        Where it isn't, other eigenvalues have changed places too: what is remembered of H may steer the
        search, but doesn't tell where a residual lies.
        """
        return self._first_kept >= STEADY

    @property
    def _first_kept(self) -> float:
        """How much the first vector has of the direction that the search began with."""
        return abs(float(self.ritz.coefficients[0] @ self.basis.first))

    def _loosest_guard(self) -> float:
        """Return the residual to which the last pair followed has to be found.

        One as long as its distance from the last pair told leaves room for a larger eigenvalue that the
        search has seen too little of, and where the first vector has turned, or is new, so may a shorter
        one. What is as near as NEAR gets a guard of its own.
        """
        values = self.ritz.values
        first, last = abs(float(values[0])), float(values[self.reported - 1])
        away = last - float(values[min(self.followed, self.basis.size) - 1])
        if not self._is_steady:
            away *= TURNED
        share = GUARD if self.guards == 1 else SECOND_GUARD
        return min(share * first, max(NEAR * first, away))

    def _first_vector_is_found(self, errors: Errors, residuals: FloatArray) -> bool:
        """Whether the first vector is found well enough, or can't be told from the second."""
        tolerance = self.target.vector_tolerance
        if (
            tolerance is None
            or errors.first_vector <= tolerance
            or residuals[0] <= self.ritz.rounding
        ):
            return True
        apart = self.ritz.values[0] - self.ritz.values[1] if len(residuals) > 1 else math.inf
        # the second value's error counts: it could still turn out to be as large as the first
        least = max(self.ritz.rounding, PARTED * self.ritz.scale)
        return bool(least > tolerance * (apart + errors.values[:2].sum()))


def _in_the_way(index: int, residuals: FloatArray) -> int:
    """Return which pair to improve for an error of pair `index`: itself, or the one that lags behind.

    How well a pair is known hangs on those next to it too. But they need only be found so far that
    nothing can hide between, while every step towards the pair itself makes its error less.
    """
    farthest = int(residuals.argmax())
    return farthest if residuals[farthest] > LAGS * residuals[index] else index
