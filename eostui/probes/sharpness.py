"""Sharpness S with its eigenvector u, and the eigenvalues after it (MATH §2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.directions import random_direction
from eostui.curvature.eigenpairs import Eigenpairs, Target, leading_eigenpairs
from eostui.curvature.hessian_memory import HessianMemory
from eostui.curvature.host import like, read
from eostui.curvature.point import Point
from eostui.probes.probe import Moment, Probe, Reading, Value, built_in_columns
from eostui.problems import Problem

#: Below this share of the threshold, S is far from the edge.
NEAR = 0.75
#: Every so many readings are audited by a search that starts cold: a warm start alone could go on
#: following an eigenvector that has ceased to be the leading one.
AUDIT_EVERY = 40
#: A cold search that finds S higher by more than this share of it has found what the warm one lost;
#: later eigenvalues are only as good as the search for them.
AUDIT_TOLERANCE = 1e-3
#: From this overlap on u has come back to where it was two readings ago.
RETURNED = 0.9
#: eigenvalues = "edge" follows those above this share of the threshold without decay.
FOLLOWED_FROM = 0.75


class Sharpness(Probe):
    """Finds S, the largest eigenvalue, and those after it, from where they were last.

    Attributes:
        readings: how often it measured before.
        sharpness: S last found.
        values: the leading eigenvalues last found, each of the eigenvector in its place.
        eigenvectors: the leading unit eigenvectors last found, shape (k, P), first u, the one of S: at
            this point once this probe has run, and the warm start of the next reading.
        guards: the vectors followed beyond them, shape (m, P): the warm start of the next search too.
        earlier: the first of the eigenvectors that were found before, one and two readings before,
            shape (2, P); None until there are two readings.
        turned: overlaps of u with these; None where they aren't known.
        others: the eigenvectors and guards after the first one reading before, shape (m, P).
        spectrum: the eigenvectors after the first and the guards of the last reading that looked for all
            of them, shape (m, P), while S alone is measured; else None.
        memory: what is known of H from the readings so far.
        unconverged: whether the last search ended before it was good enough.
        degenerate: whether u was then one direction among several, for all that could be told.
    """

    name = "sharpness"
    columns = built_in_columns("sharpness")
    cost = "many products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self.readings = 0
        self.unconverged = self.degenerate = False
        self.spectrum: Tensor | None = None
        self.forget()

    def due(self, moment: Moment) -> bool:
        """Whether curvature is measured: every `cadence` steps, or as S and the controls ask for.

        With `far_cadence`, S far below the edge is looked at more rarely; a change of a control is looked
        at at once, and closely from there on for as long as one such stretch.
        """
        cadence, far, step = self.config.cadence, self.config.far_cadence, moment.step
        if not far:
            return step % cadence == 0
        if step == moment.changed_at:
            return True
        if step % cadence:
            return False
        near = self.sharpness is None or self.sharpness >= NEAR * moment.threshold
        return near or step % far == 0 or step - moment.changed_at <= far

    @property
    def audited(self) -> bool:
        """Whether the last reading was an audit."""
        return (self.readings - 1) % AUDIT_EVERY == 0

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Find S and u, the eigenvalues asked for, and how well each is found."""
        alone = self._measures_alone(moment)
        if alone and self.spectrum is None and self.eigenvectors is not None:
            self._narrow()
        pairs, remarks = self._searched(point, moment, alone=alone)
        if not alone:
            self.spectrum = None
        self.readings += 1
        remarks += self._remarks_on(pairs)
        first = pairs.values[0]
        values: dict[str, Value] = {
            "sharpness": first,
            "sharpness_residual": relative(pairs.residuals[0], first),
            "u_error": pairs.first_vector_error,
        }
        overlap = self._follow(pairs)
        if overlap is not None:
            values["overlap"] = overlap
        if not math.isnan(pairs.gap):
            values["sharpness_gap"] = pairs.gap
        following = zip(pairs.values[1:], pairs.residuals[1:], strict=True)
        for number, (value, residual) in enumerate(following, start=2):
            values |= {f"eig_{number}": value, f"eig_{number}_residual": relative(residual, first)}
        if pairs.guard_values:
            values["eig_guard"] = pairs.guard_values[0]
            values["eig_guard_residual"] = relative(pairs.guard_residuals[0], first)
        return Reading(values, pairs.products, remarks)

    def state(self) -> dict[str, Any]:
        """Return what outlives a reading."""
        memory: dict[str, Any] = {"memory_values": self.memory.values.tolist()}
        if self.memory.vectors is not None:
            memory["memory_vectors"] = self.memory.vectors
        return {**{name: getattr(self, name) for name in _KEPT}, **memory}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        for name in _KEPT:
            setattr(self, name, state.get(name, getattr(self, name)))  # some came later
        self.memory = HessianMemory()
        self.memory.vectors = state.get("memory_vectors")
        self.memory.values = np.array(state["memory_values"], dtype=np.float64)

    def forget(self) -> None:
        """Drop what was found so far: the next search starts cold."""
        self.sharpness: float | None = None
        self.values: list[float] = []
        self.eigenvectors: Tensor | None = None
        self.guards: Tensor | None = None
        self.earlier: Tensor | None = None
        self.turned: list[float] | None = None
        self.others: Tensor | None = None
        self.spectrum = None
        self.memory = HessianMemory()

    def _searched(
        self, point: Point, moment: Moment, *, alone: bool = False
    ) -> tuple[Eigenpairs, list[tuple[str, dict[str, Any]]]]:
        """Search from where the eigenvectors were last, and in a fresh direction where those may err.

        Returns:
            What was found, and a remark if that had been overlooked before.
        """
        seed, step = self.config.seed, moment.step
        audits = self.readings % AUDIT_EVERY == 0
        start, independent = self._start(point.theta, step)
        known = 0 if self.eigenvectors is None or audits else len(start)
        if self.spectrum is not None and not alone:  # where they were, some of them S's guards now
            start, independent = torch.cat([start, self.spectrum]), False
            known = known and len(self.spectrum) + 1
        pairs = leading_eigenpairs(
            moment.operator(point),
            start,
            self._target(moment, alone=alone),
            memory=self.memory,
            fresh=lambda number: random_direction(point.theta, seed, step, 1 + number),
            known=known,
            independent=independent,
        )
        if self.eigenvectors is not None and pairs.overlooked:
            allowed = AUDIT_TOLERANCE * abs(pairs.values[0])
            for number, found in enumerate(pairs.values, start=1):
                was = pairs.overlooked[number - 1] if number <= len(pairs.overlooked) else -math.inf
                if found > was + allowed:
                    told = {"eigenvalue": number, "found": found, "sharpness": pairs.values[0]}
                    if math.isfinite(was):
                        told["warm_start"] = was
                    return pairs, [("audit", told)]
        return pairs, []

    def _measures_alone(self, moment: Moment) -> bool:
        """Return whether the eigenvalues after S aren't due: `spectrum_cadence` has them rarer."""
        every = self.config.spectrum_cadence
        return every > 0 and self.config.eigenvalues != 1 and moment.step % every != 0

    def _narrow(self) -> None:
        """Follow u and the pair after it alone, and keep the others as they are."""
        assert self.eigenvectors is not None
        self.spectrum = self._followed()[1:]
        self.eigenvectors, self.guards = self.eigenvectors[:1], self.spectrum[:1]
        self.others = None

    def _target(self, moment: Moment, *, alone: bool = False) -> Target:
        """Return what is looked for, from the config and from what the dynamics is stable up to."""
        config = self.config
        wanted, above = config.eigenvalues, float("inf")
        if alone:
            wanted = 1
        elif wanted == "edge":
            wanted, above = 1, FOLLOWED_FROM * moment.undecayed
        return Target(
            wanted=wanted,
            above=above,
            value_tolerance=config.tolerance,
            vector_tolerance=None if config.measure == "spectrum" else config.vector_tolerance,
        )

    def _followed(self) -> Tensor:
        """Return the eigenvectors found last, and the guards after them."""
        assert self.eigenvectors is not None
        if self.guards is None:
            return self.eigenvectors
        return torch.cat([self.eigenvectors, self.guards])

    def _start(self, theta: Tensor, step: int) -> tuple[Tensor, bool]:
        """Return where the search starts: where the eigenvectors were last, or go to and fro between.

        On the edge θ jumps from side to side at every step, and u with it: after an odd number of steps
        it is nearer to where it was two readings ago than one, and has gone on from there as it did
        before. Those after it go to and fro with it.

        Returns:
            The directions, shape (m, P), and whether they are known to be nearly orthogonal: where u is
            taken from another reading than those after it, they needn't be.
        """
        if self.eigenvectors is None:
            return random_direction(theta, self.config.seed, step)[None], True
        followed = self._followed()
        if self.earlier is None:
            return followed, True
        last, others = followed[0], followed[1:] if self.others is None else self.others
        if self.turned is None:
            self.turned = read(self.earlier @ last)[0].tolist()
        one_ago, two_ago = map(abs, self.turned)
        if not two_ago > max(one_ago, RETURNED):
            return followed, True
        one, two = (
            -each if overlap < 0 else each
            for each, overlap in zip(self.earlier, self.turned, strict=True)
        )
        return torch.cat([(one + (last - two))[None], others]), self.others is not None

    def _follow(self, pairs: Eigenpairs) -> float | None:
        """Keep what was found for the next reading; return |⟨u, u before⟩|, None at the first."""
        vectors, previous, overlap = pairs.vectors, self.eigenvectors, None
        if previous is not None:
            before = previous[:1] if self.earlier is None else self.earlier[:1]
            (overlaps,) = read(vectors @ torch.cat([previous, before]).T)
            of_previous, of_before = overlaps[:, :-1], overlaps[0, -1]
            # a sign of its own an eigenvector hasn't: that of the one it was, be it in another place
            places = np.abs(of_previous).argmax(axis=1, keepdims=True)
            signs = np.where(np.take_along_axis(of_previous, places, axis=1) < 0, -1.0, 1.0)
            if (signs < 0).any():
                vectors = vectors * like(signs, vectors)
            overlap = abs(float(of_previous[0, 0]))
            self.turned = [float(signs[0, 0] * each) for each in (of_previous[0, 0], of_before)]
            self.earlier = torch.cat([previous[:1], before])
            # what a look in a fresh direction showed is in none of the earlier ones
            self.others = None if pairs.overlooked else self._followed()[1:]
        self.eigenvectors, self.guards = vectors, pairs.guard_vectors
        self.sharpness, self.values = pairs.values[0], list(pairs.values)
        return overlap

    def _remarks_on(self, pairs: Eigenpairs) -> list[tuple[str, dict[str, Any]]]:
        """Say once, for all readings in a row, that values or u weren't found well enough."""
        remarks: list[tuple[str, dict[str, Any]]] = []
        if not pairs.converged and not self.unconverged:
            residual = max(relative(each, pairs.values[0]) for each in pairs.residuals)
            told = {"products": pairs.products, "eigenvalues": len(pairs.values)}
            remarks.append(("unconverged", {**told, "residual": residual}))
        degenerate = pairs.converged and not pairs.separated
        if degenerate and not self.degenerate:
            payload = {"u_error": pairs.first_vector_error, "sharpness": pairs.values[0]}
            following = [*pairs.values[1:], *pairs.guard_values]
            if following:
                payload["next"] = following[0]
            remarks.append(("degenerate", payload))
        self.unconverged, self.degenerate = not pairs.converged, degenerate
        return remarks


#: What is kept as it is in a checkpoint: all but the memory, which has parts.
_KEPT = (
    "readings", "unconverged", "degenerate", "sharpness", "values", "eigenvectors", "guards", "earlier",
    "turned", "others", "spectrum",
)  # fmt: skip


def sharpness_of(moment: Moment) -> Sharpness:
    """Return the probe that follows S and u. Raises ValueError if it isn't among those of the run."""
    probe = moment.probes.get(Sharpness.name)
    if not isinstance(probe, Sharpness):
        raise ValueError("this needs the eigenvector that the sharpness probe keeps")
    return probe


def relative(residual: float, value: float) -> float:
    """Return a residual as a share of an eigenvalue."""
    return residual / abs(value) if value else 0.0
