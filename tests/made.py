"""Runs written without an engine, with columns that are known in closed form."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np

from eostui.config import RunConfig
from eostui.runs.store.writer import RunWriter

MEASURED_EVERY = 25


def facts(steps: int, problem: str = "", **others: str) -> dict[str, str]:
    """Return the facts of a run of so many steps, of the usual problem or of the one named.

    It is judged to rest, or not, by its last fifth.
    """
    settings = {"preset": "made", "steps": steps, "eta": 0.1, "rest_window": max(steps // 5, 1)}
    config = RunConfig.build(settings | ({"problem": problem} if problem else {}), "test")
    return {
        "config": config.to_toml(), "created": str(time.time()), "status": "finished",
        "sentence": f"finished after {steps} steps", "device": "cpu", **others,
    }  # fmt: skip


def rows(first: int, last: int, *, scale: float = 1.0, fork: int | None = None) -> np.ndarray:
    """Return the stored rows of the steps from `first` to `last`.

    The loss is 1/(1 + step), κ 19 + sin(step), ‖θ‖ 8; from `fork` on the loss and the norm are `scale`
    times that, and λ, 0.001 before, is 0.
    """
    step = np.arange(first, last + 1)
    after = step >= (fork if fork is not None else last + 1)
    factor = np.where(after, scale, 1.0)
    norm = 8.0 * factor
    decay = np.where(after, 0.0, 0.001)
    arrivals = 19 + np.sin(step - 1)
    return np.stack(
        [factor / (1 + step), norm, norm, arrivals, np.full(len(step), 0.1), decay], axis=1
    )


def measure(writer: RunWriter, first: int, last: int, sharpness: float = 10.0) -> None:
    """Write measurements of the steps from `first` to `last`, with one S."""
    for step in range(-(-first // MEASURED_EVERY) * MEASURED_EVERY, last + 1, MEASURED_EVERY):
        writer.measurement(
            step,
            {
                "sharpness": sharpness, "sharpness_residual": 1e-4, "eig_2": 9.0, "beta": 100.0,
                "beta_alpha": 1.0, "g": 50.0, "g_u": 0.1, "grad_norm": 0.1,
                "sharpness_gradient_u": 0.01, "gradient_u": 0.5,
            },
        )  # fmt: skip


def make_run(path: Path, steps: int, **others: str) -> Path:
    """Write a finished run of `steps` steps."""
    writer = RunWriter(path, facts(steps, **others))
    writer.event(0, "started")
    writer.steps(0, rows(0, steps))
    measure(writer, 0, steps)
    writer.close()
    return path


def make_fork(
    path: Path, parent: str, at: int, steps: int, *, scale: float = 0.5, sharpness: float = 6.0
) -> Path:
    """Write a finished fork of `make_run`'s run: the same before `at`, then scaled and without λ."""
    writer = RunWriter(path, facts(steps, parent=parent, parent_step=str(at)))
    writer.event(0, "started")
    writer.steps(0, rows(0, steps, scale=scale, fork=at))
    measure(writer, 0, at - 1)
    measure(writer, at, steps, sharpness)
    writer.event(at, "control", {"weight_decay": [0.001, 0.0]})
    writer.close()
    return path


def make_shelf(folder: Path, count: int) -> list[Path]:
    """Write `count` runs of 100 steps, a minute apart, the first the newest; return their paths.

    Their width goes through 50, 100, 150, 200, 250; every third is named `lam-N`, every fifth diverged.
    The store is written once and copied: a thousand are made in seconds.
    """
    first = make_run(folder / "made-0000", 100)
    now = time.time()
    paths = [folder / f"made-{number:04d}" for number in range(count)]
    for number, path in enumerate(paths):
        if path != first:
            shutil.copytree(first, path)
        settings = {"steps": 100, "eta": 0.1, "weight_decay": 0.001, "width": 50 + number % 5 * 50}
        config = RunConfig.build({"preset": "made", **settings}, "test")
        changed = {
            "config": config.to_toml(), "created": str(now - 60 * number),
            "ended": str(now - 60 * number + 10), "name": f"lam-{number}" if number % 3 == 0 else "",
            "status": "diverged" if number % 5 == 4 else "finished",
        }  # fmt: skip
        writer = RunWriter(path)
        for key, value in changed.items():
            writer.fact(key, value)
        writer.close()
    return paths
