"""What is told of a run that trains without a terminal."""

from __future__ import annotations

from pathlib import Path

from made import make_run

from eostui.cli.headless import _reading
from eostui.runs.run import Run
from eostui.stability import FACT, HEAVY_BALL, Description


def test_the_bar_holds_the_sharpness_against_the_threshold_of_the_dynamics(tmp_path: Path) -> None:
    heavy = Description.of("heavy-ball", HEAVY_BALL).to_json()
    with Run(make_run(tmp_path / "made-aaaa", 60)) as run:
        assert _reading(run) == "S 10 of 2/η 20  L 0.0164"
        run.facts = {**run.facts, FACT: heavy}
        assert _reading(run).startswith("S 10 of (2+2μ)/η ")
