"""Slices of the landscape as data: L and S along a line through θ_t, or over a plane through it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FloatArray: TypeAlias = "NDArray[np.float64]"

GRADIENT, EIGENVECTOR, SHARPNESS_GRADIENT = "gradient", "u", "sharpness"
#: The directions that a slice can go along, and what they are called in formulas.
DIRECTIONS = {GRADIENT: "−∇L", EIGENVECTOR: "u", SHARPNESS_GRADIENT: "∇S"}
#: In what a reach is counted: ‖Δθ_t‖ of the step, the radius of the bounce (`bounce_norm`), or θ itself.
UNITS = ("step", "bounce", "theta")


@dataclass(frozen=True)
class Extent:
    """How far a slice goes, and in how many points.

    Attributes:
        reach: units each way; of a plane, half-extents of the path each way from its middle.
        unit: one of UNITS.
        points: along each axis; of a slice an odd number, so that θ_t is one of them.
        sharpness: whether S is found at every point, which costs products there.
    """

    reach: float = 2.0
    unit: str = "step"
    points: int = 41
    sharpness: bool = True


@dataclass(frozen=True)
class Place:
    """Where another θ of the run lies, seen from θ_t.

    Attributes:
        step: of that θ.
        x: its distance from θ_t along the line, or along the first axis of a plane.
        y: along the second axis; 0 on a line.
        off: its distance from the line or the plane.
        loss: L there, by the record.
        sharpness: S there, by the record; NaN where it wasn't measured.
    """

    step: int
    x: float
    y: float
    off: float
    loss: float
    sharpness: float


@dataclass(frozen=True)
class Slice:
    """L and S along one direction through θ_t.

    Attributes:
        step: t.
        along: one of DIRECTIONS.
        x: distances from θ_t, rising, 0 in the middle, shape (n,).
        loss: L there, shape (n,).
        sharpness: S there, shape (n,); NaN where it isn't finite or wasn't asked for.
        residual: ‖Hv − Sv‖/S of each, shape (n,).
        places: of θ_{t−1}, θ_t, θ_{t+1}, those that are on record.
        thresholds: up to which S the step is stable, by label: without decay, then with it if any.
        slope: dL/dx at θ_t.
        curvature: of L at θ_t along the line, dᵀHd.
        remarks: what to know of it, as sentences.
        products: Hessian products that it cost.
    """

    step: int
    along: str
    x: FloatArray
    loss: FloatArray
    sharpness: FloatArray
    residual: FloatArray
    places: Sequence[Place]
    thresholds: Mapping[str, float]
    slope: float
    curvature: float
    remarks: Sequence[str] = ()
    products: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return it as values that JSON has, but for NaN and infinities."""
        return _as_json(self)

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> Slice:
        """Return what `as_json` made, with null for NaN."""
        return cls(**_of_json(told))


@dataclass(frozen=True)
class Plane:
    """L and S over the plane through θ_t of u (to the right) and of ∇S without its part along u (up).

    Attributes:
        step: t.
        x, y: distances from θ_t along both, rising, shapes (n,) and (m,).
        loss, sharpness, residual: at each point, shape (m, n); as in `Slice`.
        places: of the steps up to t, projected, and t + 1 if it is on record.
        thresholds, remarks, products: as in `Slice`.
    """

    step: int
    x: FloatArray
    y: FloatArray
    loss: FloatArray
    sharpness: FloatArray
    residual: FloatArray
    places: Sequence[Place]
    thresholds: Mapping[str, float]
    remarks: Sequence[str] = ()
    products: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return it as values that JSON has, but for NaN and infinities."""
        return _as_json(self)

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> Plane:
        """Return what `as_json` made, with null for NaN."""
        return cls(**_of_json(told))


#: What lies in arrays, of a slice or of a plane.
_ARRAYS = ("x", "y", "loss", "sharpness", "residual")


def _as_json(found: Slice | Plane) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in vars(found).items():
        if name in _ARRAYS:
            told[name] = value.tolist()
        elif name == "places":
            told[name] = [dict(vars(place)) for place in value]
        elif name == "thresholds":
            told[name] = dict(value)
        else:
            told[name] = list(value) if name == "remarks" else value
    return told


def _of_json(told: Mapping[str, Any]) -> dict[str, Any]:
    import numpy as np

    values = dict(told)
    for name in _ARRAYS:
        if name in values:
            values[name] = np.array(values[name], dtype=np.float64)  # null is NaN
    values["places"] = [Place(**{k: _number(v) for k, v in p.items()}) for p in told["places"]]
    for name in ("slope", "curvature"):
        if name in values:
            values[name] = _number(values[name])
    return values


def _number(value: Any) -> Any:
    return math.nan if value is None else value
