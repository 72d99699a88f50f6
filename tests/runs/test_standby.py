"""Engines that wait, with PyTorch loaded, for the run that begins in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engines import PATIENCE, Engine, assert_same_rows, derived, entry, small

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.runs.launch import EngineProcess, Fork, Resume, StartError
from eostui.runs.run import Run
from eostui.runs.standby import PRELOAD, IdleEngine, Standby

CONFIG = small(steps=200)


@pytest.fixture
def standby() -> Iterator[Standby]:
    kept = Standby()
    yield kept
    kept.close()


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def warm(standby: Standby) -> IdleEngine:
    standby.prepare()
    wait_for(lambda: standby.warm)
    assert standby.idle is not None
    return standby.idle


def run_of(start: RunConfig | Resume | Fork, folder: Path, standby: Standby | None = None) -> Path:
    engine = Engine(start, folder, standby)
    assert engine.ended() == 0
    return engine.path


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose engine loaded everything for it alone."""
    return run_of(CONFIG, tmp_path_factory.mktemp("cold"))


def test_a_run_is_the_same_to_the_bit(cold: Path, standby: Standby, tmp_path: Path) -> None:
    """From its start, forked, and gone on with; and each standby is used once."""
    assert standby.take() is None
    idle = warm(standby)
    standby.prepare()
    assert standby.idle is idle
    engine = Engine(CONFIG, tmp_path, standby)
    assert engine.process._process is idle.process
    assert standby.idle is None
    assert "loading PyTorch" not in engine.told
    assert engine.ended() == 0
    assert_same_rows(cold, engine.path, whole=True)
    assert derived(cold) == derived(engine.path)
    with Run(cold) as a, Run(engine.path) as b:
        differ = {key for key in a.facts.keys() | b.facts.keys() if a.facts[key] != b.facts[key]}
    assert differ == {"id", "created", "ended", "training_seconds"}

    fork = Fork(entry(cold), 120, {"eta": 0.2, "steps": 260})
    forks = [run_of(fork, tmp_path)]
    warm(standby)
    forks.append(run_of(fork, tmp_path, standby))
    assert_same_rows(*forks, whole=True)

    ended = [run_of(Resume(entry(forks[0]), 320), tmp_path)]
    warm(standby)
    ended.append(run_of(Resume(entry(forks[1]), 320), tmp_path, standby))
    assert_same_rows(*ended, whole=True)


@pytest.mark.parametrize("when", ["before", "after"])
def test_one_that_died_costs_a_cold_start(standby: Standby, tmp_path: Path, when: str) -> None:
    """Whether it was seen to be dead, or died with its request before it said a word."""
    idle = warm(standby)
    if when == "before":
        idle.process.kill()
        idle.process.wait()
        assert not standby.warm
        engine = Engine(CONFIG, tmp_path, standby)
    else:
        os.kill(idle.process.pid, signal.SIGSTOP)
        process = EngineProcess(CONFIG, tmp_path, tmp_path, standby=standby)
        assert process._process is idle.process
        idle.process.kill()
        engine = Engine.__new__(Engine)
        engine.process, engine.told = process, []
        engine.path = process.ready(engine.told.append)
    assert engine.told[0] == "loading PyTorch"
    assert engine.ended() == 0
    assert entry(engine.path).last_step == CONFIG.steps
    assert len(list(tmp_path.glob("small-*"))) == 1


def test_one_that_died_is_made_anew(standby: Standby) -> None:
    standby.prepare()
    assert standby.idle is not None
    first = standby.idle.process
    first.kill()
    first.wait()
    standby.prepare()
    assert standby.idle is not None
    assert standby.idle.process.pid != first.pid
    assert standby.idle.alive


def test_no_idle_engine_is_no_error(standby: Standby, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may have no room for another process."""

    def none(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", none)
    standby.prepare()
    assert standby.take() is None


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("end", ["stdin", signal.SIGHUP, signal.SIGTERM, "closed"])
def test_an_idle_engine_ends(standby: Standby, loaded: bool, end: str | signal.Signals) -> None:
    """With who started it, or by a signal; in the midst of loading too."""
    if loaded:
        idle = warm(standby)
    else:
        standby.prepare()
        assert standby.idle is not None
        idle = standby.idle
        loads = Path(f"/proc/{idle.process.pid}/maps")
        if loads.exists():
            wait_for(lambda: "libtorch" in loads.read_text())
    if end == "closed":
        standby.close()
    elif isinstance(end, signal.Signals):
        os.kill(idle.process.pid, end)
    else:
        assert idle.process.stdin is not None
        idle.process.stdin.close()
    code = idle.process.wait(PATIENCE)
    signalled = (
        int(end) if isinstance(end, signal.Signals) else {"closed": signal.SIGKILL}.get(end, 0)
    )
    assert code == -signalled


def test_a_request_in_the_midst_of_loading(standby: Standby, tmp_path: Path) -> None:
    standby.prepare()
    engine = Engine(CONFIG, tmp_path, standby)
    assert engine.told[:2] == ["loading PyTorch", "building the problem"]
    assert engine.ended() == 0


def test_a_start_that_is_cancelled_is_not_begun_anew(standby: Standby, tmp_path: Path) -> None:
    """Its process ends without a word, as one that died does."""
    idle = warm(standby)
    os.kill(idle.process.pid, signal.SIGSTOP)
    process = EngineProcess(CONFIG, tmp_path / "runs", tmp_path, standby=standby)
    process.cancel()
    os.kill(idle.process.pid, signal.SIGCONT)
    with pytest.raises(StartError, match=f"code -{int(signal.SIGTERM)}"):
        process.ready(lambda _: None)
    assert process._process is idle.process
    assert not (tmp_path / "runs").exists()


def test_what_is_refused_is_refused_in_the_same_words(standby: Standby, tmp_path: Path) -> None:
    config = small(device="cuda:7")
    sentences = []
    for kept in (None, standby):
        warm(standby)
        with pytest.raises(StartError) as caught:
            EngineProcess(config, tmp_path, tmp_path, standby=kept).ready(lambda _: None)
        sentences.append((str(caught.value), caught.value.exit_code))
    assert sentences[0] == sentences[1]
    assert "cuda:7" in sentences[0][0]


def test_a_run_outlives_who_started_it(tmp_path: Path) -> None:
    """kill -9 of the starter ends what it kept idle, and not the run that began in such a process."""
    program = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from engines import Engine, small
from eostui.runs.standby import Standby
standby, folder = Standby(), Path({str(tmp_path)!r})
standby.prepare()
engine = Engine(small(steps=10**7), folder, standby)
standby.prepare()
print(engine.process._process.pid, standby.idle.process.pid, engine.path, flush=True)
time.sleep(600)
"""
    starter = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    run, idle, path = starter.stdout.readline().split()
    starter.kill()
    starter.wait()
    starter.stdout.close()
    try:
        wait_for(lambda: not alive(int(idle)))
        os.kill(int(run), signal.SIGHUP)
        before = entry(Path(path)).last_step
        wait_for(lambda: entry(Path(path)).last_step > before + 100)
        assert alive(int(run))
    finally:
        os.kill(int(run), signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process that isn't one's own child lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # nobody may be there to take note of its end
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not Path("/proc").is_dir()


PROBLEM = """
import torch
from eostui.problems import Problem
from beside import FACTOR

def bowl(device, dtype):
    start = torch.tensor([1.0, 2.0, 3.0], device=device, dtype=dtype)
    return Problem(initial=start, loss=lambda theta: FACTOR * theta.square().sum(), convention="c")
"""


def test_a_run_begins_though_nobody_reads_how_it_comes_about(
    standby: Standby, tmp_path: Path
) -> None:
    """Its viewer is stopped, by ctrl+z say, and what is told of the way fills the pipe."""
    file = tmp_path / "bowl.py"
    told = "\nfor _ in range(20):\n    print('x' * 20_000)\n"
    file.write_text(PROBLEM + told)
    (tmp_path / "beside.py").write_text("FACTOR = 1.0")
    config = small(problem=f"{file}:bowl", steps=30, eta=0.01)
    for kept in (None, standby):
        if kept is not None:
            warm(kept)
        process = EngineProcess(config, tmp_path / "runs", tmp_path, standby=kept)
        assert process.wait(PATIENCE) == 0
        heard: list[str] = []
        assert process.ready(heard.append) == process.path
        assert 0 < len(heard) < 25
        assert entry(process.path).last_step == 30


def first_on_python_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the processes to come find their modules in a folder first."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)


def test_what_else_is_printed_before_an_engine_is_there_is_passed_over(
    standby: Standby, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a `sitecustomize` of the user's, which Python executes first."""
    (tmp_path / "sitecustomize.py").write_text("print('hello'); print('{}'); print('[1]')")
    first_on_python_path(tmp_path, monkeypatch)
    warm(standby)
    for kept in (None, standby):
        assert entry(run_of(CONFIG, tmp_path / "runs", kept)).last_step == CONFIG.steps


def test_a_run_has_its_name_whatever_the_locale_is(tmp_path: Path) -> None:
    """Of those without λ too: what is asked of an engine is UTF-8."""
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from engines import small
from eostui.runs.launch import EngineProcess
folder = Path({str(tmp_path)!r})
engine = EngineProcess(small(steps=3), folder, folder, "\\u03bb")
print(engine.ready(lambda _: None), engine.wait())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path, code = done.stdout.split()
    assert code == "0"
    with Run(Path(path)) as run:
        assert run.facts["name"] == "λ"


def test_a_folder_that_an_engine_can_not_be_told_of_is_refused(
    standby: Standby, tmp_path: Path
) -> None:
    idle = warm(standby)
    folder = tmp_path / os.fsdecode(b"\xff")
    for folders in ((folder, tmp_path), (tmp_path, folder)):
        with pytest.raises(InputError, match="its name isn't UTF-8"):
            EngineProcess(CONFIG, *folders, standby=standby)
    own = CONFIG.changed({"probes": [f"{folder}/p.py:P"]})
    with pytest.raises(InputError, match=r"p\.py:P: its name isn't UTF-8"):
        EngineProcess(own, tmp_path / "run", tmp_path, standby=standby)
    assert standby.idle is idle


def test_own_code_is_read_when_the_run_begins(standby: Standby, tmp_path: Path) -> None:
    """Changed while an engine waits, it is executed as it is then, and what it imports too."""
    file = tmp_path / "bowl.py"
    file.write_text(PROBLEM)
    (tmp_path / "beside.py").write_text("FACTOR = 1.0")
    config = small(problem=f"{file}:bowl", steps=3, eta=0.01)
    for factor in (1.0, 2.5):
        warm(standby)
        (tmp_path / "beside.py").write_text(f"FACTOR = {factor}")
        with Run(run_of(config, tmp_path / "runs", standby)) as run:
            assert run.steps["loss"][0] == pytest.approx(factor * 14)


def test_waiting_takes_no_device_and_no_threads() -> None:
    """What is loaded ahead begins no CUDA context, and leaves nothing that computes."""
    program = (
        "from eostui.engine import preload; preload.load(['colorsys', 'nowhere']); "
        "import os, sys, torch; "
        "assert 'colorsys' in sys.modules; "
        "assert not torch.cuda.is_initialized(); "
        "assert all(name in sys.modules for name in preload._LOADED_LATER); "
        "print(len(os.listdir('/proc/self/task')) if os.path.isdir('/proc/self') else 1)"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, env=environment
    )
    assert told.stdout.strip() == "1", told.stderr


def test_what_cannot_be_loaded_ahead_is_done_without(
    standby: Standby, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torchvision raises what it likes where it was made for another PyTorch."""
    (tmp_path / "of_another.py").write_text("raise RuntimeError('operator nms does not exist')")
    first_on_python_path(tmp_path, monkeypatch)
    standby.prepare("of_another")
    wait_for(lambda: standby.warm)
    engine = Engine(CONFIG, tmp_path / "runs", standby)
    assert "loading PyTorch" not in engine.told
    assert engine.ended() == 0


def test_one_that_can_not_load_ends_without_a_word(tmp_path: Path) -> None:
    """Whoever asks then starts an engine that says why."""
    broken = tmp_path / "torch"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('libtorch is broken')")
    done = subprocess.Popen(
        [sys.executable, "-P", "-m", "eostui.engine", PRELOAD], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout is not None
    assert done.stdin is not None
    assert done.wait(PATIENCE) == 1
    assert done.stdout.read() == b""
    done.stdout.close()
    done.stdin.close()
