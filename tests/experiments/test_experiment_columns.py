"""Columns of an experiment, of a run whose values are written down."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from made import facts
from pydantic import ValidationError
from scipy import stats

from eostui.experiments.columns import RunColumn
from eostui.oscillator import Parameters, simulate
from eostui.runs.calibration import first_hump
from eostui.runs.run import Run
from eostui.runs.store.columns import STORED_STEP_COLUMNS
from eostui.runs.store.writer import RunWriter

LAST = 100
#: Where η falls from 0.1 to 0.05, and where S, read every tenth step, first is at 2/η = 20.
CHANGE, EDGE = 60, 30
PARAMETERS = Parameters(
    eta=0.1, weight_decay=0.0, alpha=1e-3, beta=1e3, sharpness=20.0, gradient_u=1e-3, quartic=-1e3
)


def sharpness(step):
    """From 10 up to 30 at step 50, and down again."""
    return 30 - 0.4 * abs(step - 50)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """L is 2, then t^(−3/2); from step 0 on x and q are those of an oscillator with a quartic term."""
    path = tmp_path_factory.mktemp("runs") / "made"
    writer = RunWriter(path, facts(LAST, step_columns=json.dumps(STORED_STEP_COLUMNS)))
    t = np.arange(LAST + 1.0)
    columns = {name: np.ones(LAST + 1) for name in STORED_STEP_COLUMNS}
    columns["loss"] = np.where(t > 0, np.maximum(t, 1) ** -1.5, 2.0)
    columns["eta"] = np.where(t < CHANGE, 0.1, 0.05)
    columns["weight_decay"] = 0 * t
    constants = {name: getattr(PARAMETERS, name) for name in Parameters.names()}
    payload = {"number": 1, "step": 0, "beta_alpha": PARAMETERS.alpha * PARAMETERS.beta}
    writer.event(0, "calibrated", constants | payload)
    writer.steps(0, np.stack([columns[name] for name in STORED_STEP_COLUMNS], axis=1))
    orbit = simulate(PARAMETERS, (0.0, 0.0), LAST, eta=columns["eta"][:-1])
    writer.calibrated(1, 0, np.stack([orbit.x, orbit.q], axis=1))
    for step in range(0, LAST + 1, 10):
        writer.measurement(step, {"sharpness": sharpness(step), "test_loss": (step - 40) ** 2})
    writer.close()
    with Run(path) as opened:
        yield opened


READ = np.arange(0, LAST + 1, 10)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"of": "sharpness", "take": "first"}, 10.0),
        ({"of": "sharpness", "take": "last"}, 10.0),
        ({"of": "sharpness", "take": "greatest"}, 30.0),
        ({"of": "sharpness", "take": "step of greatest"}, 50.0),
        ({"of": "test_loss", "take": "step of least"}, 40.0),
        ({"of": "sharpness", "take": "least", "from": "edge", "until": CHANGE}, 22.0),
        ({"of": "sharpness", "take": "greatest", "until": "edge"}, 18.0),
        ({"of": "sharpness", "take": "greatest", "from": "change"}, 26.0),
        ({"of": "sharpness", "take": "mean", "from": 0.25, "until": 0.5}, 24.0),
        ({"of": "sharpness", "take": "median", "from": 20, "until": 50}, 22.0),
        ({"of": "sharpness", "take": "late mean"}, 12.0),
        ({"of": "sharpness", "less": "two_over_eta", "take": "greatest"}, 10.0),
        ({"of": "sharpness", "less": "two_over_eta", "take": "share above 0"}, 3 / 11),
        ({"of": "sharpness", "to": "two_over_eta", "take": "least", "from": "change"}, 0.25),
        ({"of": "sharpness", "less": "eta", "to": "eta", "take": "first"}, 99.0),
        ({"of": "sharpness", "take": "mean change"}, 4.0),
        ({"of": "sharpness", "take": "mean change", "from": 95}, math.nan),
        ({"of": "loss", "take": "log slope", "beside": "step"}, -1.5),
        ({"of": "loss", "take": "log slope", "beside": "theta_norm"}, math.nan),
        ({"of": "sharpness", "take": "rank correlation", "beside": "loss", "from": 50}, 1.0),
        ({"of": "sharpness", "take": "rank correlation", "beside": "step", "from": 50}, -1.0),
        ({"of": "sharpness", "take": "rank correlation", "beside": "theta_norm"}, math.nan),
        ({"of": "sharpness", "take": "rank correlation", "beside": "test_loss"},
         stats.spearmanr([sharpness(t) for t in READ], (READ - 40) ** 2).statistic),
        ({"of": "nothing", "take": "first"}, math.nan),
        ({"of": "sharpness", "less": "nothing", "take": "first"}, math.nan),
    ],
)  # fmt: skip
def test_a_column_of_a_run(run, stated, expected):
    found = RunColumn.model_validate(stated).value(run)
    assert found == pytest.approx(expected, nan_ok=True)


def test_an_edge_or_a_change_that_never_came_leaves_nothing(tmp_path):
    writer = RunWriter(tmp_path / "flat", facts(5, step_columns=json.dumps(STORED_STEP_COLUMNS)))
    writer.steps(0, np.ones((6, len(STORED_STEP_COLUMNS))))
    writer.close()
    with Run(tmp_path / "flat") as flat:
        for place in ("edge", "change"):
            for end in ("from", "until"):
                stated = {"of": "loss", "take": "first", end: place}
                assert math.isnan(RunColumn.model_validate(stated).value(flat))


def test_the_first_hump_as_it_was_as_it_was_predicted_and_without_the_quartic_term(run):
    """The network here is the map with the term, so that its prediction is right."""
    eta = run.steps["eta"][:-1]
    offset = PARAMETERS.sharpness - run.steps["two_over_eta"]

    def hump(parameters):
        return first_hump(simulate(parameters, (0.0, 0.0), LAST, eta=eta).q + offset, 0)

    exact, cubic = hump(PARAMETERS), hump(replace(PARAMETERS, quartic=0.0))
    assert exact.trough > cubic.trough + 1
    for suffix, expected in (("", exact), ("_predicted", exact), ("_cubic", cubic)):
        for part in ("peak", "trough"):
            column = RunColumn(of=f"hump_{part}{suffix}", take="first")
            assert column.value(run) == pytest.approx(getattr(expected, part))


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({"take": "rank correlation"}, '`take` = "rank correlation" needs a column `beside`'),
        ({"take": "first", "beside": "eta"}, '`beside` says nothing where `take` is "first"'),
        ({"take": "late mean", "from": 3}, "the late mean has its own steps"),
        ({"take": "first", "from": -1}, "from"),
        ({"take": "first", "until": 1.5}, "until"),
    ],
)
def test_columns_that_cant_be_are_told(stated, sentence):
    with pytest.raises(ValidationError, match=re.escape(sentence)):
        RunColumn.model_validate({"of": "loss"} | stated)


def test_what_a_file_doesnt_state_of_a_column_changes_no_digest():
    stated = {"of": "eig_2", "take": "late mean"}
    assert RunColumn.model_validate(stated).model_dump(mode="json") == stated
