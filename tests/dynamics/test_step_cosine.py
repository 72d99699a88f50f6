"""The step cosine against coordinates, an independent descent, and the identity behind it (MATH §2)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from engines import here, small
from made import facts
from shown import on_screen, settled
from torch import nn
from typer.testing import CliRunner

from eostui.charts.levels import bars
from eostui.cli.app import app
from eostui.config import RunConfig
from eostui.dynamics.path import step_cosine
from eostui.engine.device import prepare_machine
from eostui.problems import build_problem
from eostui.runs.analysis.bounce import in_words, median_cosine, median_cosines
from eostui.runs.analysis.signs import up_shares
from eostui.runs.run import Run
from eostui.runs.store.columns import STORED_STEP_COLUMNS
from eostui.runs.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("one_thread")


def toy(problem: str, steps: int, **values) -> RunConfig:
    return RunConfig.build(
        {
            "preset": "toy",
            "problem": problem,
            "steps": steps,
            "dtype": "float64",
            "threads": 1,
            **values,
        },
        "test",
    )


BOUNCING = {
    "eta": 0.5, "weight_decay": 0.05,
    "problem_arguments": {"a": 0.04, "b": 1.0, "s_star": 0.5, "eta_star": 0.5, "start": [0.05, 0.0]},
}  # fmt: skip
VALLEY = {"eta": 0.07, "problem_arguments": {"a": 4.0, "start": [0.4, 0.1]}}
TOYS = {
    "the theory's 2-cycle": ("cubic-normal-form", 400, BOUNCING),
    "a bounce that dies": ("two-layer-scalar", 30, {"eta": 0.2, "weight_decay": 0.01}),
    "a valley in which S swings": ("elliptical-valley", 300, VALLEY),
}


def identity(run: Run, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of step_cosine·(‖Δθ_{t+1}‖/‖Δθ_t‖) = 1 − η(κ + λ)."""
    steps = run.steps
    ratio = steps["step_norm"][1:-1] / steps["step_norm"][:-2]
    left = steps["step_cosine"][1:-1] * ratio
    right = 1 - steps["eta"][:-2] * (steps["path_curvature"][:-2] + steps["weight_decay"][:-2])
    return left[rows], right[rows]


@pytest.mark.parametrize("name", TOYS)
def test_on_coordinates_that_are_stored(name, tmp_path):
    """Norms and cosines worked out from θ₁ and θ₂, and the identity, of every step."""
    problem, count, values = TOYS[name]
    with Run(here(toy(problem, count, **values), tmp_path)) as run:
        theta = np.stack([run.steps["theta_1"], run.steps["theta_2"]], axis=1)
        moves = np.diff(theta, axis=0)
        norms = np.linalg.norm(moves, axis=1)
        cosines = (moves[1:] * moves[:-1]).sum(1) / (norms[1:] * norms[:-1])
        np.testing.assert_allclose(run.steps["step_norm"][:-1], norms, rtol=1e-14)
        np.testing.assert_allclose(run.steps["step_cosine"][1:-1], cosines, rtol=0, atol=1e-14)
        assert np.isnan(run.steps["step_cosine"][[0, -1]]).all()
        assert np.isnan(run.steps["step_norm"][-1])
        # θ is rounded: what a step is off by, against its length
        rounding = 8 * np.finfo(float).eps * np.abs(theta).max() / norms.min() + 1e-13
        left, right = identity(run, slice(None))
        np.testing.assert_allclose(left, right, rtol=0, atol=rounding)
        assert rounding < 1e-7
        assert (cosines < -0.9).any()


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_on_a_network_in_float64(activation, decay, tmp_path):
    """Against a descent written anew with torch.nn and an optimiser of torch's own."""
    eta = {"relu": 0.9, "tanh": 0.2}[activation]
    config = small(
        steps=60, eta=eta, weight_decay=decay, activation=activation, dtype="float64", cadence=20,
        far_cadence=0, test_cadence=60,
    )  # fmt: skip
    with Run(here(config, tmp_path)) as run:
        left, right = identity(run, slice(None))
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-11)
        machine = prepare_machine(config)
        problem = build_problem(config, machine.device, tmp_path, lambda _text: None)
        theta = nn.Parameter(problem.initial.clone())
        descent = torch.optim.SGD([theta], lr=eta, weight_decay=decay)
        path = [theta.detach().clone()]
        for _ in range(60):
            descent.zero_grad()
            problem.loss(theta).backward()
            descent.step()
            path.append(theta.detach().clone())
        moves = np.diff(torch.stack(path).numpy(), axis=0)
        norms = np.linalg.norm(moves, axis=1)
        cosines = (moves[1:] * moves[:-1]).sum(1) / (norms[1:] * norms[:-1])
        np.testing.assert_allclose(run.steps["step_norm"][:-1], norms, rtol=1e-9)
        np.testing.assert_allclose(run.steps["step_cosine"][1:-1], cosines, rtol=0, atol=1e-9)
        assert np.ptp(cosines) > 0.5  # the bounce begins within these steps


def test_in_float32_and_through_changes_of_eta_and_lambda(tmp_path):
    """The identity is of one η and λ: it holds at every step but where these change."""
    script = {20: [("set", {"eta": 0.5})], 40: [("set", {"weight_decay": 0.01})]}
    with Run(here(small(steps=80), tmp_path, script)) as run:
        left, right = identity(run, slice(None))
        changed = np.flatnonzero(np.diff(run.steps["eta"]) + np.diff(run.steps["weight_decay"]))
        assert len(changed) == 2
        kept = ~np.isin(np.arange(len(left)), changed)
        np.testing.assert_allclose(left[kept], right[kept], rtol=0, atol=1e-4)
        assert (np.abs(left - right)[changed] > 1e-3).all()


def test_a_step_of_length_zero_has_no_cosine():
    """And rounding takes none beyond 1."""
    still, moved = torch.zeros(3, dtype=torch.float64), torch.tensor([0.1, 0.7, -0.3]).double()

    def cosine(one, other):
        return float(step_cosine(one, other, one.norm(), other.norm()))

    assert np.isnan(cosine(still, moved))
    assert np.isnan(cosine(moved, still))
    for scale in (3.0, -1e-7, 1e100):
        assert cosine(scale * moved, moved) == pytest.approx(np.sign(scale), abs=1e-15)
        assert abs(cosine(scale * moved, moved)) <= 1


def test_medians_over_windows_and_columns():
    cosines = np.concatenate(([np.nan], np.full(150, 1.0), np.full(100, -0.9), [np.nan]))
    assert median_cosine(cosines) == -0.9
    assert median_cosine(cosines[:100]) == 1
    assert np.isnan(median_cosine(cosines[:1]))
    assert [in_words(value) for value in (-0.9, -0.5, 0.3, np.nan)] == [
        "bouncing", "not bouncing", "not bouncing", "",
    ]  # fmt: skip
    x = np.arange(len(cosines))
    np.testing.assert_array_equal(
        median_cosines(x, cosines, np.array([0, 1, 100, 151, 251, 300])),
        [np.nan, 1, 1, -0.9, np.nan],
    )
    # the last edge belongs to the last slice, as in the strip of the loss signs
    x, edges = np.arange(9), np.arange(9)
    last = np.array([0.9] * 8 + [-0.9])
    np.testing.assert_allclose(median_cosines(x, last, edges), [0.9] * 7 + [0.0], atol=1e-12)
    np.testing.assert_array_equal(
        np.isfinite(median_cosines(x, last, edges)), np.isfinite(up_shares(x, last, edges))
    )
    assert up_shares(x, last, edges)[-1] == 0.5
    long = np.where(np.arange(10**6) % 3 == 0, 1.0, -1.0)
    assert median_cosines(np.arange(10**6), long, np.array([0, 10**6])) == [-1]


# --- on screen, in plot and runs show -----------------------------------------------------------------


@pytest.fixture
def half(tmp_path):
    """A run of 600 steps that flows, and from step 300 on bounces while its loss falls all along."""
    t = np.arange(601)
    columns = {
        "loss": np.exp(-t / 300), "theta_norm": 5.0, "decayed_norm": 5.0, "arrival_curvature": 18.0,
        "arrival_cosine": np.where(t <= 300, 0.98, -0.93), "arrival_norm": 0.1, "eta": 0.1,
        "weight_decay": 0.0,
    }  # fmt: skip
    rows = np.stack([np.broadcast_to(columns[name], 601) for name in STORED_STEP_COLUMNS], axis=1)
    path = tmp_path / "runs" / "half-aaaa"
    writer = RunWriter(path, facts(600, step_columns=json.dumps(STORED_STEP_COLUMNS)))
    writer.event(0, "started")
    writer.steps(0, rows)
    writer.close()
    return path


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
@pytest.mark.parametrize("unicode", [True, False])
def test_the_strip(half, size, unicode):
    """A column high where it flows and low where it bounces, on the x axis; the newest in words."""

    async def check(app, pilot):
        await settled(pilot)
        line = str(app.screen.query_one("#cosines").render()).rstrip("\n")
        assert line.startswith(" cosine")
        high, low = ("█", "▁") if unicode else ("#", "_")
        cells = "".join(c for c in line if c in high + low)
        middle = len(cells) // 2
        assert set(cells[: middle - 1]) == {high}
        assert set(cells[middle + 1 :]) == {low}
        assert len(line) <= size[0]
        assert "-0.93" in line
        if size[0] == 120:
            assert "step cosine -0.93, median of 100 steps: bouncing" in line

    on_screen(half, check, size, unicode=unicode)


def test_plot_and_runs_show_give_it(half):
    runner = CliRunner()
    picture = runner.invoke(app, ["plot", str(half), "--width", "100", "--height", "30"]).stdout
    *_, last = picture.rstrip("\n").split("\n")
    assert len(picture.rstrip("\n").split("\n")) <= 30
    assert last.startswith("step cosine -0.93: bouncing")
    cells = last.split()[-1]
    assert cells.count("█") == pytest.approx(cells.count("▁"), abs=2)
    told = json.loads(runner.invoke(app, ["runs", "show", str(half), "--json"]).stdout)
    assert told["step_cosine"] == -0.93


def test_bars():
    values = np.array([-1, -0.01, 1, np.nan, 5, -5])
    assert bars(values, -1, 1, unicode=True) == "▁▄█ █▁"
    assert bars(values, -1, 1, unicode=False) == "_-# #_"
