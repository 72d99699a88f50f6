"""`eostui figure`: files as they come out, what they say of themselves, and wrong input."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from made import facts, make_run, measure, rows
from PIL import Image
from typer.testing import CliRunner

import eostui
from eostui.cli.app import app
from eostui.errors import InputError
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A shelf of two runs, in the folder that is worked in."""
    make_run(tmp_path / "runs" / "made-aaaa", 300)
    make_run(tmp_path / "runs" / "made-bbbb", 300, name="other")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EOSTUI_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return tmp_path


def figure(*arguments):
    """Run the command; return what it said on stderr. What it refuses it raises."""
    done = CliRunner().invoke(app, ["figure", *arguments])
    if done.exception is not None:
        raise done.exception
    assert done.stdout == ""
    return done.stderr


def text_of(pdf: Path) -> str:
    """All that a PDF says, its streams unpacked."""
    data = pdf.read_bytes()
    parts = [data]
    for match in re.finditer(rb"stream\r?\n(.*?)endstream", data, re.DOTALL):
        try:
            parts.append(zlib.decompress(match[1]))
        except zlib.error:
            continue
    return b"\n".join(parts).decode("latin-1")


def test_a_pdf_has_letters_that_can_be_searched_and_says_what_it_is(shelf):
    assert figure("aaaa", "-o", "run.pdf") == "figure in run.pdf\n"
    text = text_of(shelf / "run.pdf")
    assert "/Type3" not in text
    assert "/CIDFontType2" in text
    assert "/FontFile2" in text
    assert f"eostui {eostui.__version__}" in text
    assert "made-aaaa" in text
    assert "eostui figure made-aaaa" in text
    assert "CreationDate" not in text


def test_an_svg_and_a_png_say_it_too(shelf):
    figure("aaaa", "bbbb", "-o", "both.svg")
    svg = (shelf / "both.svg").read_text()
    assert "eostui figure made-aaaa made-bbbb" in svg
    assert "<dc:date>" not in svg
    figure("aaaa", "--size", "double", "-o", "run.png")
    with Image.open(shelf / "run.png") as image:
        assert image.width == pytest.approx(6.9 * 300, abs=1)
        assert image.info["Software"] == f"eostui {eostui.__version__}"
        assert image.info["Comment"] == "eostui figure made-aaaa --size double"
        assert image.info["Source"] == "made-aaaa"


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_the_same_figure_is_the_same_file(shelf, ending):
    """In another process, later, and by the command that it says of itself."""
    figure(
        "other", "aaaa", "--panel", "sharpness,loss:linear", "--x", ":200", "-o", f"first.{ending}"
    )
    command = [
        "figure", "made-bbbb", "made-aaaa", "--panel", "sharpness,loss:linear", "--x", ":200.0",
    ]  # fmt: skip
    if ending == "png":
        with Image.open(shelf / "first.png") as image:
            assert image.info["Comment"] == " ".join(["eostui", *command])
    time.sleep(1.1)  # what has the second in it, differs
    subprocess.run([sys.executable, "-m", "eostui", *command, "-o", f"second.{ending}"], check=True)
    first, second = ((shelf / f"{name}.{ending}").read_bytes() for name in ("first", "second"))
    assert first == second


def test_a_date_is_in_it_where_one_is_given(shelf, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    figure("aaaa", "-o", "run.pdf")
    assert "D:19700102" in text_of(shelf / "run.pdf")


def test_the_data_are_what_is_drawn(shelf):
    said = figure(
        "aaaa", "--panel", "sharpness", "--column", "loss", "--with-data", "-o", "run.svg"
    )
    assert said.splitlines()[1].endswith("columns explained in run.json")
    with (shelf / "run.csv").open() as file:
        table = [*csv.DictReader(file)]
    with Run(shelf / "runs" / "made-aaaa") as run:
        steps, measured = run.steps, run.measured
        loss = [(float(row["x"]), float(row["y"])) for row in table if row["panel"] == "loss"]
        np.testing.assert_array_equal(np.array(loss).T, [steps["step"], steps["loss"]])
        drawn = [row for row in table if (row["panel"], row["curve"]) == ("sharpness", "S")]
        assert [float(row["y"]) for row in drawn] == measured["sharpness"].tolist()
    assert {row["runs"] for row in table} == {"made-aaaa"}
    described = json.loads((shelf / "run.json").read_text())
    assert set(described["columns"]) == set(table[0])
    assert described["figure"]["runs"] == ["made-aaaa"]


def test_the_data_of_several_runs_say_whose_they_are(shelf):
    figure("aaaa", "other", "--panel", "sharpness,rest", "--with-data", "-o", "both.svg")
    with (shelf / "both.csv").open() as file:
        table = [*csv.DictReader(file)]
    curves = {(row["panel"], row["runs"]) for row in table}
    assert {("sharpness", "made-aaaa"), ("sharpness", "made-bbbb")} <= curves
    assert [row["panel"] for row in table].count("rest") == 2
    assert {float(row["y"]) for row in table if row["panel"] == "sharpness"} == {10.0}


def test_a_million_steps_are_a_small_file(shelf):
    steps = 1_000_000
    writer = RunWriter(shelf / "runs" / "long-cccc", facts(steps))
    noise = np.random.default_rng(0)
    for first in range(0, steps + 1, 250_000):
        stored = rows(first, min(first + 249_999, steps))
        stored[:, 0] *= 1 + 0.5 * noise.random(len(stored))
        stored[:, 3] += noise.standard_normal(len(stored))
        writer.steps(first, stored)
    measure(writer, 0, 0)
    writer.close()
    figure("cccc", "--size", "double", "-o", "long.pdf")
    assert (shelf / "long.pdf").stat().st_size < 1_000_000


def test_an_existing_file_is_replaced_when_the_new_one_is_whole(shelf):
    (shelf / "run.pdf").write_text("before")
    with pytest.raises(InputError, match="no column"):
        figure("aaaa", "--column", "nothing_like_it", "-o", "run.pdf")
    assert (shelf / "run.pdf").read_text() == "before"
    figure("aaaa", "-o", "run.pdf")
    assert (shelf / "run.pdf").read_bytes().startswith(b"%PDF")
    assert not [path for path in shelf.iterdir() if path.name.startswith(".")]


@pytest.mark.usefixtures("shelf")
def test_without_a_name_it_is_the_runs():
    assert figure("aaaa") == "figure in made-aaaa.pdf\n"
    assert figure("aaaa", "bbbb") == "figure in runs.pdf\n"


def test_a_style_of_ones_own(shelf):
    (shelf / "mine.mplstyle").write_text("savefig.dpi: 50\n")
    figure("aaaa", "--style", "mine.mplstyle", "-o", "run.png")
    with Image.open(shelf / "run.png") as image:
        assert image.width == pytest.approx(3.35 * 50, abs=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "run.pfd"], "end it in .pdf, .svg or .png; did you mean `.pdf`?"),
        (["-o", "run"], "end it in .pdf, .svg or .png"),
        (["-o", "folder.pdf"], "it is there, and isn't a file"),
        (
            ["-o", "nowhere/run.pdf"],
            "nowhere/run.pdf: can't be written: there is no folder nowhere",
        ),
        (["--panel", "sharpnes"], "did you mean `sharpness`?"),
        (["--panel", "loss_step"], "--column loss_step is a column"),
        (["--panel", "rest"], "`rest` is of several runs"),
        (["bbbb", "--panel", "oscillator"], "`oscillator` is of one run"),
        (["--panel", "loss,"], "a name is lacking"),
        (["--panel", "loss:lgo"], "did you mean `log`?"),
        (["--column", "sharpnes"], "no column `sharpnes` of this run; did you mean `sharpness`?"),
        (["--column", "drives"], "--panel drives is a panel"),
        (["bbbb", "--column", "sharpnes"], "did you mean `sharpness`?"),
        (["--size", "doubel"], "did you mean `double`?"),
        (["--size", "1000"], "between 1 and 60 inches"),
        (["--size", "3x4x5"], "must be single, double, slide or inches"),
        (["--size", "nan"], "between 1 and 60 inches"),
        (["--axis", "flwo"], "did you mean `flow`?"),
        (["--axis", "onset"], "--axis onset is of several runs"),
        (["--over-seeds"], "--over-seeds is of several runs"),
        (["--difference"], "--baseline RUN"),
        (["--x", "3"], "must be FROM:TO"),
        (["--x", "9:3"], "must rise"),
        (["--x", "a:3"], "`a`"),
        (["--style", "lacking.mplstyle"], "lacking.mplstyle: can't be read"),
        (["--style", "wrong.mplstyle"], "wrong.mplstyle: isn't a style of matplotlib's"),
        (["--filter", "nothing-like-it"], "no run to compare that fits the filter"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_leaves_no_file(shelf, arguments, sentence, capfd):
    (shelf / "folder.pdf").mkdir()
    (shelf / "wrong.mplstyle").write_text("lines.linewidht: 3\n")
    before = {*shelf.iterdir()}
    run = [] if "--filter" in arguments else ["aaaa"]
    with pytest.raises(InputError) as caught:
        figure(*run, *arguments)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {*shelf.iterdir()} == before
    assert capfd.readouterr() == ("", "")


def test_without_matplotlib_a_sentence_says_how_to_get_it(shelf, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"python -m pip install 'eostui\[figures\]'"):
        figure("aaaa", "-o", "run.pdf")
    assert not (shelf / "run.pdf").exists()


def test_other_commands_load_no_matplotlib():
    code = "import sys, eostui.tui.app, eostui.cli.app; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def refused(*arguments):
    """Return the sentence with which the command refuses."""
    with pytest.raises(InputError) as caught:
        figure(*arguments)
    return str(caught.value)


@pytest.mark.usefixtures("shelf")
def test_what_is_no_panel_is_told_with_where_it_can_be_had():
    assert refused("aaaa", "--panel", "landscape", "-o", "a.pdf").endswith(
        "; the landscape is maps, not curves: the live view shows it, and saves it as SVG"
    )
    assert "`eostui simulate --live` shows it" in refused("aaaa", "bbbb", "--panel", "regimes")
    assert "there are step, flow_time, loss" in refused("aaaa", "--column", "nope")
    assert refused("aaaa", "--column", "losss").endswith("; did you mean `loss`?")


@pytest.mark.usefixtures("shelf")
def test_a_stretch_in_which_nothing_lies_is_refused():
    """Of one run and of several; one that reaches what is there is drawn."""
    for runs, of in ((["aaaa"], "this run"), (["aaaa", "bbbb"], "these runs")):
        sentence = refused(*runs, "--x", "900:", "-o", "a.pdf")
        assert sentence == f"--x is 900:, but x of {of} goes from 0 to 300"
        assert "--x is :-5, but x" in refused(*runs, "--x", ":-5", "-o", "a.pdf")
        figure(*runs, "--x", "200:900", "-o", "a.pdf")
    assert refused("aaaa", "--x", "a:b").startswith("--x is a:b: `a` isn't a number")


@pytest.mark.usefixtures("shelf")
def test_a_folder_that_isnt_there_is_named():
    assert refused("aaaa", "-o", "no/a.pdf") == (
        "no/a.pdf: can't be written: there is no folder no"
    )


def test_a_chart_without_anything_is_told_and_so_is_a_live_run(shelf):
    """Of a run that wasn't calibrated the oscillator's chart has nothing but that sentence."""
    said = figure("aaaa", "--panel", "oscillator,loss", "-o", "a.pdf")
    assert said == "oscillator is empty: this run wasn't calibrated\nfigure in a.pdf\n"
    writer = RunWriter(shelf / "runs" / "made-live", facts(100, status="running"))
    writer.steps(0, rows(0, 39))
    writer.flush()
    try:
        for runs in (["live"], ["live", "aaaa"]):
            said = figure(*runs, "--panel", "loss", "-o", "a.pdf").splitlines()
            assert said[0] == "made-live is live: drawn as it is at step 39"
            assert len(said) == 2
    finally:
        writer.close()
