"""Phases: synthetic series whose phases are known by construction, and short real runs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eostui import presets
from eostui.config import RunConfig
from eostui.runs.columns import STORED_STEP_COLUMNS
from eostui.runs.curvature_summary import BLOCK, collapsed_level
from eostui.runs.launch import EngineProcess
from eostui.runs.phase_blocks import summarize
from eostui.runs.phase_spans import PHASE_EVENT, classify, payload, spans, stored_rows
from eostui.runs.phases import CONFIRM, PHASES, PhaseChange, PhaseClassifier
from eostui.runs.run import Run
from eostui.runs.series import Series
from eostui.runs.summary import summarize_run
from eostui.runs.writer import RunWriter
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
) -> Made:
    """Return rows whose κ and S are given as shares of 2/η − λ, with a loss that falls steadily."""
    n = len(kappa)
    eta, decay = np.broadcast_to(eta, n), np.broadcast_to(decay, n)
    threshold = 2 / eta - decay
    loss = np.exp(-np.arange(n) / n) if loss is None else loss
    arrival = np.concatenate(([np.nan], kappa * threshold))[:n]
    ones = np.ones(n)
    values = {
        "loss": loss, "theta_norm": ones, "decayed_norm": ones, "arrival_curvature": arrival,
        "arrival_cosine": np.full(n, np.nan),
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
    case = made(kappa, sharpness=kappa, loss=bounce(1001, 500))
    changes = case.fed_at_once()
    assert told(changes) == [("sharpening", 0), ("edge", 450)]  # κ reaches 0.9 of 2/η at 450
    assert changes[1].before is not None
    assert changes[1].before.name == "sharpening"
    assert "κ 1" in changes[1].why
    assert "2/η − λ 20" in changes[1].why


def test_signs_alone_tell_the_edge() -> None:
    """κ rests at 0.85, below where it tells the edge; the bounce does, in the window of 200 steps."""
    case = made(stretches((1001, 0.85)), sharpness=stretches((1001, 0.97)), loss=bounce(1001, 500))
    (first, second) = told(case.fed_at_once())
    assert first == ("sharpening", 0)
    assert second[0] == "edge"
    assert 500 <= second[1] <= 550  # 11 of 200 steps have flipped after 11 of the bounce


def test_lowered_edge() -> None:
    """S sinks below 0.92 of the threshold and returns above 0.95: between, nothing changes."""
    sharpness = stretches((500, 0.98), (500, 0.93), (500, 0.8), (500, 0.93), (500, 0.98))
    found = told(made(np.full(2500, 0.98), sharpness=sharpness).fed_at_once())
    assert [name for name, _ in found] == ["sharpening", "edge", "lowered edge", "edge"]
    # a median over the readings of 100 steps crosses after about half of them
    assert [step for _, step in found[2:]] == pytest.approx([1050, 2050], abs=25)


def test_a_collapse_needs_balanced_drives_and_a_sharpness_that_does_not_rise() -> None:
    """The same κ and S without sign changes: λg = βα or not, S falling or rising."""
    kappa, falling = np.full(1500, 0.1), np.linspace(0.6, 0.5, 1500)
    balanced = {"decay": 0.1, "drive": 1.0, "g": 10.5}  # λg 1.05
    found = told(made(kappa, sharpness=falling, **balanced).fed_at_once())
    assert [name for name, _ in found] == ["sharpening", "collapsed"]
    assert [name for name, _ in told(made(kappa, sharpness=falling[::-1], **balanced).fed_at_once())] == [
        "sharpening"
    ]  # fmt: skip
    for g in (0.0, 3.0, 30.0):
        unbalanced = made(kappa, sharpness=falling, decay=0.1, drive=1.0, g=g)
        assert [name for name, _ in told(unbalanced.fed_at_once())] == ["sharpening"]


def test_without_decay_nothing_collapses_however_the_drive_swings() -> None:
    """βα swings about λg = 0 while S sinks, as after η was lowered: on average alone they balance."""
    case = made(np.full(1500, 0.1), sharpness=np.linspace(0.6, 0.5, 1500))
    swinging = [
        (step, {**values, "beta_alpha": (-1.0) ** index})
        for index, (step, values) in enumerate(case.readings)
    ]
    assert told(Made(case.rows, swinging).fed_at_once()) == [("sharpening", 0)]


def test_the_bounce_returns_after_a_collapse() -> None:
    kappa = stretches((1000, 0.1), (600, 0.95))
    case = made(kappa, sharpness=np.full(1600, 0.5), decay=0.1, drive=1.0, g=10.0)
    assert [name for name, _ in told(case.fed_at_once())] == [
        "sharpening", "collapsed", "lowered edge",
    ]  # fmt: skip
    assert told(case.fed_at_once())[-1][1] == 1000


def test_a_catapult_begins_where_the_loss_rose_from_and_ends_where_it_is_back() -> None:
    """Down to 0.4 at step 60, up to 2 at 70, back at 0.4 by 86 (2·0.9¹⁶ = 0.37), then slowly down."""
    loss = np.concatenate(
        (np.linspace(1, 0.4, 61), 0.4 + 0.16 * np.arange(1, 11), 2 * 0.9 ** np.arange(1, 17))
    )
    loss = np.concatenate((loss, loss[-1] * 0.999 ** np.arange(1, 300)))
    kappa = stretches((60, 0.3), (12, 1.3), (len(loss) - 72, 0.3))
    found = told(made(kappa, sharpness=np.full(len(loss), 1.05), loss=loss).fed_at_once())
    assert found == [("sharpening", 0), ("catapult", 60), ("sharpening", 86)]


def test_a_catapult_that_goes_on_bouncing_has_become_the_edge() -> None:
    """The loss never comes back, nor stays down: but from step 75 on, past the top, κ is at the edge."""
    t = np.arange(600)
    loss = np.where(t <= 60, 1 - 0.01 * t, 0.8 + 0.3 * (-1.0) ** (t // 10))
    loss[61:70] = 2.0
    kappa = stretches((60, 0.3), (540, 0.98))
    found = told(made(kappa, sharpness=np.full(600, 1.02), loss=loss).fed_at_once())
    assert found == [("sharpening", 0), ("catapult", 60), ("edge", 75)]


def test_humps_of_the_edge_are_no_catapults_unless_a_control_made_them() -> None:
    loss = np.exp(-np.arange(1500) / 1500)
    loss[900:920] *= 2  # the same hump at the edge, with and without a change of η before it
    kappa = np.full(1500, 0.98)
    assert [name for name, _ in told(made(kappa, sharpness=kappa, loss=loss).fed_at_once())] == [
        "sharpening", "edge",
    ]  # fmt: skip
    eta = stretches((890, ETA), (610, 1.5 * ETA))
    found = told(made(kappa, sharpness=kappa, loss=loss, eta=eta).fed_at_once())
    assert [name for name, _ in found] == ["sharpening", "edge", "catapult", "edge"]
    assert found[2:] == [("catapult", 899), ("edge", 920)]


def test_converged_and_not_while_rounding_is_all_there_is() -> None:
    """Descent on ½hx²: ‖∇L‖ falls below 1e-3 of its start at a step known in closed form."""
    h, n = 1.0, 400
    x = (1 - ETA * h) ** np.arange(n)
    case = made(np.full(n, h * ETA / 2), sharpness=np.full(n, h * ETA / 2), loss=0.5 * h * x**2)
    expected = math.log(1e-3) / math.log(1 - ETA * h)
    (opening, (name, step)) = told(case.fed_at_once())
    assert opening == ("sharpening", 0)
    assert name == "converged"
    # the largest gradient is a mean over the first block, which is up to 12 steps late
    assert expected <= step <= expected + 2 * BLOCK
    noise = 1 + 1e-7 * np.random.default_rng(1).normal(size=n)  # float32's rounding of a loss of 1
    loss = noise + 4.0 * np.concatenate((0.8 ** np.arange(100), np.zeros(n - 100)))
    rounded = made(np.random.default_rng(2).normal(size=n), loss=loss)
    assert [name for name, _ in told(rounded.fed_at_once())] == ["sharpening", "converged"]


def test_gradient_norm_of_the_regularised_loss_on_a_quadratic() -> None:
    """‖∇L_λ‖ from the fall of L_λ against (h + λ)x, for descent with decay on ½hx²."""
    h, decay = 6.0, 0.5
    x = (1 - ETA * (h + decay)) ** np.arange(BLOCK + 1)
    table = {
        "loss": 0.5 * h * x**2, "theta_norm": abs(x), "decayed_norm": abs(x),
        "arrival_curvature": np.full(BLOCK + 1, h), "arrival_cosine": np.ones(BLOCK + 1), "eta": np.full(BLOCK + 1, ETA),
        "weight_decay": np.full(BLOCK + 1, decay),
    }  # fmt: skip
    rows = np.stack([table[name] for name in STORED_STEP_COLUMNS], axis=1)
    block, steps = summarize(0, rows, None, None)
    assert steps.change == pytest.approx(np.diff(0.5 * (h + decay) * x**2))
    exact = math.sqrt(np.mean(((h + decay) * x[:-1]) ** 2))
    assert block.gradient == pytest.approx(exact, rel=0.02)  # η(κ + λ)/2 against κ/(2/η − λ)
    assert block.kappa == pytest.approx(h / (2 / ETA - decay))


@pytest.mark.parametrize(
    ("bad", "value"), [("loss", math.nan), ("loss", 2e4), ("theta_norm", math.inf)]
)
def test_divergence_is_told_at_its_step_and_is_the_last(bad: str, value: float) -> None:
    case = made(np.full(300, 0.5))
    case.rows[137, STORED_STEP_COLUMNS.index(bad)] = value
    classifier = PhaseClassifier()
    assert told(classifier.feed(case.rows))[-1] == ("diverged", 137)
    assert classifier.feed(case.rows) == []


def test_a_rough_start_is_transient() -> None:
    """The loss goes up and down for 40 steps and then falls."""
    loss = np.exp(-np.arange(200) / 200)
    loss[:40:2] += 0.3
    assert told(made(np.full(200, 0.1), loss=loss).fed_at_once()) == [
        ("transient", 0), ("sharpening", 38),
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [0, 1, BLOCK])
def test_too_few_rows_have_no_phase(rows: int) -> None:
    assert made(np.full(BLOCK, 0.5)).fed_at_once() == []
    classifier = PhaseClassifier()
    assert classifier.feed(made(np.full(BLOCK, 0.5)).rows[:rows]) == []
    assert classifier.phase is None


def test_no_flicker() -> None:
    """κ swings through both levels every 75 steps: never four blocks alike, so nothing changes."""
    n = 3000
    swinging = np.where(np.arange(n) // 75 % 2, 0.7, 0.95)
    assert told(made(swinging, sharpness=np.full(n, 0.97)).fed_at_once()) == [("sharpening", 0)]
    between = stretches((500, 0.5), (500, 0.95), (1000, 0.82), (500, 0.5))
    found = told(made(between, sharpness=np.full(2500, 0.97)).fed_at_once())
    assert found == [("sharpening", 0), ("edge", 500), ("sharpening", 2000)]
    dip = stretches((500, 0.95), ((CONFIRM - 1) * BLOCK, 0.2), (500, 0.95))
    assert told(made(dip, sharpness=np.full(len(dip), 0.97)).fed_at_once())[1:] == [("edge", 25)]


def test_a_change_of_eta_counts_from_its_step() -> None:
    """η halves at step 1010: the same κ is half of the new threshold at once; back at 2010."""
    eta = stretches((1010, ETA), (1000, ETA / 2), (990, ETA))
    case = made(
        20 * 0.98 / (2 / eta), sharpness=20 * 0.98 / (2 / eta), eta=eta, loss=bounce(3000, 3000)
    )
    found = told(case.fed_at_once())
    assert found[1:] == [("edge", 25), ("sharpening", 1025), ("edge", 2025)]


def test_a_slow_schedule_of_eta_is_no_jump() -> None:
    """η falls by a thousandth a step while κ stays at each step's own threshold: the edge all along."""
    eta = ETA * 0.999 ** np.arange(2000)
    found = told(made(np.full(2000, 0.98), sharpness=np.full(2000, 0.98), eta=eta).fed_at_once())
    assert found == [("sharpening", 0), ("edge", 25)]  # the block of the first steps isn't judged


def test_sparse_and_missing_measurements() -> None:
    """At every 500th step S tells the lowered edge, if later; never measured, κ tells the edge alone."""
    kappa, sharpness = np.full(4000, 0.98), stretches((1000, 0.98), (3000, 0.7))
    found = told(made(kappa, sharpness=sharpness, cadence=500).fed_at_once())
    assert [name for name, _ in found] == ["sharpening", "edge", "lowered edge"]
    assert found[-1][1] == 1000  # the reading there is taken in with the block that begins there
    assert told(made(kappa).fed_at_once()) == [("sharpening", 0), ("edge", 25)]
    late = stretches((1000, 0.3), (3000, 0.98))
    once = made(late, sharpness=np.full(4000, 0.5), cadence=4000)  # S₀ says nothing of step 1000
    assert told(once.fed_at_once()) == [("sharpening", 0), ("edge", 1000)]


def test_an_unknown_curvature_is_no_edge() -> None:
    assert told(made(np.full(500, np.nan)).fed_at_once()) == [("sharpening", 0)]


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
            classifier = PhaseClassifier.restored(classifier.state())
        start = end
    assert online == case.fed_at_once()
    steps = [change.step for change in online]
    assert steps == sorted(steps)
    assert all(a.phase is b.before for a, b in pairwise(online))
    json.loads(classifier.state())


def test_letters_and_names_are_unique() -> None:
    assert len({phase.letter for phase in PHASES}) == len({phase.name for phase in PHASES}) == 8


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
            ("sharpening", 0, 449), ("edge", 450, 1000),
        ]  # fmt: skip
        assert summarize_run(run.path)["phases"][1] == {"phase": "edge", "first": 450, "last": 1000}


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
    case = made(kappa, sharpness=kappa, loss=loss)
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
        {"eta": 0.1, "sharpness": 10.0, "g": 6.0, "weight_decay": [0.5, 0.0, 0.5, 0.5],
         "beta_alpha": [2.0, 2.0, 2.0, 2.0]},
    )  # fmt: skip
    rows, level = collapsed_level(series, np.array([True, True, True, False]))
    assert rows.tolist() == [0, 2]
    assert level == pytest.approx([8.0, 8.0])
    series["beta_alpha"][:] = 10.0  # 10 + 20 − 6 = 24 > 2/η − λ
    assert len(collapsed_level(series, np.ones(4, dtype=bool))[0]) == 0
    # at S* = 2/η it is the paper's level
    series["sharpness"][:], series["beta_alpha"][:] = 20.0, 2.0
    assert collapsed_level(series, np.ones(4, dtype=bool))[1][0] == pytest.approx(20 + 2 / 0.5 - 6)


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
    assert [name for name, _ in found[0]] == ["sharpening", "edge"]
    assert [name for name, _ in found[1]] == ["sharpening", "edge"]
    assert found[1][1][1] == pytest.approx(found[0][1][1], abs=50)
    assert 250 <= found[0][1][1] <= 500


@pytest.mark.parametrize(
    ("eta", "steps", "expected"),
    [
        (0.075, 500, ["sharpening"]),
        (0.29, 300, ["sharpening", "catapult", "sharpening", "edge"]),  # 2/S₀ = 0.278
        (50.0, 500, ["diverged"]),
    ],
)
def test_eta_decides_the_phases(
    tmp_path: Path, eta: float, steps: int, expected: list[str]
) -> None:
    with trained(tmp_path, eta=eta, steps=steps) as run:
        assert [span.phase.name for span in spans(run)] == expected
