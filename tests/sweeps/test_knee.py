"""A knee is where it was put: closed forms, scipy's minimiser, and how often the interval holds it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import differential_evolution

from eostui.sweeps.knee import KNEE, LINEAR, LOGARITHMIC, NO_KNEE, TOO_FEW, knee
from eostui.sweeps.transition import Transition

#: Coverage of the 95 % interval over 200 repetitions: three standard deviations of that count about it.
LEAST_COVERAGE = 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)


def hinge(t, level, slope, bend):
    return level + slope * np.maximum(t - bend, 0.0)


def test_an_exact_knee_on_either_axis():
    x = np.linspace(0, 1, 11)
    found = knee(x, hinge(x, 13, -4, 0.33), np.full(11, 1e-3))
    assert (found.outcome, found.axis, found.scatter) == (KNEE, LINEAR, 0.0)
    assert (found.position, found.baseline, found.slope) == pytest.approx((0.33, 13, -4))
    decays = np.concatenate([[0.0], np.geomspace(1e-5, 1e-2, 10)])
    with np.errstate(divide="ignore"):
        places = np.log10(decays)
    found = knee(decays, hinge(places, 13, -6, -3.7), np.full(11, 1e-3))
    assert (found.outcome, found.axis) == (KNEE, LOGARITHMIC)
    assert (found.position, found.slope) == pytest.approx((10**-3.7, -6))
    assert found.low < found.position < found.high


def test_a_smooth_fall_is_told_from_a_knee():
    """As that of S at rest on digits, by docs/experiments.md: on a logarithmic axis flat, then steep."""
    decays = np.array([0, 1e-6, 1e-5, 2.37e-5, 5.62e-5, 1.33e-4, 3.16e-4, 7.5e-4, 1.78e-3, 4.2e-3])
    resting = np.array([13.055, 13.050, 13.015, 12.974, 12.912, 12.621, 11.82, 9.82, 7.32, 5.11])
    smooth = knee(decays, resting, np.full(10, 5e-3))
    sharp = knee(decays, 13 - 2500 * np.maximum(decays - 2e-4, 0), np.full(10, 5e-3))
    assert (smooth.outcome, sharp.outcome) == (KNEE, KNEE)
    assert smooth.doubtful
    assert not sharp.doubtful
    said = [
        Transition("weight_decay", "resting_sharpness", {}, each, None, (), {}).sentence()
        for each in (smooth, sharp)
    ]
    assert "hardly lie on a level and a line" in said[0]
    assert "hardly" not in said[1]


def test_what_falls_in_proportion_from_the_first_on_leaves_no_level():
    decays = np.concatenate([[0.0], np.geomspace(1e-5, 1e-3, 9)])
    found = knee(decays, 13 - 2500 * decays, np.full(10, 5e-3))
    assert found.outcome == NO_KNEE
    assert "falls from the smallest value on" in found.why


def test_the_order_of_members_and_the_sign_of_the_slope_are_nothing():
    x = np.linspace(0, 2, 9)
    y = hinge(x, 1, 3, 0.8) + np.sin(37 * x) / 50
    order = np.random.default_rng(0).permutation(9)
    one, other = knee(x, y, np.full(9, 0.02)), knee(x[order], y[order], np.full(9, 0.02))
    assert one == other
    assert one.position == pytest.approx(0.8, abs=0.05)
    assert knee(x, -y, np.full(9, 0.02)).position == pytest.approx(one.position)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_fit_is_the_minimum(seed):
    """Errors of all sizes, so that weights count: scipy's global minimiser finds nothing better."""
    random = np.random.default_rng(seed)
    x = np.sort(random.uniform(0, 1, 12))
    error = 10 ** random.uniform(-2, -0.7, 12)
    y = hinge(x, 5, -8, 0.5) + error * random.normal(size=12)
    found = knee(x, y, error)
    fitted = x <= found.last
    assert found.outcome == KNEE
    t = x[fitted] if found.axis == LINEAR else np.log10(x[fitted])
    bend = found.position if found.axis == LINEAR else math.log10(found.position)

    def misfit(parameters):
        line = hinge(t, *parameters)
        return float(np.sum((y[fitted] - line) ** 2 / (error[fitted] ** 2 + found.scatter**2)))

    best = differential_evolution(
        misfit, [(3, 7), (-40, 10), (t[0], t[-1])], seed=0, tol=1e-10, maxiter=3000, popsize=30
    )
    assert misfit((found.baseline, found.slope, bend)) <= best.fun * (1 + 1e-6)


@pytest.mark.parametrize(
    ("axis", "count", "slope"),
    [(LINEAR, 12, -5), (LOGARITHMIC, 12, -5), (LOGARITHMIC, 20, -2), (LOGARITHMIC, 8, -5)],
)
def test_the_interval_holds_the_knee_as_often_as_it_says(axis, count, slope):
    random = np.random.default_rng(1)
    t = np.linspace(0, 1, count) if axis == LINEAR else np.linspace(-5, -2, count)
    bend = 0.4 if axis == LINEAR else -3.6
    x, place = (t, bend) if axis == LINEAR else (10**t, 10**bend)
    found = [
        knee(
            x, hinge(t, 13, slope, bend) + 0.05 * random.normal(size=count), np.full(count, 0.05),
            repetitions=300, seed=repetition,
        )
        for repetition in range(200)
    ]  # fmt: skip
    assert all(each.outcome == KNEE for each in found)
    covered = np.mean([each.low <= place <= each.high for each in found])
    assert covered >= LEAST_COVERAGE
    spread = np.std([each.position for each in found])
    assert (
        np.median([each.high - each.low for each in found]) < 8 * spread
    )  # and no wider than it need


def test_the_interval_holds_the_knee_over_seeds():
    """Each seed has a level of its own, which all its members share; no member's own error tells it."""
    random = np.random.default_rng(2)
    decays = np.tile(np.geomspace(1e-5, 1e-2, 9), 6)
    seeds = np.repeat(np.arange(6), 9)
    covered, naive = 0, 0
    for repetition in range(100):
        levels, bends = 13 + 0.2 * random.normal(size=6), -3.6 + 0.15 * random.normal(size=6)
        y = hinge(np.log10(decays), levels[seeds], -6, bends[seeds])
        y += 0.02 * random.normal(size=54)
        error = np.full(54, 0.02)
        found = knee(decays, y, error, seeds=seeds, repetitions=300, seed=repetition)
        assert found.outcome == KNEE
        assert found.seeds == 6
        covered += found.low <= 10**-3.6 <= found.high
        one = seeds == 0
        alone = knee(decays[one], y[one], error[one], repetitions=300)
        naive += alone.low <= 10**-3.6 <= alone.high
    assert covered >= 88  # of 100: less than three standard deviations below 95
    assert naive < 40  # one seed doesn't know of the others


def test_a_seed_that_is_missing_somewhere_moves_nothing():
    """Seeds lie one apart: where one isn't at rest, the others' mean isn't that of all."""
    t = np.linspace(-5, -2, 10)
    x, seeds = np.tile(10**t, 3), np.repeat([0, 1, 2], 10)
    y = hinge(np.log10(x), 13, -6, -3.6) + seeds
    whole = knee(x, y, np.full(30, 0.01), seeds=seeds)
    y[[1, 14, 25]] = np.nan
    found = knee(x, y, np.full(30, 0.01), seeds=seeds)
    for one in (whole, found):
        assert (one.position, one.baseline) == (pytest.approx(10**-3.6), pytest.approx(14))
        assert one.baseline_error == pytest.approx(1 / math.sqrt(3), rel=0.6)  # Student's t of two
    apart = knee(x, y, np.full(30, 0.01))
    assert apart.baseline != pytest.approx(14, abs=0.01)


def test_what_is_flat_has_no_knee():
    """One reading in a hundred or so is more than three errors off by chance."""
    random = np.random.default_rng(3)
    x = np.concatenate([[0.0], np.geomspace(1e-6, 1e-4, 11)])
    found = [
        knee(x, 13 + 0.05 * random.normal(size=12), np.full(12, 0.05), repetitions=200)
        for _ in range(200)
    ]
    assert sum(each.outcome == KNEE for each in found) <= 6
    flat = next(each for each in found if each.outcome == NO_KNEE)
    assert "all lie about 1" in flat.why
    assert math.isnan(flat.position)
    assert flat.level(x).tolist() == [flat.baseline] * int((x <= flat.last).sum()) + [
        pytest.approx(math.nan, nan_ok=True)
    ] * int((x > flat.last).sum())


def test_a_line_that_falls_from_the_first_on_leaves_no_level():
    x = np.linspace(0.1, 1, 10)
    found = knee(x, 13 - 5 * x, np.full(10, 0.01))
    assert found.outcome == NO_KNEE
    assert "it falls from the smallest value on" in found.why
    assert "it rises" in knee(x, 13 + 5 * x, np.full(10, 0.01)).why


def test_a_new_level_far_beyond_moves_nothing():
    """S falls from 13 to 4.6 and stays there: the knee is that of the fall."""
    t = np.linspace(-5, -1, 17)
    y = np.maximum(hinge(t, 13, -7, -3.6), 4.6)
    found = knee(10**t, y, np.full(17, 0.01))
    assert found.position == pytest.approx(10**-3.6)
    assert found.last < 10**-2.4


def test_one_member_off_the_level_tells_between_which_values():
    x = np.array([0, 1e-5, 1e-4, 1e-3, 1e-2])
    found = knee(x, np.array([13, 13.01, 12.99, 13, 5.0]), np.full(5, 0.01))
    assert found.outcome == KNEE
    assert found.between == (1e-3, 1e-2)
    assert found.low <= 1e-3 < found.position < 1e-2 <= found.high


def test_the_level_may_be_that_of_no_decay_alone():
    """λ 0 lies on the level whatever the knee is: 0, then a line in log λ."""
    decays = np.array([0, 3e-4, 1e-3, 3e-3])
    with np.errstate(divide="ignore"):
        y = hinge(np.log10(decays), 13, -6, -3.7)
    found = knee(decays, y, np.full(4, 0.02))
    assert found.position == pytest.approx(10**-3.7)


def test_members_not_at_rest_and_too_few():
    x, y = np.linspace(0, 1, 11), hinge(np.linspace(0, 1, 11), 13, -4, 0.33)
    lacking = y.copy()
    lacking[[1, 5]] = np.nan
    found = knee(x, lacking, np.full(11, 1e-3))
    assert (found.position, found.members, found.values <= 9) == (pytest.approx(0.33), 9, True)
    lacking[3:] = np.nan
    few = knee(x, lacking, np.full(11, 1e-3))
    assert (few.outcome, few.values) == (TOO_FEW, 2)
    assert "2 values" in few.why
    assert knee(np.empty(0), np.empty(0), np.empty(0)).outcome == TOO_FEW
    assert knee(np.ones(5), np.arange(5.0), np.ones(5)).outcome == TOO_FEW  # one value of x


def test_errors_that_are_not_known():
    x = np.linspace(0, 1, 11)
    y = hinge(x, 13, -4, 0.33) + 0.01 * np.cos(50 * x)
    for error in (np.full(11, np.nan), np.zeros(11), np.where(x > 0.5, np.nan, 0.01)):
        assert knee(x, y, error).position == pytest.approx(0.33, abs=0.02)
    assert knee(x, np.full(11, 13.0), np.zeros(11)).outcome == NO_KNEE


def test_the_same_readings_give_the_same_interval():
    x = np.linspace(0, 1, 11)
    y = hinge(x, 13, -4, 0.33) + 0.05 * np.sin(50 * x)
    one, two = knee(x, y, np.full(11, 0.05)), knee(x, y, np.full(11, 0.05))
    assert one == two
    assert knee(x, y, np.full(11, 0.05), seed=1).low != one.low


def test_a_thousand_values():
    x = np.linspace(0, 1, 1000)
    y = hinge(x, 13, -4, 0.33) + 0.05 * np.random.default_rng(0).normal(size=1000)
    found = knee(x, y, np.full(1000, 0.05))
    assert found.position == pytest.approx(0.33, abs=0.02)
    assert found.low < 0.33 < found.high
    assert (
        np.abs(found.level(x[x <= found.last]) - hinge(x, 13, -4, 0.33)[x <= found.last]).max()
        < 0.02
    )
