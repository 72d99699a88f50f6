"""Runs in closed form at the edge of stability, with all that panels draw."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from eostui.config import RunConfig
from eostui.runs.store.writer import RunWriter

STEPS = 400


def make(
    path: Path, decay: float = 0.5, seed: int = 0, *, steered: bool = False, name: str = ""
) -> Path:
    """Write a run at the edge: L oscillates as it falls, κ bounces, S climbs to 18 − 4λ.

    Another seed has S higher by one; what is steered has λ 2 from half way on.
    """
    settings = {"preset": "made", "steps": STEPS, "eta": 0.1, "weight_decay": decay, "seed": seed}
    config = RunConfig.build(settings, "test").to_toml()
    writer = RunWriter(
        path,
        {
            "config": config, "created": str(time.time()), "status": "finished", "device": "cpu",
            "sentence": f"finished after {STEPS} steps", "name": name,
        },
    )  # fmt: skip
    writer.event(0, "started")
    t = np.arange(STEPS + 1)
    decays = np.where(t >= STEPS // 2, 2.0 if steered else decay, decay)
    loss = np.exp(-t / STEPS) * (1 + 0.3 * (-1.0) ** t)
    norm = 6 - t / STEPS
    kappa = 12 + 3 * np.sin(t + seed)
    eta = np.full(STEPS + 1, 0.1)
    writer.steps(0, np.stack([loss, norm, norm, kappa, eta, decays], axis=1))
    for step in range(0, STEPS + 1, 25):
        share = step / STEPS
        writer.measurement(
            step,
            {
                "sharpness": 8 + (10 - 4 * decay) * share + seed, "beta": 4.0, "eig_2": 6.0,
                "beta_alpha": 0.5 - share, "g": 1 + share, "test_loss": 2 - share,
            },
        )  # fmt: skip
    if steered:
        writer.event(STEPS // 2, "control", {"weight_decay": [decay, 2.0]})
    writer.close()
    return path
