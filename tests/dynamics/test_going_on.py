"""Dynamics with a schedule, steered, their average turned on and off: gone on with to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from engines import assert_same_rows, entry, here, small

from eostui.engine.replay import replay
from eostui.engine.session import EngineSession
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

#: The average is on from 7, off from 22, and on again, anew, from 27.
ON, OFF, AGAIN = 7, 22, 27
SCRIPT = {
    ON: [("probe", {"probe": "ema", "on": True})],
    15: [("set", {"eta": 0.004})],
    OFF: [("probe", {"probe": "ema", "on": False})],
    AGAIN: [("probe", {"probe": "ema", "on": True})],
}


def averages(path):
    with Run(path) as run:
        known = np.isfinite(run.measured["ema_norm"])
        return {
            int(step): (norm, distance)
            for step, norm, distance in zip(
                *(run.measured[name][known] for name in ("step", "ema_norm", "ema_distance")),
                strict=True,
            )
        }


@pytest.mark.parametrize("dynamics", ["nesterov", "adamw", "sgd", "sphere-sgd"])
def test_resumed_forked_and_replayed_it_is_the_same_to_the_bit(tmp_path, dynamics):
    own = small(
        dynamics=dynamics, steps=40, samples=40, width=8, eta=0.01, weight_decay=0.01, batch_size=16,
        cadence=20, far_cadence=0, test_cadence=1, checkpoint_every=0, ema_decay=0.8, warm_up=5,
        controls=[{"step": 12, "eta_factor": 0.5, "warm_up": 6}, {"at_accuracy": 0.02, "eta": 0.006}],
    )  # fmt: skip
    whole = here(own, tmp_path, SCRIPT)
    found = averages(whole)
    assert [*found] == [*range(ON, OFF), *range(AGAIN, 41)]
    for begun in (ON, AGAIN):  # anew: it is the iterate where it is turned on, and only there
        assert found[begun][1] == 0
        assert found[begun + 1][1] > 0
    part = here(own, tmp_path, {**SCRIPT, 24: [("stop", {})]})  # with the average off
    here(Resume(entry(part)), tmp_path, {AGAIN: SCRIPT[AGAIN]})
    assert_same_rows(whole, part, whole=True)
    for at in (15, 33):
        forked = averages(here(Fork(entry(whole), at, {}), tmp_path))
        assert max(forked) == 40
        # what the parent turns on or off later the fork doesn't
        same = [step for step in forked if step < OFF or at >= AGAIN]
        assert [forked[step] for step in same] == [found[step] for step in same]
    session = EngineSession(entry(whole).config, tmp_path, lambda _text: None, whole)
    assert replay(session, whole, lambda *_steps: None).differences == []
