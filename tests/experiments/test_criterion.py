"""A criterion agrees, differs, or is undecided and says why; never more than it can know."""

from __future__ import annotations

import math

import pytest

from eostui.experiments.criterion import Criterion, judged, together
from eostui.experiments.readings import Rows
from eostui.runs.analysis.outcome import nothing


def criterion(must_be, value, **more):
    stated = {"says": "it", "reading": "least", "arguments": {"column": "loss"}}
    return Criterion.model_validate(stated | {"must_be": must_be, "value": value} | more)


def rows(*values, column="loss", **more):
    made = [nothing(state="finished", seed=n, **{column: v}, **more) for n, v in enumerate(values)]
    return Rows(tuple(made), ("seed",))


@pytest.mark.parametrize(
    ("must_be", "margin", "value", "verdict"),
    [
        ("above", 0.0, 1.1, "agrees"), ("above", 0.0, 0.9, "differs"), ("above", 0.0, 1.0, "undecided"),
        ("above", 0.5, 1.6, "agrees"), ("above", 0.5, 1.4, "undecided"), ("above", 0.5, 0.6, "undecided"),
        ("above", 0.5, 0.4, "differs"),
        ("below", 0.5, 0.4, "agrees"), ("below", 0.5, 0.6, "undecided"), ("below", 0.5, 1.6, "differs"),
        ("near", 0.5, 1.4, "agrees"), ("near", 0.5, 0.6, "agrees"), ("near", 0.5, 1.5, "agrees"),
        ("near", 0.5, 1.6, "differs"), ("near", 0.5, 0.4, "differs"),
    ],
)  # fmt: skip
def test_a_value_beside_a_bound(must_be, margin, value, verdict):
    found = judged(criterion(must_be, 1.0, margin=margin), rows(value))
    assert found.verdict == verdict
    assert bool(found.why) == (verdict == "undecided")
    assert found.value.value == value


@pytest.mark.parametrize(
    ("must_be", "value", "verdict"),
    [("above", 0.0, "undecided"), ("above", -2.0, "agrees"), ("above", 4.0, "differs"),
     ("near", 1.0, "undecided"), ("near", 5.0, "differs")],
)  # fmt: skip
def test_two_standard_errors_have_to_clear_the_bound(must_be, value, verdict):
    """Mean 1, standard error 1/√3 over three seeds."""
    stated = {
        "reading": "ratio_at",
        "arguments": {"column": "loss", "to": "unit", "over": "weight_decay", "at": "smallest"},
    }
    made = rows(0.0, 1.0, 2.0, unit=1.0, weight_decay=0.0)
    found = judged(criterion(must_be, value, **stated, margin=0.1), made)
    assert found.value.error == pytest.approx(1 / math.sqrt(3))
    assert found.verdict == verdict


def test_too_few_seeds_or_members_decide_nothing():
    found = judged(criterion("above", 1.0, least_seeds=3), rows(5.0, 5.0))
    assert (found.verdict, found.why) == ("undecided", "too few seeds: 2 of 3")
    found = judged(criterion("above", 1.0, least_members=3), rows(5.0, 5.0))
    assert (found.verdict, found.why) == ("undecided", "too few members: 2 of 3")


def test_a_reading_is_set_against_another():
    """Those of seeds 0 and 1 against those of 2: 5 and 6 against 4, then against 7."""
    other = {"reading": "least", "arguments": {"column": "loss"}, "where": {"seed": 2}}
    stated = criterion("above", other, where={"seed": [0, 1]})
    assert judged(stated, rows(5.0, 6.0, 4.0)).verdict == "agrees"
    found = judged(stated, rows(5.0, 6.0, 7.0))
    assert (found.verdict, found.wanted, found.value.value) == ("differs", 7.0, 5.0)
    assert judged(stated, rows(5.0, 6.0)).why == "there is no member of seed 2"


def test_what_cant_be_read_is_undecided():
    found = judged(criterion("above", 1.0), rows(math.nan))
    assert (found.verdict, found.why) == ("undecided", "no member can be read")
    assert found.left_out == ("seed 0: has no `loss`",)


def test_one_part_that_differs_decides_then_one_that_is_undecided():
    agrees, differs, undecided = (
        judged(criterion("above", 1.0), rows(value)) for value in (2.0, 0.0, 1.0)
    )
    assert together((agrees, agrees)) == "agrees"
    assert together((agrees, undecided)) == "undecided"
    assert together((undecided, differs, agrees)) == "differs"
