"""The facts that a run directory states about itself."""

from __future__ import annotations

import json
import platform
import socket
import time
from collections.abc import Sequence

import numpy
import torch

from eostui.config import RunConfig
from eostui.curvature.taylor import is_on_tensor_cores
from eostui.dynamics import Dynamics, dynamics_of
from eostui.engine.device import Machine
from eostui.engine.fingerprint import fingerprints
from eostui.probes import Probe, described, probes_of
from eostui.problems import Problem
from eostui.problems.batch import has_accuracy
from eostui.runs.store.columns import MEASURED, exported, stored_columns
from eostui.runs.store.own_columns import dynamics_columns_of, probes_fact
from eostui.stability import FACT, Description
from eostui.version import __version__


def initial_facts(
    config: RunConfig,
    machine: Machine,
    problem: Problem,
    run_id: str,
    name: str,
    dynamics: type[Dynamics] | None = None,
    probes: Sequence[type[Probe]] | None = None,
) -> dict[str, str]:
    """Return what is known before the first step, as text by key.

    `dynamics` and `probes` are what the config names, unless they are given.
    """
    dynamics = dynamics or dynamics_of(config)
    kinds = probes_of(config) if probes is None else probes
    more = [column for kind in kinds for column in kind.columns if column not in MEASURED]
    description = Description.of(dynamics.name, dynamics.stability).to_json()
    own = dynamics_columns_of({FACT: description})
    stored = stored_columns(
        problem.initial.numel(), dynamics.stability, accuracy=has_accuracy(problem.loss)
    )
    columns = exported(stored, own, more, operator=dynamics.stability.operator)
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
        **({"processes": str(config.processes)} if config.processes > 1 else {}),
        **({"tensor_cores": "first layer"} if is_on_tensor_cores(problem.loss) else {}),
        "host": socket.gethostname(),
        "eostui": __version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "columns": json.dumps({c.name: f"{c.unit}: {c.description}" for c in columns}),
        "step_columns": json.dumps(stored),
        FACT: description,
        "probes": probes_fact(described(kinds)),
        **{f"problem.{key}": value for key, value in problem.facts.items()},
        **fingerprints(config, problem),
    }
