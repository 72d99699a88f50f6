"""`eostui compare` and the Compare screen, by real processes in real terminals."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from made import facts, measure, rows
from terminal import Terminal

from eostui.config import RunConfig
from eostui.runs.store.writer import RunWriter


def run(folder, name, decay, seed, steps=600, **others):
    """A run at its edge: S rests at 20 − 100 λ − seed/10."""
    settings = {"preset": "made", "steps": steps, "eta": 0.1, "weight_decay": decay, "seed": seed,
                "rest_window": 200}  # fmt: skip
    config = RunConfig.build(settings, "test").to_toml()
    stated = {**facts(steps, **others), "config": config, "name": name, "group": "lam"}
    path = folder / f"made-{name}"
    writer = RunWriter(path, stated)
    writer.event(0, "started")
    matrix = rows(0, steps)
    matrix[:, 5] = decay
    writer.steps(0, matrix[:301])
    writer.flush()
    writer.steps(301, matrix[301:])
    measure(writer, 0, steps, 20.0 - 100 * decay - seed / 10)
    writer.event(0, "phase", {"from": None, "to": "edge", "step": 0, "why": "made so"})
    writer.flush()
    return writer


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for decay in (0.0, 0.001, 0.01):
        for seed in (0, 1):
            run(folder, f"lam{decay:g}-s{seed}", decay, seed).close()
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs")


def eostui(folder, *arguments, **options):
    command = [sys.executable, "-m", "eostui", *arguments, "--runs-dir", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, **options)


# --- the command --------------------------------------------------------------------------------------


def test_the_table_has_what_differs_and_the_readings(folder):
    done = eostui(folder, "compare")
    assert done.returncode == 0, done.stderr
    titles, *lines = done.stdout.splitlines()
    assert titles.split()[:5] == ["run", "λ", "seed", "state", "steps"]
    assert [line.split()[0] for line in lines] == [
        "lam0-s0", "lam0-s1", "lam0.001-s0", "lam0.001-s1", "lam0.01-s0", "lam0.01-s1",
    ]  # fmt: skip
    assert lines[4].split()[5] == "19.00"


def test_json_and_csv_have_the_numbers_of_the_exports(folder):
    found = json.loads(eostui(folder, "compare", "--json", "--filter", "λ>0").stdout)
    assert [record["settings"]["weight_decay"] for record in found] == [0.001] * 2 + [0.01] * 2
    done = eostui(folder, "compare", "--group", "lam", "-o", "table.csv", "--column", "g")
    assert done.stderr == "6 rows in table.csv\n"
    with (folder.parent / "table.csv").open(encoding="utf-8") as file:
        table = {row["name"]: row for row in csv.DictReader(file)}
    for record in found:
        eostui(folder, "export", record["id"], "-o", "one.csv")
        with (folder.parent / "one.csv").open(encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        late = lines[-200:]
        for name in ("sharpness", "loss"):
            mean = np.mean([float(line[name]) for line in late if line[name]])
            assert record["readings"][name]["value"] == pytest.approx(mean, rel=1e-12)
            assert float(table[record["name"]][name]) == record["readings"][name]["value"]
        assert float(table[record["name"]]["g"]) == 50.0
        assert table[record["name"]]["weight_decay"] == str(record["settings"]["weight_decay"])


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 10), (20, 5), (1, 1)])
def test_a_still_picture_stays_in_its_size(folder, size):
    width, height = size
    done = eostui(
        folder, "compare", "--still", "--over-seeds", "--width", str(width), "--height", str(height)
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    if size == (120, 40):
        assert "◆ λ 0.01" in lines[-1]
        assert "at rest, against λ" in done.stdout
        assert "mean ± sd over seed" in done.stdout


def test_plot_of_several_runs_is_their_comparison(folder):
    size = ("--width", "110", "--height", "30")
    several = eostui(folder, "plot", "lam0-s0", "lam0.01-s0", *size).stdout
    assert several == eostui(folder, "compare", "lam0-s0", "lam0.01-s0", "--still", *size).stdout
    assert "○ lam0.01-s0 · λ 0.01" in several.splitlines()[-1]
    assert eostui(folder, "plot", "lam0-s0", *size).stdout.startswith("sharpness S")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--filter", "nothing-like-this"], 2, "no run to compare that fits the filter in"),
        (["--filter", "weigth_decay>1"], 2, "did you mean `weight_decay`"),
        (["lam0-s9"], 2, "no run or sweep `lam0-s9`"),
        (["--column", "sharpnes"], 2, "no run has a column `sharpnes`; did you mean `sharpness`?"),
        (["--axis", "stpes"], 2, "did you mean `steps`"),
        (["--difference"], 2, "--baseline RUN"),
        (["--table", "--json"], 2, "only one of"),
        (["-o", "x.txt"], 2, "must end in .csv or .json"),
        (["--width", "0", "--still"], 2, "at least 1"),
    ],
)  # fmt: skip
def test_wrong_input_is_told_in_one_sentence(folder, arguments, code, sentence):
    done = eostui(folder, "compare", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_damaged_run_is_named_and_the_rest_goes_on(folder):
    with sqlite3.connect(folder / "made-lam0-s0" / "run.db") as database:
        database.execute("UPDATE steps SET matrix = zeroblob(length(matrix)) WHERE id = 1")
    done = eostui(folder, "compare", "--table")
    assert done.returncode == 0
    assert "made-lam0-s0 is left out" in done.stderr
    assert "unreadable" in done.stdout
    assert len(done.stdout.splitlines()) == 7


def test_a_live_run_stays_as_it_was_read(folder):
    writer = run(folder, "live", 0.1, 0, status="running")
    try:
        found = json.loads(eostui(folder, "compare", "live", "lam0-s0", "--json").stdout)
        assert [record["last_step"] for record in found] == [600, 600]
    finally:
        writer.close()


def test_more_than_two_hundred_runs_are_too_many(folder):
    for n in range(200):
        shutil.copytree(folder / "made-lam0-s0", folder / f"copy-{n}")
    done = eostui(folder, "compare")
    assert done.returncode == 2
    assert "these are 206 runs" in done.stderr
    assert eostui(folder, "compare", "--filter", "copy").returncode == 0


# --- the screen ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_filter_group_baseline_table_and_open(folder, size):
    """As one sits before it: choose runs, average over seeds, take differences, open one."""
    terminal = Terminal(
        "compare", "--runs-dir", str(folder), cwd=folder, width=size[0], height=size[1]
    )
    terminal.wait_for("COMPARE +6 runs by λ, seed", "sharpness S", "● 0|● lam0-s0|● λ 0")
    terminal.send("/")
    terminal.wait_for("compare which runs")
    terminal.send("weight_decay>0\r")
    terminal.wait_for("COMPARE +4 runs by λ, seed")
    terminal.send("g")
    terminal.wait_for("mean ± sd over seed", "● λ 0.001", "○ λ 0.01")
    terminal.send("2" if size[0] < 100 else "")
    terminal.wait_for("at rest, against λ", "┬.* λ")
    terminal.send("g")
    terminal.send("1")
    terminal.send("b")
    terminal.wait_for("the baseline")
    terminal.send("\r")
    terminal.wait_for("baseline λ 0.001, seed 0")
    terminal.send("d")
    terminal.wait_for("less λ 0.001, seed 0")
    terminal.send("d")
    terminal.send("t")
    terminal.wait_for("x flow time|flow time")
    terminal.send("\r")
    terminal.wait_for("S at rest", "lam0.001-s0")
    terminal.send("\r")
    terminal.wait_for("run lam0.001-s0|FINISHED", without="COMPARE")
    terminal.send("O")
    terminal.wait_for("COMPARE +4 runs")
    terminal.send("q")
    assert terminal.exit_code() == 0
    assert terminal.restored


def test_a_quantity_is_chosen_and_its_value_is_that_of_the_csv(folder):
    terminal = Terminal("compare", "lam0-s0", "lam0.01-s0", "--runs-dir", str(folder), cwd=folder)
    terminal.wait_for("2 runs by λ", "●0 20.0")
    terminal.send("y")
    terminal.wait_for("draw, and read at rest")
    terminal.send("\x1b[B\x1b[B\r")  # the loss, third in the list
    found = terminal.wait_for(r"y loss L", r"●0 (\S+)")
    eostui(folder, "export", "lam0-s0", "-o", "one.csv")
    with (folder.parent / "one.csv").open(encoding="utf-8") as file:
        last = float(list(csv.DictReader(file))[-1]["loss"])
    label = re.search(r"●0 (\S+)", terminal.text)
    assert found
    assert float(label[1]) == pytest.approx(last, rel=0.01)
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_live_runs_are_followed_and_a_deleted_one_is_told(folder):
    writer = run(folder, "live", 0.1, 0, status="running")
    terminal = Terminal("compare", "--runs-dir", str(folder), cwd=folder, width=140)
    terminal.wait_for("7 runs by λ, seed", "1 live")
    matrix = rows(601, 4000)
    matrix[:, 5] = 0.1
    writer.steps(601, matrix)
    writer.flush()
    terminal.wait_for("3k|4k")
    writer.close()
    shutil.rmtree(folder / "made-lam0-s1")
    terminal.wait_for("is gone", "1 can't be read")
    shutil.rmtree(folder / "made-live")
    terminal.wait_for("2 can't be read")
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_damaged_runs_are_told_on_the_screen(folder):
    with sqlite3.connect(folder / "made-lam0-s0" / "run.db") as database:
        database.execute("DELETE FROM run WHERE key = 'config'")
    with sqlite3.connect(folder / "made-lam0.01-s1" / "run.db") as database:
        database.execute("UPDATE steps SET matrix = zeroblob(length(matrix)) WHERE id = 1")
    terminal = Terminal("compare", "--runs-dir", str(folder), cwd=folder)
    terminal.wait_for("COMPARE +5 runs", "1 can't be read", "made-lam0-s0 is left out")
    terminal.send("q")
    assert terminal.exit_code() == 0


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_its_figure_is_what_the_command_writes(folder, size):
    """F, with the runs grouped; the file says the command, which writes the same bytes."""
    terminal = Terminal(
        "compare", "--runs-dir", str(folder), cwd=folder.parent, width=size[0], height=size[1]
    )
    terminal.wait_for("COMPARE +6 runs by λ, seed", "sharpness S", "● 0|● lam0-s0|● λ 0")
    terminal.send("g")
    terminal.wait_for("mean ± sd over seed")
    terminal.send("F")
    terminal.wait_for("write these charts as a figure")
    terminal.send("\x15screen.svg\r")
    terminal.wait_for("figure in")
    terminal.send("q")
    assert terminal.exit_code() == 0
    screen = (folder.parent / "screen.svg").read_text()
    command = re.search(r"<dc:description>eostui (.*?)</dc:description>", screen)[1]
    assert "--over-seeds" in command
    assert eostui(folder, *command.split(), "-o", "command.svg").returncode == 0
    assert (folder.parent / "command.svg").read_text() == screen


@pytest.mark.parametrize("size", [(40, 24), (44, 12), (20, 5), (8, 3)])
def test_small_terminals(folder, size):
    terminal = Terminal(
        "compare", "--runs-dir", str(folder), cwd=folder, width=size[0], height=size[1]
    )
    terminal.wait_for("6/6|COMPARE|6 runs")
    for keys in ("g", "t", "\r", "\x1b", "b", "\x1b", "/", "\x1b", "y", "\x1b", "z", "z"):
        terminal.send(keys)
        terminal.read(0.3)  # an escape with a letter right behind it would be another key
    terminal.wait_for("6/6|COMPARE|6 runs")
    terminal.send("q")
    assert terminal.exit_code() == 0
