"""Rotations of the leading eigenvectors: how far they turned, and where they point (MATH §6)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eostui.config import MOST_EIGENVALUES, RunConfig
from eostui.curvature.directions import random_direction
from eostui.curvature.eigenpairs import Target, leading_eigenpairs
from eostui.curvature.hessian_memory import HessianMemory
from eostui.curvature.host import FloatArray
from eostui.curvature.point import Point
from eostui.curvature.rotations import (
    EigenvectorHistory,
    cosines,
    overlaps,
    room_for,
    subspace_similarities,
    vector_errors,
    vector_similarities,
)
from eostui.errors import InputError
from eostui.probes.probe import Moment, Probe, Reading
from eostui.probes.sharpness import Sharpness, sharpness_of
from eostui.problems import Problem
from eostui.runs.analysis.remarks import NOTED
from eostui.runs.store.columns import Column

#: How many eigenvectors are compared.
VECTORS = 3
#: T, in steps. An instability lasts 10 to 20; odd ones jump with the bounce.
LAGS = (1, 2, 3, 4, 6, 8)
#: Steps after a reading of S at which it measures too.
FOLLOWING = 2
#: Steps with which every later one is compared, at most: those of the map.
LANDMARKS = 32


def _columns() -> tuple[Column, ...]:
    each = f"k = 1 to {VECTORS}"
    columns = []
    for lag in LAGS:
        steps = "1 step" if lag == 1 else f"{lag} steps"
        odd = "; odd, so that it jumps with the bounce" if lag % 2 else ""
        columns += [
            Column(
                f"similarity_after_{lag}",
                "1",
                f"|⟨u_k(t), u_k(t−T)⟩| with T = {steps}, {each}{odd}",
                optional=True,
                shape=(VECTORS,),
            ),
            Column(
                f"span_similarity_after_{lag}",
                "1",
                f"cos √(Σθ²/{VECTORS}) of the principal angles θ between the spans of u_1 to "
                f"u_{VECTORS} at t and t−T, T = {steps}{odd}",
                optional=True,
            ),
        ]
    return (
        *columns,
        Column("pinned_step", "steps", "the step that is pinned, t₀", optional=True),
        Column(
            "pinned_similarity",
            "1",
            f"|⟨u_k(t), u_k(t₀)⟩|, {each}",
            optional=True,
            shape=(VECTORS,),
        ),
        Column("pinned_span_similarity", "1", "that of the spans at t and t₀", optional=True),
        Column(
            "map_step",
            "steps",
            "the steps s with which this one is compared, for a map over pairs of steps",
            optional=True,
            shape=(LANDMARKS,),
        ),
        Column(
            "map_similarity", "1", "|⟨u_1(t), u_1(s)⟩| of each", optional=True, shape=(LANDMARKS,)
        ),
        Column(
            "map_span_similarity",
            "1",
            "that of the spans at t and s, of each",
            optional=True,
            shape=(LANDMARKS,),
        ),
        Column(
            "u_gradient_cosine", "1", f"|⟨u_k, ∇L⟩|/‖∇L‖, {each}", optional=True, shape=(VECTORS,)
        ),
        Column(
            "u_errors",
            "1",
            f"bound on the sine between each u_k found and its eigenvector, {each}: residual over gap",
            optional=True,
            shape=(VECTORS,),
        ),
        Column("u_theta_cosine", "1", f"|⟨u_k, θ⟩|/‖θ‖, {each}", optional=True, shape=(VECTORS,)),
    )


class Rotations(Probe):
    """Compares the eigenvectors of the largest eigenvalues with those of other steps.

    It measures where S is measured and at the steps after that, so that T = 1 and 2 are known whatever
    the cadence. Where S's own search found as many eigenvectors these are taken, else it searches from
    them: what S's probe keeps stays as it would be.

    Attributes:
        history: the eigenvectors of past steps.
        newest: the step at which S was measured last, None before the first.
        memory: what is known of H from the last search, and from that for S.
    """

    name = "rotations"
    columns = _columns()
    cost = "many products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        """Begin without a past.

        Raises:
            InputError: if the eigenvectors of one step are more than the memory that it may take.
        """
        super().__init__(config, problem)
        self.count = min(VECTORS, problem.initial.numel())
        self.room = room_for(config.eigenvectors_budget, self.count, problem.initial)
        if self.room < 2:
            least = 2 * self.count * problem.initial.numel() * problem.initial.element_size() / 1e6
            raise InputError(
                f"`eigenvectors_budget` is {config.eigenvectors_budget:g} megabytes, but the "
                f"{self.count} eigenvectors of two steps take {least:.3g}"
            )
        self.newest: int | None = None
        self.forget()

    def due(self, moment: Moment) -> bool:
        """Whether S is measured, or was just before, or this is the step to be pinned."""
        if sharpness_of(moment).due(moment) or moment.step == self.config.pin_at:
            return True
        return self.newest is not None and 0 < moment.step - self.newest <= FOLLOWING

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Compare the eigenvectors here with those kept, and with ∇L and θ; then keep them."""
        try:
            return self._measured(point, moment)
        except torch.OutOfMemoryError:
            self.forget()  # the run goes on without it, and needs the room
            raise

    def _measured(self, point: Point, moment: Moment) -> Reading:
        vectors, errors, products = self._eigenvectors(point, moment)
        step, history = moment.step, self.history
        found = np.empty((0, self.count, self.count))
        if history.vectors is not None:
            found = overlaps(vectors, history.vectors)
        of_vectors, of_spans = _filled(vector_similarities(found)), subspace_similarities(found)
        gradient, theta = _filled(cosines(vectors, point.gradient, point.theta))
        compared = np.full((3, LANDMARKS), np.nan)
        marks = history.marks
        compared[0, : len(marks)] = [history.steps[place] for place in marks]
        compared[1:, : len(marks)] = of_vectors[marks, 0], of_spans[marks]
        reading = Reading(
            {
                "map_step": compared[0],
                "map_similarity": compared[1],
                "map_span_similarity": compared[2],
                "u_gradient_cosine": gradient,
                "u_theta_cosine": theta,
                "u_errors": _filled(errors[None])[0],
            },
            products,
        )
        for lag in LAGS:
            if (place := history.at(step - lag)) is not None:
                reading.values |= {
                    f"similarity_after_{lag}": of_vectors[place],
                    f"span_similarity_after_{lag}": float(of_spans[place]),
                }
        if history.pinned is not None:
            place = history.at(history.pinned)
            assert place is not None
            reading.values |= {
                "pinned_step": float(history.pinned),
                "pinned_similarity": of_vectors[place],
                "pinned_span_similarity": float(of_spans[place]),
            }
        if self.newest is None and history.room < 1 + max(LAGS) + LANDMARKS:
            reading.remarks.append((NOTED, self._dropped()))
        measured = Sharpness.name in moment.readings
        # the bounce goes to and fro: steps of one side alone are compared with one another
        history.add(step, vectors, landmark=measured and step % 2 == 0, pin=self._pins(moment))
        if measured:
            self.newest = step
        return reading

    def _eigenvectors(self, point: Point, moment: Moment) -> tuple[Tensor, FloatArray, int]:
        """Return the leading eigenvectors, shape (count, P), their errors, and the products spent."""
        sharpness, known = sharpness_of(moment), 0
        theta, seed, step = point.theta, self.config.seed, moment.step
        if Sharpness.name in moment.readings and sharpness.eigenvectors is not None:
            start = sharpness.eigenvectors
            if len(start) >= self.count:
                return start[: self.count], self._errors_of(moment.readings[Sharpness.name]), 0
            if sharpness.guards is not None:
                start = torch.cat([start, sharpness.guards])
            known = 0 if sharpness.audited else self.count + 1
            # a search replaces what it learned, so that S's own memory stays
            self.memory = copy.copy(sharpness.memory)
        elif (vectors := self.history.vectors) is not None:
            two_ago = self.history.at(
                step - 2
            )  # on the bounce u is nearer to that than to the last one
            # a copy: where it lies in memory would show in the last digits
            start = vectors[-1 if two_ago is None else two_ago].clone()
            known = self.count + 1
        else:
            start = random_direction(theta, seed, step)[None]
        pairs = leading_eigenpairs(
            moment.operator(point),
            start,
            Target(self.count, value_tolerance=self.config.tolerance, vector_tolerance=None),
            memory=self.memory,
            fresh=lambda number: random_direction(theta, seed, step, 1 + number),
            known=known,
            independent=True,
        )
        values = np.array([*pairs.values, *pairs.guard_values])
        return pairs.vectors, vector_errors(values, np.array(pairs.residuals)), pairs.products

    def _errors_of(self, reading: Reading) -> FloatArray:
        """Return the errors of the eigenvectors that S's own search found."""
        names = ["sharpness", *(f"eig_{n}" for n in range(2, MOST_EIGENVALUES + 1)), "eig_guard"]
        names = [name for name in names if name in reading.values]
        values = np.array([reading.values[name] for name in names], dtype=np.float64)
        residuals = [reading.values[f"{name}_residual"] for name in names[: self.count]]
        return vector_errors(values, np.array(residuals, dtype=np.float64) * abs(values[0]))

    def _pins(self, moment: Moment) -> bool:
        """Whether this is the step that is pinned."""
        if self.config.pin_at != "edge":
            return moment.step == self.config.pin_at
        reading = moment.readings.get(Sharpness.name)
        if reading is None or self.history.pinned is not None:
            return False
        return float(reading.values["sharpness"]) >= moment.threshold

    def _dropped(self) -> dict[str, Any]:
        """Return what there is no room for, as a remark tells it."""
        history = self.history
        lags = [lag for lag in LAGS if lag > history.recent]
        text = (
            f"`eigenvectors_budget` has room for those of {history.room} steps: the map compares with "
            f"{history.landmarks} at once, not {LANDMARKS}"
        )
        if lags:
            text += f"; nothing is compared over {', '.join(map(str, lags))} steps"
        return {"probe": self.name, "kind": text, "told": {}}

    def state(self) -> dict[str, Any]:
        """Return the past: the eigenvectors too, so that a resumed run compares with the same."""
        memory: dict[str, Any] = {"memory_values": self.memory.values.tolist()}
        if self.memory.vectors is not None:
            memory["memory_vectors"] = self.memory.vectors
        return {"newest": self.newest, **memory, **self.history.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.newest, self.memory = state["newest"], HessianMemory()
        self.memory.vectors = state.get("memory_vectors")
        self.memory.values = np.array(state["memory_values"], dtype=np.float64)
        self.history.restore(state)

    def forget(self) -> None:
        """Begin without a past."""
        self.newest, self.memory = None, HessianMemory()
        self.history = EigenvectorHistory(self.room, max(LAGS), LANDMARKS)


def _filled(found: FloatArray) -> FloatArray:
    """Return rows of so many numbers as the columns have; a problem of fewer parameters has fewer."""
    rows = np.full((len(found), VECTORS), np.nan)
    rows[:, : found.shape[1]] = found
    return rows
