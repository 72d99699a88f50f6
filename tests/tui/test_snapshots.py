"""Every screen as it was when last agreed to, cell by cell: a layout that slips is seen as a difference.

The snapshots are text in `snapshots/`: what the screen says, and below it the style of every cell as a
letter, with a legend. A screen that is meant to look otherwise is taken anew by

    SNAPSHOTS=renew pytest -n 0 tests/tui/test_snapshots.py

which passes nothing: its tests are skipped, and what they wrote is looked at and committed.
"""

from __future__ import annotations

import difflib
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
import summarised
from formats import kept
from made import facts
from shown import EostuiApp, on_screen, screen_text
from textual.pilot import Pilot
from textual.widgets import Input

from eostui import oscillator_presets
from eostui.config import RunConfig
from eostui.experiments.experiment import load
from eostui.experiments.results import judge, result_file, write_result
from eostui.panels.compare.view import Compare, ComparisonView
from eostui.runs.shelf import read_entry
from eostui.runs.store.columns import STORED_STEP_COLUMNS
from eostui.runs.store.writer import RunWriter
from eostui.sweeps.sweep import Sweep
from eostui.tui.screens import experiments
from eostui.tui.session import Session, Watch

FOLDER = Path(__file__).parent / "snapshots"
SIZES = {"120x40": (120, 40), "80x24": (80, 24)}
RENEW = os.environ.get("SNAPSHOTS") == "renew"
#: Lines of a difference that a failure shows, and seconds that it waits for the screen to be right.
SHOWN, PATIENCE = 60, 5.0


def rows(last: int) -> np.ndarray:
    """Rows in closed form: S rises to 2/η = 20 at step 300 and bounces from there; λ is .001 from 400."""
    t = np.arange(last + 1)
    bounces = t >= 300
    columns = {
        "loss": 2 / (1 + t / 50) + np.where(bounces, 0.05 * (-1.0) ** t, 0.0),
        "theta_norm": 5 + t / 100,
        "decayed_norm": 4 + t / 100,
        "arrival_curvature": np.where(bounces, 19.5, 4 + t / 50),
        "arrival_cosine": np.where(t == 0, np.nan, np.where(bounces, -0.9, 0.98)),
        "arrival_norm": np.full(len(t), 0.01),
        "eta": np.full(len(t), 0.1),
        "weight_decay": np.where(t >= 400, 0.001, 0.0),
    }
    return np.stack([columns[name] for name in STORED_STEP_COLUMNS], axis=1)


def measurement(step: int) -> dict[str, float]:
    return {
        "sharpness": min(8 + step / 25, 20.0), "sharpness_residual": 1e-4, "eig_2": 6 + step / 100,
        "beta": 100.0, "beta_alpha": 1 - step / 1000, "g": 50.0 + step / 10, "g_u": 0.1,
        "grad_norm": 0.1, "sharpness_gap": 1.0, "sharpness_gradient_u": 1e-4 * step,
        "gradient_u": 0.5, "test_loss": 3 + step / 100, "test_accuracy": step / 1000,
    }  # fmt: skip


def made(folder: Path, run: str, steps: int, **others: str) -> RunWriter:
    """Write a run of so many steps in a folder; who closes its writer ends it."""
    stated = {"step_columns": json.dumps(STORED_STEP_COLUMNS), "created": "1.0", **others}
    writer = RunWriter(folder / run, facts(steps, **stated))
    writer.event(0, "started")
    writer.steps(0, rows(steps))
    for step in range(0, steps + 1, 25):
        writer.measurement(step, measurement(step))
    for step, phase in ((0, "transient"), (40, "sharpening"), (300, "edge")):
        if step <= steps:
            writer.event(step, "phase", {"from": None, "to": phase, "step": step, "why": "made so"})
    if steps >= 400:
        writer.event(400, "control", {"weight_decay": [0.0, 0.001]})
    writer.flush()
    return writer


class Snapshots:
    """Compares what a screen shows with its snapshots; `finish` says what differs."""

    def __init__(self, size: str) -> None:
        self.size = size
        self.differences: list[str] = []

    async def take(self, app: EostuiApp, pilot: Pilot[str], name: str) -> None:
        """Compare what is shown with its snapshot, waiting for what comes in the background."""
        file = FOLDER / f"{name}-{self.size}.txt"
        if RENEW:
            FOLDER.mkdir(exist_ok=True)
            file.write_text(await self._at_rest(app, pilot), encoding="utf-8")
            return
        expected = file.read_text(encoding="utf-8") if file.exists() else ""
        deadline = time.monotonic() + PATIENCE
        while (text := await self._shown(app, pilot)) != expected:
            if time.monotonic() > deadline:
                lines = difflib.unified_diff(
                    expected.splitlines(), text.splitlines(), file.name, "the screen now",
                    lineterm="", n=0,
                )  # fmt: skip
                self.differences += [*lines][:SHOWN]
                return

    async def _shown(self, app: EostuiApp, pilot: Pilot[str]) -> str:
        app.clear_notifications()  # these come and go by the clock, as a cursor that blinks
        for field in app.screen.query(Input):
            field.cursor_blink = False
        await pilot.pause(0.05)
        return screen_text(app)

    async def _at_rest(self, app: EostuiApp, pilot: Pilot[str]) -> str:
        """Return what is shown once it has stayed as it is for a while."""
        texts = [""]
        while len(texts) < 8 or len({*texts[-8:]}) > 1:
            texts.append(await self._shown(app, pilot))
        return texts[-1]

    def finish(self) -> None:
        if RENEW:
            pytest.skip(f"taken anew in {FOLDER}: look at `git diff`, commit what is meant")
        if self.differences:
            again = "If it is meant: SNAPSHOTS=renew pytest -n 0 tests/tui/test_snapshots.py"
            pytest.fail("\n".join([*self.differences, again]), pytrace=False)


@pytest.fixture(params=SIZES)
def snapshots(request, monkeypatch):
    monkeypatch.setattr(Session, "speed", property(lambda _: 1234.0))
    return Snapshots(request.param)


Scene = Callable[[EostuiApp, Pilot[str], Callable[[str], Awaitable[None]]], Awaitable[None]]


def played(snapshots: Snapshots, start: object, scene: Scene) -> None:
    """Open the app, play a scene in it, and compare what that looks at."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        async def look(name: str) -> None:
            await snapshots.take(app, pilot, name)

        await scene(app, pilot, look)

    on_screen(start, check, SIZES[snapshots.size])
    snapshots.finish()


def test_live_from_its_first_steps(tmp_path, snapshots):
    writer = made(tmp_path, "made-aaaa", 5, status="running")

    async def scene(_app, _pilot, look):
        await look("live-step-5")

    played(snapshots, tmp_path / "made-aaaa", scene)
    writer.close()


def test_live_while_it_sharpens(tmp_path, snapshots):
    writer = made(tmp_path, "made-aaaa", 250, status="running")

    async def scene(_app, pilot, look):
        await look("live-sharpening")
        await pilot.press("e")
        await look("dialog-eta")
        await pilot.press("escape", "q")
        await look("dialog-leave")
        await pilot.press("escape")

    played(snapshots, tmp_path / "made-aaaa", scene)
    writer.close()


def test_live_at_the_edge(tmp_path, snapshots):
    made(tmp_path, "made-aaaa", 600).close()
    made(tmp_path, "made-bbbb", 450, name="shorter").close()

    async def scene(_app, pilot, look):
        await look("live-edge")
        await pilot.press("f")
        await look("dialog-fork")
        await pilot.press("escape", "R")
        await look("dialog-resume")
        await pilot.press("escape", "S")
        await look("dialog-preset")
        await pilot.press("escape", "o")
        await look("dialog-overlay")
        await pilot.press("enter")
        await look("live-overlay")
        await pilot.press("o", "v", "plus", "left")
        await look("live-frozen-zoomed")
        await pilot.press("0", "v", "2", "y", "t", "z")
        await look("live-one-panel")
        await pilot.press("z", "question_mark")
        await look("help")
        await pilot.press("end")
        await look("help-end")
        await pilot.press("escape", "ctrl+p")
        await look("palette")

    played(snapshots, tmp_path / "made-aaaa", scene)


def test_live_with_a_calibration(tmp_path, snapshots):
    async def scene(_app, pilot, look):
        await look("live-calibrated")
        await pilot.press("5", "z")
        await look("live-calibrated-panel")

    played(snapshots, kept(tmp_path, 5), scene)


def test_playback(tmp_path, snapshots):
    made(tmp_path, "made-aaaa", 600).close()

    async def scene(_app, pilot, look):
        await pilot.press("space", "home", *["right"] * 20)
        await look("playback")

    played(snapshots, Watch(tmp_path / "made-aaaa", 1.0), scene)


def test_landscape(tmp_path, snapshots):
    async def scene(_app, pilot, look):
        await pilot.press("f3")
        await look("landscape")

    played(snapshots, kept(tmp_path, 2), scene)


def test_crosshair(tmp_path, snapshots):
    """On all charts, with a mark, and what the panels show that have no place of their own."""
    made(tmp_path, "made-aaaa", 600).close()

    async def scene(_app, pilot, look):
        await pilot.press("h", *["left"] * 6)
        await look("live-crosshair")
        await pilot.press("h", *["left"] * 9)
        await look("live-crosshair-marks")
        await pilot.press("escape", "7", "z", "Y")
        await look("live-loss-step")
        await pilot.press("semicolon", "semicolon", "L")
        await look("live-collapse")

    played(snapshots, tmp_path / "made-aaaa", scene)


def test_oscillator(snapshots):
    async def scene(_app, pilot, look):
        await look("oscillator")
        await pilot.press("greater_than_sign", "up", "3", "z")
        await look("oscillator-one-panel")
        await pilot.press("z", "f2")
        await look("live-no-run")

    played(snapshots, oscillator_presets.load("oscillator-damped"), scene)


def compared(folder: Path) -> ComparisonView:
    """Two λ with two seeds each, in closed form; the last run is short, and not at rest."""
    entries = []
    for n, (decay, seed) in enumerate([(0.0, 0), (0.0, 1), (0.001, 0), (0.001, 1)]):
        settings = {"preset": "made", "steps": 600, "eta": 0.1, "weight_decay": decay, "seed": seed,
                    "rest_window": 200}  # fmt: skip
        config = RunConfig.build(settings, "test").to_toml()
        stated = {"step_columns": json.dumps(STORED_STEP_COLUMNS), "created": f"{n + 1}.0",
                  "config": config, "name": f"run {n}"}  # fmt: skip
        steps = 250 if n == 3 else 600
        matrix = rows(steps)
        matrix[:, STORED_STEP_COLUMNS.index("weight_decay")] = decay
        matrix[:, STORED_STEP_COLUMNS.index("loss")] *= 1 + 0.5 * seed
        writer = RunWriter(folder / f"made-{n}", facts(steps, **stated))
        writer.steps(0, matrix)
        for step in range(0, steps + 1, 25):
            level = 0.1 * seed + 4000 * decay * max(step / 300 - 1, 0)
            found = measurement(step)
            writer.measurement(step, {**found, "sharpness": found["sharpness"] - level})
        for at, word in ((0, "sharpening"), (300, "edge")):
            if at <= steps:
                payload = {"from": None, "to": word, "step": at, "why": "made so"}
                writer.event(at, "phase", payload)
        writer.close()
        entries.append(read_entry(folder / f"made-{n}"))
    return ComparisonView(entries)


def test_compare(tmp_path, snapshots):
    """Each alone, as means over seeds, less a baseline, at rest; what is asked for on the way."""

    async def scene(app, pilot, look):
        await look("compare")
        await pilot.press("g")
        await look("compare-means")
        await pilot.press("g", "b")
        while app.screen.focused is None:  # on a busy machine keys don't wait so long for a dialog
            await pilot.pause(0.05)
        await pilot.press("enter", "d", "t")
        await look("compare-difference")
        await pilot.press("enter")
        await look("compare-table")
        await pilot.press("escape", "y")
        await look("compare-quantities")
        await pilot.press("escape", "2", "z")
        await look("compare-at-rest")

    played(snapshots, Compare(compared(tmp_path)), scene)


def test_experiments(tmp_path, snapshots, monkeypatch):
    """One that is judged, one that was never run; and what is asked before it is."""
    made(tmp_path, "made-aaaa", 300).close()
    text = load("wd-fig4-mlp").path.read_text()
    files = [tmp_path / f"{name}.toml" for name in ("judged", "later")]
    for file in files:
        file.write_text(text)
    experiment = load(str(files[0]))
    sweep = Sweep.create(tmp_path, experiment.plan(), "", "made")
    for member in sweep.members:
        decay = member.config.weight_decay
        summarised.make(member.path, decay, member.config.seed, group=sweep.id)
    result = judge(experiment, sweep)  # how long it took is another on each machine
    write_result(result_file(sweep, experiment), result | {"seconds": 754.0})
    files[1].write_text(text.replace("digits-wd-fig4-mlp", "digits-wd-a7"))
    listed = {file.stem: file for file in files}
    monkeypatch.setattr(experiments, "available", lambda: listed)
    monkeypatch.setattr(experiments, "load", lambda name: load(str(listed[name])))

    async def scene(_app, pilot, look):
        await pilot.press("f8")
        await look("experiments")
        await pilot.press("down", "enter")
        await look("experiments-asked")

    played(snapshots, tmp_path / "made-aaaa", scene)


def test_the_smallest_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "speed", property(lambda _: 1234.0))
    made(tmp_path, "made-aaaa", 600).close()
    snapshots = Snapshots("20x5")

    async def check(app, pilot):
        await snapshots.take(app, pilot, "live-tiny")
        await pilot.press("question_mark")
        await snapshots.take(app, pilot, "help-tiny")

    on_screen(tmp_path / "made-aaaa", check, (20, 5))
    snapshots.finish()


def test_in_ascii(tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "speed", property(lambda _: 1234.0))
    made(tmp_path, "made-aaaa", 600).close()
    snapshots = Snapshots("80x24")

    async def check(app, pilot):
        await snapshots.take(app, pilot, "live-ascii")

    on_screen(tmp_path / "made-aaaa", check, SIZES["80x24"], unicode=False)
    snapshots.finish()


def test_a_slip_is_seen_and_told(tmp_path, monkeypatch):
    """One cell, and one style: the difference has both, and how it is agreed to."""
    name = "live-tiny-20x5.txt"
    text = (FOLDER / name).read_text(encoding="utf-8")
    monkeypatch.setattr("test_snapshots.FOLDER", tmp_path, raising=True)
    (tmp_path / name).write_text(text.replace("step", "stop"), encoding="utf-8")
    if RENEW:
        pytest.skip("they are taken anew")
    with pytest.raises(pytest.fail.Exception, match="SNAPSHOTS=renew") as failed:
        test_the_smallest_terminal(tmp_path, monkeypatch)
    assert "-" in str(failed.value)
    assert "step" in str(failed.value)
