"""The parameters of the reduced oscillator, one point or a whole grid of them (MATH §3)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eostui.errors import InputError
from eostui.stability import two_over_eta

FloatArray = NDArray[np.float64]
#: Parameters are within ±LARGEST, so that a few of them multiplied don't overflow.
LARGEST = 1e75
#: One number, or one for each point of a grid.
Values = float | FloatArray


@dataclass(frozen=True)
class Parameters:
    """What the map depends on, all taken at the reference point θ*.

    Each is a number, or an array; arrays broadcast against each other and make a grid of points.

    Attributes:
        eta: learning rate η.
        weight_decay: weight decay λ.
        alpha: progressive sharpening α = −⟨∇L, ∇S⟩/β, in θ².
        beta: β = ‖∇S‖².
        g: global interaction term ⟨θ*, ∇S⟩.
        g_x: ⟨θ*, u⟩, which moves the centre of the bounce.
        gradient_u: ⟨∇L(θ*), u⟩, which moves it without decay too.
        sharpness: S* = S(θ*); left out it is 2/η, the paper's choice, which makes y = q.
        quartic: D⁴L(θ*)[u, u, u, u], in [L]/[θ]⁴: the one term more than the paper's (see `advance`).
            Its theory holds for 0, and is refused for anything else.

    Raises:
        InputError: if a value isn't within ±LARGEST, η ≤ 0, λ < 0, β < 0 or ηλ ≥ 1.
    """

    eta: Values
    weight_decay: Values
    alpha: Values
    beta: Values
    g: Values = 0.0
    g_x: Values = 0.0
    gradient_u: Values = 0.0
    sharpness: Values | None = None
    quartic: Values = 0.0

    def __post_init__(self) -> None:
        check_rates(self.eta, self.weight_decay)
        for name in ("alpha", "beta", "g", "g_x", "gradient_u", "quartic"):
            check(getattr(self, name), f"`{name}`", _IN_RANGE, _in_range)
        check(self.beta, "`beta`", "at least 0", lambda beta: beta >= 0)
        check(self.reference_sharpness, "`sharpness`", _IN_RANGE, _in_range)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all parameters."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def paper_names(cls) -> tuple[str, ...]:
        """Return the names of those that the paper's map has: all but `quartic`."""
        return tuple(name for name in cls.names() if name != "quartic")

    @property
    def reference_sharpness(self) -> Values:
        """S*, 2/η where none is given."""
        return two_over_eta(self.eta) if self.sharpness is None else self.sharpness

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the grid; () for one point."""
        return np.broadcast_shapes(*map(np.shape, self._values()))

    @property
    def keep(self) -> Values:
        """1 − ηλ, the share of θ that decay leaves in a step."""
        return 1 - self.eta * self.weight_decay

    @property
    def push(self) -> Values:
        """η⟨u, ∇L(θ*)⟩ + ηλg_x, what each step takes from x; the paper's form has ηλg_x alone."""
        return self.eta * (self.gradient_u + self.weight_decay * self.g_x)

    @property
    def offset(self) -> Values:
        """S* − 2/η, so that y = q + offset."""
        return self.reference_sharpness - two_over_eta(self.eta)

    @property
    def paper_g(self) -> Values:
        """The g of the paper's form of the same map: decay draws q to 0, and so y to `offset`."""
        return self.g - self.offset

    def flat(self, shape: tuple[int, ...]) -> Parameters:
        """Return the points of a grid of that shape in a row: all parameters of shape (points,)."""
        arrays = (np.broadcast_to(v, shape).astype(np.float64).ravel() for v in self._values())
        return Parameters(*arrays)

    def part(self, chosen: Any) -> Parameters:
        """Return those points of a flat grid that an index, slice or mask chooses."""
        return Parameters(*(getattr(self, name)[chosen] for name in self.names()))

    def refuse_quartic(self) -> None:
        """Raise InputError unless `quartic` is 0, as the paper's theory takes it."""
        check(self.quartic, "`quartic`", "0 here: theory is of the paper's map", lambda d4: d4 == 0)

    def _values(self) -> tuple[Values, ...]:
        """Return what `names` names, with S* in any case."""
        given = {name: getattr(self, name) for name in self.names()}
        return tuple((given | {"sharpness": self.reference_sharpness}).values())


_IN_RANGE = f"a number within ±{LARGEST:g}"


def _in_range(values: Any) -> Any:
    return np.abs(values) <= LARGEST


def check_rates(eta: Values, weight_decay: Values) -> None:
    """Raise InputError unless η > 0, λ ≥ 0, ηλ < 1, and both are within LARGEST.

    Both may be grids, or one value for each step.
    """
    check(eta, "`eta`", _IN_RANGE, _in_range)
    check(eta, "`eta`", "above 0", lambda eta: eta > 0)
    check(weight_decay, "`weight_decay`", _IN_RANGE, _in_range)
    check(weight_decay, "`weight_decay`", "at least 0", lambda decay: decay >= 0)
    product = np.multiply(eta, weight_decay)
    check(product, "`eta` × `weight_decay`", "below 1", lambda product: product < 1)


def check(values: Any, name: str, wanted: str, test: Any) -> None:
    """Raise InputError, naming the first of `values` for which `test` is false."""
    array = np.asarray(values, dtype=np.float64)
    good = test(array)
    if not np.all(good):
        raise InputError(f"{name} is {array[~good].flat[0]:g}, but must be {wanted}")
