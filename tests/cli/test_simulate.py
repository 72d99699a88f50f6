"""`eostui simulate` as a user types it: stdout is data, stderr is narration, codes are promises."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest

from eostui import oscillator_presets
from eostui.cli import main
from eostui.oscillator import Parameters, simulate


@pytest.fixture
def eostui(capsys, monkeypatch, tmp_path):
    """Return a function that runs the command line: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path / "settings"))
    monkeypatch.setattr("gc.set_threshold", lambda *_: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["eostui", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        out, error = capsys.readouterr()
        return end.value.code or 0, out, error

    return run


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_summary_as_json(eostui):
    """The three answers side by side, for MATH §3.2's example."""
    code, out, error = eostui("simulate", "oscillator-gx", "--json")
    assert (code, error) == (0, "")
    summary = json.loads(out)
    assert summary["attractor"] == summary["regime"] == "cycle"
    assert summary["escape_step"] is None
    assert summary["leading_order"]["amplitude"] == pytest.approx(0.01155, abs=5e-6)
    assert summary["leading_order"]["amplitude_off_centre"] == pytest.approx(0.00577, abs=5e-6)
    assert summary["leading_order"]["damping"] == "under"
    assert summary["exact"]["multiplier"] == pytest.approx(0.98103, abs=5e-6)
    assert summary["exact"]["attracts"] is True
    for key in ("sharpness", "amplitude", "centre"):
        assert summary["measured"][key] == pytest.approx(summary["exact"][key], rel=1e-6)
    for key in ("decay", "frequency"):
        assert summary["measured"][key] == pytest.approx(summary["exact"][key], rel=0.01)
    assert len(summary["fixed_points"]) == 3
    assert not any(point["attracts"] for point in summary["fixed_points"])


def test_collapse_as_json(eostui):
    summary = json.loads(eostui("simulate", "oscillator-collapse", "--json")[1])
    assert (summary["attractor"], summary["regime"]) == ("collapsed", "collapse")
    assert summary["two_cycles"] == []
    assert summary["leading_order"]["damping"] is None
    for column in ("leading_order", "exact", "measured"):
        assert summary[column]["sharpness"] == pytest.approx(97, abs=1e-6)


def test_csv_on_stdout(eostui):
    """Every step, in full precision; the last row lacks what needs a next one."""
    code, out, error = eostui("simulate", "--csv", "-", "--steps", "50", "--g-x", "0.5")
    assert (code, error) == (0, "")
    rows = rows_of(out)
    assert [int(row["step"]) for row in rows] == list(range(51))
    simulation = oscillator_presets.load("oscillator-damped").simulation.changed({"g_x": 0.5})
    orbit = simulate(simulation.parameters, simulation.start, 50)
    np.testing.assert_array_equal([float(row["x"]) for row in rows], orbit.x)
    np.testing.assert_array_equal([float(row["y"]) for row in rows], orbit.y)
    np.testing.assert_array_equal(
        [float(row["envelope"]) for row in rows[:-1]], orbit.envelope[:-1]
    )
    assert rows[-1]["envelope"] == rows[-1]["centre"] == ""
    assert rows[0]["stage"] == "sharpening"
    first = {k: float(v) for k, v in rows[0].items() if k != "stage"}
    assert first["sharpness"] == first["y"] + 100
    assert first["stability_threshold"] == 99.5
    assert first["bounce"] == pytest.approx(0.5 * 3e4 * first["x"] ** 2)
    assert first["envelope_predicted"] == first["envelope"]


def test_csv_files(eostui, tmp_path):
    """A file with its sidecar, written anew on the second use; stdout stays empty."""
    for steps in ("20", "30"):
        code, out, error = eostui("simulate", "--csv", "o.csv", "--steps", steps)
        assert (code, out) == (0, "")
        assert f"{int(steps) + 1} rows in o.csv, columns explained in o.json" in error
    rows = rows_of((tmp_path / "o.csv").read_text(encoding="utf-8"))
    sidecar = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))
    assert len(rows) == 31
    assert list(sidecar["columns"]) == list(rows[0])
    assert sidecar["settings"]["steps"] == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.csv", "o.json"]


def test_an_escape(eostui):
    """Exit 3, a sentence with the step, and all rows before it."""
    code, out, error = eostui("simulate", "oscillator-escape", "--csv", "-")
    assert code == 3
    assert error.strip() == "the orbit escaped at step 1130; 1130 steps before it are kept"
    rows = rows_of(out)
    assert len(rows) == 1130
    assert all(np.isfinite(float(row["x"])) for row in rows)
    code, out, _ = eostui("simulate", "oscillator-escape", "--json")
    assert code == 3
    summary = json.loads(out)
    assert (summary["escape_step"], summary["regime"]) == (1130, "neither")
    assert summary["exact"]["decay"] < 0
    assert summary["measured"]["sharpness"] is None


def test_the_picture(eostui):
    """Within its size, no escape sequence where stdout isn't a terminal, the three answers below."""
    for width, height in ((120, 39), (80, 23), (40, 8)):
        size = ["--width", str(width), "--height", str(height)]
        code, out, _ = eostui("simulate", "oscillator-gx", *size)
        assert code == 0
        lines = out.splitlines()
        assert max(map(len, lines)) <= width
        assert "\x1b" not in out
        assert any(line.startswith("amplitude A") for line in lines)
        if height >= 23:
            assert len(lines) <= height
            assert "2/η−λ" in out
            assert "0.0059427" in out


@pytest.mark.parametrize("name", ["weight_decay", "lambda", "λ"])
def test_a_regime_map(eostui, name):
    """The map as CSV: each row is what the same orbit alone gives."""
    grid = f"{name}=0:2:4,g=0:5:3"
    code, out, error = eostui("simulate", "--grid", grid, "--csv", "-", "--steps", "3000")
    assert (code, error) == (0, "")
    rows = rows_of(out)
    assert len(rows) == 12
    assert list(rows[0])[:3] == ["weight_decay", "g", "attractor"]
    simulation = oscillator_presets.load("oscillator-damped").simulation
    for row in rows:
        p = Parameters(0.02, float(row["weight_decay"]), 2 / 3e4, 3e4, float(row["g"]))
        orbit = simulate(p, simulation.start, 3000)
        assert (row["attractor"] == "escaped") == (orbit.escape_step is not None)
        if orbit.escape_step is not None:
            assert int(row["escape_step"]) == orbit.escape_step
            assert row["resting_sharpness"] == ""
        else:
            assert row["escape_step"] == ""
            mean = orbit.sharpness[-601:-1].mean()
            assert float(row["resting_sharpness"]) == pytest.approx(mean, rel=1e-6)
    kinds = {row["attractor"] for row in rows}
    assert {"cycle", "collapsed"} <= kinds


def test_a_logarithmic_axis_and_starts(eostui):
    code, out, _ = eostui("simulate", "--grid", "x=1e-6:1e-2:5:log,y=-1:1:3", "--json")
    points = json.loads(out)["points"]
    assert code == 0
    np.testing.assert_allclose(points["x"][:5], [1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
    np.testing.assert_allclose(points["y"][::5], [-1, 0, 1])


def test_the_map_as_picture(eostui):
    """Letters by attractor, the second axis upwards, the legend with shares; in its size."""
    arguments = ["--grid", "λ=1:1.9:30,g=0:5:10", "--width", "60", "--height", "20"]
    code, out, _ = eostui("simulate", *arguments, "--steps", "3000")
    assert code == 0
    assert "\x1b" not in out
    lines = out.splitlines()
    assert max(map(len, lines)) <= 60
    assert len(lines) <= 20
    body = [line[10:] for line in lines if set(line[10:]) <= set("o.x~?") and line[10:]]
    assert set(body[0]) == {"."}  # g = 5
    assert set(body[-1]) == {"o"}  # g = 0
    assert "weight_decay to the right, g upwards" in out
    assert "cycle" in out
    few = eostui("simulate", *arguments[:2], "--width", "30", "--height", "8", "--steps", "100")[1]
    assert "of 30×10 points shown" in " ".join(few.split())
    assert max(map(len, few.splitlines())) <= 30


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--beta", "-1"], ["`beta` is -1", "at least 0"]),
        (["--eta", "0"], ["`eta` is 0", "above 0"]),
        (["--eta", "1", "--weight-decay", "1"], ["`eta` × `weight_decay` is 1", "below 1"]),
        (["--x", "inf"], ["inf", "isn't a number"]),
        (["--y", "nan"], ["nan", "isn't a number"]),
        (["--x", "1e20"], ["`x` is 1e+20", "within"]),
        (["--steps", "0"], ["`steps` is 0", "from 1 to"]),
        (["--width", "0"], ["--width is 0"]),
        (["oscilator-gx"], ["`oscilator-gx`", "did you mean `oscillator-gx`"]),
        (["nowhere.toml"], ["nowhere.toml", "no such file"]),
        (["--csv", "-", "--json"], ["stdout"]),
        (["--csv", "no/x.csv", "--steps", "5"], ["no/x.csv", "can't be written"]),
        (["--csv", "x.json", "--steps", "5"], ["x.json", "end it in .csv or .csv.gz"]),
        (["--grid", "lamda=0:1:3"], ["unknown name `lamda`", "did you mean `lambda`"]),
        (["--grid", "g"], ["must be NAME=LOW:HIGH:COUNT"]),
        (["--grid", "g=0:1"], ["must be NAME=LOW:HIGH:COUNT"]),
        (["--grid", "g=0:1:3:cubic"], ["must be NAME=LOW:HIGH:COUNT"]),
        (["--grid", "g=0:one:3"], ["g=0:one:3", "`one` isn't a number"]),
        (["--grid", "g=0:1:0"], ["the count is 0", "1 or more"]),
        (["--grid", "g=0:1:2.5"], ["the count is 2.5"]),
        (["--grid", "g=0:1:5:log"], ["above 0"]),
        (["--grid", "g=0:1:2,g=0:1:2"], ["`g` is given twice"]),
        (["--grid", "g=0:1:2,x=0:1:2,y=0:1:2"], ["3 axes", "one or two"]),
        (["--grid", "g=0:1:9999,x=0:1:9999"], ["points, but must be at most"]),
        (["--grid", "eta=-1:1:3"], ["`eta` is -1", "above 0"]),
        (["--grid", "beta=-1:1:3"], ["`beta` is -1", "at least 0"]),
        (["--grid", "η=0.1:2:3,λ=1:2:3"], ["`eta` × `weight_decay`", "below 1"]),
        (["--grid", "g=0:1:3", "--steps", "1"], ["2 steps"]),
    ],
)
def test_wrong_input(eostui, arguments, parts):
    """One sentence, exit 2, nothing on stdout, nothing written."""
    code, out, error = eostui("simulate", *arguments)
    assert (code, out) == (2, "")
    assert len(error.strip().splitlines()) == 1
    assert error.startswith("eostui: ")
    for part in parts:
        assert part in error


def test_shipped_presets(eostui):
    """Listed with their summary; all valid; what their heads say of settings and rest is so."""
    code, out, _ = eostui("simulate", "--list")
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()]
    assert names == [
        "oscillator-collapse",
        "oscillator-damped",
        "oscillator-escape",
        "oscillator-gx",
        "rev-stages",
    ]
    for name in names:
        preset = oscillator_presets.load(name)
        assert preset.summary in out
        assert preset.summary.endswith(".")
        assert "\n" in preset.description


def test_own_presets(eostui, tmp_path):
    """Found in the settings folder and by path; every fault is a sentence with its key."""
    text = "# Mine.\neta = 0.02\nweight_decay = 1\nalpha = 1e-4\nbeta = 3e4\nx = 1e-3\nsteps = 40\n"
    folder = tmp_path / "settings" / "presets" / "oscillator"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    assert "mine                 Mine.\n" in eostui("simulate", "--list")[1]
    assert json.loads(eostui("simulate", "mine", "--json")[1])["last_step"] == 40
    for change, parts in (
        ("lamda = 1\n", ["unknown key `lamda`"]),
        ("betta = 1\n", ["unknown key `betta`", "did you mean `beta`"]),
        ("g = 'one'\n", ['`g` is "one"', "must be a number"]),
        ("g = true\n", ["`g` is True", "must be a number"]),
        ("y = nan\n", ["`y` is nan"]),
        ("g = [\n", ["not valid TOML"]),
    ):
        (tmp_path / "own.toml").write_text(text + change, encoding="utf-8")
        code, _, error = eostui("simulate", "own.toml")
        assert code == 2
        for part in ("own.toml", *parts):
            assert part in error
    (tmp_path / "own.toml").write_text(text.replace("x = 1e-3\n", ""), encoding="utf-8")
    assert "`x` is missing" in eostui("simulate", "own.toml")[2]
    (tmp_path / "own.toml").write_text(text.replace("40", "4.5"), encoding="utf-8")
    assert "`steps` is 4.5, but must be a whole number" in eostui("simulate", "own.toml")[2]


def test_a_closed_pipe():
    """`eostui simulate --csv - | head -1` ends quietly."""
    command = f"{sys.executable} -m eostui simulate --csv - --steps 20000 | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("step,x,y,sharpness,stage,envelope")
    assert "Traceback" not in done.stderr


def test_it_loads_neither_torch_nor_textual():
    code = (
        "import sys\nsys.argv = ['eostui', 'simulate', '--json', '--steps', '20']\n"
        "from eostui.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print({'torch', 'textual'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
