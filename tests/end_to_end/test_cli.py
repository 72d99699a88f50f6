"""The command line as a process: stdout is data, stderr is narration, codes are promises."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from engines import small
from made import make_run
from terminal import Terminal

import eostui
from eostui.cli import headless
from eostui.cli.bench import _Table
from eostui.errors import BusyError, EostuiError, Interrupted
from eostui.runs import shelf
from eostui.runs.launch import StartError
from eostui.runs.run import Run
from eostui.runs.store import commands, schema
from eostui.runs.store.liveness import engine_alive

TINY = ["--steps", "60", "--set", "samples=100", "--set", "width=10", "--set", "cadence=10"]


class Shell:
    """Runs `eostui` with a shelf and settings of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.environment = {
            **os.environ, "EOSTUI_RUNS": str(self.runs), "EOSTUI_SETTINGS": str(folder / "settings"),
            "EOSTUI_DATA": str(folder / "data"), "COLUMNS": "120",
        }  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "eostui", *arguments], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, error = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, error)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shelf with one finished run."""
    shell = Shell(tmp_path_factory.mktemp("trained"))
    done = shell("run", "digits-mlp", "--headless", "--name", "first", *TINY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(shelf.entries(shell.runs)[0].path)
    return shell


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """One sentence with these parts on stderr, nothing on stdout, exit 2, no traceback."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("eostui: ")
    for part in parts:
        assert part in last


def loaded(*arguments: str, of: set[str], **environment: str) -> tuple[set[str], str]:
    """Run the program by itself; return which of some modules it has loaded, and its output."""
    code = (
        f"import sys\nsys.argv = ['eostui', *{arguments}]\n"
        "from eostui.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print(*({of} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | environment,
    )  # fmt: skip
    return set(done.stderr.split()), done.stdout


def test_help_is_quick_and_loads_no_torch() -> None:
    """`eostui --help` imports neither torch nor textual, and no numpy."""
    found, output = loaded("--help", of={"torch", "textual", "numpy", "eostui.cli.app"})
    assert found == {"eostui.cli.app"}
    assert "Examples" in output


def test_completion_of_a_name_loads_what_a_listing_takes() -> None:
    """A tab on a shelf of runs and sweeps waits for no numbers, and for no settings."""
    found, _ = loaded(
        of={"torch", "textual", "numpy", "eostui.config", "eostui.sweeps.shelf"},
        _EOSTUI_COMPLETE="complete_bash", COMP_WORDS="eostui attach ", COMP_CWORD="2",
    )  # fmt: skip
    assert found == {"eostui.sweeps.shelf"}


def test_help_of_every_command(shell: Shell) -> None:
    for command in (
        "run",
        "attach",
        "stop",
        "runs",
        "presets",
        "export",
        "plot",
        "simulate",
        "doctor",
        "locate",
    ):
        done = shell(command, "--help")
        assert done.returncode == 0
        assert "Usage: eostui " + command in done.stdout


def test_version(shell: Shell) -> None:
    assert shell("--version").stdout == f"eostui {eostui.__version__}\n"


def test_headless_json(shell: Shell) -> None:
    """--json prints one object: state, resting readings, where the record is."""
    done = shell("run", "digits-mlp", "--headless", "--json", "--eta", "2/100", *TINY)
    summary = json.loads(done.stdout)
    assert summary["state"] == "finished"
    assert summary["last_step"] == 60
    assert summary["eta"] == 0.02
    assert Path(summary["path"]).is_dir()
    assert "loading PyTorch" in done.stderr


def test_divergence(shell: Shell) -> None:
    """η far too large: exit 3, a sentence with the step, all rows kept."""
    done = shell("run", "digits-mlp", "--headless", "--eta", "50", *TINY)
    assert done.returncode == 3
    assert "diverged at step " in done.stderr
    (entry,) = shelf.entries(shell.runs)
    assert entry.state == "diverged"
    exported = shell("export", entry.id, "-o", "-")
    rows = list(csv.DictReader(io.StringIO(exported.stdout)))
    assert len(rows) == entry.last_step + 1
    assert float(rows[0]["loss"]) > 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["digits-mpl"], ["digits-mpl", "did you mean `digits-mlp`"]),
        (["nowhere/x.toml"], ["nowhere/x.toml", "no such file"]),
        (["digits-mlp", "--eta", "0"], ["`eta` is 0", "greater than 0"]),
        (["digits-mlp", "--eta", "nan"], ["nan", "isn't a number"]),
        (["digits-mlp", "--weight-decay", "-1"], ["`weight_decay` is -1", "greater than or equal"]),
        (["digits-mlp", "--weight-decay", "7"], ["`eta` × `weight_decay` is 1.05", "below 1"]),
        (["digits-mlp", "--set", "wdth=3"], ["unknown key `wdth`", "did you mean `width`"]),
        (["digits-mlp", "--set", "activation=rulu"], ["activation", "did you mean `relu`"]),
        (["digits-mlp", "--set", "width"], ["must be key=value"]),
        (["digits-mlp", "--set", "samples=2000"], ["`samples` is 2000", "only 1797"]),
        (["digits-mlp", "--threads", "100000"], ["`threads` is 100000", "1024"]),
        (["digits-mlp", "--fps", "0"], ["--fps is 0"]),
        (["digits-mlp", "--device", "cuda:99"], ["`device`", "cuda:99", "cpu"]),
        (["digits-mlp", "--set", "data=npz"], ["`data_file` is missing"]),
        (["digits-mlp", "--set", "data=npz", "--set", "data_file=no.npz"], ["no file", "no.npz"]),
        (["digits-mlp", "--set", "problem=no.py:f"], ["no file", "no.py"]),
    ],
)  # fmt: skip
def test_wrong_input(shell: Shell, arguments: list[str], parts: list[str]) -> None:
    """One sentence, exit 2, and nothing on the shelf."""
    refused(shell("run", *arguments, "--headless"), *parts)
    assert not shell.runs.exists() or not list(shell.runs.iterdir())


def test_a_broken_npz(shell: Shell) -> None:
    (shell.folder / "broken.npz").write_bytes(b"PK not really")
    arguments = ["--set", "data=npz", "--set", "data_file=broken.npz", "--headless"]
    refused(shell("run", "digits-mlp", *arguments), "broken.npz", "not a readable .npz")


def test_an_unwritable_runs_folder(shell: Shell) -> None:
    (shell.folder / "file").write_text("")
    done = shell("run", "digits-mlp", "--headless", "--runs-dir", "file/runs", *TINY)
    refused(done, "file/runs", "--runs-dir")


def test_list_show_and_export(trained: Shell) -> None:
    """The shelf as table and JSON; a run by name and by the end of its id; CSV with its sidecar."""
    (row,) = json.loads(trained("runs", "list", "--json").stdout)
    assert (row["name"], row["state"], row["last_step"]) == ("first", "finished", 60)
    assert row["id"] in trained("runs", "list").stdout
    shown = json.loads(trained("runs", "show", "first", "--json").stdout)
    assert shown["config"]["width"] == 10
    (sharpening,) = shown["phases"]
    assert (sharpening["phase"], sharpening["last"]) == ("sharpening", 60)
    text = trained("runs", "show", row["id"][-4:]).stdout
    assert (
        "at_rest                         no: it has 61 steps, fewer than the 1000 of its window\n"
        in text
    )
    assert f"sharpening {sharpening['first']}–60\n" in text

    done = trained("export", "first", "-o", "out.csv")
    assert done.stdout == ""
    assert "61 rows" in done.stderr
    with (trained.folder / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == list(range(61))
    assert rows[10]["sharpness"]
    assert not rows[11]["sharpness"]
    assert rows[59]["path_curvature"]
    assert not rows[60]["path_curvature"]
    sidecar = json.loads((trained.folder / "out.json").read_text(encoding="utf-8"))
    assert set(sidecar["columns"]) == set(rows[0])
    assert all(c["unit"] and c["description"] for c in sidecar["columns"].values())
    assert sidecar["run"]["convention"].startswith("½ squared error")
    measured = trained("export", "-o", "-", "--measured-only").stdout.splitlines()
    assert len(measured) == 1 + 7


HEAVY_BALL = """# Heavy ball with a schedule.
problem = "two-layer-scalar"
dynamics = "heavy-ball"
eta = 0.05
steps = 40
cadence = 10
device = "cpu"
dtype = "float64"
threads = 1
[[controls]]
step = 10
momentum = 0.2
[[controls]]
step = 20
eta = 0.1
weight_decay = 0.01
"""


def test_groups_dynamics_and_momentum(shell: Shell) -> None:
    """From the options into the record and the list; saved as a preset the run is the same again."""
    (shell.folder / "heavy.toml").write_text(HEAVY_BALL)
    begin = ("run", "heavy.toml", "--headless", "--momentum", "1/2", "--name", "ball")
    assert shell(*begin, "--group", "pair").returncode == 0
    assert shell("presets", "save", "ball", "again", "--to", "again.toml").returncode == 0
    assert shell("run", "again.toml", "--headless", "--name", "again").returncode == 0
    told = json.loads(shell("runs", "diff", "ball", "again", "--json").stdout)
    assert told["config"] == {"preset": {"a": "heavy", "b": "again"}}
    assert told["rows"]["first_difference"] is None
    steered = [(each["step"], each["a"]) for each in told["steering"]]
    assert steered == [(10, {"momentum": 0.2}), (20, {"eta": 0.1, "weight_decay": 0.01})]

    titles, *rows = shell("runs").stdout.splitlines()
    assert titles.split()[-3:] == ["group", "dynamics", "id"]
    assert rows[0].split()[-2] == rows[1].split()[-2] == "heavy-ball"
    assert rows[1].split()[-3] == "pair"
    (listed,) = json.loads(shell("runs", "list", "--group", "pair", "--json").stdout)
    assert (listed["name"], listed["group"], listed["dynamics"]) == ("ball", "pair", "heavy-ball")
    shown = shell("runs", "show", "ball").stdout
    assert f"{'group':<32}pair\n" in shown
    assert f"{'dynamics':<32}heavy-ball\n" in shown
    assert "momentum = 0.5\n" in shown


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--momentum", "0.5"], ["`momentum` is no control of gradient-descent", "--dynamics"]),
        (["--set", "momentum=0.5"], ["`momentum` is no control of gradient-descent"]),
        (["--dynamics", "heavy-bal"], ['`dynamics` is "heavy-bal"', "did you mean `heavy-ball`?"]),
        (["--dynamics", "heavy-ball", "--momentum", "1"], ["`momentum` is 1", "less than 1"]),
        (["--probe", "mine.py"], ['`probes` has "mine.py"', "file.py:Class"]),
        (["--group", "a/b"], ["the group `a/b` can't be typed"]),
        (["--set", "lamda=1"], ["unknown key `lamda`; did you mean `weight_decay`?"]),
        (["--set", "lr=1"], ["unknown key `lr`; did you mean `eta`?"]),
    ],
)
def test_wrong_dynamics_probes_and_groups(
    shell: Shell, arguments: list[str], parts: list[str]
) -> None:
    refused(shell("run", "digits-mlp", "--headless", *arguments), *parts)


def test_own_code_of_a_record_is_not_run_unasked(shell: Shell) -> None:
    """Of dynamics and probes as of problems: a record is anybody's."""
    for number, own in enumerate(('dynamics = "/x/mine.py:Mine"', 'probes = ["/x/mine.py:Mine"]')):
        path = shell.runs / f"foreign-aaa{number}"
        make_run(path, 3, config=f"steps = 9\n{own}\n")
        for command in ("resume", "fork", "replay"):
            done = shell(command, path.name, *(["--headless"] if command != "replay" else []))
            refused(done, "would execute code of `/x/mine.py:Mine`", "--trust-code")


def test_unknown_runs(trained: Shell) -> None:
    refused(trained("export", "frist"), "`frist`", "did you mean `first`")
    refused(trained("stop"), "no live run")
    refused(trained("runs", "delete", "first"), "--yes")


def test_delete(shell: Shell) -> None:
    shell("run", "digits-mlp", "--headless", "--name", "gone", *TINY)
    assert shell("runs", "delete", "gone", "--yes").returncode == 0
    assert list(shell.runs.iterdir()) == []


def test_plot(trained: Shell) -> None:
    """A static picture within its size, without escape sequences when piped."""
    done = trained("plot", "first", "--width", "80", "--height", "30")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "2/η" in done.stdout


def test_presets(shell: Shell) -> None:
    """Shipped presets are listed with their summary, shown as files, and valid; own ones too."""
    own = shell.folder / "settings" / "presets"
    own.mkdir(parents=True)
    (own / "mine.toml").write_text("# Mine.\neta = 0.1\nsteps = 10\n")
    (own / "bad.toml").write_text("eta = 'x'\n")
    done = shell("presets", "list")
    assert "mine" in done.stdout
    assert "Mine." in done.stdout
    assert "bad" in done.stderr
    names = {row["name"] for row in json.loads(shell("presets", "list", "--json").stdout)}
    wanted = {
        "digits-mlp", "digits-mlp-lowered-edge", "digits-mlp-collapse", "digits-mlp-tanh",
        "digits-mlp-tour", "digits-mlp-heavy-ball", "digits-cnn",
        "digits-mlp-nesterov", "digits-mlp-adamw", "digits-mlp-rmsprop", "digits-mlp-sgd",
        "digits-sphere",
        "cifar5k-mlp", "cifar5k-mlp-decay", "cifar5k-cnn", "cifar5k-mlp-tanh", "own-problem",
        "toy-normal-form", "toy-two-layer", "toy-four-layer", "toy-diagonal-net",
        "toy-elliptical-valley", "toy-deep-linear", "toy-chebyshev", "toy-one-direction",
        *(
            f"{twin}inst-{name}"
            for twin in ("", "digits-")
            for name in ("mlp", "vgg10", "vgg19", "vgg19-augmented", "resnet20-augmented")
        ),
        *(
            f"{twin}why-{name}"
            for twin in ("", "digits-")
            for name in ("vgg16", "preact-resnet18", "preact-resnet34", "ema", "sphere")
        ),
        "rev-linear", "rev-quadratic", "rev-digits-tanh", "rev-tanh",
    }  # fmt: skip
    assert wanted | {"mine"} == names
    assert shell("presets", "show", "digits-mlp").stdout.startswith("# The edge of stability")
    assert shell("presets", "validate", *wanted).returncode == 0
    refused(shell("presets", "validate", "bad"), "preset bad", '`eta` is "x"')


def test_own_problem(shell: Shell) -> None:
    """The worked example trains; another file's function is found beside its preset."""
    done = shell("run", "own-problem", "--headless", "--steps", "30", "--json")
    assert json.loads(done.stdout)["state"] == "finished", done.stderr


def begun(shell: Shell) -> subprocess.Popen[str]:
    """Start a headless run without end, and wait for its first steps."""
    process = shell.start("run", "digits-mlp", "--headless", "--steps", "1000000")
    wait_until(lambda: any(entry.last_step > 10 for entry in shelf.entries(shell.runs)))
    return process


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait until something is so; fail if it isn't after 90 s."""
    deadline = time.monotonic() + 90
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_interrupt(shell: Shell) -> None:
    """ctrl+c of a headless run stops it at the next step: exit 130, the record whole."""
    process = begun(shell)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    (entry,) = shelf.entries(shell.runs)
    assert out.strip() == str(entry.path)
    assert entry.state == "stopped"
    assert not engine_alive(entry.path)


def test_interrupt_with_the_reader_of_stderr_gone(shell: Shell) -> None:
    """As `2>&1 | tee` is at ctrl+c: the run is stopped all the same."""
    process = begun(shell)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGINT)
    process.wait(60)
    (entry,) = shelf.entries(shell.runs)
    assert entry.state == "stopped"
    assert not engine_alive(entry.path)


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["runs", "list"], ["presets", "show", "digits-mlp"]]
)
def test_a_full_disk_behind_stdout(trained: Shell, arguments: list[str]) -> None:
    """A sentence for every command, not for exports alone; a reader that has had enough is no error."""
    command = [sys.executable, "-m", "eostui", *arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, env=trained.environment, stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "eostui: stdout can't be written: No space left on device\n"


def test_a_terminal_without_greek(trained: Shell) -> None:
    """What its encoding lacks is said in words."""
    done = subprocess.run(
        [sys.executable, "-m", "eostui", "runs", "list"], capture_output=True, check=True,
        env={**trained.environment, "PYTHONIOENCODING": "latin-1"},
    )  # fmt: skip
    assert b" eta " in done.stdout


def test_names_are_refused_before_anything_begins(trained: Shell) -> None:
    """As `runs rename` refuses them; a name finds one run."""
    (entry,) = shelf.entries(trained.runs)
    begin = ("run", "digits-mlp", "--headless", *TINY, "--name")
    refused(trained(*begin, entry.id[-4:]), "already finds", entry.id)
    for name, part in (("a/b", "no /"), ("..", "no - or ."), ("a" * 101, "at most 100")):
        refused(trained(*begin, name), part)
    assert len(shelf.entries(trained.runs)) == 1


def test_names_of_files_that_cannot_be(trained: Shell) -> None:
    """One sentence, whichever command meets them; a file that is no export's stays."""
    folder = trained.folder
    (folder / "file").touch()
    refused(trained("export", "-o", "file/x.csv"), "file/x.csv", "Not a directory")
    refused(trained("export", "-o", "a" * 300 + ".csv"), "File name too long")
    refused(trained("run", "a" * 300 + ".toml", "--headless"), "File name too long")
    refused(trained("run", str(folder), "--headless"), "that is no file")
    refused(trained("runs", "list", "--runs-dir", "file"), "can't be listed: Not a directory")
    precious = folder / "mine.json"
    precious.write_text("{}")
    refused(trained("export", "-o", "mine.csv"), "mine.json: isn't replaced")
    assert precious.read_text() == "{}"
    assert not (folder / "mine.csv").exists()


def test_a_second_signal_ends_the_command_at_once(shell: Shell) -> None:
    """While it waits for an engine that doesn't come to its next step: no traceback."""
    process = begun(shell)
    (entry,) = shelf.entries(shell.runs)
    engine = int((entry.path / schema.LOCK).read_text())
    os.kill(engine, signal.SIGSTOP)
    try:
        process.send_signal(signal.SIGINT)
        wait_until(lambda: any((entry.path / schema.COMMANDS).glob("*.json")))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        os.kill(engine, signal.SIGCONT)
    assert process.returncode == -signal.SIGTERM
    assert "Traceback" not in said
    wait_until(lambda: not engine_alive(entry.path))
    assert shelf.read_entry(entry.path).state == "stopped"


def signalled(shell: Shell, number: int, seconds: float) -> subprocess.CompletedProcess[str]:
    """Start a headless run without end, and end it so many seconds later."""
    process = shell.start("run", "toy-two-layer", "--headless", "--steps", "1000000")
    time.sleep(seconds)
    process.send_signal(number)
    out, error = process.communicate(timeout=90)
    return subprocess.CompletedProcess([], process.returncode, out, error)


def told_of_every_run(shell: Shell, done: subprocess.CompletedProcess[str], number: int) -> None:
    """What was signalled ended as it should, and left nothing on the shelf that it hadn't named."""
    assert done.returncode in (128 + number, -number)
    assert "Traceback" not in done.stderr
    found = shelf.entries(shell.runs)
    assert done.stdout.split() == [str(entry.path) for entry in found]
    if done.returncode < 0 or not done.stderr:  # it had not begun to listen: no engine either
        assert not found
        # ctrl+c is then Python's own, and ends the command by the code that it has for that
        quietly = 128 + signal.SIGINT if number == signal.SIGINT else -number
        assert done.returncode in (-number, quietly)
    elif not found:
        name = signal.Signals(number).name
        assert f"eostui: stopped by {name} before the run began" in done.stderr
    elif number == signal.SIGHUP:
        assert f"{found[0].id} goes on: `eostui attach {found[0].id}`" in done.stderr
        assert engine_alive(found[0].path)
        shell("stop", found[0].id)
    else:
        assert found[0].state == "stopped"
        assert found[0].sentence in done.stderr
        assert not engine_alive(found[0].path)
    commands_left = [*shell.runs.glob("*/commands/*")]
    assert not commands_left
    for entry in found:
        shelf.delete(entry.path)


def sweep(shell: Shell, seed: int, count: int) -> None:
    """Signals at instants spread over what a run takes to begin, and some more."""
    choice = random.Random(seed)
    begun_at = time.monotonic()
    process = shell.start("run", "toy-two-layer", "--headless", "--steps", "10")
    wait_until(lambda: any(shelf.entries(shell.runs)))
    begin = time.monotonic() - begun_at
    process.communicate(timeout=60)
    for entry in shelf.entries(shell.runs):
        shelf.delete(entry.path)
    for place in range(count):
        number = choice.choice((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        seconds = (0.3 + 1.0 * (place + choice.random()) / count) * begin
        told_of_every_run(shell, signalled(shell, number, seconds), number)


def test_a_signal_at_any_instant_leaves_no_run_untold(shell: Shell) -> None:
    """Before the engine answers, while it does, and right after: exit code, sentence, and run agree."""
    sweep(shell, 7, 4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_signals_at_many_instants(shell: Shell, seed: int) -> None:
    sweep(shell, seed, 24)


class Answered:
    """An engine that is told to end just as it answers: the answer is on its way already."""

    def __init__(self, run: Path | None) -> None:
        self.run = run
        self.cancelled = threading.Event()
        self.config = small(steps=5)

    def ready(self, _progress: Callable[[str], None]) -> Path:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
        assert self.cancelled.wait(30)
        if self.run is None:
            raise StartError("stopped before it could begin", 1)
        return self.run

    def cancel(self) -> None:
        self.cancelled.set()

    def wait(self, _seconds: float | None = None) -> int:
        return 0


@pytest.mark.parametrize("made", [True, False])
def test_sigterm_in_the_instant_of_the_first_word(tmp_path: Path, monkeypatch, made: bool) -> None:
    """A run that was made is told; one that wasn't, too; in either case by 143."""
    run = make_run(tmp_path / "r", 1, status="stopped", sentence="stopped by SIGTERM at step 0")
    engine = Answered(run if made else None)
    monkeypatch.setattr(headless, "EngineProcess", lambda *_arguments, **_named: engine)
    if made:
        assert headless.follow(engine.config, tmp_path, tmp_path, "") == (run, 143)
    else:
        with pytest.raises(Interrupted, match="stopped by SIGTERM before the run began") as caught:
            headless.follow(engine.config, tmp_path, tmp_path, "")
        assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert not list((run / schema.COMMANDS).iterdir())


def test_what_nohup_lets_be_ignored_stays_ignored(shell: Shell) -> None:
    """SIGHUP then ends nothing."""
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "eostui", "run", "toy-two-layer", "--headless", "--steps",
         "400"],
        cwd=shell.folder, env=shell.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: any(entry.last_step > 10 for entry in shelf.entries(shell.runs)))
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=90)
    assert process.returncode == 0
    assert shelf.entries(shell.runs)[0].state == "finished"


def test_a_headless_run_outlives_a_locked_store(tmp_path: Path, monkeypatch) -> None:
    """Where it can't be read for a while, at first or later, there is nothing new yet."""
    busy = iter([True, True, False, True])

    def refuse_now_and_then(act):
        def acting(*arguments):
            if next(busy, False):
                raise BusyError("locked by another program")
            return act(*arguments)

        return acting

    monkeypatch.setattr(Run, "refresh", refuse_now_and_then(Run.refresh))
    path, code = headless.follow(small(steps=2000), tmp_path, tmp_path, "")
    assert code == 0
    assert next(busy, None) is None
    assert shelf.read_entry(path).state == "finished"


def test_ctrl_c_stops_a_run_that_takes_no_commands(tmp_path: Path, monkeypatch) -> None:
    """The disk may be too full for one: the engine is told by a signal."""

    def refuse(*_arguments):
        raise EostuiError("the command can't be written: No space left on device")

    refresh = Run.refresh

    def interrupt(*_arguments):
        monkeypatch.setattr(Run, "refresh", refresh)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(commands, "send", refuse)
    monkeypatch.setattr(Run, "refresh", interrupt)
    path, code = headless.follow(small(steps=10**6), tmp_path, tmp_path, "")
    assert code == 130
    assert shelf.read_entry(path).sentence.startswith("stopped by SIGTERM")


def test_bench(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    """It times real pieces and agrees with SciPy; the figures themselves are the machine's."""
    arguments = ["--steps", "30", "--points", "2", "--set", "width=20", "--set", "samples=200"]
    done = shell("bench", "digits-mlp", *arguments, "--place", "before", "--json")
    results = json.loads(done.stdout)
    (found,) = results["places"].values()
    assert all(value > 0 for value in found["pieces"].values())
    assert found["whole_run"]["steps"] == 30
    assert all(value > 0 for value in found["whole_run"].values())
    assert found["comparison"]["disagreement"] < 1e-4
    assert found["comparison"]["scipy_products"] > found["comparison"]["warm_products"]
    refused(shell("bench", "digits-mlp", "--points", "0"), "--points is 0")
    refused(shell("bench", "digits-mlp", "--place", "x"), "--place is x", "before, edge, both")
    assert found["comparison"]["curvlinops_products"] > 0
    assert 0 < found["comparison"]["residual"] < 0.1
    _Table(results).show()
    table = capsys.readouterr().out
    for line in ("before the edge", "∇S in 4 chunks", "and on curvlinops' products"):
        assert line in table
    far = ("--set", "eta=50", "--place", "before")
    diverged = shell("bench", "digits-mlp", *arguments, *far)
    assert (diverged.returncode, diverged.stderr.count("diverged")) == (2, 1)
    assert "measured run" not in diverged.stdout  # what was timed at the start is told
    nowhere = ("--place", "edge", "--edge-limit", "25")
    refused(shell("bench", "digits-mlp", *arguments, *nowhere), "no edge within 25 steps")


def test_an_interrupted_bench_tells_what_it_measured(shell: Shell) -> None:
    """ctrl+c in the midst of a comparison that takes hours loses none of the figures before it."""
    small_one = ["--set", "width=20", "--set", "samples=200", "--steps", "10000000"]
    terminal = Terminal(
        "bench", "digits-mlp", *small_one, cwd=shell.folder, EOSTUI_DATA=str(shell.folder)
    )
    terminal.wait_for("10000000 steps, bare and measured", timeout=90)
    terminal.send("\x03")
    assert terminal.exit_code() == 130
    for line in (r"Hessian product Hv +\d+\.\d\d steps", "what was measured until then"):
        assert re.search(line, terminal.output.decode())


def test_bench_finds_the_edge(tmp_path: Path) -> None:
    """From where S stays within 3 % of 2/η − λ; nothing where the steps don't reach it."""
    import torch

    from eostui.bench.measure import reach_edge
    from eostui.config import RunConfig
    from eostui.problems import build_problem

    values = {"width": 20, "samples": 200, "eta": 0.5, "cadence": 5, "dtype": "float64"}
    config = RunConfig.build(values, "test")
    problem = build_problem(config, torch.device("cpu"), tmp_path, lambda _: None)
    assert reach_edge(config, problem, 40, lambda *_: None) is None
    found = reach_edge(config, problem, 3000, lambda *_: None)
    assert found is not None
    theta, step = found
    assert step % 5 == 0
    hessian = torch.func.hessian(problem.loss)(theta)
    assert float(torch.linalg.eigvalsh(hessian)[-1]) > 0.97 * 2 / 0.5


def test_doctor_and_locate(shell: Shell) -> None:
    done = shell("doctor")
    assert done.returncode == 0, done.stdout
    for name in ("torch", "devices", "terminal", "runs", "data", "digits"):
        assert name in done.stdout
    assert shell("locate", "runs").stdout.strip() == str(shell.runs)
    refused(shell("locate", "rnus"), "`rnus`", "did you mean `runs`")
    assert shell("locate", "cache").stdout.strip() == os.environ["EOSTUI_CACHE"]
