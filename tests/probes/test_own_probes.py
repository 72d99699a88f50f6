"""A probe that is defined here alone: run, killed, resumed, forked, replayed, exported; a failing one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engines import Engine, assert_same_rows, derived, entry, here, small

from eostui.runs.launch import Resume
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

FILE = Path(__file__).parent / "class_means.py"
OWN = {"probes": [f"{FILE}:ClassMeans"], "steps": 400}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A run with the probe, never interrupted."""
    return here(small(**OWN), tmp_path_factory.mktemp("plain"))


def test_a_probe_is_run_killed_resumed_and_replayed_to_the_bit(plain, tmp_path):
    """In a process of its own, ended by SIGKILL: arrays, random numbers and remarks come again."""
    engine = Engine(small(**OWN), tmp_path)
    assert "a probe is loaded" in engine.told
    engine.reaches(150)
    engine.kill()
    resumed = Engine(Resume(entry(engine.path), small(**OWN)), tmp_path)
    assert resumed.ended() == 0
    assert_same_rows(plain, resumed.path, whole=True)
    assert derived(resumed.path) == derived(plain)
    with Run(plain) as run:
        means = run.measured["mean_outputs"]
        at = run.measured["step"] % 7 == 0
        assert means.shape == (len(at), 10)
        assert np.isfinite(means[at]).all()
        assert np.isnan(means[~at]).all()
        assert run.measured["step"][at].tolist() == list(range(0, 401, 7))
        both = ~np.isnan(run.measured["reading_of_s"])
        np.testing.assert_array_equal(
            run.measured["reading_of_s"][both], run.measured["sharpness"][both]
        )
        assert both.any()


def test_a_probe_changes_nothing_of_a_run(plain, tmp_path):
    """Every column of the run without it is the same; what is spent on it is counted."""
    without = here(small(steps=400), tmp_path)
    with Run(plain) as one, Run(without) as other:
        mine, others = one.columns(), other.columns()
        for name in others.keys() - {"hessian_products"}:
            rows = ~np.isnan(others[name])
            np.testing.assert_array_equal(mine[name][rows], others[name][rows], name)
