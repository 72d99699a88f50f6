"""What the record of a long run costs: opening it, keeping it in memory, exporting it."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eostui.config import RunConfig
from eostui.oscillator import Parameters, simulate
from eostui.runs.series import FloatArray
from eostui.runs.store.columns import STORED_STEP_COLUMNS
from eostui.runs.store.schema import DATABASE
from eostui.runs.store.writer import RunWriter

STEPS = 1_000_000
#: The bars, for STEPS steps, by the key of the result: seconds and megabytes.
BARS = {
    "open_seconds": 1.5, "frame_milliseconds": 10.0, "compared_frame_milliseconds": 25.0,
    "viewer_megabytes": 300.0, "csv_seconds": 10.0,
}  # fmt: skip

Say = Callable[[str, int, int | None], None]


def measure_store(say: Say, steps: int = STEPS) -> dict[str, Any]:
    """Make the record of a toy run in a temporary folder, and time what programs do with it.

    Args:
        say: told what is being done, and how much of how much.
        steps: of the run.

    Returns:
        `open_seconds`, `viewer_megabytes`, `frame_milliseconds` and, of a comparison of so many
        `compared_runs`, `compared_frame_milliseconds` as `bench/viewer.py` finds them,
        `csv_seconds` (the whole command), `parquet_seconds` (only with pyarrow), sizes in
        megabytes, and the `bars`.
    """
    with tempfile.TemporaryDirectory(prefix="eostui-bench-") as folder:
        path = Path(folder) / "bench-store"
        write_record(path, steps, lambda done: say("writing the record", done, steps))
        say("opening", 0, None)
        command = [sys.executable, "-m", "eostui.bench.viewer", str(path)]
        opened = json.loads(_run(command).stdout)
        results: dict[str, Any] = {
            "steps": opened["last_step"],
            "open_seconds": opened["open_seconds"],
            "frame_milliseconds": opened["frame_seconds"] * 1e3,
            "compared_runs": opened["compared_runs"],
            "compared_frame_milliseconds": opened["compared_frame_seconds"] * 1e3,
            "viewer_megabytes": opened["viewer_megabytes"],
            "database_megabytes": (path / DATABASE).stat().st_size / 1e6,
        }
        formats = ["csv", "parquet"] if importlib.util.find_spec("pyarrow") else ["csv"]
        for kind in formats:
            say(f"exporting as {kind}", 0, None)
            target = Path(folder) / f"out.{kind}"
            start = time.perf_counter()
            _run([sys.executable, "-m", "eostui", "export", str(path), "-o", str(target)])
            results[f"{kind}_seconds"] = time.perf_counter() - start
            results[f"{kind}_megabytes"] = target.stat().st_size / 1e6
    return {**results, "bars": BARS}


def write_record(path: Path, steps: int, progress: Callable[[int], None]) -> None:
    """Write the record that an engine would leave of the toy `cubic-normal-form`.

    Its descent is the reduced map exactly (MATH §3.3). η changes now and then, so that
    the motion goes on. Rows are flushed with each measurement, as an engine does.

    Args:
        path: of the run directory, which must not exist.
        steps: of the run.
        progress: told how many steps are written.
    """
    config = RunConfig.build(
        {
            "preset": "bench-store", "problem": "cubic-normal-form", "dtype": "float64",
            "eta": 0.5, "weight_decay": 0.05, "steps": steps,
            "problem_arguments": {"a": 0.04, "b": 1.0, "s_star": 0.5, "eta_star": 0.5},
        },
        "bench",
    )  # fmt: skip
    matrix, sharpness = _rows(steps, config)
    facts = {
        "id": path.name, "name": "", "created": str(time.time()), "status": "finished",
        "config": config.to_toml(), "step_columns": json.dumps(STORED_STEP_COLUMNS),
    }  # fmt: skip
    writer = RunWriter(path, facts)
    for first in range(0, steps + 1, config.cadence):
        last = min(first + config.cadence, steps + 1)
        writer.steps(first, matrix[first:last])
        s = float(sharpness[first])
        values = {
            "sharpness": s, "sharpness_residual": 1e-6 * s, "sharpness_gap": 0.9 * s, "u_error": 1e-3,
            "overlap": math.cos(s), "eig_2": 0.1 * s, "eig_2_residual": 1e-4,
            "eig_guard": 0.05 * s, "eig_guard_residual": 1e-3, "beta": 1.0, "beta_alpha": 0.04 - 0.01 * s,
            "g": 0.5 + matrix[first, 1], "g_u": matrix[first, 2], "grad_norm": abs(matrix[first, 0]),
            "beta_perp": 1.0 / s, "beta_alpha_perp": 0.04 / s, "g_perp": 0.5 / s,
            "sharpness_gradient_u": 0.01 * s, "gradient_u": 0.02 * s, "hessian_products": 4.0,
        }  # fmt: skip
        writer.measurement(first, values)
        writer.flush()
        progress(last - 1)
    writer.close()


def _rows(steps: int, config: RunConfig) -> tuple[FloatArray, FloatArray]:
    """Return the stored rows of all steps, shape (steps + 1, columns), and S at each."""
    a, b, g = (float(config.problem_arguments[name]) for name in ("a", "b", "s_star"))
    eta = 0.5 * (1 + 0.02 * np.sin(np.arange(steps) // 500))
    decay = np.full(steps, config.weight_decay)
    parameters = Parameters(
        0.5, config.weight_decay, alpha=a * b, beta=b * b, g=b * g, sharpness=4.0
    )
    orbit = simulate(parameters, (0.05, 0.0), steps, eta=eta, weight_decay=decay)
    x, s = orbit.x, orbit.q / b
    loss = 0.5 * (4.0 + b * s) * x * x - a * s
    norm = np.hypot(x, s + g)
    step = np.stack((np.diff(x), np.diff(s)))
    gradient = np.stack(((4.0 + b * s) * x, 0.5 * b * x * x - a))
    kappa = (np.diff(gradient) * step).sum(0) / (step * step).sum(0)
    length = np.hypot(*step)
    cosine = (step[:, 1:] * step[:, :-1]).sum(0) / (length[1:] * length[:-1])
    columns = {
        "loss": loss, "theta_norm": norm, "decayed_norm": norm,
        "arrival_curvature": np.append(np.nan, kappa),
        "arrival_cosine": np.append([np.nan, np.nan], cosine),
        "arrival_norm": np.append(np.nan, length),
        "eta": orbit.eta, "weight_decay": orbit.weight_decay,
    }  # fmt: skip
    matrix = np.stack([columns[name] for name in STORED_STEP_COLUMNS], axis=1)
    return matrix, 4.0 + b * s


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # one thread: numpy's own would only disturb what is timed
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
