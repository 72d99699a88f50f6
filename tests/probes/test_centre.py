"""The prediction that lasts: on the reduced map's own problem, through changes, resumes and forks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from engines import assert_same_rows, here, small

from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.probes import OPTIONAL, PROBES
from eostui.probes.centre import Centre
from eostui.probes.probe_set import ProbeSet
from eostui.problems import build_problem
from eostui.runs.analysis.remarks import CENTRE_LOST, remark
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.runs.shelf import read_entry

pytestmark = pytest.mark.usefixtures("one_thread")

#: The cubic normal form, symmetric about x = 0, where S = 2/η at s = s_*.
TOY = {
    "problem": "cubic-normal-form", "dtype": "float64", "eta": 0.5, "weight_decay": 0.05, "cadence": 7,
    "far_cadence": 0,
    "problem_arguments": {"a": 0.06, "b": 1.0, "s_star": 0.5, "x_star": 0.0, "eta_star": 0.5,
                          "start": [0.02, 0.0]},
    "probes": ["centre"], "steps": 400,
}  # fmt: skip
#: η and λ are changed between readings, and at one.
SCRIPT = {
    150: [("set", {"eta": 0.47})],
    203: [("set", {"weight_decay": 0.02})],
    204: [("set", {"eta": 0.5})],
}


def test_it_is_where_the_run_is_while_that_stays_mirrored(tmp_path):
    """The run bounces between (x, s) and (−x, s): its centre is (0, s), and s is that of both."""
    with Run(here(small(**TOY), tmp_path, SCRIPT)) as run:
        measured, steps = run.measured, run.steps
        known = np.isfinite(measured["centre_radius"])
        at = measured["step"][known].astype(int)
        first = int(at[0])
        assert measured["sharpness"][measured["step"] == first] >= 2 / 0.5 - 0.05
        assert {150, 203, 204} <= set(at.tolist())
        # the run's own means over three steps are off where the bounce grows fast
        off = np.abs(measured["centre_radius"][known] - steps["bounce_norm"][at])
        assert steps["bounce_norm"][at].max() > 0.5
        assert off[at < 150].max() < 0.01
        assert np.median(off) < 0.01
        assert measured["centre_distance"][known][at < 150].max() < 0.02
        assert np.median(measured["centre_distance"][known]) < 2e-3
        assert measured["centre_way"][known].max() > 0.1
        assert not [event for event in run.events if event.kind == "centre_lost"]


def test_a_run_that_goes_on_has_the_same_columns(tmp_path):
    whole = here(small(**TOY), tmp_path, SCRIPT)
    part = here(small(**TOY), tmp_path, {**SCRIPT, 300: [("stop", {})]})
    here(Resume(read_entry(part)), tmp_path)
    assert_same_rows(part, whole, whole=True)


def test_a_fork_carries_it_on_and_follows_its_own_controls(tmp_path):
    whole = here(small(**TOY), tmp_path)
    fork = here(Fork(read_entry(whole), 250, {"eta": 0.48}), tmp_path)
    with Run(fork) as run, Run(whole) as parent:
        late = run.measured["step"] > 250
        assert np.isfinite(run.measured["centre_radius"][late]).all()
        assert run.measured["centre_distance"][late].max() < 0.02
        theirs = parent.measured["centre_sharpness"][parent.measured["step"] > 250]
        assert abs(run.measured["centre_sharpness"][late][-1] - theirs[-1]) > 0.05


class Astray(Centre):
    """Begins so far from the run that it loses it, or isn't finite soon."""

    name = "centre"
    by = 0.5

    def measure(self, point, moment):
        began = self.bounce is None
        reading = super().measure(point, moment)
        if began and self.bounce is not None:
            self.bounce = replace(self.bounce, radius=self.bounce.radius + self.by)
        return reading


@pytest.mark.parametrize(("by", "said"), [(0.5, "has lost the run"), (1e200, "escaped")])
def test_a_prediction_that_goes_astray_says_so_once_and_the_run_goes_on(
    tmp_path, monkeypatch, by, said
):
    monkeypatch.setitem(OPTIONAL, "centre", Astray)
    monkeypatch.setattr(Astray, "by", by)
    astray = here(small(**TOY), tmp_path)
    alone = here(small(**{**TOY, "probes": []}), tmp_path)
    with Run(astray) as run, Run(alone) as other:
        told = [remark(event) for event in run.events if event.kind == CENTRE_LOST]
        assert [said in each for each in told] == [True]
        assert not [event for event in run.events if event.kind in ("unmeasured", "turned_off")]
        known = np.isfinite(run.measured["centre_radius"])
        assert known[-1] == (said != "escaped")
        for name in ("sharpness", "beta", "eig_2"):
            np.testing.assert_array_equal(run.measured[name], other.measured[name])
        np.testing.assert_array_equal(run.steps["loss"], other.steps["loss"])


def test_its_products_are_counted(tmp_path):
    """One a step where the bounce can be told by gradients, beside those of S at the centre."""
    moves = []
    original = Point.hessian_product

    def counted(self, vector):
        moves.append(1)
        return original(self, vector)

    config = small(**TOY)
    problem = build_problem(config, torch.device("cpu"), tmp_path, lambda _: None)
    probes = ProbeSet(config, problem, [*PROBES, Centre])
    theta = torch.tensor([0.3, 0.5], dtype=torch.float64)
    behind = torch.tensor([0.6, 0.0], dtype=torch.float64)
    spent = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Point, "hessian_product", counted)
        for step in (7, 14):
            moment = probes.moment(step, {"eta": 0.5, "weight_decay": 0.05})
            moment.theta, moment.behind, moment.displacement = theta, behind, -behind
            point, before = Point(problem.loss, theta), len(moves)
            both = [probes.probes[name] for name in ("sharpness", "centre")]
            readings = probes.measure(both, point, moment)
            spent.append((sum(each.products for each in readings), len(moves) - before))
    assert [said for said, _ in spent] == [done for _, done in spent]
    assert spent[1][0] >= 7


def test_other_dynamics_are_refused(tmp_path):
    config = small(
        problem="two-layer-scalar", dynamics="heavy-ball", momentum=0.5, probes=["centre"]
    )
    with pytest.raises(InputError, match=r"centre: it is derived for gradient-descent"):
        here(config, tmp_path)
