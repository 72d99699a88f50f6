"""Each criterion of each shipped experiment agrees with made members that show it, and differs from
those that contradict it."""

from __future__ import annotations

import itertools
import math

import pytest

from eostui.experiments.criterion import judged
from eostui.experiments.experiment import available, load
from eostui.experiments.readings import Rows
from eostui.runs.analysis.outcome import nothing

EXPERIMENTS = [load(name) for name in available()]
CRITERIA = [
    pytest.param(each.plan(), criterion, id=f"{each.name}-{number}")
    for each in EXPERIMENTS
    for number, criterion in enumerate(each.definition.criteria, 1)
]
#: By what a made ratio, level or size is off where it contradicts, beyond what is allowed.
FAR = 2.0


def members(plan):
    """A row for each member of a plan, with its settings and what every summary has."""
    settings = tuple(dict.fromkeys(key for axis in plan.axes for key in axis.keys))
    rows = [
        nothing(
            state="finished", at_rest=True, seed=config.seed, last_step=config.steps,
            two_over_eta=2 / config.eta, stability_threshold=2 / config.eta - config.weight_decay,
            **{key: own[key] for key in settings if key != "seed"},
        )
        for own, config in zip(plan.settings(), plan.configs(), strict=True)
    ]  # fmt: skip
    return rows, settings


def chosen(rows, where):
    return [
        row
        for row in rows
        if all(
            row.get(key) in (value if isinstance(value, list) else [value])
            for key, value in where.items()
        )
    ]


def ranked(rows, over):
    """Each row's place among the values of a setting, or of a column that is given them as it rises."""
    values = [row.get(over, math.nan) for row in rows]
    if any(value != value for value in values):  # a column that nothing fills yet: one value a row
        for place, row in enumerate(rows):
            row[over] = float(place + 1)
        return list(range(len(rows)))
    order = sorted({*values})
    return [order.index(value) for value in values]


def fill(rows, reading, arguments, level, spread):
    """Fill the columns that a reading takes so that it comes to about `level`.

    Where it takes an order, a peak or the like, the sign of `spread` is its own.
    """
    column, over = arguments.get("column"), arguments.get("over")
    up = 1.0 if spread > 0 else -1.0
    if reading in ("change", "least_change"):
        last = max(ranked(rows, over)) or 1
        for row, place in zip(rows, ranked(rows, over), strict=True):
            row[column] = 10 * (1 + level * place / last)
    elif reading in ("order", "least_order", "greatest_order", "mean_order", "order_over_seeds"):
        for row, place in zip(rows, ranked(rows, over), strict=True):
            row[column] = 10 + up * place
    elif reading == "peak_over_end":
        places = ranked(rows, over)
        for row, place in zip(rows, places, strict=True):
            row[column] = 10.0 if 0 < place < max(places) else 10 - spread
    elif reading in ("share", "share_at"):
        for row in rows:
            row[column] = 5.0 if spread > 0 else math.nan
            row[arguments.get("known") or "tail_share"] = 1.0
    elif reading == "diverged":
        for row in rows:
            row["state"] = "diverged" if spread > 0 else "finished"
    elif reading == "spread":
        for place, row in enumerate(rows):
            row[column] = 10 + (place % 2) * (20 if spread > 0 else 0.1)
    elif reading == "knee":
        places = ranked(rows, over)
        for row, place in zip(rows, places, strict=True):
            row[column] = 20 - (max(place - len(places) / 2, 0) if spread > 0 else 0)
            row[f"{column}_error"] = 0.05
    else:  # a level of one column, or of its ratio to another
        for row in rows:
            to = arguments.get("to")
            if to and not math.isfinite(row.get(to, math.nan)):
                row[to] = 3.0
            row[column] = level * (row[to] if to else 1)


def made(plan, criterion, *, shows):
    """Members that show what a criterion asks, or the contrary."""
    rows, settings = members(plan)
    wanted = 1.0 if not isinstance(criterion.value, int | float) else criterion.value
    if criterion.must_be == "near":
        level = wanted + (0 if shows else FAR * criterion.margin + 1e-9)
        sign = 1
    else:
        sign = 1 if (criterion.must_be == "above") == shows else -1
        level = wanted + sign * (FAR * criterion.margin + 0.5 * (abs(wanted) or 1))
    if not isinstance(criterion.value, int | float):
        other = criterion.value
        fill(chosen(rows, other.where), other.reading, other.arguments, wanted, 1.0)
    fill(chosen(rows, criterion.where), criterion.reading, criterion.arguments, level, sign)
    return Rows(tuple(rows), settings)


@pytest.mark.parametrize(("plan", "criterion"), CRITERIA)
def test_a_criterion_agrees_with_its_claim_and_differs_from_the_contrary(plan, criterion):
    shown = judged(criterion, made(plan, criterion, shows=True))
    assert shown.verdict == "agrees", (shown.why, shown.value, shown.wanted)
    contrary = judged(criterion, made(plan, criterion, shows=False))
    assert contrary.verdict == "differs", (contrary.why, contrary.value, contrary.wanted)


def test_no_two_experiments_state_the_same_twice():
    """The same reading of the same members, decided the same way, would be one result told twice."""
    stated = [
        (each.definition.twin, repr(each.definition.columns), criterion.model_dump_json())
        for each in EXPERIMENTS
        for criterion in each.definition.criteria
    ]
    twice = [a for a, b in itertools.pairwise(sorted(stated)) if a == b]
    assert not twice
