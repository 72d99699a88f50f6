"""What a run came to, in a few numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eostui.runs.analysis.bounce import median_cosine
from eostui.runs.analysis.controls import controls_of
from eostui.runs.analysis.rest import rest_outcome
from eostui.runs.analysis.run_phases import spans
from eostui.runs.calibration import summarize_seats
from eostui.runs.run import Run
from eostui.runs.series import FloatArray
from eostui.runs.store import checkpoints, schema


def summarize_run(path: Path) -> dict[str, Any]:
    """Return a run's identity, state and resting readings; NaN where they aren't known.

    `not_at_rest` says why the run isn't at rest over its last steps; "" if it is (see `rest`), from
    `at_rest_from` on. Only then are there `resting_*` of it: the mean of the measured sharpness with its
    deviation, the median of the path curvature, and the share of steps that raised the loss.
    `step_cosine` is the median over the newest steps. `phases` are the phases in turn, each with its
    first and last step. `predictions` are those of the reduced oscillator: one for each calibration and
    re-seating, with the step at which the network parted from it, and the first hump of S* + q − 2/η,
    measured and predicted. `longest_repeat_*` tell how much has to be repeated at most to fork at any
    step.

    Raises:
        InputError, RunFormatError: if the run can't be read.
    """
    with Run(path) as run:
        steps = run.steps
        rest = rest_outcome(run)
        window = slice(rest.first, None)
        measured = run.measured["step"] >= rest.first
        sharpness = _finite(run.measured["sharpness"][measured])
        kappa = _finite(steps[run.of_step("path_curvature")][window])
        rises = _finite(steps[run.of_step("loss_step_regularized")][window])
        rises_plain = _finite(steps[run.of_step("loss_step")][window])

        origin = schema.own_steps_from(run.facts)
        repeated, seconds = checkpoints.longest_repeat(path, origin)

        phases = spans(run)

        resting = {
            "resting_sharpness": _of(np.mean, sharpness),
            "resting_sharpness_deviation": _of(np.std, sharpness),
            "resting_path_curvature": _of(np.median, kappa),
            "resting_up_share": _of(np.mean, rises > 0),
            "resting_up_share_unregularized": _of(np.mean, rises_plain > 0),
        }

        def last(name: str) -> float:
            return float(steps[name][-1]) if len(steps) else math.nan

        return {
            "id": run.path.name,
            "name": run.facts.get("name", ""),
            "note": run.facts.get("note", ""),
            "path": str(run.path),
            "preset": run.config.preset,
            "state": run.state,
            "sentence": run.facts.get("sentence", ""),
            "last_step": run.last_step,
            **{control.name: last(control.name) for control in controls_of(run)},
            "checkpoints": len(checkpoints.files(path)),
            "longest_repeat_steps": repeated,
            "longest_repeat_seconds": seconds,
            "control_events": sum(event.kind == "control" for event in run.events),
            "phases": [
                {"phase": span.phase.name, "first": span.first, "last": span.last}
                for span in phases
            ],
            "predictions": summarize_seats(run.calibrations, steps),
            "loss": run.loss_at(),
            "stability_threshold": last("stability_threshold"),
            "step_cosine": median_cosine(steps["step_cosine"]),
            "measurements": len(run.measured),
            "measurements_u_of_several": int(
                (run.measured["u_error"] > run.config.vector_tolerance).sum()
            ),
            "not_at_rest": rest.why,
            "at_rest_from": rest.first if rest.at_rest else math.nan,
            **{name: value if rest.at_rest else math.nan for name, value in resting.items()},
        }


def _finite(values: FloatArray) -> FloatArray:
    return values[np.isfinite(values)]


def _of(function: Callable[[Any], Any], values: NDArray[Any]) -> float:
    return float(function(values)) if len(values) else math.nan
