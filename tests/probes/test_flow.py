"""The small-step flow beside a run: where plain descent with that η comes to, carried on to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from engines import assert_same_rows, entry, here, small

from eostui.errors import InputError
from eostui.panels.flow import FLOW
from eostui.panels.panel import chart_of, title_of
from eostui.panels.view import RunView
from eostui.runs.analysis.remarks import FLOW_COARSE, remark
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

NET = {
    "dtype": "float64", "eta": 0.2, "weight_decay": 0.02, "cadence": 5, "far_cadence": 0, "steps": 60,
    "probes": ["flow"], "flow_at": 12, "flow_substeps": 4, "decay_biases": False,
}  # fmt: skip


def test_it_is_where_a_run_with_that_eta_comes_to(tmp_path):
    """Forked at the same θ with η/4: its steps 4k from there on are the flow's of k, to the bit."""
    whole = here(small(**NET), tmp_path / "whole", {30: [("set", {"sharp_step": 0.0})]})
    small_steps = here(
        Fork(entry(whole), 12, {"eta": 0.05, "steps": 12 + 4 * 48, "cadence": 4, "probes": []}),
        tmp_path / "small",
    )
    with Run(whole) as run, Run(small_steps) as slow:
        known = np.isfinite(run["flow_loss"])
        at = known.nonzero()[0]
        assert at.tolist() == [12, *range(15, 61, 5)]
        np.testing.assert_array_equal(run["flow_loss"][at], slow["loss"][12 + 4 * (at - 12)])
        np.testing.assert_allclose(
            run["flow_sharpness"][at], slow["sharpness"][12 + 4 * (at - 12)], rtol=3e-5
        )
        assert run["flow_distance"][12] == 0
        assert run["flow_distance"][60] > 0


def test_it_follows_eta_and_goes_on_resumed_forked_and_from_the_edge(tmp_path):
    values = {**NET, "flow_at": "edge", "steps": 70}
    script = {33: [("set", {"eta": 0.15})], 48: [("set", {"weight_decay": 0.0})]}
    whole = here(small(**values), tmp_path / "a", script)
    part = here(small(**values), tmp_path / "b", {**script, 40: [("stop", {})]})
    here(Resume(entry(part)), tmp_path / "b", {48: script[48]})
    assert_same_rows(part, whole, whole=True)
    fork = here(Fork(entry(whole), 50, {}), tmp_path / "c")
    assert_same_rows(fork, whole, whole=True)
    with Run(whole) as run:
        first = int(np.isfinite(run["flow_loss"]).nonzero()[0][0])
        assert run["sharpness"][first] >= run["stability_threshold"][first]
        assert {33, 48} <= {*np.isfinite(run["flow_loss"]).nonzero()[0].tolist()}
        drawn = {c.label: c.y for c in chart_of(FLOW, RunView(run, "finished"), "linear").curves}
        np.testing.assert_array_equal(
            drawn["S of flow"], run["flow_sharpness"][np.isfinite(run["flow_sharpness"])]
        )
        _, losses, apart = title_of(FLOW, RunView(run, "finished"), "linear")
        assert losses.startswith("L ")
        assert apart.endswith(" apart")


def test_steps_that_are_no_flow_are_told_once(tmp_path):
    with Run(here(small(**{**NET, "flow_substeps": 1, "flow_at": 0}), tmp_path)) as run:
        told = [event for event in run.events if event.kind == FLOW_COARSE]
        assert len(told) == 1
        assert "take more `flow_substeps`" in remark(told[0])
        np.testing.assert_array_equal(  # which are those of the run itself
            run["flow_distance"][np.isfinite(run["flow_distance"])], 0.0
        )


def test_what_it_cannot_be_is_refused_and_said(tmp_path):
    with pytest.raises(InputError, match=r"`flow_at` is 60, but must be below `steps`, 60"):
        small(**{**NET, "flow_at": 60})
    path = here(small(**{**NET, "steps": 14, "flow_at": 12, "probes": []}), tmp_path)
    with pytest.raises(InputError, match=r"`flow_at` is 5, but the fork of .* begins at step 10"):
        _ = Fork(entry(path), 10, {"probes": ["flow"], "flow_at": 5}).config
    with pytest.raises(InputError, match="it is the flow of gradient-descent"):
        here(small(**NET, dynamics="heavy-ball"), tmp_path)
    with Run(path) as run:
        chart = chart_of(FLOW, RunView(run, "finished"), "linear")
        assert chart.waiting == "no flow: --probe flow"
