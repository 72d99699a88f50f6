"""What one run came to, as a row of a summary: the columns, and their values."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from eostui.runs.analysis import signs
from eostui.runs.analysis.bounce import median_cosine
from eostui.runs.analysis.curvature_summary import balance
from eostui.runs.analysis.damping import WINDOWS, after_onset, amplitudes, damping, floquet_rate
from eostui.runs.analysis.duration import seconds_trained
from eostui.runs.analysis.rest import rest_outcome
from eostui.runs.analysis.resting import late, onset, resting
from eostui.runs.analysis.run_phases import on_the_bounce, spans
from eostui.runs.run import Run
from eostui.runs.store.columns import Column
from eostui.runs.store.schema import LIVE_STATES
from eostui.stability import THRESHOLD, UNDECAYED

#: The share of the steps, at the end, of which the plain tail mean is.
TAIL_SHARE = 0.2
#: Steps at which S is told, so that early courses can be compared.
EARLY_STEPS = (50, 100, 250, 500, 1000)
#: Forms of the NTK, of which none is another, as a description calls each.
_KERNELS = {
    "full": "the full NTK",
    "summed": "the NTK of the summed outputs",
    "traced": "the NTK traced over outputs",
}
#: What the probe `ntk` reads of each form: the end of its column, its unit, what it is called.
_OF_A_KERNEL = (
    ("", "f²/θ²", "λ₁ of"),
    ("_alignment", "1", "the alignment with the target of"),
    ("_centred_alignment", "1", "the centred alignment with the target of"),
)
#: What is told of a run at rest alone, with what it is called.
_RESTING = {
    "sharpness": ("L/θ²", "S"),
    "path_curvature": ("L/θ²", "κ, its median"),
    "sharpness_at_radius": ("L/θ²", "S_δ, of runs with the probe `radius`,"),
    "sharpness_at_tenth_radius": ("L/θ²", "S at δ/10, of runs with the probe `radii`,"),
    "sharpness_at_3_radii": ("L/θ²", "S at 3δ, of those,"),
    "sharpness_at_10_radii": ("L/θ²", "S at 10δ, of those,"),
    "centre_sharpness": (
        "L/θ²",
        "S at the centre of the bounce as the probe `centre` predicted it",
    ),
    "eig_2": ("L/θ²", "λ₂, the second eigenvalue"),
    **{
        f"ntk_{form}{suffix}": (unit, f"{what} {kernel}, of runs with the probe `ntk`,")
        for form, kernel in _KERNELS.items()
        for suffix, unit, what in _OF_A_KERNEL
    },
    "ntk_batch": (
        "L/θ²",
        "λ₁ of the full NTK on the whole batch, of runs with the probe `weyl`,",
    ),
    "loss": ("L", "the loss"),
    "test_loss": ("L", "the loss on the test samples"),
    "train_accuracy": ("1", "the share of training samples classified correctly"),
    "test_accuracy": ("1", "the share of test samples classified correctly"),
}


def _resting_columns() -> tuple[Column, ...]:
    return tuple(
        column
        for name, (unit, what) in _RESTING.items()
        for column in (
            Column(f"resting_{name}", unit, f"{what} over the window; empty unless at rest"),
            Column(f"resting_{name}_error", unit, "its standard error, from means of batches"),
        )
    )


#: The columns of a row, in order. Settings that differ stand between `name` and `state`.
COLUMNS = (
    Column("run", "", "the run's id, by which commands know it"),
    Column("name", "", "the name that its user gave it"),
    Column(
        "state",
        "",
        "running, paused, finished, stopped, diverged, failed, interrupted; unreadable; of a sweep's "
        "member that has no run: waiting, or failed",
    ),
    Column("sentence", "", "how it ended, or why there is nothing to tell"),
    Column("phase", "", "its newest phase"),
    Column("last_step", "steps", "its newest step"),
    Column("seconds", "s", "for how long it trained, without pauses"),
    Column("at_rest", "", "true or false: whether it is at rest over the window, by its `rest_drift`"),
    Column("not_at_rest", "", "why it isn't"),
    Column("window_first", "steps", "the first step of the window: the last `rest_window` steps"),
    Column("window_last", "steps", "the last step of the window"),
    Column("came_to_rest", "steps", "the step at which it ended at rest, with `stop_at = \"rest\"`"),
    *_resting_columns(),
    Column("tail_share", "1", "the share of the steps, at the end, of which the next column is"),
    Column(
        "tail_sharpness", "L/θ²", "the plain mean of S over that share, at rest or not, as papers have it"
    ),
    Column("two_over_eta", "L/θ²", "2/η at the newest step"),
    Column("stability_threshold", "L/θ²", "2/η − λ at the newest step, or that of its dynamics"),
    Column("onset", "steps", "the first reading of S at the threshold or above"),
    *(
        Column(
            f"sharpness_at_{step}", "L/θ²", f"S at step {step}, on the line between readings about it"
        )
        for step in EARLY_STEPS
    ),
    Column(
        "crossing",
        "steps",
        "the first reading at which λg reaches βα below the threshold, before a bounce",
    ),
    Column("crossing_sharpness", "L/θ²", "S there"),
    Column(
        "critical_weight_decay",
        "1/η",
        "the least λ at which its drives would have balanced there, g = λ + βα/λ; 0 where βα < 0",
    ),
    Column("up_share", "1", "share of the window's steps that raise L"),
    Column("up_share_regularized", "1", "share of the window's steps that raise Lλ"),
    Column("step_cosine", "1", "median step cosine over the window: 1 flows, −1 bounces"),
    Column(
        "damping",
        "1/steps",
        "rate of exp(−rate·t), as the amplitude of S dies out after the onset; negative where it grows",
    ),
    Column("damping_error", "1/steps", "its standard error, by the scatter of the amplitudes"),
    Column("damping_theory", "1/steps", "ηλ/2, the rate to leading order"),
    Column(
        "damping_floquet",
        "1/steps",
        "the exact rate about the reduced map's cycle, by the drives at the onset; negative where "
        "the cycle repels",
    ),
    *(
        Column(
            f"amplitude_{part}",
            "L/θ²",
            f"amplitude of S in part {part} of {WINDOWS} from the onset on: √2 times its deviation",
        )
        for part in range(1, WINDOWS + 1)
    ),
    Column("eig_2_at_edge", "steps", "the first reading of λ₂ at 2/η or above"),
)  # fmt: skip
#: Of these, what isn't a number.
TEXTS = ("run", "name", "state", "sentence", "phase", "at_rest", "not_at_rest")


def outcome(run: Run) -> dict[str, Any]:
    """Return a run's values of `COLUMNS`: NaN where a number isn't known, `at_rest` a bool.

    Values over the window are those of the steps there, at rest or not; `resting_…` are NaN unless the
    run is at rest.

    Raises:
        RunFormatError: if what it states of its dynamics is damaged.
    """
    steps, measured = run.steps, run.measured
    rest = rest_outcome(run)
    phases = spans(run)
    first, length = rest.first, rest.last - rest.first + 1
    tail = late(run, "sharpness", math.ceil(len(steps) * (1 - TAIL_SHARE)))
    tail = tail[np.isfinite(tail)]
    begun = onset(run)
    balanced = balance(steps, measured, on_the_bounce(run, phases))
    after = after_onset(run)
    damped, sizes = damping(*after), amplitudes(after[1])

    def up(column: str) -> float:
        return signs.summarize(steps[column], length).up_share

    row = nothing() | {
        "run": run.path.name,
        "name": run.facts.get("name", ""),
        "state": run.state,
        "sentence": run.facts.get("sentence", ""),
        "phase": phases[-1].phase.name if phases else "",
        "last_step": run.last_step,
        "seconds": _seconds(run),
        "at_rest": rest.at_rest,
        "not_at_rest": rest.why,
        "window_first": first,
        "window_last": rest.last,
        "came_to_rest": _or_nan(rest.came_at),
        "tail_share": TAIL_SHARE,
        "tail_sharpness": float(tail.mean()) if len(tail) else math.nan,
        "onset": _or_nan(begun),
        "critical_weight_decay": balanced.critical,
        "up_share": up(run.of_step("loss_step")),
        "up_share_regularized": up(run.of_step("loss_step_regularized")),
        "step_cosine": median_cosine(steps["step_cosine"], length),
        "damping": damped.rate,
        "damping_error": damped.error,
        "damping_floquet": floquet_rate(run),
        "eig_2_at_edge": _first_at_edge(run),
    }
    if rest.at_rest:
        for name in _RESTING:
            found = resting(run, name, first)
            row |= {f"resting_{name}": found.value, f"resting_{name}_error": found.error}
    for step, value in zip(EARLY_STEPS, _between(run, EARLY_STEPS), strict=True):
        row[f"sharpness_at_{step}"] = value
    if balanced.row is not None:
        row["crossing"] = int(measured["step"][balanced.row])
        row["crossing_sharpness"] = float(measured["sharpness"][balanced.row])
    for part, value in enumerate(sizes.tolist(), 1):
        row[f"amplitude_{part}"] = value
    if len(steps):
        eta, decay = (float(steps[name][-1]) for name in ("eta", "weight_decay"))
        row["damping_theory"] = eta * decay / 2
        row["two_over_eta"] = float(steps["two_over_eta"][-1])
        row["stability_threshold"] = float(steps[THRESHOLD][-1])
    return row


def nothing(**known: Any) -> dict[str, Any]:
    """Return a row of which no more is known than is given."""
    row: dict[str, Any] = {column.name: math.nan for column in COLUMNS}
    row |= dict.fromkeys(TEXTS, "")
    return row | {"at_rest": False} | known


def _or_nan(step: int | None) -> float | int:
    return math.nan if step is None else step


def _seconds(run: Run) -> float:
    """Return for how long a run trained; one that was killed until the newest of its events."""
    now = time.time()
    if run.state not in LIVE_STATES:
        newest = run.events[-1].unix_time if run.events else float(run.facts["created"])
        now = float(run.facts.get("ended", newest))
    return seconds_trained(float(run.facts["created"]), run.events, now)


def _between(run: Run, wanted: tuple[int, ...]) -> list[float]:
    """Return S at some steps, on the lines between readings; NaN beyond the first and the last."""
    known = np.isfinite(run.measured["sharpness"])
    at, values = run.measured["step"][known], run.measured["sharpness"][known]
    if not len(at):
        return [math.nan] * len(wanted)
    found: list[float] = np.interp(wanted, at, values, left=math.nan, right=math.nan).tolist()
    return found


def _first_at_edge(run: Run) -> float | int:
    at = run.measured["step"].astype(np.int64)
    with np.errstate(invalid="ignore"):
        reached = np.flatnonzero(run.measured["eig_2"] >= run.steps[UNDECAYED][at])
    return int(at[reached[0]]) if len(reached) else math.nan
