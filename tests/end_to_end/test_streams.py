"""What commands make of stdin, stdout and stderr as they come; what --json and --ascii promise."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from made import facts, make_run, measure, rows
from rich.cells import cell_len
from terminal import Terminal
from typer.testing import CliRunner

from eostui.cli import streams
from eostui.cli.app import app
from eostui.cli.output import print_table
from eostui.runs.store.writer import RunWriter

TOY = "toy-two-layer --headless --steps 20"

#: A usual call of every command, by its name, with the exit code; what loads PyTorch comes last.
CALLS = {
    "runs list": ("runs list", 0),
    "runs show": ("runs show broken", 0),
    "runs delete": ("runs delete gone -y", 0),
    "runs rename": ("runs rename aaaa other", 0),
    "runs note": ("runs note aaaa 'eta was 0.1'", 0),
    "runs diff": ("runs diff aaaa bbbb", 0),
    "runs summary": ("runs summary aaaa bbbb", 0),
    "runs prune": ("runs prune --older-than 1d", 0),
    "runs check": ("runs check aaaa", 0),
    "runs repair": ("runs repair aaaa", 0),
    "presets list": ("presets list", 0),
    "presets show": ("presets show digits-mlp", 0),
    "presets validate": ("presets validate digits-mlp", 0),
    "presets save": ("presets save aaaa saved --to saved.toml --force", 0),
    "presets settings": ("presets settings", 0),
    "export": ("export aaaa bbbb -o -", 0),
    "plot": ("plot aaaa", 0),
    "compare": ("compare aaaa bbbb", 0),
    "figure": ("figure aaaa bbbb -o both.svg", 0),
    "simulate": ("simulate oscillator-gx --steps 200", 0),
    "locate": ("locate", 0),
    "attach": ("attach aaaa", 2),
    "stop": ("stop", 2),
    "bench": ("bench --place nowhere", 2),
    "fork": ("fork aaaa --eta η", 2),
    "resume": ("resume aaaa --steps 1", 2),
    "doctor": ("doctor", 0),
    "replay": ("replay aaaa", 2),
    "ntk": ("ntk aaaa --samples many", 2),
    "slice": ("slice aaaa --along nowhere", 2),
    "orientation": ("orientation aaaa", 2),
    "sweep": ("sweep --set η=1", 2),
    "reproduce": ("reproduce", 0),
    "experiments validate": ("experiments validate wd-a7", 0),
    "run": (f"run {TOY}", 0),
}
#: More that is printed: help, errors of Click's own, pictures in letters, JSON.
OTHERS = {
    "--help": ("--help", 0),
    "runs": ("runs", 0),
    "run --help": ("run --help", 0),
    "typo": ("runs lïst", 2),
    "missing": ("presets show", 2),
    "grid": ("simulate --grid lambda=0:1:10,g=0:5:4 --steps 100", 0),
    "simulate --list": ("simulate --list --json", 0),
    "show --json": ("runs show broken --json", 0),
    "no such run": ("export nöwhere", 2),
}


def leaves(command: Any, *names: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its name."""
    if hasattr(command, "commands"):
        for name, each in command.commands.items():
            yield from leaves(each, *names, name)
    else:
        yield " ".join(names), command


EVERY = dict(leaves(typer.main.get_command(app)))


def test_every_command_has_a_usual_call() -> None:
    assert set(CALLS) == set(EVERY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shelf of two runs, one with a name and NaN and infinities in its record."""
    folder = tmp_path_factory.mktemp("streams")
    make_run(folder / "runs" / "made-aaaa", 200, note="ein Vermerk: η → 0.1 ✓")
    writer = RunWriter(folder / "runs" / "made-bbbb", facts(40, name="broken"))
    matrix = rows(0, 40)
    matrix[-1, 0], matrix[-2, 1] = math.inf, math.nan
    writer.steps(0, matrix)
    writer.event(0, "started")
    measure(writer, 0, 40, math.nan)
    writer.close()
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    places = {"EOSTUI_RUNS": "runs", "EOSTUI_SETTINGS": "settings", "EOSTUI_DATA": "data"}
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    return {
        **kept, **{key: str(folder / name) for key, name in places.items()},
        "OMP_NUM_THREADS": "1", **more,
    }  # fmt: skip


def shell(folder: Path, line: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of a shell, in which `eostui` is the program."""
    program = f'eostui() {{ {shlex.quote(sys.executable)} -m eostui "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", program], cwd=folder, env=environment(folder, **more), timeout=120,
        stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip


def all_of(
    folder: Path, lines: Sequence[str], **more: str
) -> list[subprocess.CompletedProcess[bytes]]:
    """Run lines each on a copy of the shelf, a few at a time; most of each is the start of Python."""

    def one(place: int) -> subprocess.CompletedProcess[bytes]:
        own = folder / f"at-{place}"
        shutil.copytree(folder / "runs", own / "runs")
        make_run(own / "runs" / "made-gone", 1)
        try:
            return shell(own, lines[place], **more)
        finally:
            shutil.rmtree(own)

    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(one, range(len(lines))))


#: What a locale without Greek comes to, as it was before Python took UTF-8 for granted, and otherwise.
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_no_command_minds_a_stream_that_lacks_greek(folder: Path) -> None:
    """Every one, in ASCII: replaced, never a traceback, with its usual exit code; JSON stays JSON."""
    calls = {**CALLS, **OTHERS}
    done = all_of(folder, [f"eostui {line}" for line, _ in calls.values()], **C_LOCALE)
    for (name, (line, code)), each in zip(calls.items(), done, strict=True):
        assert each.returncode == code, (name, each.stderr)
        assert b"Traceback" not in each.stderr, (name, each.stderr)
        data = name in ("export", "runs repair")  # tables are UTF-8 wherever they go
        assert data or each.stdout.isascii(), (name, each.stdout)
        assert each.stderr.isascii(), (name, each.stderr)
        if "--json" in line:
            assert json.loads(each.stdout)
    said = dict(zip(calls, (each.stdout.decode() for each in done), strict=True))
    assert {"eta", "lambda"} <= set(said["runs list"].split())
    assert said["presets show"].startswith("# The edge of stability")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii:strict", "utf-8"])
def test_what_an_encoding_lacks_is_replaced_and_no_more(folder: Path, encoding: str) -> None:
    """Columns stay under their titles; what the encoding has is left; a picture keeps its width."""
    done = shell(folder, "eostui runs && eostui plot aaaa --width 60 --height 20",
                 PYTHONIOENCODING=encoding)  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding.partition(":")[0])
    titles, first, second = text.splitlines()[:3]
    for title in ("state", "late S", "age"):
        at = titles.index(f"  {title}") + 2
        assert all(line[at - 1] == " " and line[at] != " " for line in (first, second))
    assert ("η" in titles) == (encoding == "utf-8")
    assert ("eta" in titles) == (encoding != "utf-8")
    picture = text.splitlines()[4:]
    assert picture
    assert max(map(len, picture)) <= 60
    if encoding == "latin-1":
        assert "‖" not in text
    assert ("⠒" in text) == (encoding == "utf-8")


def test_a_path_that_is_no_text_comes_out_as_it_is(folder: Path) -> None:
    """stdout is data: the bytes of a file's name, in any locale."""
    own = os.fsencode(folder) + b"/odd-\xff\xe9"
    for more in ({}, C_LOCALE, {"PYTHONIOENCODING": "ascii"}):
        done = subprocess.run(
            [sys.executable, "-m", "eostui", "locate", "runs", "--runs-dir", own],
            env=environment(folder, **more), capture_output=True, check=True,
        )  # fmt: skip
        assert done.stdout == own + b"\n"


def test_a_closed_stderr_changes_nothing_else(folder: Path) -> None:
    """`2>&-`: the same exit code and, of commands that only print, the same on stdout."""
    heavy = ("doctor", "replay")
    calls = {name: call for name, call in {**CALLS, **OTHERS}.items() if name not in heavy}
    done = all_of(folder, [f"eostui {line} 2>&-" for line, _ in calls.values()])
    for (name, (_, code)), each in zip(calls.items(), done, strict=True):
        assert each.returncode == code, name
        assert each.stderr == b"", name
        assert b"Traceback" not in each.stdout, name
    said = dict(zip(calls, (each.stdout.decode() for each in done), strict=True))
    assert "made-aaaa" in said["runs list"]
    assert len(said["export"].splitlines()) == 1 + 201 + 41
    assert Path(said["run"].strip()).name.startswith("toy-two-layer-")


@pytest.mark.parametrize(
    "line",
    ["--version", "runs", "runs show aaaa", "plot aaaa", "export aaaa -o -", "presets show digits-mlp",
     "simulate --steps 100", "simulate --steps 100 --csv -", "runs check aaaa --json"],
)  # fmt: skip
def test_a_closed_stdout_is_told(folder: Path, line: str) -> None:
    """As where a disk behind it is full; what prints nothing there doesn't mind."""
    done = shell(folder, f"eostui {line} >&-")
    assert done.returncode == 2
    assert done.stderr == b"eostui: stdout can't be written: Bad file descriptor\n"


def test_commands_that_print_nothing_do_without_any_stream(folder: Path) -> None:
    """And no file that is opened gets the number of a closed one."""
    line = "eostui export aaaa -o none.csv <&- >&- 2>&- && eostui export aaaa -o all.csv"
    assert shell(folder, line).returncode == 0
    assert (folder / "none.csv").read_bytes() == (folder / "all.csv").read_bytes()


@pytest.mark.parametrize(
    "line",
    ["runs prune --older-than 0d", "runs delete aaaa", "attach aaaa", "run toy-two-layer", ""],
)
def test_a_closed_stdin_is_no_terminal(folder: Path, line: str) -> None:
    done = shell(folder, f"eostui {line} <&-")
    assert done.returncode == 2
    assert done.stderr.startswith(b"eostui: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [("export aaaa", 2), ("export aaaa -o x.csv", 2), ("run " + TOY, 2), ("doctor", 2),
     ("replay aaaa", 2),
     ("simulate --steps 9 --csv x.csv", 2), ("runs --help", 0), ("runs list", 0), ("runs show aaaa", 0),
     ("fork aaaa --headless", 2), ("presets save aaaa x --to x.toml", 2), ("locate data", 0),
     ("resume bbbb --steps 90 --headless", 2), ("runs list --runs-dir here", 2), ("bench", 2)],
)  # fmt: skip
def test_a_working_directory_that_is_gone(folder: Path, line: str, code: int) -> None:
    """What needs it says so in one sentence; what doesn't, works."""
    done = shell(folder, f"mkdir gone-$$ && cd gone-$$ && rmdir ../gone-$$ && eostui {line}")
    said = [text for text in done.stderr.decode().splitlines() if text.startswith("eostui")]
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    if code:
        assert len(said) == 1, done.stderr
        assert "isn't there any more" in said[0]
        assert "`cd` to another one" in said[0]


@pytest.mark.parametrize(
    "setting",
    ["unset HOME", "HOME=/nowhere/at/all TERM=dumb", "COLUMNS=1 LINES=1", "COLUMNS=0 LINES=many",
     "unset TERM PATH LANG LC_ALL", "PYTHONWARNINGS=error"],
)  # fmt: skip
def test_odd_environments(folder: Path, setting: str) -> None:
    change = setting if setting.startswith("unset") else f"export {setting}"
    lines = ("runs", "plot aaaa", "export aaaa -o - >&3")
    done = shell(folder, f"exec 3>&1 >&2; {change}; " + " && ".join(f"eostui {x}" for x in lines))
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout.count(b"\n") == 1 + 201


@pytest.mark.parametrize(
    "line", ["export aaaa -o ~nobody-here/x.csv", "runs list --runs-dir ~nobody-here"]
)
def test_a_home_that_nobody_has(folder: Path, line: str) -> None:
    done = shell(folder, f"eostui {line}")
    assert done.returncode == 2
    assert b"`~nobody-here` is nobody's home here" in done.stderr


# --- --json ------------------------------------------------------------------------------------------

JSON_CALLS = {
    "sweep": ["digits-mlp", "--eta", "1:0:3"],
    "reproduce": [],
    "run": ["--headless", "toy-two-layer", "--steps", "20"],
    "resume": ["--headless", "aaaa", "--steps", "1"],
    "fork": ["--headless", "aaaa", "--at", "9999"],
    "replay": ["bbbb", "--watch"],
    "ntk": ["aaaa", "--samples", "many"],
    "slice": ["aaaa", "--along", "nowhere"],
    "orientation": ["aaaa"],
    "doctor": [],
    "runs list": [],
    "runs show": ["broken"],
    "runs diff": ["aaaa", "bbbb"],
    "runs summary": ["aaaa", "bbbb"],
    "compare": ["aaaa", "bbbb"],
    "runs prune": ["--older-than", "0d", "--dry-run"],
    "runs check": ["broken"],
    "runs repair": ["aaaa"],
    "presets list": [],
    "presets show": ["digits-mlp"],
    "presets settings": [],
    "simulate": ["oscillator-escape", "--steps", "5000"],
    "bench": ["--points", "0"],
}


def json_of(*arguments: str, env: dict[str, str]) -> object:
    """Return what a command prints as JSON, None where it is refused in a sentence."""
    done = CliRunner().invoke(app, [*arguments, "--json"], env=env)
    if done.exit_code == 2 or (done.exception and not isinstance(done.exception, SystemExit)):
        assert not done.stdout
        assert isinstance(done.exception, SystemExit) or str(done.exception)
        return None

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(done.stdout, parse_constant=refuse)


def test_every_command_with_json_prints_json(folder: Path, tmp_path: Path) -> None:
    """One value, of standard JSON; nothing else on stdout, and nothing where it is refused."""
    takes = {name for name, each in EVERY.items() if any("--json" in p.opts for p in each.params)}
    assert takes == set(JSON_CALLS)
    shutil.copytree(folder / "runs", tmp_path / "runs")
    env = environment(tmp_path)
    refused = {
        "sweep",
        "resume",
        "fork",
        "replay",
        "ntk",
        "slice",
        "orientation",
        "bench",
    }  # each with a call that is wrong
    for name, arguments in JSON_CALLS.items():
        found = json_of(*name.split(), *arguments, env=env)
        assert (found is None) == (name in refused), name
    shown = json_of("runs", "show", "broken", env=env)
    assert isinstance(shown, dict)
    assert shown["resting_sharpness"] is None
    more = [
        ("simulate", "--list"), ("simulate", "--grid", "g=0:5:3", "--steps", "50"),
        ("simulate", "oscillator-escape", "--list"), ("runs", "list", "--state", "live"),
        ("runs", "prune", "--keep", "9"), ("runs", "diff", "aaaa", "aaaa"),
    ]  # fmt: skip
    for call in more:
        assert json_of(*call, env=env) is not None, call
    listed = json_of("simulate", "--list", env=env)
    assert isinstance(listed, list)
    assert {"name", "path", "summary"} == set(listed[0])


def test_json_of_an_empty_shelf(tmp_path: Path) -> None:
    env = environment(tmp_path)
    assert json_of("runs", "list", env=env) == []
    assert json_of("runs", "prune", "--older-than", "1d", env=env) == {"runs": [], "freed": 0}
    for name in ("resume", "fork", "replay", "runs show", "runs check", "runs repair"):
        assert json_of(*name.split(), env=env) is None


def test_json_of_what_trains(folder: Path) -> None:
    """A real run and a real replay; a sentence where the live view would open."""
    trained = {"EOSTUI_RUNS": str(folder / "trained")}
    done = shell(folder, f"eostui run {TOY} --json && eostui replay --json", **trained)
    assert done.returncode == 0, done.stderr
    run, replay = map(json.loads, done.stdout.decode().splitlines())
    assert run["last_step"] == replay["last_step"] == 20
    assert replay["identical"] is True
    for line in ("run --json", "resume --json", "fork --json", "replay --watch --json"):
        refused = shell(folder, f"eostui {line}", **trained)
        assert refused.returncode == 2
        assert b"eostui: --json is for " in refused.stderr


# --- --ascii -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [("simulate oscillator-gx --steps 300", 0), ("simulate --list", 0), ("plot broken", 0),
     ("compare --still --width 120 --height 30", 0),
     ("simulate --grid λ=0:1:9 --steps 50 --json", 0), ("fork aaaa --at -3 --headless", 2),
     ("replay nöwhere", 2), ("resume aaaa --headless --steps 3", 2), ("attach ✓", 2),
     ("sweep toy-two-layer --eta 0.01,50 --steps 30", 0),
     ("run digits-mlp --headless --eta 50 --steps 30 --set samples=100 --set width=10", 3)],
)  # fmt: skip
def test_ascii_is_ascii(folder: Path, tmp_path: Path, line: str, code: int) -> None:
    """Every byte on both streams, sentences of errors too; a diverged run's sentence has η in it."""
    shutil.copytree(folder / "runs", tmp_path / "runs")
    done = shell(folder, f"eostui {line} --ascii", EOSTUI_RUNS=str(tmp_path / "runs"))
    assert done.returncode == code, done.stderr
    assert (done.stdout + done.stderr).isascii()
    assert b"Traceback" not in done.stderr
    if code == 3:
        assert b"with eta 50 the stable sharpness is below 2/eta" in done.stderr


def test_every_command_with_ascii_is_in_this_test() -> None:
    takes = {name for name, each in EVERY.items() if any("--ascii" in p.opts for p in each.params)}
    assert takes == {
        "run", "sweep", "attach", "resume", "fork", "replay", "plot", "compare", "simulate", "slice",
    }  # fmt: skip


def test_the_application_in_ascii(folder: Path) -> None:
    """Not one byte above 127 reaches the terminal, on any screen; the columns stay where they are."""
    terminal = Terminal(
        "attach", "aaaa", "--ascii", "--runs-dir", str(folder / "runs"), cwd=folder, COLUMNS="100"
    )
    terminal.wait_for("sharpness S")
    edges = {line[99:100] for line in terminal.text.splitlines()[2:8]}
    assert edges == {"|"}
    for key, shown in (
        ("?", "type a value for n"),
        ("\x1b", "sharpness S"),
        ("\t", "oscillator|landscape"),
    ):
        terminal.send(key)
        terminal.wait_for(shown)
    terminal.send("q")
    assert terminal.exit_code() == 0
    assert terminal.output.isascii()


# --- how texts are said otherwise --------------------------------------------------------------------


def test_words_and_cells() -> None:
    """A cell for a cell, of wide characters too; words where there is room; names are never altered."""
    text = "⟨θ, ∇S⟩ · η → 2/η − λ ≤ ½ ⡇⠁⣿ ▲▼ ✓ 東京 é ﬀ"
    for encoding in ("ascii", "latin-1", "cp437", "koi8-r"):
        cells = text.encode(encoding, streams.CELLS).decode(encoding)
        assert cell_len(cells) == cell_len(text), cells
        text.encode(encoding, streams.WORDS)
    assert "2/η − λ".encode("ascii", streams.WORDS) == b"2/eta - lambda"
    assert "⡇⠁⣀".encode("ascii", streams.CELLS) == b":'."
    assert "▁▂▃▄▅▆▇█".encode("ascii", streams.CELLS) == b"_.:-=+*#"
    assert "größer-東".encode("ascii", streams.WORDS) == rb"gr\xf6\xdfer-\u6771"
    assert "Gr\udcff".encode("utf-8", streams.WORDS) == b"Gr\xff"
    for code in range(0x2500, 0x2900):
        assert len(chr(code).encode("ascii", streams.CELLS)) == cell_len(chr(code))


# --- the list fits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [200, 80, 40, 20, 5])
def test_the_list_fits_a_terminal(folder: Path, width: int) -> None:
    """Columns go from the right, what says which run it is stays, cut at its beginning at last."""
    terminal = Terminal("runs", cwd=folder, width=width, height=12, **environment(folder))
    assert terminal.exit_code() == 0
    lines = [line.rstrip() for line in terminal.output.decode().splitlines() if line.strip()]
    assert len(lines) == 3
    assert max(map(cell_len, lines)) <= width
    names = ["broken", "made-aaaa"]
    shown = [line[3:].split()[0] for line in lines[1:]]
    if width >= 20:
        assert shown == names
    else:
        assert all(
            name.endswith(cut.removeprefix("…")) for cut, name in zip(shown, names, strict=True)
        )
    assert ("state" in lines[0]) == (width >= 40)
    assert ("id" in lines[0].split()) == (width == 200)


def test_the_list_is_whole_in_a_pipe(folder: Path) -> None:
    done = shell(folder, "eostui runs | cat", COLUMNS="20")
    titles, *lines = done.stdout.decode().splitlines()
    assert titles.split() == [
        "run",
        "state",
        "steps",
        "η",
        "λ",
        "late",
        "S",
        "phase",
        "size",
        "age",
        "id",
    ]
    assert lines[0].split()[1] == "broken"
    assert lines[0].endswith("  made-bbbb")


def test_wide_names_keep_columns_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("a", "b"), ("東京", "1"), ("xy", "2")])
    lines = capsys.readouterr().out.splitlines()
    assert [cell_len(line) for line in lines] == [7, 7, 7]
    assert np.unique(
        [cell_len(line[: line.rindex(line.split()[-1])]) for line in lines]
    ).tolist() == [6]
