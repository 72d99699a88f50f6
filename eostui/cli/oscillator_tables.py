"""An orbit, and a grid of them, as tables: what `eostui simulate` writes and prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eostui.cli.tables import Table
from eostui.oscillator import Orbit, Parameters, Survey, leading_order, regime, stages
from eostui.oscillator.envelope import prediction
from eostui.oscillator.parameters import FloatArray
from eostui.runs.store.columns import Column
from eostui.stability import GRADIENT_DESCENT

ORBIT_COLUMNS = (
    Column("step", "steps", "steps of the map before this row"),
    Column("x", "θ", "⟨u, θ − θ*⟩: along the sharpest direction"),
    Column("y", "L/θ²", "S − 2/η"),
    Column("sharpness", "L/θ²", "S = S* + q"),
    Column(
        "stage", "", "sharpening, blow-up, self-stabilization, return; at rest edge or collapsed"
    ),
    Column("envelope", "θ", "A = ½|x_{t+1} − x_t|; empty in the last row"),
    Column("centre", "θ", "c = ½(x_{t+1} + x_t); empty in the last row"),
    Column("envelope_predicted", "θ", "A of the envelope equations, started from the first row"),
    Column("y_predicted", "L/θ²", "y of the envelope equations, started from the first two rows"),
    Column("beta_alpha", "L²/θ⁴", "βα: the drive that sharpens"),
    Column("lambda_g", "L²/θ⁴", "λ(g + q): the drive with which decay flattens, at this row"),
    Column("bounce", "L²/θ⁴", "½βx²: the drive with which the bounce flattens"),
    Column("eta", "θ²/L", "learning rate η"),
    Column("weight_decay", "1/η", "weight decay λ"),
    Column("two_over_eta", "L/θ²", "2/η"),
    Column("stability_threshold", "L/θ²", "2/η − λ"),
)

GRID_COLUMNS = (
    Column(
        "attractor", "", "where the orbit went: cycle, collapsed, escaped, unsettled, wandering"
    ),
    Column("regime", "", "what attracts here: cycle, collapse, both, neither"),
    Column("resting_sharpness", "L/θ²", "mean S over the last fifth of the steps"),
    Column("amplitude", "θ", "mean ½|x_{t+1} − x_t| over the same steps"),
    Column("decay", "1/steps", "exact decay of small deviations from the attractor reached"),
    Column("frequency", "1/steps", "exact angular frequency of the same"),
    Column("escape_step", "steps", "first step at which |x| > 1e15"),
    Column("leading_sharpness", "L/θ²", "the paper's resting sharpness"),
    Column("leading_amplitude", "θ", "the paper's amplitude; 0 where collapsed"),
    Column("leading_decay", "1/steps", "the paper's decay"),
)


def orbit_table(orbit: Orbit) -> Table:
    """Return the columns of ORBIT_COLUMNS, one row a state."""
    p, rows = orbit.parameters, len(orbit.x)
    controls = {"eta": orbit.eta, "weight_decay": orbit.weight_decay}
    predicted = prediction(orbit)
    values = (
        np.arange(rows), orbit.x, orbit.y, orbit.sharpness, stages(orbit), orbit.envelope,
        orbit.centre, *predicted, np.broadcast_to(p.beta * p.alpha, rows),
        orbit.decay_drive, orbit.bounce_drive, orbit.eta, orbit.weight_decay,
        GRADIENT_DESCENT.undecayed(controls), GRADIENT_DESCENT.threshold(controls),
    )  # fmt: skip
    return {c.name: np.asarray(v) for c, v in zip(ORBIT_COLUMNS, values, strict=True)}


def grid_table(axes: Mapping[str, FloatArray], parameters: Parameters, found: Survey) -> Table:
    """Return the columns of a survey: the swept ones as named by `axes`, then GRID_COLUMNS.

    Args:
        axes: name and value at each point, shape of the grid.
        parameters: the same grid.
        found: what became of it.
    """
    leading = leading_order(parameters)
    shape = found.attractor.shape
    values = (
        found.attractor, np.broadcast_to(regime(parameters), shape), found.sharpness,
        found.amplitude, found.decay, found.frequency, found.escape_step,
        *(np.broadcast_to(v, shape) for v in (leading.sharpness, leading.amplitude, leading.decay)),
    )  # fmt: skip
    swept = {name: np.ravel(value) for name, value in axes.items()}
    return swept | {c.name: np.ravel(v) for c, v in zip(GRID_COLUMNS, values, strict=True)}


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """Return a summary as the lines of a table, at most 64 columns wide."""
    leading, exact, measured = (summary[key] for key in ("leading_order", "exact", "measured"))
    exact = exact or {}
    where = {
        "cycle": "rests on the 2-cycle",
        "collapsed": "rests at the collapsed point",
        "escaped": f"escaped at step {summary['escape_step']}",
        "unsettled": f"isn't at rest yet at step {summary['last_step']}",
        "wandering": "wanders without escaping",
    }[summary["attractor"]]
    kind = "2-cycle" if len(exact.get("states", [])) == 2 else "collapsed"
    kind += "" if exact.get("attracts") else ", repels"
    lines = [
        f"the orbit {where}; what attracts here: {summary['regime']}",
        f"{'':<22}{'leading order':>14}{'exact':>16}{'measured':>12}",
        f"{'solution':<22}{'2-cycle' if leading['cycles'] else 'collapsed':>14}"
        f"{kind if exact else 'none':>16}",
    ]
    for key, name in (
        ("sharpness", "resting sharpness"), ("amplitude", "amplitude A"), ("centre", "centre c"),
        ("decay", "decay a step"), ("frequency", "frequency a step"),
    ):  # fmt: skip
        cells = [_cell(column.get(key)) for column in (leading, exact, measured)]
        lines.append(f"{name:<22}{cells[0]:>14}{cells[1]:>16}{cells[2]:>12}")
    if leading["centre"]:
        lines.insert(5, f"{'  with the centre':<22}{_cell(leading['amplitude_off_centre']):>14}")
    if leading["damping"]:
        damping = f"{leading['damping']}damped"
        lines.append(f"{'damping ratio':<22}{_cell(leading['damping_ratio']):>14}  {damping}")
    return lines


def _cell(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value + 0.0:.5g}"  # no −0
