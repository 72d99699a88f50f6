"""The crosshair in a real terminal, by keys and by the bytes that a mouse sends."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
from made import make_run
from terminal import Terminal

from eostui.charts.numbers import compact

#: What the line calls the columns of the export.
COLUMNS = {
    "L": "loss", "κ": "path_curvature", "cos": "step_cosine", "S": "sharpness", "βα": "beta_alpha",
    "λg": "lambda_g", "λ₂": "eig_2",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shelf with a run of 600 steps, measured every 25."""
    make_run(tmp_path / "runs" / "made-aaaa", 600)
    return tmp_path


def exported(folder: Path) -> list[dict[str, str]]:
    """What the command writes as CSV."""
    command = [
        sys.executable,
        "-m",
        "eostui",
        "export",
        "made-aaaa",
        "--runs-dir",
        "runs",
        "-o",
        "-",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return list(csv.DictReader(done.stdout.splitlines()))


def mouse(terminal: Terminal, column: int, row: int, button: int, *, up: bool = False) -> None:
    """Send what xterm sends in SGR mode: 0 is the left button, 32 more while it moves, 35 a move with
    none, 64 and 65 the wheel; columns and rows count from 1."""
    terminal.send(f"\x1b[<{button};{column + 1};{row + 1}{'m' if up else 'M'}")


def read(terminal: Terminal, table: list[dict[str, str]]) -> tuple[int, int]:
    """Check the line's values against the CSV; return the step and how many values there are."""
    line = re.search(r"^ step (\d+)  .*$", terminal.text, re.MULTILINE)
    assert line is not None
    cursor = step = int(line[1])
    count = 0
    for match in re.finditer(rf"at (\d+):| ({'|'.join(COLUMNS)}) (\S+)", line[0]):
        if match[1]:
            step = int(match[1])
            assert step == cursor // 25 * 25
        else:
            cell = table[step][COLUMNS[match[2]]]
            assert match[3] == compact(float(cell) if cell else float("nan"), 4), line[0]
            count += 1
    return cursor, count


@pytest.mark.parametrize(("width", "height"), [(120, 40), (80, 24)])
def test_keys_and_mouse_read_what_the_export_has(folder: Path, width: int, height: int) -> None:
    table = exported(folder)
    terminal = Terminal(
        "attach", "made-aaaa", "--runs-dir", "runs", cwd=folder, width=width, height=height
    )
    terminal.wait_for(r"step 600", r"sharpness S", timeout=30)
    terminal.send("h")
    terminal.wait_for(r"(?m)^ step 600  L ")
    terminal.send("\x1b[D\x1b[D\x1b[1;2D")  # ← ← shift+←
    terminal.wait_for(r"(?m)^ step 5[67]\d  L ")
    step, count = read(terminal, table)
    assert count >= (6 if width == 120 else 3)

    top = 5 if width == 120 else 6
    mouse(terminal, 20, top, 35)  # moved over the first chart
    terminal.wait_for(r"(?m)^ step (?!5[67])[12]\d\d  L ")
    hovered, _ = read(terminal, table)
    assert hovered < step
    mouse(terminal, 30, top, 0)
    mouse(terminal, 34, top, 32)
    between = terminal.wait_for(r"(?m)^ \d+ → (\d+): \d+ steps, Δ")[1]
    mouse(terminal, 40, top, 32)
    mouse(terminal, 40, top, 0, up=True)
    marked = rf"(?m)^ (\d+) → (?!{between}:)(\d+): (\d+) steps, Δ \(a step\)  L (\S+) \("
    found = terminal.wait_for(marked)
    first, last = int(found[1]), int(found[2])
    assert int(found[3]) == last - first > 0
    assert found[4] == compact(float(table[last]["loss"]) - float(table[first]["loss"]))

    terminal.send("z")  # between the marks
    terminal.wait_for(rf"(?m)^ step {last}  L ")
    read(terminal, table)
    mouse(terminal, 30, top, 65)
    mouse(terminal, 30, top, 64)
    terminal.send("0")
    terminal.wait_for(rf"(?m)^ step {last}  L ", without="0 all steps")
    terminal.send("\r")
    terminal.wait_for(r"fork made-aaaa", rf"from step +{last}")
    terminal.send("\x1b")
    terminal.wait_for(rf"(?m)^ step {last}  L ", without="from step")
    terminal.send("\x1b")
    terminal.wait_for("sharpness S", without=rf"(?m)^ step {last}  L ")
    terminal.send("q")
    assert terminal.exit_code() == 0
