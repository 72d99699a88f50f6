"""Readings of rows whose answer is known, for a claim and against it."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from scipy import stats

from eostui.experiments.readings import READINGS, NotReadError, Rows, check
from eostui.runs.analysis.outcome import nothing

DECAYS = (0.0, 1e-3, 3e-3, 1e-2)


def row(**known):
    state = {
        "state": "finished",
        "at_rest": True,
        "seed": 10,
        "last_step": 2000,
        "two_over_eta": 20.0,
    }
    return nothing(**(state | known))


def over_decay(values, column="resting_sharpness", **more):
    """A member for each λ with these values of a column."""
    rows = [row(weight_decay=d, **{column: v}, **more) for d, v in zip(DECAYS, values, strict=True)]
    return Rows(tuple(rows), ("weight_decay",))


def read(name, rows, **arguments):
    check(name, arguments)
    return READINGS[name](rows, **arguments)


FALLING, RISING = (20.0, 19.0, 15.0, 10.0), (10.0, 15.0, 19.0, 20.0)
OVER = {"column": "resting_sharpness", "over": "weight_decay"}


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("change", FALLING, -0.5), ("change", RISING, 1.0), ("change", (20.0,) * 4, 0.0),
        ("change", (-2.0, 0.0, 1.0, -1.0), 0.5),
        ("order", FALLING, -1.0), ("order", RISING, 1.0), ("order", (20.0,) * 4, 0.0),
        ("order", (1.0, 2.0, 1.5, 0.5), -1 / 3),
    ],
)  # fmt: skip
def test_a_change_and_an_order_over_a_setting(name, values, expected):
    """Whatever the order of the members."""
    rows = over_decay(values)
    for order in itertools.permutations(rows.rows):
        found = read(name, Rows(order, rows.settings), **OVER)
        assert found.value == pytest.approx(expected)
        assert (found.members, found.seeds) == (4, 1)
        assert math.isnan(found.error)


def test_order_is_kendalls_tau_where_nothing_ties():
    values = (3.0, 1.0, 4.0, 2.5)
    expected = stats.kendalltau(DECAYS, values).statistic
    assert read("order", over_decay(values), **OVER).value == pytest.approx(expected)


def test_seeds_are_read_one_by_one_and_give_the_error():
    """Three seeds whose levels differ by far more than what λ does to each: falls of 0.1, 0.2, 0.3."""
    rows = [
        row(weight_decay=d, seed=s, resting_sharpness=10.0**s * (1 - fall * (d > 0)))
        for s, fall in ((1, 0.1), (2, 0.2), (3, 0.3))
        for d in (0.0, 1e-2)
    ]
    found = read("change", Rows(tuple(rows), ("weight_decay", "seed")), **OVER)
    assert found.value == pytest.approx(-0.2)
    assert found.error == pytest.approx(0.1 / math.sqrt(3))
    assert (found.seeds, found.members) == (3, 6)


def test_members_without_a_value_are_left_out_with_the_reason():
    """Not at rest, failed, diverged with a number all the same, and without the column."""
    rows = list(over_decay(FALLING).rows)
    rows[1] |= {"resting_sharpness": math.nan, "at_rest": False, "not_at_rest": "it drifts"}
    rows[2] |= {"resting_sharpness": 1.0, "state": "diverged", "sentence": "the loss is inf"}
    rows.append(row(weight_decay=4e-3, state="failed", sentence="no memory"))
    rows.append(row(weight_decay=5e-3))
    found = read("change", Rows(tuple(rows), ("weight_decay",)), **OVER)
    assert (found.value, found.members) == (-0.5, 2)
    assert found.left_out == (
        "λ 0.001: not at rest: it drifts",
        "λ 0.003: diverged: the loss is inf",
        "λ 0.004: failed: no memory",
        "λ 0.005: has no `resting_sharpness`",
    )


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("name", ["change", "least_change"])
def test_a_change_takes_both_ends(name, end):
    """A seed that lacks one is left out; where all do there is no change; what diverged is no end."""
    whole = [row | {"seed": 1} for row in over_decay(FALLING).rows]
    part = [row | {"seed": 2} for row in over_decay((40.0, 30.0, 20.0, 10.0)).rows]
    part[end] |= {"resting_sharpness": math.nan, "at_rest": False, "not_at_rest": "it drifts"}
    both = ("weight_decay", "seed")
    found = read(name, Rows((*whole, *part), both), **OVER)
    assert (found.value, found.seeds, found.members) == (-0.5, 1, 4)
    assert "not at rest: it drifts" in " ".join(found.left_out)
    with pytest.raises(NotReadError, match=r"no seed can be read at both ends, λ 0 and 0\.01"):
        read(name, Rows(tuple(part), both), **OVER)
    part[end] |= {"state": "diverged", "sentence": "the loss is inf"}
    expected = (10 - 30) / 30 if end == 0 else (20 - 40) / 40
    assert read(name, Rows(tuple(part), both), **OVER).value == pytest.approx(expected)


def test_too_little_to_read_is_no_number():
    rows = over_decay((20.0, math.nan, math.nan, math.nan))
    for name in ("change", "order"):
        with pytest.raises(NotReadError, match="two values of λ, 1 members") as raised:
            read(name, rows, **OVER)
        assert len(raised.value.left_out) == 3
    with pytest.raises(NotReadError, match="0 where the change is counted from"):
        read("change", over_decay((0.0, 1.0, 2.0, 3.0)), **OVER)
    for name, arguments in (
        ("least", {}),
        ("greatest", {}),
        ("spread", {}),
        ("knee", {"over": "seed"}),
    ):
        with pytest.raises(NotReadError):
            read(name, Rows((), ()), column="resting_sharpness", **arguments)


def test_another_setting_that_differs_is_refused_and_groups_are_read_apart():
    """At η 0.1 it falls with λ, at 0.2 it rises: the least is that of 0.1."""
    rows = [
        row(weight_decay=d, eta=eta, resting_sharpness=v)
        for eta, values in ((0.1, FALLING), (0.2, RISING))
        for d, v in zip(DECAYS, values, strict=True)
    ]
    both = Rows(tuple(rows), ("weight_decay", "eta"))
    with pytest.raises(NotReadError, match="`eta` differs too"):
        read("change", both, **OVER)
    assert read("least_change", both, **OVER).value == pytest.approx(-0.5)
    assert read("least_order", both, **OVER).value == -1
    assert read("least_order", both, **OVER).members == 8


def test_an_event_that_never_came_counts_at_the_last_step():
    rows = over_decay((500.0, 700.0, math.nan, math.nan), "onset")
    late = read("order", rows, column="onset", over="weight_decay", never="last_step")
    assert late.value == pytest.approx(5 / 6)  # the two that never came tie
    assert late.members == 4
    assert read("order", rows, column="onset", over="weight_decay").members == 2


def test_over_a_column_settings_may_differ():
    rows = over_decay(FALLING, tail_sharpness=0.0)
    ratios = [
        each | {"tail_sharpness": each["resting_sharpness"], "ratio": -i}
        for i, each in enumerate(rows.rows)
    ]
    found = read("order", Rows(tuple(ratios), rows.settings), column="ratio", over="tail_sharpness")
    assert found.value == 1


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("ratio_at", {"over": "weight_decay", "at": "smallest", "to": "two_over_eta"}, 1.0),
        ("ratio_at", {"over": "weight_decay", "at": "largest", "to": "two_over_eta"}, 0.5),
        ("least_ratio", {"to": "two_over_eta"}, 0.5), ("greatest_ratio", {"to": "two_over_eta"}, 1.0),
        ("least", {}, 10.0), ("greatest", {}, 20.0),
    ],
)  # fmt: skip
def test_ratios_and_extremes(name, arguments, expected):
    found = read(name, over_decay(FALLING), column="resting_sharpness", **arguments)
    assert found.value == pytest.approx(expected)


def test_the_member_at_an_end_isnt_replaced_by_the_next():
    rows = over_decay((*FALLING[:3], math.nan))
    with pytest.raises(NotReadError):
        read("ratio_at", rows, column="resting_sharpness", to="two_over_eta", over="weight_decay",
             at="largest")  # fmt: skip


def test_a_share_counts_members_that_were_looked_at():
    """One crossed, one didn't, one's drives weren't measured, one failed."""
    rows = [
        row(weight_decay=1.0, crossing=50, critical_weight_decay=0.5),
        row(weight_decay=2.0, critical_weight_decay=0.5),
        row(weight_decay=3.0),
        row(weight_decay=4.0, crossing=50, state="failed"),
    ]
    made = Rows(tuple(rows), ("weight_decay",))
    arguments = {"column": "crossing", "known": "critical_weight_decay"}
    found = read("share", made, **arguments)
    assert (found.value, found.members, len(found.left_out)) == (0.5, 2, 2)
    assert math.isnan(found.error)
    assert read("share", made, column="crossing").value == pytest.approx(1 / 3)
    assert read("share_at", made, over="weight_decay", at="smallest", **arguments).value == 1
    with pytest.raises(NotReadError):
        read("share_at", made, over="weight_decay", at="largest", **arguments)


def test_a_spread_over_seeds():
    rows = [row(seed=s, tail_sharpness=v) for s, v in ((1, 9.0), (2, 10.0), (3, 11.0))]
    found = read("spread", Rows(tuple(rows), ("seed",)), column="tail_sharpness")
    assert (found.value, found.error) == (pytest.approx(0.1), pytest.approx(0.05))
    with pytest.raises(NotReadError, match="two seeds"):
        read("spread", Rows(tuple(rows[:1]), ("seed",)), column="tail_sharpness")


def levels(values):
    rows = [
        row(weight_decay=d, resting_sharpness=v, resting_sharpness_error=0.05)
        for d, v in enumerate(values)
    ]
    return Rows(tuple(rows), ("weight_decay",))


def test_a_knee_is_there_or_not_or_not_decided():
    """A level and a line; a level alone; a smooth curve, which is neither."""
    noise = (0.03, -0.05, 0.04, -0.02, 0.01, -0.04, 0.02, 0.0)
    bent = [20 - max(n - 3.5, 0) * 2 + e for n, e in enumerate(noise)]
    assert read("knee", levels(bent), **OVER).value == 1
    assert read("knee", levels([20 + e for e in noise]), **OVER).value == 0
    with pytest.raises(NotReadError, match="hardly lie on a level and a line"):
        read("knee", levels([20 - n**2 for n in range(10)]), **OVER)
    with pytest.raises(NotReadError, match="not enough members"):
        read("knee", levels(bent[:3]), **OVER)
    with pytest.raises(NotReadError, match="`seed` doesn't differ"):
        read("knee", Rows(levels(bent).rows, ()), column="resting_sharpness", over="seed")


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("chnge", {}, "there is no reading `chnge`; did you mean `change`?"),
        ("change", {"colum": "x"}, "reading `change`: unknown argument `colum`; did you mean `column`?"),
        ("change", {"column": "x"}, "reading `change`: its argument `over` is missing"),
        ("least", {"column": 3}, "reading `least`: `column` is 3, but must be a text"),
        ("share_at", {"at": "last"},
         'reading `share_at`: `at` is "last", but must be smallest or largest'),
    ],
)  # fmt: skip
def test_wrong_readings_are_told(name, arguments, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        check(name, arguments)


def over_eta_and_decay(values, column="resting_sharpness", seed=10):
    """A member for each η and λ: values[i][j] at η number i and λ number j."""
    return [
        row(eta=0.1 * (i + 1), weight_decay=d, seed=seed, **{column: v})
        for i, line in enumerate(values)
        for d, v in zip(DECAYS, line, strict=True)
    ]


def test_the_greatest_and_the_mean_order_over_groups():
    """At η 0.1 it falls with λ, at 0.2 it rises but for one pair: τ −1 and 2/3."""
    rows = Rows(
        tuple(over_eta_and_decay([FALLING, (10.0, 15.0, 20.0, 19.0)])), ("eta", "weight_decay")
    )
    assert read("greatest_order", rows, **OVER).value == pytest.approx(2 / 3)
    assert read("least_order", rows, **OVER).value == -1
    found = read("mean_order", rows, **OVER)
    assert (found.value, found.members, found.seeds) == (pytest.approx(-1 / 6), 8, 1)
    assert math.isnan(found.error)


def test_the_mean_order_over_groups_has_the_error_over_seeds():
    """Group 0.1 has τ −1 and 1/3 of its seeds, group 0.2 has 1 of both: over both groups 0 and 2/3."""
    made = over_eta_and_decay([FALLING, RISING], seed=1)
    made += over_eta_and_decay([(1.0, 3.0, 2.0, 2.5), RISING], seed=2)
    found = read("mean_order", Rows(tuple(made), ("eta", "weight_decay", "seed")), **OVER)
    assert found.value == pytest.approx((-1 / 3 + 1) / 2)
    assert found.error == pytest.approx(2 / 3 / 2)
    assert found.seeds == 2


def test_groups_that_share_their_seeds_are_no_more_seeds():
    """τ is −1, 1/3 and 1 of three seeds in each of three groups: as sure as one group is."""
    lines = (FALLING, (1.0, 3.0, 2.0, 2.5), RISING)
    made = [r for seed, line in enumerate(lines) for r in over_eta_and_decay([line] * 3, seed=seed)]
    keys = ("eta", "weight_decay", "seed")
    found = read("mean_order", Rows(tuple(made), keys), **OVER)
    one = read("order", Rows(tuple(r for r in made if r["eta"] == 0.1), keys), **OVER)
    assert (found.value, found.error) == (pytest.approx(one.value), pytest.approx(one.error))
    # a group that lacks a seed has it left out of all
    lacking = [r for r in made if not (r["eta"] == 0.1 and r["seed"] == 2)]
    fewer = read("mean_order", Rows(tuple(lacking), keys), **OVER)
    assert (fewer.seeds, fewer.value) == (2, pytest.approx(-1 / 3))
    apart = [r for r in made if (r["eta"] == 0.1) == (r["seed"] == 2)]
    with pytest.raises(NotReadError, match="no seed can be read in every group"):
        read("mean_order", Rows(tuple(apart), keys), **OVER)


def test_an_order_over_the_seeds_of_each_group():
    """Within each η accuracy rises with S but for one pair, though from η to η it falls: 1 and 1/3."""
    made = [
        row(eta=eta, seed=seed, tail_sharpness=10 * eta + seed, resting_test_accuracy=a - 10 * eta)
        for eta, accuracies in ((0.1, (0.1, 0.2, 0.3)), (0.2, (0.1, 0.3, 0.2)))
        for seed, a in enumerate(accuracies)
    ]
    arguments = {"column": "resting_test_accuracy", "over": "tail_sharpness"}
    found = read("order_over_seeds", Rows(tuple(made), ("eta", "seed")), **arguments)
    assert found.value == pytest.approx(2 / 3)
    assert found.error == pytest.approx(1 / 3)
    assert (found.seeds, found.members) == (3, 6)
    with pytest.raises(NotReadError, match="three seeds in one place"):
        read("order_over_seeds", Rows(tuple(made[:2]), ("eta", "seed")), **arguments)


def peaks(*curves):
    made = [
        row(weight_decay=d, seed=seed, resting_test_accuracy=v)
        for seed, curve in enumerate(curves)
        for d, v in zip(DECAYS, curve, strict=True)
    ]
    return Rows(tuple(made), ("weight_decay", "seed"))


def over_end(at, *curves):
    arguments = {"column": "resting_test_accuracy", "over": "weight_decay", "at": at}
    return read("peak_over_end", peaks(*curves), **arguments)


def test_a_peak_over_an_end():
    """Of one seed its own; of several each is read at the value that the others choose."""
    assert over_end("smallest", (0.2, 0.9, 0.5, 0.4)).value == pytest.approx(0.7)
    assert over_end("largest", (0.2, 0.9, 0.5, 0.4)).value == pytest.approx(0.5)
    assert over_end("largest", (0.2, 0.5, 0.8, 0.9)).value == 0  # it rises throughout
    # seeds 0 and 1 have their peaks apart: what each read at its own isn't there at the other's
    found = over_end("smallest", (0.0, 1.0, 0.2, 0.0), (0.0, 0.3, 1.0, 0.0))
    assert found.value == pytest.approx((0.2 + 0.3) / 2)
    assert found.error == pytest.approx(0.05)
    assert (found.seeds, found.members) == (2, 8)


def test_noise_has_no_peak_over_its_ends():
    """Twelve seeds of noise: the best value of each by itself would lie 1 above its end."""
    random = np.random.default_rng(3)
    found = over_end("smallest", *random.normal(size=(12, len(DECAYS))))
    assert abs(found.value) < 2 * found.error


def test_a_peak_takes_values_that_every_seed_has():
    made = peaks((0.1, 0.2, 0.3, 0.4), (0.1, 0.9, 0.3, 0.4)).rows
    some = Rows((*made[:2], made[4], made[6]), ("weight_decay", "seed"))
    with pytest.raises(NotReadError, match="two values of λ that each seed has, 1 can be read"):
        read(
            "peak_over_end", some, column="resting_test_accuracy", over="weight_decay", at="largest"
        )


def test_means_over_seeds():
    rows = Rows(
        tuple(row(weight_decay=d, seed=s, loss=d + s) for d in (0.0, 10.0) for s in (1, 2, 3)),
        ("weight_decay", "seed"),
    )
    found = read("mean_at", rows, column="loss", over="weight_decay", at="largest")
    assert (found.value, found.seeds) == (12, 3)
    assert found.error == pytest.approx(1 / math.sqrt(3))
    with pytest.raises(NotReadError, match="`weight_decay` differs too"):
        read("mean", rows, column="loss")
    assert read("mean", Rows(rows.rows[:3], rows.settings), column="loss").value == 2


def test_the_share_that_diverged_is_of_those_that_ended():
    states = ("finished", "diverged", "stopped", "diverged", "failed", "waiting")
    made = Rows(
        tuple(row(weight_decay=n, state=s) for n, s in enumerate(states)), ("weight_decay",)
    )
    found = read("diverged", made)
    assert (found.value, found.members) == (0.5, 4)
    assert found.left_out == ("λ 4: failed", "λ 5: waiting")
    with pytest.raises(NotReadError):
        read("diverged", Rows(made.rows[4:], made.settings))
