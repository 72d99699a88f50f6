"""What the crosshair reads at one step: the numbers that the export has in that row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from eostui.config import MOST_EIGENVALUES
from eostui.panels.orbit.view import OrbitView
from eostui.panels.view import RunView
from eostui.runs.series import FloatArray
from eostui.stability import THRESHOLD, UNDECAYED


class Value(NamedTuple):
    """One number of a run or of an orbit.

    Attributes:
        column: its name in the export.
        symbol: what it is called on screen.
        value: NaN where the export is empty.
        step: where it stands in the export: what is measured now and then stands at or before the step
            that was asked for.
        colour: name of its colour in the palette.
        change: of a loss, what this step does to it; NaN where that isn't known, as of all others.
    """

    column: str
    symbol: str
    value: float
    step: int
    colour: str
    change: float = float("nan")


#: Columns with their symbols and colours, the most important first.
_COLUMNS = (
    ("loss", "L", "loss"),
    ("batch_loss", "LB", "loss"),
    ("sharpness", "S", "sharpness"),
    ("batch_sharpness", "SB", "norm"),
    ("batch_path_curvature", "κB", "path"),
    ("path_curvature", "κ", "path"),
    ("sharpness_at_radius", "Sδ", "norm"),
    ("step_cosine", "cos", "path"),
    ("beta_alpha", "βα", "warm"),
    ("lambda_g", "λg", "cool"),
    ("eig_2", "λ₂", "sharpness"),
    ("loss_regularized", "Lλ", "cool"),
    ("theta_norm", "‖θ‖", "norm"),
    ("test_loss", "test", "test"),
    ("q", "q", "sharpness"),
    ("x", "x", "norm"),
    ("g", "g", "cool"),
    ("g_critical", "g crit", "theory"),
    ("ntk_full", "λ₁(K)", "cool"),
    ("ntk_summed", "summed", "warm"),
    ("ntk_traced", "traced", "norm"),
    ("ntk_batch", "λ₁(K) batch", "path"),
    ("weyl_gap", "|S − λ₁(K)|", "cool"),
    ("residual_norm", "‖R‖₂", "theory"),
    ("ntk_full_alignment", "full", "cool"),
    ("ntk_full_centred_alignment", "full, centred", "cool"),
    ("ntk_summed_alignment", "summed", "warm"),
    ("ntk_summed_centred_alignment", "summed, centred", "warm"),
    ("ntk_traced_alignment", "traced", "norm"),
    ("ntk_traced_centred_alignment", "traced, centred", "norm"),
)
#: What a step does to each of the losses.
_CHANGES = {
    "loss": "loss_step",
    "loss_regularized": "loss_step_regularized",
    "batch_loss": "batch_loss_step",
}
#: Values looked through at once for the last one known.
_PIECE = 1024
_BELOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def values_at(view: RunView, step: int) -> list[Value]:
    """Return what is on record of a run at a step, the most important first.

    Args:
        view: of the run: as it is drawn.
        step: a row of it; what is measured is that of the nearest measured step at or before.

    Returns:
        Only what the run has: what was never measured up to there is left out.
    """
    if not len(view.run.steps):
        return []
    exported = {column.name for column in view.run.exported()}
    return [
        value
        for column, symbol, colour in _columns(view)
        if column in exported
        for value in _value(view, step, column, symbol, colour)
    ]


def _columns(view: RunView) -> Iterator[tuple[str, str, str]]:
    """Yield the columns that are read, with their symbols and colours."""
    run = view.run
    decays = bool(run.steps["weight_decay"].any())
    yield from (each for each in _COLUMNS if decays or each[0] != "loss_regularized")
    yield UNDECAYED, view.dynamics.undecayed_label, "theory"
    if decays:
        yield THRESHOLD, view.dynamics.label, "theory"
    known = {column for column, *_ in _COLUMNS}
    yield from ((c.name, c.name, "test") for c in run.further_scalars if c.name not in known)
    yield from ((f"eig_{n}", nth("λ", n), "sharpness") for n in range(3, MOST_EIGENVALUES + 1))


def nth(symbol: str, number: int) -> str:
    """Return a symbol with a number below it: λ₂."""
    return symbol + str(number).translate(_BELOW)


def _value(view: RunView, step: int, column: str, symbol: str, colour: str) -> Iterator[Value]:
    """Yield the value of a column at a step, nothing where there is none at or before."""
    run = view.run
    if column in run.steps:
        if run.of_step("loss") != "loss" and np.isnan(run.steps[column][step]):
            return  # of all samples, which that step doesn't know
        change = run.steps[_CHANGES[column]][step] if column in _CHANGES else np.nan
        yield Value(column, symbol, float(run.steps[column][step]), step, colour, float(change))
        return
    for rows in (run.measured, run.calibrations.rows):
        if column in rows:
            upto = int(np.searchsorted(rows["step"], step, side="right"))
            row = _last_known(rows[column][:upto])
            if row is not None:
                at = int(rows["step"][row])
                yield Value(column, symbol, float(rows[column][row]), at, colour)


def _last_known(values: FloatArray) -> int | None:
    """Return the last row of a column that has a number, None where none has; from the end, so that a
    long column isn't read through for it."""
    for stop in range(len(values), 0, -_PIECE):
        start = max(stop - _PIECE, 0)
        known = np.flatnonzero(~np.isnan(values[start:stop]))
        if len(known):
            return start + int(known[-1])
    return None


#: Columns of an orbit with their symbols and colours, the most important first.
_ORBIT_COLUMNS = (
    ("x", "x", "norm"),
    ("y", "y", "sharpness"),
    ("sharpness", "S", "sharpness"),
    ("envelope", "A", "theory"),
    ("centre", "c", "theory"),
    ("lambda_g", "λ(g+q)", "cool"),
    ("bounce", "½βx²", "warm"),
)


def orbit_values_at(view: OrbitView, step: int) -> list[Value]:
    """Return the state of an orbit at a step, the most important first."""
    orbit = view.orbit
    columns = {
        "x": orbit.x, "y": orbit.y, "sharpness": orbit.sharpness, "envelope": orbit.envelope,
        "centre": orbit.centre, "lambda_g": orbit.decay_drive, "bounce": orbit.bounce_drive,
    }  # fmt: skip
    return [
        Value(name, symbol, float(columns[name][step]), step, colour)
        for name, symbol, colour in _ORBIT_COLUMNS
    ]
