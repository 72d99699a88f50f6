"""From a shelf of a thousand runs to a figure, as one sits before it, with runs that were trained."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made import make_shelf
from terminal import Terminal

from eostui.charts.numbers import compact
from eostui.runs import shelf
from eostui.runs.run import Run

#: What five runs are trained with: λ and seed.
TRAINED = [("0.05", "1"), ("0.05", "2"), ("0.15", "1"), ("0.15", "2"), ("0.3", "1")]
#: Signs of the curves, of each run and of each λ.
SIGNS = "●○◆◇■"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shelf of a thousand runs; five of them are of the oscillator, trained and named."""
    folder = tmp_path_factory.mktemp("thousand") / "runs"
    make_shelf(folder, 995)
    for decay, seed in TRAINED:
        eostui(
            folder, "run", "toy-normal-form", "--headless", "--steps", "300", "--set", "cadence=10",
            "--weight-decay", decay, "--seed", seed, "--name", f"edge-{decay}-{seed}",
        )  # fmt: skip
    return folder


def eostui(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "eostui", *arguments, "--runs-dir", str(folder)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder.parent, check=True
    ).stdout


def exported(folder: Path, decay: str, seed: str) -> list[dict[str, str]]:
    return list(
        csv.DictReader(io.StringIO(eostui(folder, "export", f"edge-{decay}-{seed}", "-o", "-")))
    )


def move(terminal: Terminal, column: int, row: int, button: int = 35, up: str = "M") -> None:
    """What xterm sends where the pointer moves (35), or the left button goes down (0) or `up`."""
    terminal.send(f"\x1b[<{button};{column + 1};{row + 1}{up}")


def check_line(terminal: Terminal, expected: dict[str, list[list[dict[str, str]]]]) -> int:
    """Check every value of the crosshair's line against the exports; return the crosshair's step.

    `expected` has the exports of the runs of each curve, by what the line calls it.
    """
    line = re.search(r"(?m)^ step (\d+), sharpness S:(.*)$", terminal.text)
    assert line is not None, terminal.text
    step = int(line[1])
    measured = step // 10 * 10
    assert measured == step or f" at {measured}: " in line[2]
    found = dict(re.findall(rf"([{SIGNS}] \S+) (\d\.\S+)", line[2]))
    assert found, line[0]
    assert set(found) <= set(expected)
    for name, value in found.items():
        numbers = [float(table[measured]["sharpness"]) for table in expected[name]]
        assert value == compact(sum(numbers) / len(numbers), 4), line[0]
    return step


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_filter_mark_compare_read_fork_and_draw(trained: Path, size: tuple[int, int]) -> None:
    """Filter a thousand, mark five, compare, group by seed, read what the CSV has, fork, write it."""
    tables = {f"{decay}·{seed}": exported(trained, decay, seed) for decay, seed in TRAINED}
    singly = {
        f"{sign} {name}": [table] for sign, (name, table) in zip(SIGNS, tables.items(), strict=True)
    }
    decays = dict.fromkeys(decay for decay, _ in TRAINED)
    grouped = {
        f"{sign} {decay}": [table for name, table in tables.items() if name.startswith(f"{decay}·")]
        for sign, decay in zip(SIGNS, decays, strict=False)
    }
    before = {entry.id for entry in shelf.entries(trained)}
    terminal = Terminal(
        "attach", "made-0000", cwd=trained.parent, width=size[0], height=size[1],
        EOSTUI_RUNS=str(trained),
    )  # fmt: skip
    terminal.wait_for(r"step 100 ")
    terminal.send("l")
    terminal.wait_for(r"RUNS   1 0\d\d runs", "edge-0.3-1|made-0001")
    terminal.send("/edge preset:toy*")
    terminal.wait_for(r"✓ edge-0.05-1", r"▸  ✓ edge-0.3-1", without="made-0001")
    terminal.send("\r")
    terminal.send("     ")
    terminal.wait_for("5 marked")
    terminal.send("c")
    terminal.wait_for("COMPARE +5 runs by λ, seed", "sharpness S", "■ 0.3·1|■ edge|■ λ 0.3")
    terminal.send("h")
    terminal.wait_for(r"(?m)^ step 300, sharpness S: ")
    assert check_line(terminal, singly) == 300
    terminal.send("g")
    terminal.wait_for("mean ± sd over seed", "○ 0.15", without="0.15·1")
    terminal.send("\x1b[D\x1b[D\x1b[1;2D")  # ← ← shift+←
    terminal.wait_for(r"(?m)^ step 2[789]\d, sharpness S: ")
    by_keys = check_line(terminal, grouped)
    move(terminal, 20, 8)
    terminal.wait_for(r"(?m)^ step [1-9]?\d, |^ step 1\d\d, ")
    hovered = check_line(terminal, grouped)
    assert hovered < by_keys
    move(terminal, 24, 8, button=0)
    move(terminal, 24, 8, button=0, up="m")
    terminal.wait_for(rf"(?m)^ step (?!{hovered},)\d+, ")
    step = check_line(terminal, grouped)
    assert hovered < step

    terminal.send("F")
    terminal.wait_for("write these charts as a figure")
    name = f"many-{size[0]}.svg"
    terminal.send(f"\x15{name}\r")
    terminal.wait_for("figure in")
    written = (trained.parent / name).read_text()
    command = re.search(r"<dc:description>eostui (.*?)</dc:description>", written)
    assert command is not None
    assert "--over-seeds" in command[1]
    eostui(trained, *command[1].split(), "-o", f"command-{name}")
    assert (trained.parent / f"command-{name}").read_text() == written

    terminal.send("f")
    terminal.wait_for("fork which run", rf"edge-0.15-1 .*at step {step}")
    terminal.send("\x1b[B\x1b[B\r")  # the third
    terminal.wait_for("λ → 0 from step", rf"from step +{step} ")
    terminal.send("\t\t\t\x150.2\r")  # its λ
    terminal.wait_for(r"step 300 ", "λ 0.2 ", "FINISHED", without="COMPARE|repeating")
    terminal.send("q")
    assert terminal.exit_code() == 0
    assert terminal.restored
    (fork,) = (entry for entry in shelf.entries(trained) if entry.id not in before)
    parent = next(entry for entry in shelf.entries(trained) if entry.name == "edge-0.15-1")
    assert (fork.parent, fork.parent_step) == (parent.id, step)
    assert (fork.state, fork.last_step, fork.weight_decay) == ("finished", 300, 0.2)
    with Run(fork.path) as run, Run(parent.path) as other:
        assert (run.steps["loss"][:step] == other.steps["loss"][:step]).all()
        assert (run.steps["weight_decay"][step:] == 0.2).all()
    shutil.rmtree(fork.path)


def test_a_run_of_the_shelf_is_forked_and_gone_on_with(trained: Path) -> None:
    """From the Runs screen: f forks the run under the cursor from its end, R goes on with it."""
    terminal = Terminal(
        "attach", "made-0000", cwd=trained.parent, width=80, height=24, EOSTUI_RUNS=str(trained)
    )
    terminal.wait_for(r"step 100 ")
    terminal.send("l")
    terminal.wait_for(r"RUNS   1 0\d\d runs")
    terminal.send("/edge-0.05-2\r")
    terminal.wait_for(r"▸  ✓ edge-0.05-2", "1 listed")
    before = {entry.id for entry in shelf.entries(trained)}
    terminal.send("f")
    terminal.wait_for("λ → 0 from step 301")
    terminal.send("\t" * 7 + "\x15400\r")  # steps in all
    terminal.wait_for(r"step 400 ", "FINISHED", without="RUNS")
    (fork,) = (entry for entry in shelf.entries(trained) if entry.id not in before)
    assert (fork.parent_step, fork.last_step, fork.weight_decay) == (301, 400, 0.05)
    terminal.send("l")
    terminal.wait_for(r"RUNS   1 0\d\d runs")
    terminal.send("/edge-0.05-2\r")
    terminal.wait_for(r"▸  ✓ edge-0.05-2", "1 listed")
    terminal.send("R")
    terminal.wait_for("How many in all")
    terminal.send("\x15350\r")
    terminal.wait_for(r"step 350 ", "FINISHED", without="RUNS")
    terminal.send("q")
    assert terminal.exit_code() == 0
    entry = next(entry for entry in shelf.entries(trained) if entry.name == "edge-0.05-2")
    assert (entry.last_step, entry.state) == (350, "finished")
    shutil.rmtree(fork.path)
