"""Whether a reading was taken on the bounce: of a network that trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from engines import here, small

from eostui.panels.view import is_bouncing
from eostui.runs.run import Run


@pytest.mark.usefixtures("one_thread")
def test_a_reading_keeps_its_verdict(tmp_path: Path) -> None:
    """η falls to a thirtieth of itself two steps after a reading on the bounce, which stays one on it."""
    config = small(steps=600, cadence=50, far_cadence=0, eta=0.3)
    with Run(here(config, tmp_path, {502: [("set", {"eta": 0.01})]})) as run:
        at = run.measured["step"].tolist()
        assert {500.0, 550.0} <= set(at)
        assert not any(500 < step < 550 for step in at)
        assert {is_bouncing(run.until(step)) for step in range(500, 550)} == {True}
        assert not is_bouncing(run.until(550))
        assert not is_bouncing(run.until(0))
