"""The reduced oscillator against closed forms, finite differences, SciPy and plain iteration."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import fsolve

from eostui.errors import InputError
from eostui.oscillator import (
    STAGES,
    Parameters,
    advance,
    cycle_amplitude,
    fixed_points,
    floquet,
    jacobian,
    leading_order,
    reached,
    read,
    regime,
    simulate,
    stages,
    survey,
    two_cycles,
)
from eostui.oscillator import envelope as envelope_equations
from eostui.oscillator.cubic import real_roots
from eostui.oscillator.orbit import ESCAPED

#: MATH §3.2's example, the same without g_x, beyond the collapse, and SS's map as digits-mlp-tanh has it.
OFF_CENTRE = Parameters(eta=0.02, weight_decay=1.0, alpha=2 / 3e4, beta=3e4, g=1.0, g_x=1.0)
CENTRED = replace(OFF_CENTRE, g_x=0.0)
COLLAPSED = replace(CENTRED, g=5.0)
UNDECAYED = Parameters(eta=0.08, weight_decay=0.0, alpha=0.4347 / 2997, beta=2997.0, g=59.05)

some_parameters = st.builds(
    Parameters,
    eta=st.floats(0.005, 0.5),
    weight_decay=st.floats(1e-3, 1.5),
    alpha=st.floats(-1e-3, 1e-2),
    beta=st.floats(1.0, 1e4),
    g=st.floats(-10, 10),
    g_x=st.floats(-2, 2),
    gradient_u=st.floats(-0.5, 0.5),
    sharpness=st.none() | st.floats(1, 100),
)


def plain_map(p, x, y, steps):
    """The paper's form, written out: the states (x, y) after 0 … steps, shape (steps + 1, 2)."""
    states = [(x, y)]
    for _ in range(steps):
        x, y = (
            -(1 + p.eta * p.weight_decay + p.eta * y) * x - p.eta * p.weight_decay * p.g_x,
            (1 - p.eta * p.weight_decay) * y
            + p.eta * p.beta * (p.alpha - x * x / 2)
            - p.eta * p.weight_decay * p.g,
        )
        states.append((x, y))
    return np.array(states)


# the numbers of MATH §3.2


def test_the_example_where_g_x_matters():
    assert leading_order(OFF_CENTRE).amplitude == pytest.approx(0.01155, abs=5e-6)
    assert cycle_amplitude(OFF_CENTRE, centred=False) == pytest.approx(0.00577, abs=5e-6)
    resting = plain_map(OFF_CENTRE, 1e-3, -1.0, 5000)
    assert 0.5 * abs(resting[-1, 0] - resting[-2, 0]) == pytest.approx(0.0059, abs=5e-5)
    cycle = two_cycles(OFF_CENTRE)
    states = sorted([(cycle.x[0], cycle.q[0]), (cycle.next_x[0], cycle.next_q[0])])
    expected = [(-0.0159446, -1.0123034), (-0.0040593, -1.0483265)]
    np.testing.assert_allclose(states, expected, atol=5e-8, rtol=0)
    np.testing.assert_allclose(states, sorted(map(tuple, resting[-2:])), atol=1e-12)
    assert cycle.mean_q[0] == pytest.approx(-1.03031, abs=5e-6)
    assert abs(cycle.multiplier[0]) == pytest.approx(0.98103, abs=5e-6)
    assert cycle.decay[0] == pytest.approx(0.00958, abs=5e-6)
    assert np.isnan(cycle.x[1:]).all()


def test_without_g_x_the_cycle_is_the_papers_and_its_decay_closed():
    p, cycle = CENTRED, two_cycles(CENTRED)
    amplitude = math.sqrt(2 * (p.alpha + (1 - p.g) / p.beta))
    assert cycle.amplitude[0] == pytest.approx(amplitude, rel=1e-12)
    assert cycle.mean_q[0] == pytest.approx(-1.0, rel=1e-12)
    size = 1 - p.eta * p.weight_decay + p.eta**2 * p.beta * amplitude**2
    assert abs(cycle.multiplier[0]) == pytest.approx(size, rel=1e-12)


def test_decay_tends_to_half_eta_lambda():
    """As ηβA²/λ → 0, and not as λ → 0."""
    errors = []
    for eta in (0.02, 0.002, 0.0002):
        cycle = two_cycles(replace(CENTRED, eta=eta))
        errors.append(abs(cycle.decay[0] / (eta / 2) / 1 - 1))
    assert leading_order(replace(CENTRED, eta=0.0002)).decay == pytest.approx(1e-4, rel=1e-12)
    ratio = [eta * 4 for eta in (0.02, 0.002, 0.0002)]  # ηβA²/λ, as βA² = 4
    np.testing.assert_allclose(errors, ratio, rtol=0.2)
    small = replace(CENTRED, weight_decay=1e-3, g=0.0)
    assert two_cycles(small).decay[0] < 0 < leading_order(small).decay


def test_the_cycle_attracts_only_above_eta_beta_a_squared():
    for scale, attracts in ((0.99, False), (1.01, True)):
        # g chosen so that A² stays 2α: λ² = λg
        decay = scale * UNDECAYED.eta * UNDECAYED.beta * 2 * UNDECAYED.alpha
        p = replace(UNDECAYED, weight_decay=decay, g=decay)
        assert two_cycles(p).attract[0] == attracts
        assert regime(p) == ("cycle" if attracts else "neither")


def test_undecayed_orbits_escape_and_what_came_before_is_kept():
    assert regime(UNDECAYED) == "neither"
    found = []
    for x in (1e-3, 1e-4, 1e-6, 1e-8):
        orbit = simulate(UNDECAYED, (x, 0.0), 10_000)
        assert orbit.escape_step == len(orbit.x)
        assert np.isfinite([orbit.x, orbit.q]).all()
        assert (np.abs(orbit.x) <= ESCAPED).all()
        gone = advance(UNDECAYED, orbit.x[-1], orbit.q[-1])
        assert abs(gone[0]) > ESCAPED
        found.append(orbit.escape_step)
    assert 900 <= min(found) < max(found) < 3400
    amplitude = math.sqrt(2 * UNDECAYED.alpha)
    close = simulate(UNDECAYED, (1.0001 * amplitude, 0.0), 20_000)
    assert close.escape_step > 3400
    assert read(close).decay == pytest.approx(two_cycles(UNDECAYED).decay[0], rel=0.01)


# theory against independent means


@settings(max_examples=150)
@given(some_parameters, st.floats(-0.5, 0.5), st.floats(-20, 20))
def test_jacobian_against_differences(p, x, q):
    """The map is quadratic, so central differences are exact up to rounding."""
    step = 1e-3
    along_x = np.subtract(advance(p, x + step, q), advance(p, x - step, q)) / (2 * step)
    along_q = np.subtract(advance(p, x, q + step), advance(p, x, q - step)) / (2 * step)
    differences = [along_x[0], along_q[0], along_x[1], along_q[1]]
    np.testing.assert_allclose(jacobian(p, x, q), differences, atol=1e-8, rtol=1e-8)


@settings(max_examples=150)
@given(some_parameters, st.floats(-0.5, 0.5), st.floats(-20, 20))
def test_floquet_against_numpy(p, x, q):
    first = np.reshape(jacobian(p, x, q), (2, 2))
    second = np.reshape(jacobian(p, *advance(p, x, q)), (2, 2))
    expected = np.linalg.eigvals(second @ first)
    ours = floquet(p, x, q)
    assert abs(ours[0]) >= abs(ours[1]) * (1 - 1e-12)
    np.testing.assert_allclose(ours.sum().real, expected.sum().real, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(ours.prod().real, expected.prod().real, rtol=1e-8, atol=1e-8)


@settings(max_examples=300)
@given(*[st.floats(-100, 100).map(lambda v: round(v, 3))] * 3)
def test_real_roots_against_numpy(cubic, linear, constant):
    assume(cubic != 0)
    ours = real_roots(cubic, linear, constant)
    theirs = np.roots([cubic, 0, linear, constant])
    discriminant = -4 * linear**3 * cubic - 27 * cubic**2 * constant**2
    assume(abs(discriminant) > 1e-6 * (abs(4 * linear**3 * cubic) + 27 * cubic**2 * constant**2))
    real = np.sort(theirs[np.abs(theirs.imag) < 1e-9 * (1 + np.abs(theirs))].real)
    ours = ours[np.isfinite(ours)]
    assert (np.diff(np.abs(ours)) >= 0).all()
    np.testing.assert_allclose(np.sort(ours), real, rtol=1e-6, atol=1e-9)


def test_the_smallest_root_keeps_its_digits():
    """10⁸ t ≈ 1 with t³ in the way: the root is 1e-8 (1 + 1e-32), beside two of ±1e4."""
    roots = real_roots(1.0, -1e8, 1.0)
    assert roots[0] == pytest.approx(1e-8, rel=1e-14)
    np.testing.assert_allclose(np.abs(roots[1:]), 1e4, rtol=1e-8)


@settings(max_examples=300)
@given(some_parameters)
def test_solutions_solve(p):
    """F(F(z)) = z and F(z) ≠ z for the cycles, F(z) = z for the fixed points."""
    for solutions in (two_cycles(p), fixed_points(p)):
        known = np.isfinite(solutions.x)
        here = solutions.x[known], solutions.q[known]
        there = solutions.next_x[known], solutions.next_q[known]
        scale = 1 + np.abs(here).max(initial=0)
        np.testing.assert_allclose(advance(p, *here), there, atol=1e-7 * scale, rtol=1e-7)
        np.testing.assert_allclose(advance(p, *there), here, atol=1e-7 * scale, rtol=1e-7)
    assert known[0]
    cycles = two_cycles(p)
    assert (cycles.amplitude[np.isfinite(cycles.x)] > 0).all()


def newton(p, x, q):
    """A solution of F(F(z)) = z by SciPy from a start; None if it finds none."""

    def residual(z):
        return np.subtract(advance(p, *advance(p, *z)), z)

    z, _, status, _ = fsolve(residual, (x, q), full_output=True, xtol=1e-13)
    near = np.abs(residual(z)).max() < 1e-10
    return z if status == 1 and near else None


@pytest.mark.parametrize(
    "p",
    [
        OFF_CENTRE,
        CENTRED,
        COLLAPSED,
        UNDECAYED,
        replace(OFF_CENTRE, gradient_u=0.3, sharpness=97.0),
        replace(
            CENTRED, eta=0.5, beta=30.0, alpha=0.9
        ),  # three cycles: steps that are anything but small
    ],
)
def test_no_solution_is_missed(p):
    """Whatever SciPy finds from 400 starts is among the closed forms, and each of those is found."""
    ours = [
        state
        for s in (two_cycles(p), fixed_points(p))
        for pair in (zip(s.x, s.q, strict=True), zip(s.next_x, s.next_q, strict=True))
        for state in pair
        if np.isfinite(state).all()
    ]
    ours = np.array(ours)
    reach = np.abs(ours).max(axis=0) * 1.3 + [1e-3, 1e-1]
    starts = np.random.default_rng(5).uniform(-reach, reach, size=(400, 2))
    found = [z for z in (newton(p, *start) for start in starts) if z is not None]
    assert len(found) > 50
    scale = np.array([math.sqrt(float(p.beta)), 1.0])
    for z in found:
        assert np.hypot(*((ours - z) * scale).T).min() < 1e-5
    for state in ours:
        assert np.hypot(*((np.array(found) - state) * scale).T).min() < 1e-5


def test_three_cycles_exist():
    """Far from small steps the cubic has three real roots that are cycles."""
    p = replace(CENTRED, eta=0.5, beta=30.0, alpha=0.9)
    assert np.isfinite(two_cycles(p).x).sum() == 3


def test_brute_force_ends_only_at_what_attracts():
    """From a grid of starts, plain iteration ends at the attracting solutions, or escapes."""
    for p in (OFF_CENTRE, CENTRED, COLLAPSED):
        attracting = set()
        for s in (two_cycles(p), fixed_points(p)):
            for x, q in ((s.x, s.q), (s.next_x, s.next_q)):
                attracting |= {(round(a, 9), round(b, 7)) for a, b in
                               zip(x[s.attract], q[s.attract], strict=True)}  # fmt: skip
        ends = set()
        for x in np.linspace(-0.03, 0.03, 6):
            for y in np.linspace(-4, 2, 4):
                with np.errstate(all="ignore"):
                    end = plain_map(p, x, y, 4001)[-2:]
                if np.isfinite(end).all():
                    ends |= {(round(a, 9) + 0.0, round(b, 7) + 0.0) for a, b in end.tolist()}
        assert ends == {(a + 0.0, b + 0.0) for a, b in attracting}


@pytest.mark.parametrize("g_x", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("weight_decay", [0.3, 1.0])
def test_measured_rates_match_floquet(weight_decay, g_x):
    p = replace(CENTRED, weight_decay=weight_decay, g_x=g_x)
    readings, cycle = read(simulate(p, (1e-3, -1.0), 12_000)), two_cycles(p)
    assert readings.decay == pytest.approx(cycle.decay[0], rel=0.01)
    assert readings.frequency == pytest.approx(cycle.frequency[0], rel=0.01)
    assert readings.amplitude == pytest.approx(cycle.amplitude[0], rel=1e-6)
    assert readings.centre == pytest.approx(cycle.centre[0], abs=1e-9)
    assert readings.sharpness == pytest.approx(100 + cycle.mean_q[0], abs=1e-6)


def test_measured_collapse():
    readings, point = read(simulate(COLLAPSED, (1e-3, 0.0), 2000)), fixed_points(COLLAPSED)
    assert readings.sharpness == pytest.approx(100 + 2 - 5, rel=1e-9)  # 2/η + βα/λ − g
    assert readings.decay == pytest.approx(point.decay[0], rel=0.01)
    assert point.decay[0] == pytest.approx(-math.log(1 - 0.02), rel=1e-9)
    assert readings.frequency == 0


def test_rates_of_a_drift_are_unknown():
    """Steady sharpening isn't near anything: no decay is read from it."""
    orbit = simulate(replace(UNDECAYED, alpha=1e-6), (1e-12, -20.0), 400)
    readings = read(orbit)
    assert math.isnan(readings.decay)
    assert math.isnan(readings.frequency)


def test_reached():
    cases = [
        (CENTRED, (1e-3, -1.0), "cycle"),
        (COLLAPSED, (1e-3, 0.0), "collapsed"),
        (UNDECAYED, (1e-3, 0.0), "escaped"),
        (replace(CENTRED, weight_decay=0.01), (1e-3, -1.0), "wandering"),
        (replace(CENTRED, weight_decay=0.1), (1e-3, -1.0), "unsettled"),
    ]
    for p, start, expected in cases:
        orbit = simulate(p, start, 3000)
        escaped = np.array(orbit.escape_step is not None)
        assert reached(p, orbit.x[-1], orbit.q[-1], escaped).attractor == expected


# the map


def test_both_forms_are_one():
    """S* ≠ 2/η: y = q + S* − 2/η follows the paper's form with g less by that offset."""
    p = replace(CENTRED, sharpness=98.7, g_x=0.4)
    assert p.offset == pytest.approx(-1.3)
    orbit = simulate(p, (1e-3, 0.2), 300)
    assert orbit.y[0] == pytest.approx(0.2 - 1.3)
    expected = plain_map(replace(p, g=p.g + 1.3), 1e-3, 0.2 - 1.3, 300)
    np.testing.assert_allclose(orbit.x, expected[:, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(orbit.y, expected[:, 1], rtol=1e-9, atol=1e-9)


def test_gradient_descent_on_the_normal_form_is_the_map():
    """MATH §3.3, with η and λ that change on the way: descent with decay on L gives x and q."""
    rng = np.random.default_rng(2)
    steps, eta0, a, b, x_star, s_star = 400, 0.02, 0.012, 170.0, 0.3, 0.01
    eta = eta0 * rng.uniform(0.9, 1.0, steps)
    decay = rng.uniform(0.2, 1.0, steps)
    theta = np.array([1e-3 + x_star, s_star])
    path = []
    for t in range(steps + 1):
        x, s = theta - (x_star, s_star)
        path.append((x, b * s))
        if t < steps:
            gradient = np.array([(2 / eta0 + b * s) * x, b * x * x / 2 - a])
            theta = (1 - eta[t] * decay[t]) * theta - eta[t] * gradient
    p = Parameters(eta0, 0.0, alpha=a / b, beta=b * b, g=b * s_star, g_x=x_star)
    orbit = simulate(p, (1e-3, 0.0), steps, eta=eta, weight_decay=decay)
    np.testing.assert_allclose(orbit.x, [x for x, _ in path], atol=1e-12)
    np.testing.assert_allclose(orbit.q, [q for _, q in path], atol=1e-9)
    np.testing.assert_array_equal(orbit.eta[:-1], eta)
    np.testing.assert_array_equal(orbit.weight_decay[:-1], decay)
    np.testing.assert_allclose(orbit.y, orbit.sharpness - 2 / orbit.eta)


def test_gradient_descent_with_a_quartic_term_is_the_map_with_it():
    """On L = ½(2/η + bs)x² − as + D⁴x⁴/24 with decay, at one point and by `advance` on several."""
    eta, decay, a, b, x_star, s_star, d4 = 0.1, 0.02, 0.01, 1.3, 0.05, 0.3, -9.0
    p = Parameters(
        eta, decay, alpha=a / b, beta=b * b, g=b * s_star, g_x=x_star, quartic=d4
    )  # fmt: skip
    x, s, states = 0.01, 0.0, [(0.01, 0.0)]
    for _ in range(400):
        slope_x = (2 / eta + b * s) * x + d4 * x**3 / 6
        slope_s = b * x * x / 2 - a
        x, s = (
            x - eta * slope_x - eta * decay * (x + x_star),
            s - eta * slope_s - eta * decay * (s + s_star),
        )
        states.append((x, b * s))
    orbit = simulate(p, states[0], 400)
    np.testing.assert_allclose(np.stack([orbit.x, orbit.q], axis=1), states, atol=1e-9)
    assert np.abs(orbit.x).max() > 0.1
    before, after = np.array(states[:-1]).T, np.array(states[1:]).T
    np.testing.assert_allclose(advance(p, *before), after, rtol=1e-12, atol=1e-12)
    x, q = before
    slopes = [
        np.subtract(
            advance(p, x + 1e-4 * dx, q + 1e-4 * dq), advance(p, x - 1e-4 * dx, q - 1e-4 * dq)
        )
        / 2e-4
        for dx, dq in ((1, 0), (0, 1))
    ]
    found = np.broadcast_arrays(*jacobian(p, x, q))
    wanted = [slopes[0][0], slopes[1][0], slopes[0][1], slopes[1][1]]
    np.testing.assert_allclose(found, wanted, atol=1e-7)


def test_theory_refuses_a_quartic_term():
    bent = replace(CENTRED, quartic=np.array([0.0, -3.0]))
    for answer in (two_cycles, fixed_points, leading_order, cycle_amplitude, regime):
        with pytest.raises(InputError, match=r"`quartic` is -3, but must be 0"):
            answer(bent)
    with pytest.raises(InputError, match="quartic"):
        survey(bent, (0.01, 0.0), 10)
    with pytest.raises(InputError, match="quartic"):
        envelope_equations.integrate(replace(CENTRED, quartic=1.0), (0.01, 0.0), 10)
    with pytest.raises(InputError, match="quartic"):
        envelope_equations.derivative(replace(CENTRED, quartic=1.0), 0.01, 0.0)
    with pytest.raises(InputError, match="`quartic` is nan"):
        replace(CENTRED, quartic=float("nan"))


def test_gradient_along_u_acts_as_g_x_does():
    pushed = simulate(replace(CENTRED, gradient_u=0.7), (1e-3, 0.0), 50)
    moved = simulate(replace(CENTRED, g_x=0.7), (1e-3, 0.0), 50)
    np.testing.assert_allclose(pushed.x, moved.x)


def test_long_orbits_are_one_piece():
    """Blocks join without a seam, and progress ends at the end."""
    told = []
    orbit = simulate(
        CENTRED, (1e-3, -1.0), 250_001, progress=lambda done, total: told.append((done, total))
    )
    after = advance(CENTRED, orbit.x[:-1], orbit.q[:-1])
    np.testing.assert_allclose(orbit.x[1:], after[0], atol=1e-15)
    assert len(orbit.x) == 250_002
    assert told[-1] == (250_001, 250_001)
    assert len(told) == 3


def test_envelope_and_centre_are_exact_on_a_cycle():
    cycle = two_cycles(OFF_CENTRE)
    orbit = simulate(OFF_CENTRE, (cycle.x[0], cycle.q[0]), 10)
    np.testing.assert_allclose(orbit.envelope[:-1], cycle.amplitude[0], rtol=1e-9)
    np.testing.assert_allclose(orbit.centre[:-1], cycle.centre[0], rtol=1e-9)
    assert np.isnan([orbit.envelope[-1], orbit.centre[-1]]).all()


# the envelope equations


def test_envelope_equations_against_scipy():
    p = replace(CENTRED, sharpness=99.0)

    def slope(_, state):
        return envelope_equations.derivative(p, *state)

    ours = np.array(envelope_equations.integrate(p, (1e-3, -1.0), 800))
    theirs = solve_ivp(slope, (0, 800), (1e-3, -1.0), t_eval=np.arange(801), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(ours, theirs.y, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("weight_decay", [0.1, 1.0, 6.0])
def test_linearisation_against_differences(weight_decay):
    """Decay and frequency are the eigenvalues of the envelope equations at their rest."""
    p = replace(CENTRED, weight_decay=weight_decay, g=0.99 * (2 / weight_decay + weight_decay))
    leading = leading_order(p)
    rest, h = np.array([leading.amplitude, -weight_decay]), 1e-6
    assert envelope_equations.derivative(p, *rest) == pytest.approx((0, 0), abs=1e-12)
    columns = [
        np.subtract(
            envelope_equations.derivative(p, *(rest + step)),
            envelope_equations.derivative(p, *(rest - step)),
        ) / (2 * h)
        for step in h * np.eye(2)
    ]  # fmt: skip
    values = np.linalg.eigvals(np.stack(columns, axis=1))
    assert leading.decay == pytest.approx(-values.real.max(), rel=1e-4)
    assert leading.frequency == pytest.approx(np.abs(values.imag).max(), rel=1e-4, abs=1e-9)
    assert (leading.damping_ratio < 1) == (4 * p.beta * leading.amplitude**2 > weight_decay**2)
    assert (leading.damping_ratio < 1) == (leading.frequency > 0)


def test_both_kinds_of_damping_occur():
    p = replace(CENTRED, weight_decay=np.array([0.1, 6.0]))
    p = replace(p, g=0.99 * (2 / p.weight_decay + p.weight_decay))
    ratios = leading_order(p).damping_ratio
    assert ratios[0] < 1 < ratios[1]


def test_leading_collapse():
    leading = leading_order(COLLAPSED)
    assert not leading.cycles
    assert leading.sharpness == pytest.approx(100 + 2 - 5)
    assert leading.sharpness < 100 - 1
    assert leading.amplitude == 0
    assert leading.decay == pytest.approx(0.02)


# grids


def test_survey_is_the_orbit_point_by_point():
    """Equal to the last bit, escapes and all, whichever points leave on the way."""
    rng = np.random.default_rng(7)
    n = 60
    p = Parameters(
        eta=rng.uniform(0.01, 0.1, n), weight_decay=rng.choice([0.0, 0.01, 0.3, 1.0], n),
        alpha=rng.uniform(-1e-4, 3e-4, n), beta=10 ** rng.uniform(2, 4.5, n), g=rng.uniform(0, 5, n),
        g_x=rng.choice([0.0, 1.0], n), gradient_u=rng.choice([0.0, 0.01], n),
    )  # fmt: skip
    steps, start_x, start_q = 2000, rng.normal(0, 1e-2, n), rng.normal(0, 1.0, n)
    found = survey(p, (start_x, start_q), steps)
    kinds = set(found.attractor.tolist())
    assert {"cycle", "collapsed", "escaped"} <= kinds
    assert len(set(found.escape_step[np.isfinite(found.escape_step)])) > 3
    tail = slice(-1 - steps // 5, -1)
    for k in range(n):
        one = p.flat((n,)).part(k)
        one = Parameters(*(float(getattr(one, name)) for name in one.names()))
        orbit = simulate(one, (start_x[k], start_q[k]), steps)
        escaped = np.array(orbit.escape_step is not None)
        if escaped:
            assert found.escape_step[k] == orbit.escape_step
            assert np.isnan([found.sharpness[k], found.amplitude[k], found.decay[k]]).all()
            continue
        where = reached(one, orbit.x[-1], orbit.q[-1], escaped)
        assert found.attractor[k] == where.attractor
        np.testing.assert_array_equal(found.decay[k], where.decay)
        assert np.isnan(found.escape_step[k])
        q, x = orbit.q[tail][1:], orbit.envelope[tail]
        mean = (q.sum() + orbit.q[tail][0]) / len(x)
        assert found.sharpness[k] == pytest.approx(one.reference_sharpness + mean, rel=1e-12)
        assert found.amplitude[k] == pytest.approx(x.mean(), rel=1e-9, abs=1e-300)


def test_survey_keeps_the_shape_of_its_grid(monkeypatch):
    """Any broadcastable shape, in batches, with progress up to the end."""
    monkeypatch.setattr("eostui.oscillator.grid._BATCH", 5)
    decay, g = np.linspace(0.2, 2, 4)[None, :], np.linspace(0, 5, 3)[:, None]
    p = replace(CENTRED, weight_decay=decay, g=g)
    told = []
    found = survey(p, (1e-3, -1.0), 3000, progress=lambda done, total: told.append(done / total))
    assert {column.shape for column in found} == {(3, 4)}
    assert told == sorted(told)
    assert 0.5 < told[-1] <= 1
    exact = regime(p)
    assert exact.shape == (3, 4)
    settled = np.isin(found.attractor, ["cycle", "collapsed"])
    assert settled.sum() >= 9
    names = {"cycle": "cycle", "collapsed": "collapse"}
    for attractor, name in zip(found.attractor[settled], exact[settled], strict=True):
        assert names[str(attractor)] == name
    # without g_x the paper's threshold is exact: the cycle exists while βα > λ(g − λ)
    exists = np.isfinite(two_cycles(p).x[0])
    np.testing.assert_array_equal(exists, decay * (g - decay) < 2)
    np.testing.assert_array_equal(exists, leading_order(p).cycles)


def test_theory_of_a_grid_is_that_of_its_points():
    decay = np.array([0.0, 0.05, 1.0, 1.9])
    p = replace(OFF_CENTRE, weight_decay=decay)
    for function in (two_cycles, fixed_points):
        whole = function(p)
        for k, value in enumerate(decay.tolist()):
            one = function(replace(OFF_CENTRE, weight_decay=value))
            for ours, single in zip(whole, one, strict=True):
                np.testing.assert_array_equal(ours[:, k], single)


# stages


def test_stages_follow_the_turn():
    """SS's four in their order, then the edge; collapsed where nothing bounces."""
    seen = stages(simulate(CENTRED, (1e-3, -3.0), 3000)).tolist()
    assert set(seen) <= set(STAGES)
    order = [name for i, name in enumerate(seen) if i == 0 or seen[i - 1] != name]
    assert order[:5] == ["sharpening", "blow-up", "self-stabilization", "return", "sharpening"]
    assert order[-1] == "edge"
    seen = stages(simulate(COLLAPSED, (1e-3, 0.0), 1000)).tolist()
    assert seen[0] == "self-stabilization"
    assert seen[-1] == "collapsed"
    assert "edge" not in seen
    assert stages(simulate(CENTRED, (1e-3, 0.0), 1)).tolist() == ["", ""]


def test_stages_are_the_signs_of_the_two_step_means():
    orbit = simulate(UNDECAYED, (1e-3, 0.0), 1000)
    seen, mean = stages(orbit), (orbit.y[:-1] + orbit.y[1:]) / 2
    for t in range(0, 999, 7):
        rising, above = orbit.y[t + 2] > orbit.y[t], mean[t] > 0
        quarter = {(1, 0): 0, (1, 1): 1, (0, 1): 2, (0, 0): 3}[int(rising), int(above)]
        assert seen[t] == STAGES[quarter]


# input


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"eta": 0.0}, "`eta` is 0, but must be above 0"),
        ({"eta": math.nan}, "`eta` is nan"),
        ({"beta": -2.0}, "`beta` is -2, but must be at least 0"),
        ({"weight_decay": -1.0}, "`weight_decay` is -1, but must be at least 0"),
        ({"weight_decay": 50.0}, "`eta` × `weight_decay` is 1, but must be below 1"),
        ({"alpha": math.inf}, "`alpha` is inf"),
        ({"g": np.array([1.0, math.nan])}, "`g` is nan"),
        ({"sharpness": math.inf}, "`sharpness` is inf"),
        ({"g_x": 1e80}, "`g_x` is 1e+80"),
    ],
)
def test_wrong_parameters(values, sentence):
    with pytest.raises(InputError, match=sentence.replace("+", r"\+")):
        replace(CENTRED, **values)


def test_wrong_orbits_and_grids():
    for start in ((math.nan, 0.0), (0.0, math.inf), (1e16, 0.0)):
        with pytest.raises(InputError, match="the start is"):
            simulate(CENTRED, start, 10)
        with pytest.raises(InputError, match="the start is"):
            survey(CENTRED, start, 10)
    with pytest.raises(InputError, match="`steps` is 0"):
        simulate(CENTRED, (0.0, 0.0), 0)
    with pytest.raises(InputError, match=r"`eta` has shape \(3,\)"):
        simulate(CENTRED, (0.0, 0.0), 4, eta=np.full(3, 0.02))
    with pytest.raises(InputError, match="below 1"):
        simulate(CENTRED, (0.0, 0.0), 4, weight_decay=np.array([1.0, 1.0, 60.0, 1.0]))
    with pytest.raises(InputError, match="an orbit needs one point"):
        simulate(replace(CENTRED, g=np.zeros(2)), (0.0, 0.0), 4)
    with pytest.raises(InputError, match="at least one point"):
        survey(replace(CENTRED, g=np.zeros(0)), (0.0, 0.0), 4)


def test_limits_leave_no_warning():
    """β = 0, λ = 0, α < 0, x = 0 and one row: no warning (they are errors here), no exception."""
    corners = Parameters(
        eta=0.1,
        weight_decay=np.array([0.0, 0.0, 0.5, 0.5, 0.0, 0.5]),
        alpha=np.array([0.0, -1.0, 0.0, -1.0, 1.0, 1e70]),
        beta=np.array([0.0, 1.0, 0.0, 1e-300, 1.0, 1e70]),
        g_x=np.array([0.0, 1.0, 1.0, 0.0, 0.0, 1e70]),
    )
    leading_order(corners), regime(corners), cycle_amplitude(corners, centred=False)
    for x in (0.0, 1.0):
        found = survey(corners, (x, 0.0), 50)
        assert found.attractor[5] == "escaped"
        for k in range(6):
            one = corners.flat((6,)).part(k)
            one = Parameters(*(float(getattr(one, name)) for name in one.names()))
            leading_order(one), regime(one)
            orbit = simulate(one, (x, 0.0), 50)
            read(orbit), stages(orbit), floquet(one, orbit.x, orbit.q)
    # with β = 0 nothing couples: y decays to −g and x to −ηλg_x/(2 + ηλ − ηg)
    loose = Parameters(eta=0.1, weight_decay=0.5, alpha=0.0, beta=0.0, g=1.0, g_x=1.0)
    point = fixed_points(loose)
    assert point.q[0] == pytest.approx(-1.0)
    assert point.x[0] == pytest.approx(-0.05 / (2 + 0.05 - 0.1))


def test_the_package_stands_alone():
    code = (
        "import sys, eostui.oscillator as o\n"
        "o.simulate(o.Parameters(0.02, 1.0, 1e-4, 3e4), (1e-3, 0.0), 10)\n"
        "print({'torch', 'textual', 'pydantic', 'scipy', 'typer', 'rich', 'platformdirs'} "
        "& set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
