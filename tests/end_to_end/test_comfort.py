"""Mouse, colours, keys of one's own, notes and stopping in real terminals."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from made import make_run
from terminal import Terminal

from eostui.runs import shelf
from eostui.runs.run import Run
from eostui.runs.store import commands
from eostui.runs.store.liveness import engine_alive

SIZES = [(120, 40), (80, 24)]


@pytest.fixture
def runs_dir(tmp_path: Path):
    """A shelf of its own; engines left alive by a failing test are stopped."""
    folder = tmp_path / "runs"
    yield folder
    for entry in shelf.entries(folder):
        if engine_alive(entry.path):
            os.kill(int((entry.path / "lock").read_text()), signal.SIGKILL)


def open_terminal(*arguments: str, runs_dir: Path, **options) -> Terminal:
    settings = str(runs_dir.parent / "settings")
    return Terminal(
        *arguments, cwd=runs_dir.parent,
        **{"EOSTUI_RUNS": str(runs_dir), "EOSTUI_SETTINGS": settings, **options},
    )  # fmt: skip


@pytest.fixture
def finished(runs_dir: Path) -> Path:
    return make_run(runs_dir / "made-abcd", 600)


def clicked(terminal: Terminal, text: str, *, times: int = 1) -> None:
    """Click on a text that is shown, as a terminal says it (SGR: button, column, row, up or down)."""
    terminal.wait_for(re.escape(text))
    lines = terminal.screen.display
    row = max(row for row, line in enumerate(lines) if text in line)
    column = lines[row].index(text)
    for _ in range(times):
        terminal.send(f"\x1b[<0;{column + 1};{row + 1}M\x1b[<0;{column + 1};{row + 1}m")


def background(terminal: Terminal, row: int, column: int) -> str:
    return terminal.screen.buffer[row][column].bg


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.usefixtures("finished")
def test_keys_tabs_titles_and_answers_are_clicked(runs_dir, width, height):
    """A key bar's hint acts, a tab and a chart's title choose a panel, a dialog's answer answers."""
    terminal = open_terminal("attach", runs_dir=runs_dir, width=width, height=height)
    terminal.wait_for("FINISHED", r"sharpness S", r"\? help", timeout=60)
    if (width, height) == (80, 24):
        clicked(terminal, "3 loss")
        terminal.wait_for(r"╭─* loss L")
        clicked(terminal, "1 sharpness")
        terminal.wait_for(r"╭─* sharpness S")
    else:
        clicked(terminal, "loss L", times=2)
        terminal.wait_for("z all panels", without="sharpness S ·")
        clicked(terminal, "z all panels")
        terminal.wait_for("sharpness S", "loss L", without="z all panels")
    clicked(terminal, "? help")
    terminal.wait_for("Training", "type a value for η")
    terminal.send("\x1b")
    terminal.wait_for(r"\? help", without="type a value for η")
    clicked(terminal, "f fork")
    terminal.wait_for("enter", "esc")
    clicked(terminal, "esc")
    terminal.wait_for("f fork", without="esc")
    clicked(terminal, "q quit")
    assert terminal.exit_code() == 0
    assert terminal.restored


@pytest.mark.usefixtures("finished")
def test_keys_of_ones_own_are_written_changed_and_obeyed(runs_dir):
    place = Terminal(
        "locate", "keys", "--write", cwd=runs_dir.parent, width=200,
        EOSTUI_SETTINGS=str(runs_dir.parent / "settings"),
    )  # fmt: skip
    assert place.exit_code() == 0
    file = runs_dir.parent / "settings" / "keys.toml"
    assert str(file) in place.text
    text = file.read_text(encoding="utf-8")
    assert '# "zoom" = "z"  # one panel, full screen' in text
    file.write_text(text.replace('# "zoom" = "z"', '"zoom" = "J"'), encoding="utf-8")
    terminal = open_terminal("attach", runs_dir=runs_dir)
    terminal.wait_for("FINISHED", "J zoom", "loss L", timeout=60)
    terminal.send("J")
    terminal.wait_for("J all panels", without="loss L")
    terminal.send("z")
    clicked(terminal, "J all panels")
    terminal.wait_for("loss L", without="all panels")
    terminal.send("q")
    assert terminal.exit_code() == 0

    file.write_text('zoom = "q"', encoding="utf-8")
    refused = open_terminal("attach", runs_dir=runs_dir, width=200)
    refused.wait_for("`q` can't be for both `zoom` and `leave`: give one of them another key")
    assert refused.exit_code() == 2


@pytest.mark.usefixtures("finished")
def test_colours_are_chosen_and_remembered_and_none_is_needed(runs_dir):
    terminal = open_terminal("attach", runs_dir=runs_dir, COLORTERM="truecolor")
    terminal.wait_for("FINISHED", timeout=60)
    assert background(terminal, 3, 10) == "0d1117"
    terminal.send("T")
    terminal.wait_for("okabe-ito")
    clicked(terminal, "print")
    terminal.wait_for("print from now on", without="okabe-ito")
    assert background(terminal, 3, 10) == "ffffff"
    terminal.send("q")
    assert terminal.exit_code() == 0

    again = open_terminal("attach", runs_dir=runs_dir, COLORTERM="truecolor")
    again.wait_for("FINISHED", timeout=60)
    assert background(again, 3, 10) == "ffffff"
    again.send("q")
    again.exit_code()

    flag = open_terminal("attach", "--theme", "prnt", runs_dir=runs_dir)
    flag.wait_for("there is no theme `prnt`; did you mean `print`")
    assert flag.exit_code() == 2

    plain = open_terminal("attach", "--ascii", runs_dir=runs_dir, NO_COLOR="1", width=80, height=24)
    plain.wait_for("FINISHED", "sharpness S", timeout=60)
    plain.send("3")
    plain.wait_for("loss L")
    plain.send("s")
    plain.wait_for("median of 20 points", "~L")
    cells = [cell for row in plain.screen.buffer.values() for cell in row.values()]
    assert all(_is_grey(cell.fg) for cell in cells)
    plain.send("q")
    plain.exit_code()


def _is_grey(colour: str) -> bool:
    return len(colour) != 6 or len({colour[:2], colour[2:4], colour[4:]}) == 1


def test_a_note_on_a_run_that_ended(finished, runs_dir):
    terminal = open_terminal("attach", runs_dir=runs_dir, width=80, height=24)
    terminal.wait_for("FINISHED", timeout=60)
    terminal.send("N")
    terminal.wait_for("a note on made-abcd")
    terminal.send("widest ↵ so far\r")
    terminal.wait_for("made-abcd is noted")
    with Run(finished) as run:
        assert run.facts["note"] == "widest\nso far"
    terminal.send("N")
    terminal.wait_for("a note on made-abcd", "widest ↵ so far")
    terminal.send("\x1b")
    terminal.wait_for("f fork", without="a note on")
    terminal.send("q")
    assert terminal.exit_code() == 0


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_run_stops_where_it_was_asked_to_with_nobody_there(runs_dir, width, height):
    """The line at the top says at what; the engine stops there by itself."""
    terminal = open_terminal(
        "run", "digits-mlp", "--set", "steps=1000000", "--set",
        "pause_at=[300]", runs_dir=runs_dir, width=width, height=height,
    )  # fmt: skip
    terminal.wait_for("PAUSED", timeout=120)
    terminal.send("b")
    terminal.wait_for("is to stop at")
    terminal.send("20x\r")
    terminal.wait_for("nothing to stop at|isn't a number")
    terminal.send("\x7f\x7f\x7f350\r")
    terminal.wait_for("stops at step 350|is told to stop at: step 350")
    terminal.wait_for("stops at step 350")
    terminal.send("q")
    terminal.wait_for("keep it paused", "stop it")
    clicked(terminal, "keep it paused")
    assert terminal.exit_code() == 0
    (entry,) = shelf.entries(runs_dir)
    commands.send(entry.path, "resume")
    deadline = time.monotonic() + 60
    while engine_alive(entry.path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with Run(entry.path) as run:
        assert run.last_step == 350
        assert run.facts["sentence"] == "stopped as asked (step 350) at step 350"
