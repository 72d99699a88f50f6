"""The facts that a run directory states about itself."""

from __future__ import annotations

import json
import platform
import socket
import time

import numpy
import torch

import eostui
from eostui.config import RunConfig
from eostui.dynamics import Dynamics, dynamics_of
from eostui.engine.device import Machine
from eostui.engine.fingerprint import fingerprints
from eostui.problems import Problem
from eostui.runs.store.columns import PROBES, exported, stored_columns
from eostui.runs.store.own_columns import dynamics_columns_of, probes_fact
from eostui.stability import FACT, Description


def initial_facts(
    config: RunConfig,
    machine: Machine,
    problem: Problem,
    run_id: str,
    name: str,
    dynamics: type[Dynamics] | None = None,
) -> dict[str, str]:
    """Return what is known before the first step, as text by key; `dynamics` is what the config names."""
    dynamics = dynamics or dynamics_of(config)
    description = Description.of(dynamics.name, dynamics.stability).to_json()
    own = dynamics_columns_of({FACT: description})
    stored = stored_columns(problem.initial.numel(), dynamics.stability)
    return {
        "id": run_id,
        "name": name,
        "created": str(time.time()),
        "status": "running",
        "config": config.to_toml(),
        "parameters": str(problem.initial.numel()),
        "convention": problem.convention,
        "device": str(machine.device),
        "device_name": machine.describe(),
        "dtype": config.dtype,
        "threads": str(machine.threads),
        "host": socket.gethostname(),
        "eostui": eostui.__version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "columns": json.dumps(
            {c.name: f"{c.unit}: {c.description}" for c in exported(stored, own)}
        ),
        "step_columns": json.dumps(stored),
        FACT: description,
        "probes": probes_fact(PROBES),
        **{f"problem.{key}": value for key, value in problem.facts.items()},
        **fingerprints(config, problem),
    }
