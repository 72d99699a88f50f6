"""What a viewer says that a run can't measure is what the probes refuse, by the same sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.probes import OPTIONAL
from eostui.problems import Problem, build_problem
from eostui.problems.batch import supervised_parts
from eostui.runs.analysis.possible_probes import refusal
from eostui.stability import STABILITY
from eostui.toys import OF_SAMPLES, TOYS

PROBLEMS = {
    **{toy: {"problem": toy} for toy in TOYS},
    "one-parameter": {
        "problem": "diagonal-net", "problem_arguments": {"start": [2.0], "terms": [1]},
    },
    "mse": {"samples": 20, "test_samples": 5, "depth": 1, "width": 4},
    "cross-entropy": {
        "samples": 20, "test_samples": 5, "depth": 1, "width": 4, "loss": "cross-entropy",
    },
}  # fmt: skip


def said(probe: str, config: RunConfig, problem: Problem) -> str:
    """What the probe says when it is made of the problem itself."""
    try:
        OPTIONAL[probe](config, problem)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", PROBLEMS)
def test_refusals_are_those_of_the_probes(name: str, tmp_path: Path) -> None:
    base = RunConfig.build({**PROBLEMS[name], "ntk_samples": 1, "batch_size": 5}, "test")
    problem = build_problem(base, torch.device("cpu"), tmp_path, lambda _: None)
    if name in TOYS:
        assert bool(supervised_parts(problem.loss)) == (name in OF_SAMPLES)
    for dynamics in (*STABILITY, "own.py:Own"):
        batches = dynamics in STABILITY and STABILITY[dynamics].batches
        if batches and not supervised_parts(problem.loss):
            continue  # there is no such run
        config = base.changed({"dynamics": dynamics})
        for probe in OPTIONAL:
            assert refusal(probe, config) == said(probe, config, problem), (dynamics, probe)
