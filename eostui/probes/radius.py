"""Sharpness at the radius of the bounce, and at multiples of it (MATH §2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.curvature.secant import sharpness_at_radius
from eostui.curvature.sums import accurate_norm
from eostui.probes.probe import Moment, Probe, Reading, refuse_impossible
from eostui.probes.sharpness import sharpness_of
from eostui.problems import Problem
from eostui.runs.store.columns import Column

#: A reading is taken every so many times `cadence` steps.
EVERY = 20

_TAKEN = "taken at the step's middle m = (θ_t + θ_{t+1})/2"


def _columns(suffix: str, times: str) -> tuple[Column, ...]:
    """Return the columns of the sharpness at one radius."""
    name = f"sharpness_at_{suffix}"
    return (
        Column(
            name,
            "L/θ²",
            "S_δ, the largest ⟨v, ∇L(m + δv) − ∇L(m − δv)⟩/(2δ) found over unit v, at "
            f"δ = {times}‖Δθ_t‖/2; {_TAKEN}",
        ),
        Column(
            f"{name}_residual",
            "1",
            "half the gradient of that quotient across v, as a share of S_δ: 0 where it rises no more; "
            + _TAKEN,
        ),
        Column(f"{name}_overlap", "1", f"|⟨v, Δθ_t⟩|/‖Δθ_t‖ of its direction v; {_TAKEN}"),
    )


class Radius(Probe):
    """Finds S_δ at half the step's length, the radius of a bounce.

    It looks from the step itself, along which the quotient is κ; from u, the eigenvector of S; and from
    where it found S_δ last.

    Class attributes:
        multiples: of the bounce's radius, at which it looks, by the end of the columns' names.

    Attributes:
        directions: those last found, shape (P,), by the end of the columns' names.
    """

    name = "radius"
    multiples: ClassVar[Mapping[str, float]] = {"radius": 1.0}
    columns = _columns("radius", "")
    cost = "many products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        refuse_impossible(config, self.name)
        self.directions: dict[str, Tensor] = {}

    def due(self, moment: Moment) -> bool:
        """Every so many steps, whatever S is."""
        return moment.step % (EVERY * self.config.cadence) == 0

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Search at the middle of the step that is taken from here, unless it doesn't move."""
        theta = point.theta if moment.theta is None else moment.theta
        step = moment.displacement
        if step is None or not (length := float(accurate_norm(step))) > 0:
            return Reading()
        reading = Reading()
        middle = theta + step / 2
        for suffix, multiple in self.multiples.items():
            radius = multiple * length / 2
            starts = [step, *self._sharpest(moment)]
            if suffix in self.directions:
                starts.append(self.directions[suffix])
            found = sharpness_at_radius(self.problem.loss, middle, radius, starts)
            if found is None:
                continue
            self.directions[suffix] = found.direction.to(theta)
            overlap = abs(float(found.direction @ step.to(found.direction))) / length
            values = (found.value, found.residual, overlap)
            names = (column.name for column in _columns(suffix, ""))
            reading.values |= dict(zip(names, values, strict=True))
            reading.products += found.products
        return reading

    def state(self) -> dict[str, Any]:
        """Return where the next search starts."""
        return dict(self.directions)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.directions = dict(state)

    def forget(self) -> None:
        """Start the next search from the step and u alone."""
        self.directions = {}

    @staticmethod
    def _sharpest(moment: Moment) -> list[Tensor]:
        eigenvectors = sharpness_of(moment).eigenvectors
        return [] if eigenvectors is None else [eigenvectors[0]]


class Radii(Radius):
    """Finds it at a tenth of that radius, and at three and ten times."""

    name = "radii"
    multiples: ClassVar[Mapping[str, float]] = {
        "tenth_radius": 0.1,
        "3_radii": 3.0,
        "10_radii": 10.0,
    }
    columns = (
        *_columns("tenth_radius", "0.1·"),
        *_columns("3_radii", "3·"),
        *_columns("10_radii", "10·"),
    )
