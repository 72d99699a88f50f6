"""What the map does in the end: the paper's leading order, and the exact answers (MATH §3.1, §3.2).

All functions take one point or a grid, and return arrays of its shape behind any axes that they name.
All but `floquet` are of the paper's map, and raise InputError where `quartic` isn't 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eostui.oscillator.cubic import real_roots
from eostui.oscillator.orbit import advance, jacobian
from eostui.oscillator.parameters import FloatArray, Parameters
from eostui.stability import two_over_eta

#: What attracts at a point of the parameters, by (a cycle does, a fixed point does).
REGIMES = {
    (True, False): "cycle",
    (False, True): "collapse",
    (True, True): "both",
    (False, False): "neither",
}


class LeadingOrder(NamedTuple):
    """The paper's resting state (WD §4, B.3) and its linearisation, shape of the grid each.

    Attributes:
        cycles: whether the period-2 cycle exists; where not, the rest is the collapsed point.
        sharpness: at rest: 2/η − λ, or 2/η + βα/λ − g.
        amplitude: A, of which A² = 2(α + (λ² − λg)/β); 0 where collapsed.
        centre: c = −½ηλg_x of the bounce.
        decay: of small deviations, a step.
        frequency: their angular frequency, a step; 0 where they don't oscillate.
        damping_ratio: λ/(2√β A), below 1 where underdamped; NaN where collapsed.
    """

    cycles: NDArray[np.bool_]
    sharpness: FloatArray
    amplitude: FloatArray
    centre: FloatArray
    decay: FloatArray
    frequency: FloatArray
    damping_ratio: FloatArray


class Solutions(NamedTuple):
    """Exact 2-cycles or fixed points, up to three at a point; NaN where there are fewer.

    Attributes:
        x, q: a state, shape (3, *shape); the one of the smallest |mean x| first.
        next_x, next_q: the state after it, which is the same for a fixed point.
        multiplier: the eigenvalue μ of the two-step Jacobian that is largest in size (Floquet).
    """

    x: FloatArray
    q: FloatArray
    next_x: FloatArray
    next_q: FloatArray
    multiplier: NDArray[np.complex128]

    @property
    def attract(self) -> NDArray[np.bool_]:
        """Where |μ| < 1."""
        return np.abs(self.multiplier) < 1

    @property
    def decay(self) -> FloatArray:
        """−½ ln|μ|, by which deviations shrink in a step; negative where they grow."""
        with np.errstate(divide="ignore"):
            return -0.5 * np.log(np.abs(self.multiplier))

    @property
    def frequency(self) -> FloatArray:
        """½|arg μ|, the angular frequency of deviations, a step; 0 where they don't oscillate."""
        return 0.5 * np.abs(np.angle(self.multiplier))

    @property
    def amplitude(self) -> FloatArray:
        """½|x_{t+1} − x_t|."""
        return 0.5 * np.abs(self.next_x - self.x)

    @property
    def centre(self) -> FloatArray:
        """The mean of x."""
        return 0.5 * (self.x + self.next_x)

    @property
    def mean_q(self) -> FloatArray:
        """The mean of q; the resting sharpness is S* + mean_q."""
        return 0.5 * (self.q + self.next_q)


def cycle_amplitude(parameters: Parameters, *, centred: bool = True) -> FloatArray:
    """Return A of the leading-order cycle; NaN where there is none.

    Args:
        parameters: a point or a grid.
        centred: the paper's A, without the offset of the centre; else A² is less by c² (MATH §3.2).
    """
    p = parameters
    p.refuse_quartic()
    with np.errstate(all="ignore"):
        squared = _squared_amplitude(p) - (0 if centred else p.push**2 / 4)
        return np.sqrt(squared)


def leading_order(parameters: Parameters) -> LeadingOrder:
    """Return the paper's predictions: of the cycle where it exists, else of the collapsed point.

    Where λ = 0 and no cycle exists the collapsed point lies at −∞ (βα < 0) or nowhere.
    """
    p, amplitude = parameters, cycle_amplitude(parameters)
    with np.errstate(all="ignore"):
        cycles = amplitude > 0
        amplitude = np.where(cycles, amplitude, 0.0)
        collapsed_y = np.divide(p.beta * p.alpha, p.weight_decay) - p.paper_g
        y = np.where(cycles, -p.weight_decay, collapsed_y)
        # the envelope's growth rate and y's are the two rates of the collapsed point
        collapsed_decay = np.minimum(p.eta * p.weight_decay, -p.eta * (p.weight_decay + y))
        friction, spring = p.eta * p.weight_decay / 2, p.eta**2 * p.beta * amplitude**2
        slower = friction - np.sqrt(np.maximum(friction**2 - spring, 0))
        ratio = np.where(cycles, p.weight_decay / (2 * np.sqrt(p.beta) * amplitude), np.nan)
        return LeadingOrder(
            cycles=cycles,
            sharpness=two_over_eta(p.eta) + y,
            amplitude=amplitude,
            centre=np.broadcast_to(-p.push / 2, y.shape),
            decay=np.where(cycles, slower, collapsed_decay),
            frequency=np.sqrt(np.maximum(spring - friction**2, 0)),
            damping_ratio=ratio,
        )


def two_cycles(parameters: Parameters) -> Solutions:
    """Return all 2-cycles F(F(z)) = z, F(z) ≠ z, in closed form.

    With s and d the sum and difference of the two x, the two equations for x give
    y₁ − y₂ = ηβsd/(2(1 + m)) and y₁ + y₂ = −2λ − 2κs², those for q then d² = d₀² + es² and a cubic
    for s, where m = 1 − ηλ, κ = ηβ/(4(1 + m)), e = (1 − 3m)/(1 + m), d₀ = 2A of the paper's A.
    """
    p, keep = parameters, parameters.keep
    p.refuse_quartic()
    with np.errstate(all="ignore"):
        kappa = p.eta * p.beta / (4 * (1 + keep))
        widest = 4 * _squared_amplitude(p)
        s = real_roots(
            -4 * p.eta * kappa * keep / (1 + keep), 2 + p.eta * kappa * widest, 2 * p.push
        )
        squared = widest + (1 - 3 * keep) / (1 + keep) * s * s
        d = np.sqrt(np.where(squared > 0, squared, np.nan))
        mean_q = -p.weight_decay - kappa * s * s - p.offset
        half = kappa * s * d
        states = (s + d) / 2, mean_q + half, (s - d) / 2, mean_q - half
        return _solutions(parameters, *states)


def fixed_points(parameters: Parameters) -> Solutions:
    """Return all fixed points F(z) = z; the collapsed one comes first where g_x and ∇L·u are small.

    Those far from x = 0 lie at a negative sharpness, S ≈ −λ, and are where an escape begins. Without
    decay fixed points have ½x² = α; where α = 0 too they aren't isolated and not returned.
    """
    p = parameters
    p.refuse_quartic()
    pull = p.beta / 2
    with np.errstate(all="ignore"):
        stiffness = p.weight_decay * (2 + p.eta * (p.weight_decay - p.paper_g))
        linear = stiffness + p.eta * p.beta * p.alpha
        x = real_roots(-p.eta * pull, linear, p.weight_decay * p.push)
        x = np.where(np.asarray(p.weight_decay) > 0, x, _undecayed(p))
        balance = (p.beta * p.alpha - pull * x * x) / p.weight_decay - p.paper_g
        tied = -(2 + p.push / x) / p.eta - p.weight_decay  # where λ = 0, from the equation for x
        q = np.where(np.asarray(p.weight_decay) > 0, balance, tied) - p.offset
        x, q = np.broadcast_arrays(x, q)
        return _solutions(parameters, x, q, x, q)


def regime(parameters: Parameters) -> NDArray[np.str_]:
    """Return which kinds of solutions attract: cycle, collapse, both, neither; shape of the grid.

    What attracts needn't be reached: `reached` says where an orbit went.
    """
    cycle = two_cycles(parameters).attract.any(axis=0)
    point = fixed_points(parameters).attract.any(axis=0)
    names: NDArray[np.str_] = np.array(
        [[REGIMES[c, f] for f in (False, True)] for c in (False, True)]
    )
    chosen: NDArray[np.str_] = names[cycle.astype(int), point.astype(int)]
    return chosen


def floquet(parameters: Parameters, x: FloatArray, q: FloatArray) -> NDArray[np.complex128]:
    """Return the eigenvalues of the two-step Jacobian at z, shape (2, *shape), the largest first."""
    after = advance(parameters, x, q)
    with np.errstate(all="ignore"):
        a, b, c, d = jacobian(parameters, *after)
        e, f, g, h = jacobian(parameters, x, q)
        half_trace = np.asarray(a * e + b * g + c * f + d * h) / 2
        determinant = (a * d - b * c) * (e * h - f * g)
        root = np.sqrt((half_trace**2 - determinant).astype(np.complex128))
        first = half_trace + np.where(half_trace >= 0, root, -root)
        # the smaller of two real ones as a quotient: as a difference it would lose digits
        second = np.where(root.imag != 0, np.conj(first), determinant / first)
    return np.stack([first, second])


def _squared_amplitude(p: Parameters) -> FloatArray:
    """Return A² = 2(α + (λ² − λg)/β), negative beyond the collapse; NaN where β = 0."""
    excess = np.divide(p.weight_decay * (p.weight_decay - p.paper_g), p.beta)
    return np.where(np.asarray(p.beta) > 0, 2 * (p.alpha + excess), np.nan)


def _undecayed(p: Parameters) -> FloatArray:
    """Return x = ±√(2α), the fixed points without decay, shape (3, *shape)."""
    root = np.sqrt(np.where((p.beta > 0) & (np.asarray(p.alpha) > 0), 2 * p.alpha, np.nan))
    root = np.broadcast_to(root, p.shape)
    return np.stack([root, -root, np.full_like(root, np.nan)])


def _solutions(
    parameters: Parameters, x: FloatArray, q: FloatArray, next_x: FloatArray, next_q: FloatArray
) -> Solutions:
    multiplier = floquet(parameters, x, q)[0]
    multiplier[~np.isfinite(x)] = np.nan
    return Solutions(x, q, next_x, next_q, multiplier)
