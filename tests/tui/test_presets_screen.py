"""The presets screen: what to look for, what it costs here, started and edited from it."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from made import make_run
from terminal import Terminal

from eostui import presets
from eostui.config import RunConfig
from eostui.runs import shelf
from eostui.runs.cost import Costs
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.writer import RunWriter
from eostui.tui.screens.presets import lasting


def timed(path: Path, config: RunConfig, steps: int, seconds: float, **others: str) -> shelf.Entry:
    """A run of so many steps that took so long."""
    make_run(path, steps, config=config.to_toml(), created="1000.0", **others)
    writer = RunWriter(path)
    writer.fact("ended", str(1000.0 + seconds))
    writer.close()
    return shelf.read_entry(path)


def test_what_it_costs_is_what_runs_of_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The median speed of the newest three; other settings, other presets and starts don't count."""
    import eostui.runs.store.writer as writing

    now = [1000.0]
    monkeypatch.setattr(writing.time, "time", lambda: now[0])
    config = presets.load("digits-mlp").config
    runs = [
        timed(tmp_path / "a-2222", config, 200, 10.0),
        timed(tmp_path / "a-3333", config.changed({"eta": 0.2, "seed": 3}), 400, 10.0),
        timed(tmp_path / "a-4444", config, 100, 10.0),
        timed(tmp_path / "a-5555", config, 1000, 10.0),  # an older one
    ]
    costs = Costs()
    found = costs.of(config, runs)
    assert found is not None
    assert found.runs == 3
    assert found.steps_per_second == pytest.approx(20.0)
    assert found.seconds(config.steps) == pytest.approx(config.steps / 20)
    others = [
        timed(tmp_path / "b-2222", config.changed({"width": 7}), 200, 10.0),
        timed(tmp_path / "b-3333", config.changed({"preset": "mine"}), 200, 10.0),
        timed(tmp_path / "b-4444", config, 10, 10.0),
    ]
    assert costs.of(config, others) is None
    fork = timed(tmp_path / "c-2222", config, 300, 10.0, parent="a-2222", parent_step="200")
    own = costs.of(config, [fork])
    assert own is not None
    assert own.steps_per_second == pytest.approx(10.0)  # its first 200 steps are its parent's


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.3, "0.3 s"), (42, "42 s"), (89, "89 s"), (90, "1.5 min"), (7200, "2.0 h")],
)
def test_lasting(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


def test_a_preset_of_your_own_is_a_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's code beside it goes along; a copy that is there isn't written over."""
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path))
    path = presets.copy_to_own("own-problem")
    assert path == tmp_path / "presets" / "own-problem.toml"
    config = presets.load("own-problem").config
    assert config.own_code()[0].startswith(str(tmp_path / "presets" / "own_problem.py:"))
    path.write_text("# mine\n" + path.read_text())
    assert presets.copy_to_own("own-problem") == path
    assert presets.load("own-problem").description.startswith("mine")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_started_and_edited(tmp_path: Path, size: tuple[int, int]) -> None:
    """Filter to a toy, read what it is, edit it, start it, and see what it cost."""
    folder, settings = tmp_path / "runs", tmp_path / "settings"
    make_run(folder / "made-0000", 100)
    editor = tmp_path / "an editor"
    editor.write_text('#!/bin/sh\nsed -i "1s/.*/# Mine now./; s/^steps.*/steps = 150/" "$2"\n')
    editor.chmod(0o755)
    terminal = Terminal(
        "attach", "made-0000", cwd=tmp_path, width=size[0], height=size[1],
        EOSTUI_RUNS=str(folder), EOSTUI_SETTINGS=str(settings), EDITOR=f"'{editor}' -x", VISUAL="",
    )  # fmt: skip
    try:
        terminal.wait_for("step 100 ")
        terminal.send("P")
        terminal.wait_for(r"PRESETS   \d+ presets", "▸  cifar5k-cnn", "not run here yet")
        terminal.send("/toy two-lay\r")
        terminal.wait_for("1 listed", "catapult", r"toy-two-layer ")
        terminal.send("e")
        terminal.wait_for(r"toy-two-layer \(own\)", "Mine now")
        assert (settings / "presets" / "toy-two-layer.toml").is_file()
        terminal.send("\r")
        terminal.wait_for(r"toy-two-layer .*step 150 |FINISHED.*step 150 ", timeout=90)
        terminal.send("P")
        terminal.wait_for(r"150 steps take about [\d.]+ (s|min) here: .* in 1 run of")
        terminal.send("\x1b")
        terminal.wait_for(r"PRESETS   \d+ presets", without="listed")
        terminal.send("q")
        assert terminal.exit_code() == 0
        assert terminal.restored
    finally:
        for path in folder.iterdir():
            if engine_alive(path):
                os.kill(int((path / "lock").read_text()), signal.SIGKILL)
    started = next(entry for entry in shelf.entries(folder) if entry.id != "made-0000")
    assert re.match("toy-two-layer-", started.id)
    assert (started.state, started.last_step) == ("finished", 150)


def test_an_editor_that_is_none(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "made-0000", 100)
    terminal = Terminal(
        "attach", "made-0000", cwd=tmp_path, EOSTUI_RUNS=str(tmp_path / "runs"),
        EOSTUI_SETTINGS=str(tmp_path / "settings"), EDITOR="/nowhere/ed", VISUAL="",
    )  # fmt: skip
    terminal.wait_for("step 100 ")
    terminal.send("P")
    terminal.wait_for("▸  cifar5k-cnn")
    terminal.send("e")
    terminal.wait_for("/nowhere/ed", r"\$EDITOR", r"▸  cifar5k-cnn")
    terminal.send("q")
    assert terminal.exit_code() == 0
