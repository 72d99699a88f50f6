"""Runs in closed form whose rows are known: at the edge, lowered by λ beyond a knee, or not at rest."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from made import facts

from eostui.config import RunConfig
from eostui.runs.analysis.run_phases import PHASE_EVENT
from eostui.runs.store.columns import BUILT_IN_COLUMNS, STORED_STEP_COLUMNS, Column, ProbeColumns
from eostui.runs.store.own_columns import PROBES_FACT, probes_fact
from eostui.runs.store.writer import RunWriter

STEPS = 2000
#: Where S leaves 20, by so much a tenfold of λ; and from which λ on the drives cross.
KNEE, SLOPE, DRIVES_CROSS = 1e-3, 6.0, 5e-3


def resting_sharpness(decay: float, seed: int = 0) -> float:
    """S at rest: 19 up to the knee, then falling with log λ; each seed has its own level."""
    beyond = math.log10(max(decay / KNEE, 1.0))
    return 19 - SLOPE * beyond + 0.1 * seed


def kernel(decay: float) -> dict[str, float]:
    """What the probes `ntk` and `weyl` read, but for their arrays: each column another value."""
    forms = {"full": 12.0, "summed": 40.0, "traced": 80.0}
    values = {"ntk_batch": 13 / (1 + 100 * decay)}
    for form, largest in forms.items():
        values[f"ntk_{form}"] = largest / (1 + 100 * decay)
        values[f"ntk_{form}_alignment"] = 0.5 + 10 * decay + largest / 1000
        values[f"ntk_{form}_centred_alignment"] = 0.6 + 10 * decay + largest / 1000
    return values


def make(
    path: Path,
    decay: float = 0.0,
    seed: int = 0,
    *,
    drift: float = 0.0,
    diverges: bool = False,
    between: bool = False,
    kernels: bool = False,
    **others: str,
) -> Path:
    """Write a run of 2000 steps, 2/η 20: S sharpens for 500, overshoots to 20.5, then rests; L falls,
    every second step from 500 on goes up.

    βα is 10 up to step 300, then that which λg, of g 200, reaches where λ is DRIVES_CROSS; `between` the
    readings are some of the test loss alone. With `kernels` every fifth reading has those of `kernel`,
    by turns a tenth more and a tenth less.
    """
    t = np.arange(STEPS + 1)
    settings = {"preset": "made", "steps": STEPS, "eta": 0.1, "weight_decay": decay, "seed": seed}
    config = RunConfig.build(settings, "test").to_toml()
    told = {"config": config, "step_columns": json.dumps(STORED_STEP_COLUMNS), **others}
    if kernels:
        columns_of_kernels = tuple(Column(name, "1", name) for name in kernel(decay))
        told[PROBES_FACT] = probes_fact(
            [*BUILT_IN_COLUMNS, ProbeColumns("ntk", "many products", columns_of_kernels)]
        )
    writer = RunWriter(path, facts(STEPS) | told)
    bounces = t > 500
    loss = np.exp(-t / 500) * (1 + 0.1 * bounces * (-1.0) ** t)
    if diverges:
        loss[-1] = np.inf
    # what a row states of the step that led to it
    arrivals = {
        "arrival_cosine": np.where(bounces, -0.9, 0.8),
        "arrival_curvature": 5 + 14 * bounces,
    }
    columns = {name: np.ones(len(t)) for name in STORED_STEP_COLUMNS}
    columns |= {"loss": loss, "eta": t * 0 + 0.1, "weight_decay": t * 0 + decay, **arrivals}
    writer.steps(0, np.stack([columns[name] for name in STORED_STEP_COLUMNS], axis=1))
    rest = resting_sharpness(decay, seed)
    random = np.random.default_rng(seed)
    for step in range(0, STEPS + 1, 10):
        level = 8 + 12.5 * step / 500 if step <= 500 else rest + 0.02 * random.normal()
        writer.measurement(
            step,
            {
                "sharpness": level + drift * max(step - 500, 0), "eig_2": 20.0 + (step >= 700) - 0.5,
                "beta": 4.0, "beta_alpha": 10.0 if step < 300 else DRIVES_CROSS * 200, "g": 200.0,
                "g_u": 0.0, "test_loss": 0.5, "test_accuracy": 0.9,
            },
        )  # fmt: skip
        if kernels and step % 50 == 0:
            turn = 0.1 * (-1) ** (step // 50)
            writer.measurement(step, {name: x + turn for name, x in kernel(decay).items()})
        if between and step < STEPS:
            writer.measurement(step + 5, {"test_loss": 0.5})
    for phase, step in (("sharpening", 0), ("edge", 501), *([("diverged", STEPS)] * diverges)):
        payload = {"from": None, "to": phase, "step": step, "why": "made so"}
        writer.event(step, PHASE_EVENT, payload)
    if diverges:
        writer.fact("status", "diverged")
        writer.fact("sentence", "diverged: the loss is inf")
    writer.close()
    return path
