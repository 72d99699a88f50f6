"""Phases: synthetic series whose phases are known by construction, and short real runs."""

from __future__ import annotations

import ast
import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eostui import presets
from eostui.config import RunConfig
from eostui.runs.analysis import phases
from eostui.runs.analysis.curvature_summary import BLOCK, collapsed_level
from eostui.runs.analysis.phase_classifier import PhaseChange, PhaseClassifier
from eostui.runs.analysis.phase_signals import signal_columns, summarize
from eostui.runs.analysis.phases import CONFIRM, PHASES
from eostui.runs.analysis.run_phases import PHASE_EVENT, classify, payload, spans, stored_rows
from eostui.runs.analysis.summary import summarize_run
from eostui.runs.launch import EngineProcess
from eostui.runs.run import Run
from eostui.runs.series import Series
from eostui.runs.store.columns import STORED_STEP_COLUMNS
from eostui.runs.store.writer import RunWriter
from eostui.stability import HEAVY_BALL
from eostui.tui.widgets.phases import band

Array = NDArray[np.float64]
Reading = tuple[int, dict[str, float]]
ETA = 0.1  # 2/η = 20


@dataclass
class Made:
    """Rows made by hand, one a step, and the readings among them."""

    rows: Array
    readings: list[Reading]

    def fed_at_once(self) -> list[PhaseChange]:
        classifier = PhaseClassifier()
        for step, values in self.readings:
            classifier.read(step, values)
        return classifier.feed(self.rows)


def made(
    kappa: Array,
    *,
    sharpness: Array | None = None,
    loss: Array | None = None,
    eta: float | Array = ETA,
    decay: float | Array = 0.0,
    drive: float = 1.0,
    g: float = 0.0,
    cadence: int = 25,
    cosine: Array | None = None,
    gradient: Array | None = None,
) -> Made:
    """Return rows whose κ and S are given as shares of 2/η − λ, with a loss that falls steadily.

    The step cosine is 1 − η(κ + λ) where it isn't given, as of steps that are all of one length; ‖Δθ‖ is
    η times the gradient, and unknown without.
    """
    n = len(kappa)
    eta, decay = np.broadcast_to(eta, n), np.broadcast_to(decay, n)
    threshold = 2 / eta - decay
    loss = np.exp(-np.arange(n) / n) if loss is None else loss
    arrival = np.concatenate(([np.nan], kappa * threshold))[:n]
    ones = np.ones(n)
    cosine = np.clip(1 - eta * (kappa * threshold + decay), -1, 1) if cosine is None else cosine
    gradient = np.full(n, np.nan) if gradient is None else gradient
    values = {
        "loss": loss, "theta_norm": ones, "decayed_norm": ones, "arrival_curvature": arrival,
        "arrival_cosine": np.concatenate(([np.nan], cosine))[:n],
        "arrival_norm": np.concatenate(([np.nan], eta * gradient))[:n],
        "eta": eta, "weight_decay": decay,
    }  # fmt: skip
    readings = []
    if sharpness is not None:
        readings = [
            (step, {"sharpness": sharpness[step] * threshold[step], "beta_alpha": drive, "g": g})
            for step in range(0, n, cadence)
        ]
    return Made(np.stack([values[name] for name in STORED_STEP_COLUMNS], axis=1), readings)


def told(changes: list[PhaseChange]) -> list[tuple[str, int]]:
    return [(change.phase.name, change.step) for change in changes]


def stretches(*parts: tuple[int, float]) -> Array:
    """Return a column that is constant over stretches of (steps, value)."""
    return np.concatenate([np.full(steps, float(value)) for steps, value in parts])


def bounce(n: int, start: int) -> Array:
    """Return a loss that falls, from `start` on with every second step up."""
    t = np.arange(n)
    return np.exp(-t / n) + np.where(t >= start, 0.02 * (-1.0) ** t, 0.0)


def test_sharpening_then_edge() -> None:
    """S and κ rise to 2/η at step 500 and stay there."""
    kappa = np.minimum(np.arange(1001) / 500, 0.99)
    case = made(kappa, sharpness=kappa)
    changes = case.fed_at_once()
    # at 375 the step cosine is −0.5, but S is far below and on its way up; it is 0.92 of 2/η at 460
    assert told(changes)[:2] == [("transient", 0), ("sharpening", 0)]
    assert told(changes[2:]) == [("edge", pytest.approx(500, abs=25))]
    assert changes[2].before is not None
    assert changes[2].before.name == "sharpening"
    assert "median step cosine -0.9" in changes[2].why
    assert "2/η − λ 20" in changes[2].why


def test_the_cosine_tells_the_edge_though_no_step_goes_up() -> None:
    """The loss falls in every step, κ rests at 0.93: who bounces from step 500 on, bounces."""
    cosine = stretches((500, 0.9), (501, -0.86))
    sharpness = stretches((250, 0.7), (751, 0.97))
    case = made(np.full(1001, 0.93), cosine=cosine, sharpness=sharpness)
    assert told(case.fed_at_once())[-2:] == [("sharpening", 0), ("edge", 500)]
    without = made(
        np.full(1001, 0.93), cosine=np.full(1001, 0.9), sharpness=np.linspace(0.9, 1, 1001)
    )
    assert told(without.fed_at_once()) == [("transient", 0), ("sharpening", 0)]


def test_signs_that_change_without_a_bounce_are_no_edge() -> None:
    """The loss goes up and down by noise of its own, S rises, and the steps flow."""
    case = made(
        np.full(1001, 0.3), cosine=np.full(1001, 0.95), sharpness=np.linspace(0.3, 0.6, 1001),
        loss=bounce(1001, 500),
    )  # fmt: skip
    assert told(case.fed_at_once())[-1] == ("sharpening", 0)


def test_the_cosine_has_two_levels() -> None:
    """It must fall below −0.5 to bounce, and rise above −0.4 to bounce no more; a dip is too short."""
    cosine = stretches((300, -0.45), (300, -0.6), (300, -0.45), (75, 0.0), (225, -0.6), (300, -0.3))
    case = made(np.full(1500, 0.7), cosine=cosine, sharpness=np.linspace(0.93, 0.99, 1500))
    found = told(case.fed_at_once())
    assert found[1:] == [("sharpening", 0), ("edge", 300), ("sharpening", 1200)]


def test_an_older_record_without_cosines_is_told_by_kappa() -> None:
    """1 − η(κ + λ) is the cosine times the ratio of the steps' lengths (MATH §2)."""
    kappa = stretches((500, 0.3), (500, 0.93))
    case = made(kappa, sharpness=np.linspace(0.9, 1, 1000), decay=0.01)
    expected = told(case.fed_at_once())
    assert expected[-1] == ("edge", 500)
    for name in ("arrival_cosine", "arrival_norm"):
        case.rows[:, STORED_STEP_COLUMNS.index(name)] = np.nan
    assert told(case.fed_at_once()) == expected


def test_lowered_edge() -> None:
    """S sinks below 0.92 of the threshold and returns above 0.95: between, nothing changes."""
    sharpness = stretches((500, 0.98), (500, 0.93), (500, 0.8), (500, 0.93), (500, 0.98))
    found = told(made(np.full(2500, 0.98), sharpness=sharpness).fed_at_once())
    assert [name for name, _ in found] == ["transient", "edge", "lowered edge", "edge"]
    # a median over the readings of 100 steps crosses after about half of them
    assert [step for _, step in found[2:]] == pytest.approx([1050, 2050], abs=25)


@pytest.mark.parametrize("cadence", [1, 25])
def test_readings_at_both_ends_of_a_bounce_are_averaged(cadence: int) -> None:
    """As on the toys: S is 0.4 of the threshold at even steps and 1.6 of it at odd ones."""
    sharpness = 1 - 0.6 * (-1.0) ** np.arange(1000)
    for rows in (1000, 999, 990):  # whichever end was read last, or more often
        case = made(np.full(rows, 0.98), sharpness=sharpness[:rows], cadence=cadence)
        assert [name for name, _ in told(case.fed_at_once())] == ["transient", "edge"]


def test_sharpening_while_s_rises_flattening_while_it_falls() -> None:
    """However slowly: S rises by a quarter in 500 steps and falls by 16 % in the 2,000 after."""
    sharpness = np.concatenate((np.linspace(0.53, 0.665, 500), np.linspace(0.665, 0.56, 2001)))
    changes = made(np.full(2501, 0.1), sharpness=sharpness).fed_at_once()
    assert told(changes)[1:] == [("sharpening", 0), ("flattening", 500)]
    assert "highest at step 500 with 13.3" in changes[-1].why
    back = np.concatenate((sharpness, np.linspace(0.56, 0.6, 1000)))
    assert told(made(np.full(3501, 0.1), sharpness=back).fed_at_once())[3:] == [
        ("sharpening", 2500)
    ]


def test_noise_of_the_readings_turns_nothing() -> None:
    noise = np.random.default_rng(3).uniform(-0.003, 0.003, 2001)
    rising = np.linspace(0.5, 0.6, 2001) + noise
    assert told(made(np.full(2001, 0.1), sharpness=rising).fed_at_once())[1:] == [("sharpening", 0)]
    flat = made(np.full(2001, 0.1), sharpness=0.5 + noise)
    assert told(flat.fed_at_once())[1:] == [("sharpening", 0)]  # S doesn't tell: βα > λg


@pytest.mark.parametrize(("drive", "phase"), [(1.0, "sharpening"), (-1.0, "flattening")])
def test_where_s_is_measured_rarely_the_drives_tell(drive: float, phase: str) -> None:
    case = made(np.full(600, 0.1), sharpness=np.full(600, 0.5), cadence=500, drive=drive)
    assert told(case.fed_at_once()) == [("transient", 0), (phase, 0)]
    unread = made(np.full(600, 0.1), sharpness=np.full(600, 0.5), cadence=500, drive=math.nan)
    assert told(unread.fed_at_once()) == [("transient", 0)]  # nothing says where S goes


def test_a_collapse_needs_balanced_drives_and_a_sharpness_at_rest() -> None:
    """The same κ and S: λg = βα or not, S falling slowly, fast, or rising."""
    kappa, falling = np.full(1500, 0.1), np.linspace(0.6, 0.5, 1500)
    balanced = {"decay": 0.1, "drive": 1.0, "g": 10.5}  # λg 1.05
    found = [name for name, _ in told(made(kappa, sharpness=falling, **balanced).fed_at_once())]
    assert found[-1] == "collapsed"
    rising = made(kappa, sharpness=falling[::-1], **balanced)
    assert [name for name, _ in told(rising.fed_at_once())][1:] == ["sharpening"]
    fast = np.concatenate((np.linspace(0.8, 0.5, 500), np.linspace(0.5, 0.48, 1000)))
    found_fast = told(made(kappa, sharpness=fast, **balanced).fed_at_once())
    assert [name for name, _ in found_fast][1:] == ["flattening", "collapsed"]
    assert found_fast[-1][1] == pytest.approx(550, abs=50)  # it falls by 7.5 % in 100 steps before
    for g in (0.0, 3.0, 30.0):
        unbalanced = made(kappa, sharpness=falling, decay=0.1, drive=1.0, g=g)
        names = [name for name, _ in told(unbalanced.fed_at_once())]
        assert names[-1] == "flattening"
        assert "collapsed" not in names


def test_without_decay_nothing_collapses_however_the_drive_swings() -> None:
    """βα swings about λg = 0 while S sinks, as after η was lowered: on average alone they balance."""
    case = made(np.full(1500, 0.1), sharpness=np.linspace(0.6, 0.5, 1500))
    swinging = [
        (step, {**values, "beta_alpha": (-1.0) ** index})
        for index, (step, values) in enumerate(case.readings)
    ]
    found = [name for name, _ in told(Made(case.rows, swinging).fed_at_once())]
    assert found[-1] == "flattening"
    assert "collapsed" not in found


def test_the_bounce_returns_after_a_collapse() -> None:
    kappa = stretches((1000, 0.1), (600, 0.95))
    case = made(kappa, sharpness=np.full(1600, 0.5), decay=0.1, drive=1.0, g=10.0)
    assert told(case.fed_at_once()) == [
        ("transient", 0), ("collapsed", 0), ("lowered edge", 1000),
    ]  # fmt: skip


def test_a_catapult_begins_where_the_loss_rose_from_and_ends_where_it_is_back() -> None:
    """Down to 0.4 at step 60, up to 2 at 70, back at 0.4 by 86 (2·0.9¹⁶ = 0.37), then slowly down."""
    loss = np.concatenate(
        (np.linspace(1, 0.4, 61), 0.4 + 0.16 * np.arange(1, 11), 2 * 0.9 ** np.arange(1, 17))
    )
    loss = np.concatenate((loss, loss[-1] * 0.999 ** np.arange(1, 300)))
    kappa = stretches((60, 0.3), (12, 1.3), (len(loss) - 72, 0.3))
    rising = np.linspace(0.8, 1.05, len(loss))
    found = told(made(kappa, sharpness=rising, loss=loss).fed_at_once())
    assert found == [("transient", 0), ("sharpening", 0), ("catapult", 60), ("sharpening", 86)]
    # of a loss below zero too; the same rise with no curvature beyond 2/η is noise of the loss
    below = made(kappa, sharpness=rising, loss=loss - 6)
    assert told(below.fed_at_once()) == [
        ("transient", 0),
        ("sharpening", 0),
    ]  # 1.6 is no half of 5.6
    deep = made(kappa, sharpness=rising, loss=np.where(loss > 0.4, 5, 1) * (loss - 0.4) - 0.5)
    assert told(deep.fed_at_once())[2][0] == "catapult"
    noise = made(np.full(len(loss), 0.3), sharpness=rising, loss=loss)
    assert told(noise.fed_at_once()) == [("transient", 0), ("sharpening", 0)]


def test_a_loss_below_zero_that_falls_is_no_catapult() -> None:
    """1.5 times a loss below zero is less than that loss."""
    falling = -np.linspace(0.01, 5, 500)
    case = made(
        np.full(500, 1.1), cosine=np.ones(500), sharpness=np.linspace(0.5, 0.9, 500), loss=falling
    )
    assert told(case.fed_at_once()) == [("transient", 0), ("sharpening", 0)]


def test_a_catapult_that_goes_on_bouncing_has_become_the_edge() -> None:
    """The loss never comes back, nor stays down: but from step 75 on, past the top, it bounces."""
    t = np.arange(600)
    loss = np.where(t <= 60, 1 - 0.01 * t, 0.8 + 0.3 * (-1.0) ** (t // 10))
    loss[61:70] = 2.0
    kappa = stretches((60, 0.3), (10, 1.3), (530, 0.98))
    found = told(made(kappa, sharpness=stretches((50, 0.9), (550, 1.0)), loss=loss).fed_at_once())
    assert found == [("transient", 0), ("catapult", 60), ("edge", 75)]


def test_humps_of_the_edge_are_no_catapults_unless_a_control_made_them() -> None:
    loss = np.exp(-np.arange(1500) / 1500)
    loss[900:920] *= 2  # the same hump at the edge, with and without a change of η before it
    kappa = np.full(1500, 0.98)
    kappa[899:901] = 1.2
    assert [name for name, _ in told(made(kappa, sharpness=kappa, loss=loss).fed_at_once())] == [
        "transient", "edge",
    ]  # fmt: skip
    eta = stretches((890, ETA), (610, 1.5 * ETA))
    found = told(made(kappa, sharpness=kappa, loss=loss, eta=eta).fed_at_once())
    assert [name for name, _ in found] == ["transient", "edge", "catapult", "edge"]
    assert found[2:] == [("catapult", 899), ("edge", 920)]


def test_converged_by_the_gradient_that_the_steps_measured() -> None:
    """Descent on ½hx²: ‖∇L‖ falls below 1e-3 of its largest at a step known in closed form."""
    h, n = 1.0, 400
    x = (1 - ETA * h) ** np.arange(n)
    case = made(
        np.full(n, h * ETA / 2),
        sharpness=np.full(n, h * ETA / 2),
        loss=0.5 * h * x**2,
        gradient=h * x,
    )
    expected = math.log(1e-3) / math.log(1 - ETA * h)
    (opening, (name, step)) = told(case.fed_at_once())
    assert opening == ("transient", 0)
    assert name == "converged"
    # medians over a block, of the largest too; the change is dated to the block's first step
    assert step == pytest.approx(expected, abs=BLOCK)


def test_a_loss_that_rests_is_not_converged_while_the_gradient_does_not() -> None:
    """The exact 2-cycle: L_λ changes by nothing, ‖∇L_λ‖ is 0.739 at every step."""
    n = 3000
    case = made(
        np.ones(n), sharpness=np.ones(n), loss=np.full(n, 0.0711), gradient=np.full(n, 0.739),
        cosine=np.full(n, -1.0),
    )  # fmt: skip
    assert told(case.fed_at_once()) == [("transient", 0), ("edge", 0)]


def test_steps_of_length_zero_have_converged() -> None:
    n = 600
    gradient = stretches((300, 1.0), (300, 0.0))
    cosine = stretches((300, 0.9), (300, math.nan))
    kappa = stretches((300, 0.3), (300, math.nan))
    case = made(kappa, sharpness=np.full(n, 0.5), gradient=gradient, cosine=cosine)
    assert told(case.fed_at_once())[-1] == ("converged", 300)


def test_a_gradient_that_is_small_but_not_a_thousandth_has_not_converged() -> None:
    gradient = np.maximum(np.exp(-np.arange(1000) / 50), 0.002)
    case = made(np.full(1000, 0.1), sharpness=np.full(1000, 0.5), gradient=gradient)
    assert "converged" not in [name for name, _ in told(case.fed_at_once())]


def test_stuck_at_the_loss_of_chance() -> None:
    """Steps that promise to lower L by far more than all of it, and it stays at that of chance."""
    n, rng = 1000, np.random.default_rng(5)
    loss = np.concatenate((np.linspace(0.46, 0.2, 300), 0.45 + rng.normal(0, 0.005, n - 300)))
    cosine = np.concatenate((np.ones(300), rng.uniform(-1, 1, n - 300)))

    def phases(chance: float | None, gradient: float) -> list[str]:
        case = made(np.full(n, 0.4), cosine=cosine, loss=loss, gradient=np.full(n, gradient))
        classifier = PhaseClassifier(chance=chance)
        return [name for name, _ in told(classifier.feed(case.rows))]

    assert phases(0.45, 1.0)[-1] == "stuck"  # 25 steps promise ηΣ‖∇L‖² = 2.5
    assert "stuck" not in phases(None, 1.0)  # nothing is known of chance
    assert "stuck" not in phases(0.3, 1.0)
    assert "stuck" not in phases(0.45, 0.2)  # 0.1: slow, not stuck


def test_a_plain_start_near_chance_is_not_stuck() -> None:
    """The steps promise what they keep: after a block L is elsewhere."""
    loss = 0.46 * np.exp(-np.arange(500) / 60)
    case = made(
        np.full(500, 0.2), loss=loss, sharpness=np.linspace(0.3, 0.6, 500), gradient=np.ones(500)
    )
    changes = PhaseClassifier(chance=0.45).feed(case.rows)
    assert "stuck" not in [change.phase.name for change in changes]


def test_a_block_on_a_quadratic() -> None:
    """Descent with decay on ½hx²: ‖∇L_λ‖ = (h + λ)x, κ = h, and what the steps promise."""
    h, decay = 6.0, 0.5
    x = (1 - ETA * (h + decay)) ** np.arange(BLOCK + 1)
    table = {
        "loss": 0.5 * h * x**2, "theta_norm": abs(x), "decayed_norm": abs(x),
        "arrival_curvature": np.full(BLOCK + 1, h), "arrival_cosine": np.ones(BLOCK + 1),
        "arrival_norm": ETA * (h + decay) * abs(np.append(np.nan, x[:-1])),
        "eta": np.full(BLOCK + 1, ETA), "weight_decay": np.full(BLOCK + 1, decay),
    }  # fmt: skip
    rows = np.stack([table[name] for name in STORED_STEP_COLUMNS], axis=1)
    block, steps, _ = summarize(0, rows, None)
    assert steps.loss == pytest.approx(0.5 * (h + decay) * x**2)
    assert block.gradient == pytest.approx(np.median((h + decay) * x[:-1]))
    assert block.promised == pytest.approx(ETA * np.sum(((h + decay) * x[:-1]) ** 2))
    assert block.kappa == pytest.approx(h / (2 / ETA - decay))
    assert block.cosine == 1


@pytest.mark.parametrize(
    ("bad", "value"),
    [
        ("loss", math.nan), ("loss", 2e4), ("loss", -3e55), ("loss", -math.inf),
        ("theta_norm", math.inf), ("theta_norm", 2e20),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", [3, 137])
def test_divergence_is_told_at_its_step_and_is_the_last(bad: str, value: float, at: int) -> None:
    """Within the first block too: what was before has its phase."""
    case = made(np.full(300, 0.5))
    case.rows[at, STORED_STEP_COLUMNS.index(bad)] = value
    classifier = PhaseClassifier()
    changes = told(classifier.feed(case.rows))
    assert changes[0] == ("transient", 0)
    assert changes[-1] == ("diverged", at)
    assert classifier.feed(case.rows) == []


def test_a_loss_that_falls_far_has_not_diverged() -> None:
    """A negative log-likelihood that starts at 1e-4 may well come to −50."""
    case = made(np.full(300, 0.5), loss=np.linspace(1e-4, -50, 300))
    assert "diverged" not in [name for name, _ in told(case.fed_at_once())]


@pytest.mark.parametrize("rough", [2, 6, 12, 40])
def test_a_rough_start_is_transient(rough: int) -> None:
    """The loss goes up and down for so many steps and then falls: also when all that is in one block."""
    loss = np.exp(-np.arange(200) / 200)
    loss[:rough:2] += 0.3
    case = made(np.full(200, 0.1), loss=loss, sharpness=np.linspace(0.2, 0.5, 200))
    assert told(case.fed_at_once()) == [("transient", 0), ("sharpening", rough - 2)]


@pytest.mark.parametrize("rows", [1, 10, BLOCK])
def test_a_run_shorter_than_a_block_is_in_its_first_steps(rows: int) -> None:
    classifier = PhaseClassifier()
    assert classifier.feed(made(np.full(BLOCK, 0.5)).rows[:0]) == []
    assert classifier.phase is None
    assert told(classifier.feed(made(np.full(BLOCK, 0.5)).rows[:rows])) == [("transient", 0)]


def test_no_flicker() -> None:
    """κ swings through both levels every 75 steps: never four blocks alike, so nothing changes."""
    n = 3000
    swinging, rising = np.where(np.arange(n) // 75 % 2, 0.3, 0.95), np.linspace(0.8, 0.99, n)
    swinging[:600] = 0.3
    opening = [("transient", 0), ("sharpening", 0)]
    assert told(made(swinging, sharpness=rising).fed_at_once()) == opening
    dip = stretches((500, 0.95), ((CONFIRM - 1) * BLOCK, 0.2), (500, 0.95))
    found = told(made(dip, sharpness=np.full(len(dip), 0.97)).fed_at_once())
    assert found == [("transient", 0), ("edge", 0)]


def test_a_change_of_eta_counts_from_its_step() -> None:
    """η halves at step 1010: the same κ is half of the new threshold at once; back at 2010."""
    eta = stretches((1010, ETA), (1000, ETA / 2), (990, ETA))
    share = 20 * 0.98 / (2 / eta)
    found = told(made(share, sharpness=share, eta=eta).fed_at_once())
    assert found[1:] == [("edge", 0), ("sharpening", 1025), ("edge", 2025)]


def test_a_slow_schedule_of_eta_is_no_jump() -> None:
    """η falls by a thousandth a step while κ stays at each step's own threshold: the edge all along."""
    eta = ETA * 0.999 ** np.arange(2000)
    found = told(made(np.full(2000, 0.98), sharpness=np.full(2000, 0.98), eta=eta).fed_at_once())
    assert found == [("transient", 0), ("edge", 0)]


def test_sparse_and_missing_measurements() -> None:
    """At every 500th step S tells the lowered edge, if later; never measured, the bounce is the edge."""
    kappa, sharpness = np.full(4000, 0.98), stretches((1000, 0.98), (3000, 0.7))
    found = told(made(kappa, sharpness=sharpness, cadence=500).fed_at_once())
    assert [name for name, _ in found] == ["transient", "edge", "lowered edge"]
    assert found[-1][1] == 1000  # the reading there is taken in with the block that begins there
    assert told(made(kappa).fed_at_once()) == [("transient", 0), ("edge", 0)]
    late = stretches((1000, 0.3), (3000, 0.98))
    once = made(late, sharpness=np.full(4000, 0.5), cadence=4000)  # S₀ says nothing of step 1000
    assert told(once.fed_at_once()) == [("transient", 0), ("sharpening", 0), ("edge", 1000)]


def test_an_unknown_curvature_is_no_edge() -> None:
    assert told(made(np.full(500, np.nan)).fed_at_once()) == [("transient", 0)]


def any_run(seed: int) -> Made:
    """Return a run with stretches of everything: bounces, sinking S, a hump, changes of η, of λ."""
    rng = np.random.default_rng(seed)
    parts = [
        (int(rng.integers(30, 300)), float(rng.choice([0.1, 0.7, 0.95, 1.1]))) for _ in range(6)
    ]
    kappa = stretches(*parts)
    n = len(kappa)
    sharpness = stretches((n // 2, 0.97), (n - n // 2, 0.6)) + 0.02 * (-1.0) ** np.arange(n)
    loss = bounce(n, int(rng.integers(0, n)))
    hump = int(rng.integers(20, n))
    loss[hump : hump + 15] *= 2
    eta = stretches((n // 3, ETA), (n - n // 3, ETA * float(rng.choice([0.5, 1.0, 1.2]))))
    decay = stretches((n // 4, 0.0), (n - n // 4, 0.1))
    case = made(kappa, sharpness=sharpness, loss=loss, eta=eta, decay=decay, g=float(rng.choice([0, 10])),
                cadence=int(rng.choice([1, 5, 25, 60])))  # fmt: skip
    if rng.random() < 0.3:
        case.rows[int(rng.integers(n)), 0] = np.nan
    return case


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 400), min_size=1, max_size=40))
def test_flush_by_flush_equals_at_once(seed: int, sizes: list[int]) -> None:
    """As the engine does: a flush before each measurement and whenever else; the state through JSON."""
    case = any_run(seed)
    restarts = set(np.cumsum(sizes).tolist())
    ends = restarts | {step + 1 for step, _ in case.readings} | {len(case.rows)}
    classifier, online, start = PhaseClassifier(), [], 0
    readings = dict(case.readings)
    for end in sorted(ends):
        online += classifier.feed(case.rows[start:end])
        if end - 1 in readings:
            classifier.read(end - 1, readings[end - 1])
        if end in restarts:
            restored = PhaseClassifier.restored(classifier.state())
            assert restored is not None
            classifier = restored
        start = end
    assert online == case.fed_at_once()
    steps = [change.step for change in online]
    assert steps == sorted(steps)
    assert steps[:1] == [0]
    assert all(a.phase is b.before for a, b in pairwise(online))
    json.loads(classifier.state())


def test_what_other_rules_knew_is_not_gone_on_with() -> None:
    """A checkpoint of an older version: its classifier has another state, and begins anew."""
    assert PhaseClassifier.restored(json.dumps({"phase": "edge", "step": 400, "_falls": 3})) is None
    later = PhaseClassifier().from_step(400, 1.0)
    case = made(np.full(500, 0.98), sharpness=np.full(500, 0.98))
    assert told(later.feed(case.rows)) == [("transient", 400), ("edge", 400)]


def test_a_state_of_format_5_is_gone_on_with() -> None:
    """It had η and λ of the step before, and neither columns nor a threshold."""
    eta = stretches((90, 0.1), (211, 0.05))  # so that the last step of a block counts
    case = made(np.full(301, 0.98), eta=eta, sharpness=np.full(301, 0.98))
    now = PhaseClassifier()
    for step, values in case.readings:
        now.read(step, values)
    first = now.feed(case.rows[:90])
    state = json.loads(now.state())
    del state["columns"], state["threshold_label"], state["_before"]
    state["_controls"] = [0.1, 0.0]
    older = PhaseClassifier.restored(json.dumps(state))
    assert older is not None
    assert older.feed(case.rows[90:]) == now.feed(case.rows[90:])
    assert json.loads(older.state()) == json.loads(now.state())
    assert told(first)[0] == ("transient", 0)


def test_phases_of_another_dynamics_go_by_its_threshold() -> None:
    """Heavy ball with μ 0.5 at 1.5 times the η: (2 + 2μ)/η is 2/η of descent, and so are its phases."""
    kappa = np.minimum(np.arange(1001) / 500, 0.99)
    case = made(kappa, sharpness=kappa)
    rows = case.rows.copy()
    rows[:, STORED_STEP_COLUMNS.index("eta")] *= 1.5
    rows = np.column_stack((rows, np.full(1001, 0.5), np.full(1001, 20.0)))
    columns = signal_columns(("momentum", "stability_threshold", "stability_undecayed"))
    assert columns == (*STORED_STEP_COLUMNS, "momentum", "stability_threshold")
    other = PhaseClassifier(columns=columns, threshold_label=HEAVY_BALL.label)
    for step, values in case.readings:
        other.read(step, values)
    changes = [*other.feed(rows[:430]), *other.feed(rows[430:])]
    assert told(changes) == told(case.fed_at_once())
    assert "(2+2μ)/η − λ 20" in changes[-1].why
    steered = rows.copy()
    steered[600:, -2] = 0.4  # μ alone: a control changes, and what it was is another's
    block, steps, before = summarize(600, steered[600:626], None, columns)
    assert before.controls == (pytest.approx(0.15), 0.0, 0.4)
    assert not steps.steered.any()
    _, steps, _ = summarize(590, steered[590:616], None, columns)
    assert np.flatnonzero(steps.steered).tolist() == [10]
    assert not block.jumped


def test_where_steps_carry_on_those_before_s_held_at_the_threshold_is_the_edge() -> None:
    """As of AdamW: S swings about it by 6 % and the steps go on, for the drift is most of them."""
    swing = 0.98 + 0.06 * np.cos(np.arange(1501) * 2 * np.pi / 150)
    sharpness = np.concatenate([np.linspace(0.5, 1.04, 500), swing, np.full(500, 0.7)])
    n = len(sharpness)
    case = made(np.full(n, 0.4), sharpness=sharpness, cosine=np.full(n, 0.3), cadence=10)
    rows = np.column_stack((case.rows, np.full(n, 0.9), np.full(n, 2 / ETA)))
    for control, flickers in (("beta1", False), ("momentum", False), ("other", True)):
        columns = signal_columns((control, "stability_threshold", "stability_undecayed"))
        classifier = PhaseClassifier(columns=columns)
        for step, values in case.readings:
            classifier.read(step, values)
        found = [name for name, _ in told(classifier.feed(rows))]
        assert (len(found) > 10) == flickers
        if not flickers:
            assert found == ["transient", "sharpening", "edge", "flattening"]
    # S that is seen to rise past it, and hasn't turned, isn't held
    past = made(np.full(500, 0.4), sharpness=np.linspace(0.5, 1.06, 500), cosine=np.full(500, 0.3))
    classifier = PhaseClassifier(columns=(*columns[:-2], "beta1", "stability_threshold"))
    for step, values in past.readings:
        classifier.read(step, values)
    rows = np.column_stack((past.rows, np.full(500, 0.9), np.full(500, 2 / ETA)))
    assert [name for name, _ in told(classifier.feed(rows))] == ["transient", "sharpening"]


def test_collapsed_is_reached_from_below_too_and_a_turn_of_s_is_dated_to_where_it_was_lowest() -> (
    None
):
    """Balanced drives: S falls to a minimum at step 400, rises and comes to rest at 1000."""
    falls, rises = 0.6 + 0.1 * np.linspace(1, 0, 400) ** 2, np.linspace(0.6, 0.66, 600)
    slow = rises[-1] * (1 + 0.006 * np.arange(400) / 100)  # as slow a rise as 0.6 % in 100 steps
    kappa = np.zeros(1800)
    for rest, ends in (
        (np.full(800, rises[-1]), ["sharpening", "collapsed"]),
        (np.concatenate([slow, np.full(400, slow[-1])]), ["sharpening", "collapsed"]),
        (np.concatenate([slow, slow[-1] / slow[0] * slow]), ["sharpening"]),
    ):
        sharpness = np.concatenate([falls, rises, rest])
        case = made(kappa, sharpness=sharpness, decay=1.0, drive=1.0, g=1.01)
        found = told(case.fed_at_once())
        names = [name for name, _ in found]
        assert names[:3] == ["transient", "flattening", "collapsed"]
        assert names[3:] == ends
        assert found[3][1] == pytest.approx(400, abs=25)
    # come to rest it is left for what S does from there
    again = np.concatenate([falls, rises, np.full(400, rises[-1]), np.linspace(0.66, 0.72, 400)])
    case = made(kappa, sharpness=again, decay=1.0, drive=1.0, g=1.01)
    assert [name for name, _ in told(case.fed_at_once())][3:] == [
        "sharpening", "collapsed", "sharpening",
    ]  # fmt: skip


def test_every_constant_stands_in_the_text() -> None:
    """With any other value of it the help says something else."""
    source = Path(phases.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source)
    names = [
        name.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        for name in (target.elts if isinstance(target, ast.Tuple) else [target])
        if isinstance(name, ast.Name) and isinstance(getattr(phases, name.id), (int, float))
    ]
    assert {"CONFIRM", "JUMP", "STALE_STEPS", "LEVEL_STEPS", "TURN", "STUCK_STEPS"} <= {*names}

    def text(changed: str = "") -> str:
        module: dict[str, Any] = {"__name__": "changed"}
        body = []
        for node in tree.body:
            body.append(node)
            if (
                changed
                and isinstance(node, ast.Assign)
                and changed in ast.unparse(node).split("=")[0]
            ):
                body += ast.parse(f"{changed} = {changed} * 2").body
        exec(compile(ast.Module(body, []), "phases", "exec"), module)
        return " ".join([*(phase.meaning for phase in module["PHASES"]), module["HOW_CLASSIFIED"]])

    assert text() == " ".join([*(phase.meaning for phase in PHASES), phases.HOW_CLASSIFIED])
    for name in names:
        assert text(name) != text(), name


def test_letters_and_names_are_unique() -> None:
    assert len({phase.letter for phase in PHASES}) == len({phase.name for phase in PHASES}) == 10


def written(path: Path, case: Made, *, events: bool) -> Run:
    config = RunConfig.build({"preset": "made", "steps": len(case.rows) - 1, "eta": ETA}, "test")
    stored = json.dumps(STORED_STEP_COLUMNS)
    writer = RunWriter(
        path,
        {"config": config.to_toml(), "created": "0", "status": "finished", "step_columns": stored},
    )
    writer.steps(0, case.rows)
    for step, values in case.readings:
        writer.measurement(step, values)
    for change in case.fed_at_once() if events else []:
        writer.event(change.step, PHASE_EVENT, payload(change))
    writer.close()
    return Run(path)


@pytest.mark.parametrize("events", [True, False])
def test_a_record_tells_its_phases_with_events_and_without(tmp_path: Path, events: bool) -> None:
    """A run from before there were such events is told from its rows: the same."""
    kappa = np.minimum(np.arange(1001) / 500, 0.99)
    with written(tmp_path / "a-run", made(kappa, sharpness=kappa), events=events) as run:
        assert [(span.phase.name, span.first, span.last) for span in spans(run)] == [
            ("sharpening", 0, 499), ("edge", 500, 1000),
        ]  # fmt: skip
        assert summarize_run(run.path)["phases"][1] == {"phase": "edge", "first": 500, "last": 1000}


def test_a_record_gives_its_rows_back(tmp_path: Path) -> None:
    case = any_run(4)
    case.rows[:, 0] = np.nan_to_num(case.rows[:, 0], nan=1.0)
    with written(tmp_path / "a-run", case, events=False) as run:
        assert np.array_equal(stored_rows(run), case.rows, equal_nan=True)
        assert classify(run) == case.fed_at_once()


def test_an_empty_record_has_no_phase(tmp_path: Path) -> None:
    case = made(np.empty(0))
    config = RunConfig.build({"preset": "made", "eta": ETA}, "test")
    RunWriter(tmp_path / "a-run", {"config": config.to_toml(), "created": "0"}).close()
    with Run(tmp_path / "a-run") as run:
        assert spans(run) == []
        assert stored_rows(run).shape == case.rows.shape


def test_the_band_shows_every_phase_that_a_cell_has(tmp_path: Path) -> None:
    """20 cells of 50 steps; a catapult of 6 steps keeps its cell; beyond the newest step it is blank."""
    loss = np.exp(-np.arange(801) / 800)
    loss[120:126] *= 2
    kappa = np.where(np.arange(801) < 400, 0.3, 0.98)
    kappa[118:122] = 1.2
    case = made(kappa, sharpness=np.minimum(0.7 + np.arange(801) / 500, 1), loss=loss)
    with written(tmp_path / "a-run", case, events=True) as run:
        x, found = run.steps["step"], spans(run)
        assert band(found, x, np.linspace(0, 1000, 21)) == "SSKSSSSS" + "E" * 8 + " " * 4
        assert band(found, x, np.linspace(400, 600, 5)) == "EEEE"
        assert band(found, x, np.linspace(100, 130, 4)) == "SKK"
        assert band([], x, np.linspace(0, 1000, 6)) == " " * 5


def test_collapsed_level_by_hand() -> None:
    """S + βα/λ − g: 10 + 2/0.5 − 6 = 8; without λ, above the threshold or on the bounce there is none."""
    series = Series(["step", "eta", "weight_decay", "sharpness", "beta_alpha", "g"])
    series.append(
        4,
        {"step": np.arange(4), "eta": 0.1, "sharpness": 10.0, "g": 6.0,
         "weight_decay": [0.5, 0.0, 0.5, 0.5], "beta_alpha": [2.0, 2.0, 2.0, 2.0]},
    )  # fmt: skip
    steps = Series(["stability_threshold"])
    steps.append(4, {"stability_threshold": 2 / series["eta"] - series["weight_decay"]})
    rows, level = collapsed_level(steps, series, np.array([True, True, True, False]))
    assert rows.tolist() == [0, 2]
    assert level == pytest.approx([8.0, 8.0])
    series["beta_alpha"][:] = 10.0  # 10 + 20 − 6 = 24 > 2/η − λ
    assert len(collapsed_level(steps, series, np.ones(4, dtype=bool))[0]) == 0
    # at S* = 2/η it is the paper's level
    series["sharpness"][:], series["beta_alpha"][:] = 20.0, 2.0
    assert collapsed_level(steps, series, np.ones(4, dtype=bool))[1][0] == pytest.approx(
        20 + 2 / 0.5 - 6
    )


def trained(folder: Path, **changes: object) -> Run:
    """Train the default preset in a real engine process, whatever its end, and open its record."""
    config = presets.load("digits-mlp").config.changed(changes)
    engine = EngineProcess(config, folder, folder)
    path = engine.ready(lambda _: None)
    assert engine.wait(300) in (0, 3)
    return Run(path)


def test_decay_too_small_to_matter_changes_no_phase(tmp_path: Path) -> None:
    """λ 0 and 1e-6: the same phases, begun within 50 steps of each other; told online as afterwards."""
    found = []
    for decay in (0.0, 1e-6):
        with trained(tmp_path, weight_decay=decay, steps=700) as run:
            found.append([(span.phase.name, span.first) for span in spans(run)])
            events = [event for event in run.events if event.kind == PHASE_EVENT]
            assert [dict(event.payload) for event in events] == [payload(c) for c in classify(run)]
            assert [event.step for event in events] == [event.payload["step"] for event in events]
    # S overshoots to 13.06 at step 125, sinks to 12.8, and bounces
    assert [name for name, _ in found[0]] == ["sharpening", "flattening", "edge"]
    assert [name for name, _ in found[1]] == ["sharpening", "flattening", "edge"]
    assert found[1][2][1] == pytest.approx(found[0][2][1], abs=50)
    assert 250 <= found[0][2][1] <= 500


@pytest.mark.parametrize(
    ("eta", "steps", "expected"),
    [
        (0.02, 600, ["flattening", "sharpening"]),  # S is 7.16 at step 0, 6.2 at 25, 15.3 at 600
        (0.29, 300, ["transient", "catapult", "flattening", "edge"]),  # 2/S₀ = 0.278
        (50.0, 500, ["transient", "diverged"]),
    ],
)
def test_eta_decides_the_phases(
    tmp_path: Path, eta: float, steps: int, expected: list[str]
) -> None:
    with trained(tmp_path, eta=eta, steps=steps) as run:
        assert [span.phase.name for span in spans(run)] == expected
