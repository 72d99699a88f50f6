"""What is read off a run's columns: signs, medians of κ, crossings, monitors, steering."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.runs.analysis.curvature_summary import (
    BLOCK,
    BlockMedians,
    crossings,
    without_alternation,
)
from eostui.runs.analysis.monitors import MEANINGS, Monitor, monitors
from eostui.runs.analysis.signs import summarize, up_shares
from eostui.runs.run import Run
from eostui.runs.series import Series
from eostui.runs.store import commands
from eostui.runs.store.writer import RunWriter
from eostui.tui.steering import Steering
from eostui.tui.widgets.bars import monitor_line, monitor_lines, tabs_line


def test_signs_of_a_full_bounce() -> None:
    """Alternating steps: half go up, every step changes the sign; the unknown last one is left out."""
    steps = np.array([1.0, -1.0] * 100 + [np.nan])
    assert summarize(steps) == (0.5, 1.0)
    assert np.isnan(summarize(np.array([np.nan]))).all()


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=300), st.integers(1, 40))
def test_up_shares_count_every_step(values: list[float], slices: int) -> None:
    x = np.arange(float(len(values)))
    edges = np.linspace(0, len(values), slices + 1)
    steps = np.array(values)
    shares = up_shares(x, steps, edges)
    counts = np.histogram(x, edges)[0]
    assert np.nansum(shares * counts) == pytest.approx((steps > 0).sum())
    assert (np.isnan(shares) == (counts == 0)).all()


@given(st.lists(st.integers(0, 60), min_size=1, max_size=12))
def test_block_medians_grow_with_the_run(chunks: list[int]) -> None:
    """However the rows arrive, each complete block has its own median."""
    values = np.random.default_rng(0).normal(size=sum(chunks))
    medians, upto = BlockMedians(), 0
    for chunk in chunks:
        upto += chunk
        medians.update(values[:upto])
    blocks = len(values) // BLOCK
    expected = [np.median(values[k * BLOCK : (k + 1) * BLOCK]) for k in range(blocks)]
    assert medians.medians.tolist() == expected
    assert medians.rows.tolist() == [k * BLOCK + BLOCK // 2 for k in range(blocks)]


def test_alternation_is_cancelled_and_a_trend_kept() -> None:
    n = np.arange(40)
    assert np.allclose(without_alternation((-1.0) ** n * 5), 0)
    assert np.allclose(without_alternation(2.0 * n)[3:-3], 2.0 * n[3:-3])
    assert without_alternation(np.array([3.0])).tolist() == [3.0]


def measured(**columns: list[float]) -> Series:
    names = ["step", "eta", "weight_decay", "sharpness", "beta", "beta_alpha", "lambda_g", "eig_2",
             "sharpness_gap", "u_error", "sharpness_gradient_u", "gradient_u"]  # fmt: skip
    series = Series(names)
    rows = len(columns["step"])
    series.append(rows, {"eta": 0.1, "weight_decay": 0.01, "beta": 1.0, **columns})
    return series


def steps_of(measured: Series, kappa: float = math.nan) -> Series:
    """The columns of every step of gradient descent with these readings, κ constant."""
    at = measured["step"].astype(int)
    eta, decay = (
        np.repeat(measured[name], np.diff(at, append=at[-1] + 1))
        for name in ("eta", "weight_decay")
    )
    series = Series(["step", "path_curvature", "stability_undecayed", "stability_threshold"])
    series.append(
        len(eta),
        {"step": np.arange(len(eta)), "path_curvature": kappa, "stability_undecayed": 2 / eta,
         "stability_threshold": 2 / eta - decay},
    )  # fmt: skip
    return series


def test_a_crossing_counts_below_the_edge_only() -> None:
    """The same crossing of the drives, far below 2/η and on it: only the first is the transition."""
    drives = {"step": [0, 25, 50], "beta_alpha": [3.0, 1.0, 1.0], "lambda_g": [1.0, 2.0, 2.0]}
    below = measured(**drives, sharpness=[10, 11, 11])
    assert crossings(steps_of(below, 5.0), below).tolist() == [1]
    assert crossings(steps_of(below, 19.8), below).tolist() == []  # κ is at the edge
    again = {"step": [0, 25, 50, 75], "beta_alpha": [3, 1, 3, 1], "lambda_g": [1, 2, 1, 2]}
    once = measured(**again, sharpness=[10, 11, 11, 11])
    assert crossings(steps_of(once, 5.0), once).tolist() == [1]
    turned = measured(**again, sharpness=[10, 11, 11, 11], weight_decay=[0.01, 0.01, 0.02, 0.02])
    assert crossings(steps_of(turned, 5.0), turned).tolist() == [1, 3]
    on_edge = measured(**drives, sharpness=[19.5, 19.8, 19.8])
    assert crossings(steps_of(on_edge, 5.0), on_edge).tolist() == []
    single = measured(step=[0], beta_alpha=[1], lambda_g=[0])
    assert crossings(steps_of(single, 1.0), single).tolist() == []
    faster = steps_of(on_edge, 5.0)  # of another dynamics, stable up to twice as much
    faster["stability_threshold"][:] *= 2
    assert crossings(faster, on_edge).tolist() == [1]


def test_monitors_judge_the_newest_reading() -> None:
    series = measured(
        step=[0, 25], eig_2=[3.0, 19.5], sharpness_gradient_u=[0.5, 0.01], gradient_u=[0.0, 0.9],
        beta_alpha=[1.0, -1.0], sharpness_gap=[1.0, 0.1],
    )  # fmt: skip
    series.write("sharpness", slice(None), 12)
    steps = steps_of(series)
    found = {monitor.name: monitor.holds for monitor in monitors(steps, series, "raw")}
    assert found == {
        "one direction": False, "u stands apart": False, "∇S ⟂ u": True, "∇L ⟂ u": False, "βα > 0": False,
    }  # fmt: skip
    # on the bounce a raw reading can't tell the last two, wherever S is; S at the edge alone is no bounce
    for sharpness in (12, 19.9):
        series["sharpness"][:] = sharpness
        holds = [monitor.holds for monitor in monitors(steps, series, "raw", bouncing=True)]
        assert holds == [False, False, True, None, None]
        assert [monitor.holds for monitor in monitors(steps, series, "raw")][3:] == [False, False]
        at_midpoint = monitors(steps, series, "midpoint", bouncing=True)
        assert [monitor.holds for monitor in at_midpoint][3:] == [False, False]
    faster = steps_of(series)  # of another dynamics, stable up to twice as much
    faster["stability_undecayed"][:] *= 2
    assert monitors(faster, series, "raw")[0].holds
    series["beta"][:] = series["beta_alpha"][:] = np.nan  # the spectrum alone, or ∇S isn't finite
    series["sharpness_gradient_u"][:] = series["gradient_u"][:] = np.nan
    assert [monitor.holds for monitor in monitors(steps, series, "raw")] == [
        False,
        False,
        None,
        None,
        None,
    ]
    assert set(MEANINGS) == {monitor.name for monitor in monitors(steps, series, "raw")}
    assert monitors(Series([]), Series(["sharpness"]), "raw") == []


def test_a_failing_assumption_turns_visible() -> None:
    """Where there is one line, it comes first and says why; everywhere it alone is bold."""
    found = [Monitor("one direction", True, "λ₂ 3"), Monitor("βα > 0", False, "−0.02")]
    line = monitor_line(found, ["‖θ‖ 8"], 80)
    assert line.plain == " holds ✗ βα > 0 fails: −0.02  ✓ one direction  ‖θ‖ 8"
    for text in (line, monitor_lines(found, [], "holds")):
        bold = [text.plain[s.start : s.end] for s in text.spans if "bold" in str(s.style)]
        told = "".join(bold)
        assert told.strip().startswith("βα > 0")
        assert told.strip().endswith("−0.02")


def test_one_line_has_whole_texts_at_every_width() -> None:
    """Names of what fails stay longest, test accuracy beside them; nothing is cut within a word."""
    found = [
        Monitor("one direction", True, "λ₂ 3"), Monitor("u stands apart", False, "gap 0.94 %"),
        Monitor("∇S ⟂ u", True, "0.01"), Monitor("∇L ⟂ u", False, "0.85"),
        Monitor("βα > 0", None, "1 on the bounce"),
    ]  # fmt: skip
    rest = ["‖θ‖ 9.22", "test loss 0.0768", "test accuracy 95 %"]
    pieces = [
        "holds", "✗ u stands apart", "✗ ∇L ⟂ u", "fails: gap 0.94 %", "fails: 0.85", "✓ one direction",
        "✓ ∇S ⟂ u", "· βα > 0", *rest,
    ]  # fmt: skip
    for width in range(30, 160):
        line = monitor_line(found, rest, width).plain
        assert cell_len(line) <= width
        left = line
        for piece in sorted(pieces, key=len, reverse=True):
            left = left.replace(piece, "", 1)
        assert not left.strip(), line
        assert "✗ u stands apart" in line
        assert "✗ ∇L ⟂ u" in line or width < 36
        assert "test accuracy 95 %" in line or width < 56
        missing = [p for p in pieces if p not in line and not p.startswith("fails")]
        assert not any(len(piece) + 2 <= width - cell_len(line) for piece in missing)
    assert all(piece in line for piece in pieces)


def test_tabs_are_whole_at_every_width() -> None:
    """The active one is seen; … stands for those that aren't."""
    names = [
        "sharpness",
        "drives",
        "loss",
        "norm",
        "oscillator",
        "probes",
        "steps",
        "cosine",
        "centre",
    ]
    tabs = [(n, str(n + 1) if n < 6 else "", name) for n, name in enumerate(names)]
    whole = [f" {key} {name} " if key else f" {name} " for _, key, name in tabs]
    for width in range(16, 110):
        for active in range(len(names)):
            line = tabs_line(tabs, active, width).plain
            assert cell_len(line) <= width
            inside = line.strip("…")
            shown = [n for n, text in enumerate(whole) if text in inside]
            assert inside == "".join(whole[n] for n in shown)
            assert active in shown
            assert line.startswith("…") == (shown[0] > 0)
            assert line.endswith("…") == (shown[-1] < len(names) - 1)
    assert tabs_line(tabs, 0, 110).plain == "".join(whole)


@pytest.fixture
def steering(tmp_path: Path) -> Steering:
    config = RunConfig.build({"eta": 0.1, "weight_decay": 0.0}, "test")
    writer = RunWriter(tmp_path / "run-test", {"config": config.to_toml(), "created": "0"})
    writer.close()
    return Steering(Run(tmp_path / "run-test"))


def sent(steering: Steering) -> list[tuple[str, float]]:
    return [
        (key, value)
        for _, content in commands.take(steering.run.path)
        for key, value in content.items()
        if key != "kind"
    ]


def test_quick_presses_add_up(steering: Steering) -> None:
    """Ten presses before any answer are ten factors; λ starts from 0 and returns to it."""
    for _ in range(10):
        steering.turn("eta", 1)
    assert sent(steering)[-1] == ("eta", pytest.approx(0.1 * 1.1**10, rel=1e-4))
    for _ in range(3):
        steering.turn("weight_decay", 1)
    for _ in range(3):
        steering.turn("weight_decay", -1)
    assert [decay for _, decay in sent(steering)] == pytest.approx(
        [1e-4, 1.25e-4, 1.5625e-4, 1.25e-4, 1e-4, 0.0]
    )


def test_undo_returns_step_by_step(steering: Steering) -> None:
    steering.set("eta", 0.2)
    steering.set("weight_decay", 0.5)
    steering.undo()
    steering.undo()
    assert sent(steering) == [
        ("eta", 0.2), ("weight_decay", 0.5), ("weight_decay", 0.0), ("eta", 0.1),
    ]  # fmt: skip
    with pytest.raises(InputError, match="no change"):
        steering.undo()


@pytest.mark.parametrize(
    ("key", "value"), [("eta", 0), ("eta", -1), ("weight_decay", -1), ("weight_decay", 10)]
)
def test_impossible_values_are_refused(steering: Steering, key: str, value: float) -> None:
    with pytest.raises(InputError):
        steering.set(key, value)
    assert sent(steering) == []


def test_an_answer_ends_the_waiting(tmp_path: Path) -> None:
    """Once the run shows a change, presses build on what the run says."""
    config = RunConfig.build({"eta": 0.1}, "test")
    writer = RunWriter(tmp_path / "run-test", {"config": config.to_toml(), "created": "0"})
    run = Run(tmp_path / "run-test")
    steering = Steering(run)
    steering.set("eta", 0.2)
    assert {"eta": 0.2, "weight_decay": 0.0}.items() <= steering.target.items()
    ((command, _),) = commands.take(run.path)
    writer.event(3, "refused", {"command": command, "reason": "no"})
    writer.flush()
    run.refresh()
    assert {"eta": 0.1, "weight_decay": 0.0}.items() <= steering.target.items()
    writer.close()
