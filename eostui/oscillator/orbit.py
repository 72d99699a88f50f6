"""The map itself, one step or many, with η and λ that may change on the way (MATH §3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice, repeat

import numpy as np

from eostui.errors import InputError
from eostui.oscillator.parameters import FloatArray, Parameters, Values, check, check_rates
from eostui.stability import two_over_eta

#: |x| beyond this is an escape: from there S falls by ½ηβx² a step, and x grows by η|S| times itself.
ESCAPED = 1e15
Progress = Callable[[int, int], None]

_BLOCK = 100_000


@dataclass(frozen=True)
class Orbit:
    """The states z_t = (x_t, q_t) of the map, up to the last before an escape.

    Attributes:
        parameters: of the reference point.
        x: ⟨u, θ_t − θ*⟩, shape (n,).
        q: ⟨∇S, θ_t − θ*⟩, shape (n,).
        eta: the η of row t, which moves z_t to z_{t+1}, shape (n,); the last row repeats it.
        weight_decay: the λ of row t, shape (n,).
        escape_step: the first step at which |x| > ESCAPED, None if there is none. It isn't a row.
    """

    parameters: Parameters
    x: FloatArray
    q: FloatArray
    eta: FloatArray
    weight_decay: FloatArray
    escape_step: int | None

    @property
    def sharpness(self) -> FloatArray:
        """S = S* + q, shape (n,)."""
        return self.parameters.reference_sharpness + self.q

    @property
    def y(self) -> FloatArray:
        """S − 2/η, with the η of each row, shape (n,)."""
        return self.sharpness - two_over_eta(self.eta)

    @property
    def envelope(self) -> FloatArray:
        """A_t = ½|x_{t+1} − x_t|, exact on x = (−1)^t A + c; NaN in the last row, shape (n,)."""
        return np.append(0.5 * np.abs(np.diff(self.x)), np.nan)

    @property
    def centre(self) -> FloatArray:
        """c_t = ½(x_{t+1} + x_t), exact on x = (−1)^t A + c; NaN in the last row, shape (n,)."""
        return np.append(0.5 * (self.x[1:] + self.x[:-1]), np.nan)

    @property
    def decay_drive(self) -> FloatArray:
        """λ(g + q), with which decay pulls S down, shape (n,)."""
        return self.weight_decay * (self.parameters.g + self.q)

    @property
    def bounce_drive(self) -> FloatArray:
        """½βx², with which the bounce pulls S down, shape (n,)."""
        return np.asarray(self.parameters.beta * self.x**2 / 2)


def advance(parameters: Parameters, x: Values, q: Values) -> tuple[Values, Values]:
    """Return the state one step later (MATH §3). The arguments broadcast.

    Beyond the paper the curvature that moves x is S + D⁴x²/6, with D⁴ = D⁴L[u, u, u, u] (`quartic`).
    """
    # With δ = xu + δ⊥, q ≈ ⟨∇S, δ⟩ and D³L[u, u, ·] = ∇S, Taylor's series of ∇L at θ* has along u
    #     ⟨u, ∇L⟩ = ⟨u, ∇L*⟩ + (S* + q)x + D⁴x³/6 + …,
    # so D⁴ joins the paper's terms at third order in x. Along ∇S it has
    #     ⟨∇S, ∇L⟩ = −βα + S*x⟨∇S, u⟩ + βx²/2 + D⁴L[u, u, u, ∇S]x³/6 + …,
    # where the third order is odd in x, as the first is, which the paper leaves out: both cancel over
    # the two steps of the bounce. So q keeps its equation, and S = S* + q stays the curvature at x = 0.
    p = parameters
    curvature = p.reference_sharpness + q + p.quartic * x * x / 6
    after_x = (p.keep - p.eta * curvature) * x - p.push
    after_q = p.keep * q + p.eta * (p.beta * (p.alpha - x * x / 2) - p.weight_decay * p.g)
    return after_x, after_q


def jacobian(parameters: Parameters, x: Values, q: Values) -> tuple[Values, ...]:
    """Return ∂x⁺/∂x, ∂x⁺/∂q, ∂q⁺/∂x, ∂q⁺/∂q; the arguments broadcast."""
    p = parameters
    factor = p.keep - p.eta * (p.reference_sharpness + q + p.quartic * x * x / 2)
    return factor, -p.eta * x, -p.eta * p.beta * x, p.keep


def simulate(
    parameters: Parameters,
    start: tuple[float, float],
    steps: int,
    *,
    eta: Values | None = None,
    weight_decay: Values | None = None,
    progress: Progress | None = None,
) -> Orbit:
    """Iterate the map at one point.

    Args:
        parameters: numbers, not arrays.
        start: x and q = S − S* at step 0.
        steps: how many steps to take.
        eta, weight_decay: η and λ of each step, shape (steps,), where they aren't those of
            `parameters`; the reference stays what it is.
        progress: told now and then how many steps of how many are done.

    Returns:
        steps + 1 rows, or fewer after an escape.

    Raises:
        InputError: if the start isn't within ±ESCAPED, there is less than one step, or η and λ are out
            of range or not one a step.
    """
    if parameters.shape != ():
        raise InputError("an orbit needs one point; a grid of points is for `survey`")
    check(start, "the start", f"within ±{ESCAPED:g}", lambda value: np.abs(value) <= ESCAPED)
    if steps < 1:
        raise InputError(f"`steps` is {steps}, but must be at least 1")
    eta = _each_step(parameters.eta if eta is None else eta, steps, "eta")
    decay = parameters.weight_decay if weight_decay is None else weight_decay
    decay = _each_step(decay, steps, "weight_decay")
    check_rates(eta, decay)
    each = zip(*map(_each, coefficients(parameters, eta, decay)), strict=False)
    states = [np.array([start], dtype=np.float64)]
    for done in range(0, steps, _BLOCK):
        states.append(_iterate(islice(each, min(_BLOCK, steps - done)), *states[-1][-1].tolist()))
        if progress is not None:
            progress(min(done + _BLOCK, steps), steps)
        if not abs(states[-1][-1, 0]) <= ESCAPED:
            break
    x, q = np.concatenate(states).T.copy()
    escape_step = None if abs(x[-1]) <= ESCAPED else len(x) - 1
    x, q = x[:escape_step], q[:escape_step]
    etas, decays = (_by_row(values, steps)[: len(x)] for values in (eta, decay))
    return Orbit(parameters, x, q, etas, decays, escape_step)


def coefficients(p: Parameters, eta: Values, decay: Values) -> tuple[Values, ...]:
    """Return what a step needs beside the state: in the order of the loop of `_iterate`."""
    keep = 1 - eta * decay
    factor = keep - eta * p.reference_sharpness
    push = eta * (p.gradient_u + decay * p.g_x)
    drive = eta * (p.beta * p.alpha - decay * p.g)
    return factor, eta, push, keep, drive, eta * p.beta / 2, eta * p.quartic / 6


def _each(value: Values) -> Iterable[float]:
    return value.tolist() if isinstance(value, np.ndarray) else repeat(value)


def _iterate(coefficients: Iterable[tuple[float, ...]], x: float, q: float) -> FloatArray:
    """Return the states after x, q until the coefficients end or x escapes, shape (k, 2)."""
    xs, qs = [], []
    # Python's floats: numpy's scalars take several times as long here, and warn on overflow
    for factor, eta, push, keep, drive, pull, bend in coefficients:
        square = x * x
        x, q = (factor - eta * q - bend * square) * x - push, keep * q + drive - pull * square
        xs.append(x)
        qs.append(q)
        if not -ESCAPED <= x <= ESCAPED:
            break
    return np.array([xs, qs]).T


def _each_step(values: Values, steps: int, name: str) -> Values:
    """Return one number, or one for each step."""
    if np.ndim(values) == 0:
        return float(values)
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (steps,):
        raise InputError(f"`{name}` has shape {array.shape}, but must be one number or {steps}")
    return array


def _by_row(values: Values, steps: int) -> FloatArray:
    """Return a value for each row: the last row, which moves nowhere, repeats the one before."""
    each = np.broadcast_to(values, steps)
    return np.append(each, each[-1])
