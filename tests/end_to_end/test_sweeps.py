"""`eostui sweep` in real processes: begun, stopped, killed at any instant, gone on with."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engines import PATIENCE, assert_same_rows
from sweep_runs import (
    SMALL,
    assert_same_members,
    call,
    done,
    environment,
    program,
    sweep_on,
    wait_for_states,
)
from terminal import Terminal

from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.schema import LIVE_STATES
from eostui.runs.store.writer import RunWriter
from eostui.sweeps import log
from eostui.sweeps.shelf import at_work, sweeps_of
from eostui.sweeps.sweep import WAITING, Sweep, state_of

#: Members that never end by themselves while a test looks on.
LONG = f"{SMALL} --steps 1000000"
#: The program; it sends itself a signal before it calls a function of its sweeps.
SIGNALLED = """
import os, sys
from eostui.cli import main, sweeping
number, name = int(sys.argv.pop(1)), sys.argv.pop(1)
called = getattr(sweeping, name)

def signalled(*arguments):
    os.kill(os.getpid(), number)
    return called(*arguments)

setattr(sweeping, name, signalled)
main()
"""
#: The program; it begins its sweep's members once another process is at work on the sweep.
OUTRUN = """
import time
from eostui.cli import main, sweeping
from eostui.sweeps.shelf import at_work
conducted = sweeping.conducted

def conducted_late(sweep, *arguments, **named):
    while not at_work(sweep.path):
        time.sleep(0.05)
    return conducted(sweep, *arguments, **named)

sweeping.conducted = conducted_late
main()
"""
#: The program; between the end of its last member and its own so much time passes.
LATE_TO_GO = """
import os, time
from pathlib import Path
from eostui.cli import main
from eostui.runs.template import Template
close = Template.close

def close_late(self):
    Path(os.environ["EOSTUI_RUNS"], "ends").touch()
    time.sleep(8.0)
    close(self)

Template.close = close_late
main()
"""
#: The program; between taking a sweep up and looking at its members so much time passes.
SLOW_TO_LOOK = """
import os, time
from pathlib import Path
from eostui.cli import main
from eostui.sweeps.sweep import Claim
take_up = Claim.__init__

def take_up_slowly(self, *arguments):
    take_up(self, *arguments)
    Path(os.environ["EOSTUI_RUNS"], "taken").touch()
    time.sleep(8.0)

Claim.__init__ = take_up_slowly
main()
"""
#: The program; between seeing that a sweep can be made and making it so much time passes.
SLOW_TO_MAKE = """
import time
from eostui.cli import main
from eostui.sweeps.sweep import Sweep
create = Sweep.create

def create_late(*arguments):
    time.sleep(3.0)
    return create(*arguments)

Sweep.create = create_late
main()
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep that was let run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    out, err = call(folder, f"sweep {SMALL} --name whole --workers 2")
    sweep = sweep_on(folder)
    assert out == f"{sweep.path}\n"
    assert "6 members, 2 at a time" in err
    assert "✓ 003 λ 0.001, seed 2: finished after 200 steps" in err
    assert "6 finished" in err
    return sweep


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A shelf; engines left alive by a failing test are killed."""
    yield tmp_path
    for pid in engines_of(tmp_path):
        os.kill(pid, signal.SIGKILL)


def engines_of(folder: Path) -> list[int]:
    """The engines of a shelf's sweeps and what they are copies of, by what is in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes().split(b"\0")
                environment = (process / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"eostui.engine" in command and f"EOSTUI_RUNS={folder}".encode() in environment:
                found.append(int(process.name))
    return found


def wait_until(what: object, patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while not what():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def trains(sweep: Sweep) -> int:
    """How many members take steps."""
    return sum(
        each.state in LIVE_STATES and each.entry is not None and each.entry.last_step > 0
        for each in sweep.states()
    )


def test_members_are_runs_of_one_group(undisturbed: Sweep) -> None:
    for each in undisturbed.states():
        assert each.entry is not None
        assert each.entry.group == undisturbed.id
        settled = {"chunk_size": each.entry.config.chunk_size}
        assert each.entry.config == each.member.config.changed(settled)
        assert each.entry.path == each.member.path
        assert (each.entry.path / "engine.log").is_file()
    out, err = call(undisturbed.path.parent, "resume whole")  # nothing is left to do
    assert out == f"{undisturbed.path}\n"
    assert "members," not in err


def test_a_second_one_on_the_same_sweep_is_refused(folder: Path) -> None:
    first = program(folder, f"sweep {LONG} --workers 1")
    sweep = sweep_on(folder)
    wait_until(lambda: at_work(sweep.path))
    out, err = call(folder, f"resume {sweep.id}", 2)
    assert err == f"eostui: another process is at work on sweep {sweep.id}\n"
    assert out == ""
    _, err = call(folder, f"stop {sweep.id}")
    assert err == f"sweep {sweep.id} stopped\n"
    done(first, 1)
    assert call(folder, f"stop {sweep.id}", 2)[1] == f"eostui: sweep {sweep.id} isn't at work\n"


def test_ctrl_c_saves_and_stops_and_resume_goes_on(folder: Path, undisturbed: Sweep) -> None:
    process = program(folder, f"sweep {SMALL} --workers 2")
    sweep = sweep_on(folder)
    wait_until(lambda: any(member.path.exists() for member in sweep.members))
    process.send_signal(signal.SIGINT)
    out, err = done(process, 130)
    assert out == f"{sweep.path}\n"
    assert f"`eostui resume {sweep.id}` goes on" in err
    states = {each.state for each in sweep.states()}
    assert states <= {"stopped", "finished", WAITING}
    assert not engines_of(folder)
    call(folder, f"resume {sweep.id}")
    assert_same_members(Sweep(sweep.path), undisturbed)


def test_a_second_ctrl_c_ends_at_once_and_members_save(folder: Path) -> None:
    process = program(folder, f"sweep {LONG} --workers 2")
    sweep = sweep_on(folder)
    wait_until(lambda: trains(sweep) == 2)
    for engine in [each.path for each in sweep.members if engine_alive(each.path)]:
        pid = int((engine / "lock").read_text())
        os.kill(pid, signal.SIGSTOP)  # they can't stop as they are asked to
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    done(process, -signal.SIGINT)
    for pid in engines_of(folder):
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not engines_of(folder))
    states = wait_for_states(sweep, "stopped", WAITING)
    assert sum(each.state == "stopped" for each in states) == 2


def test_it_goes_on_when_the_terminal_is_gone(folder: Path, undisturbed: Sweep) -> None:
    process = program(folder, f"sweep {SMALL} --workers 2")
    sweep = sweep_on(folder)
    wait_until(lambda: any(member.path.exists() for member in sweep.members))
    process.send_signal(signal.SIGHUP)
    done(process, 0)
    assert_same_members(sweep, undisturbed)


def changed_program(folder: Path, text: str, *words: str) -> subprocess.Popen[str]:
    """Start a program that changes a part of itself."""
    return subprocess.Popen(
        [sys.executable, "-c", text, *words], env=environment(folder), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def signalled(sweep: Sweep, number: int, before: str, code: int = 0) -> tuple[str, str]:
    """Have a whole sweep summed up anew, with a signal before a function; return what is told."""
    (sweep.path / "summary.csv").unlink(missing_ok=True)
    words = (str(int(number)), before, "resume", sweep.id)
    out, err = done(changed_program(sweep.path.parent, SIGNALLED, *words), code)
    assert out == f"{sweep.path}\n"
    return out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_summing_up_of_what_is_whole_and_the_code_says_so(
    folder: Path, undisturbed: Sweep, number: int
) -> None:
    """Before that it comes too late to end anything; a terminal that goes ends nothing."""
    shutil.copytree(undisturbed.path.parent, folder, dirs_exist_ok=True)
    sweep = Sweep(folder / undisturbed.id)
    for before in ("_tell_end", "transitions"):
        ends = before == "transitions" and number != signal.SIGHUP
        _, err = signalled(sweep, number, before, 128 + number if ends else 0)
        told = f"stopped before it was summed up: `eostui runs summary {sweep.id}` does it"
        assert (told in err) == ends
        assert (sweep.path / "summary.csv").exists() != ends


def watched(sweep: Sweep) -> Terminal:
    """A viewer of a sweep."""
    return Terminal(
        "attach", sweep.id, "--no-standby", cwd=sweep.path, EOSTUI_RUNS=str(sweep.path.parent),
        OMP_NUM_THREADS="1",
    )  # fmt: skip


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))]
)
def test_kill_9_at_any_instant_loses_nothing_and_runs_nothing_twice(
    folder: Path, undisturbed: Sweep, seed: int
) -> None:
    """Again and again: of the sweep, of any of the processes that train for it, or of a viewer."""
    rng = random.Random(seed)
    process = program(folder, f"sweep {SMALL} --workers 2")
    sweep = sweep_on(folder)
    viewer = watched(sweep)
    for kind in rng.choices(["sweep", "engine", "viewer"], k=5):
        wait_until(lambda: engines_of(folder) or process.poll() is not None)  # noqa: B023
        viewer.read(rng.choice([rng.uniform(0, 0.1), rng.uniform(1, 3)]))
        engines = sorted(engines_of(folder))
        if kind == "engine" and engines:
            os.kill(rng.choice(engines), signal.SIGKILL)
        elif kind == "sweep":
            process.kill()
            done(process, None)
            process = program(folder, f"resume {sweep.id}")
        elif kind == "viewer":
            os.kill(viewer.process.pid, signal.SIGKILL)
            viewer = watched(sweep)
    done(process, None)
    os.kill(viewer.process.pid, signal.SIGKILL)
    call(folder, f"resume {sweep.id}")
    assert_same_members(sweep, undisturbed)


def test_a_member_killed_between_its_last_step_and_its_end_is_ended(
    folder: Path, undisturbed: Sweep
) -> None:
    """All its rows are there, and nothing says that it finished."""
    shutil.copytree(undisturbed.path.parent, folder, dirs_exist_ok=True)
    sweep = Sweep(folder / undisturbed.id)
    writer = RunWriter(sweep.members[2].path)
    writer.fact("status", "running")
    writer.close()
    assert sweep.states()[2].state == "interrupted"
    call(folder, f"resume {sweep.id}")
    assert {each.state for each in sweep.states()} == {"finished"}
    assert_same_rows(sweep.members[2].path, undisturbed.members[2].path, whole=True)


def test_members_stop_with_their_sweep(folder: Path) -> None:
    process = program(folder, f"sweep {LONG} --workers 2")
    sweep = sweep_on(folder)
    wait_until(lambda: trains(sweep) == 2)
    process.kill()
    done(process, -signal.SIGKILL)
    wait_until(lambda: not engines_of(folder))
    states = wait_for_states(sweep, "stopped", WAITING)
    stopped = [each for each in states if each.state == "stopped"]
    assert len(stopped) == 2
    assert all("stopped with its sweep" in each.sentence for each in stopped)


def test_what_fails_or_diverges_is_named_and_stops_nobody(folder: Path) -> None:
    arguments = (
        "sweep toy-two-layer --steps 200 --workers 2 --set device=cpu,cuda:77 --eta 0.01,100 --json"
    )
    out, err = call(folder, arguments, 1)
    summary = json.loads(out)
    states = {
        (m["settings"]["device"], m["settings"]["eta"]): m["state"] for m in summary["members"]
    }
    assert states == {
        ("cpu", 0.01): "finished", ("cpu", 100.0): "diverged",
        ("cuda:77", 0.01): "failed", ("cuda:77", 100.0): "failed",
    }  # fmt: skip
    assert "cuda:77" in err
    assert f"`eostui resume {summary['id']} --failed` repeats what failed" in err
    _, again = call(folder, f"resume {summary['id']}", 1)
    assert "members," not in again  # what failed isn't repeated unless it is said
    assert "2 members," in call(folder, f"resume {summary['id']} --failed", 1)[1]


def test_a_device_that_is_not_there_leaves_no_sweep(folder: Path) -> None:
    arguments = "sweep toy-two-layer --seed 1,2 --set device=auto"
    _, err = done(program(folder, arguments, EOSTUI_DEVICE="cuda:77"), 2)
    assert err.startswith('eostui: EOSTUI_DEVICE is "cuda:77"')
    assert err.count("\n") == 1
    assert list(folder.iterdir()) == []


def test_a_sweep_that_cannot_begin_leaves_its_name_free(folder: Path, tmp_path_factory) -> None:
    torch = tmp_path_factory.mktemp("broken") / "torch"
    torch.mkdir()
    (torch / "__init__.py").write_text("raise ImportError('no torch today')\n")
    path = os.pathsep.join([str(torch.parent), os.environ.get("PYTHONPATH", "")])
    arguments = "sweep toy-two-layer --seed 1,2 --steps 20 --workers 1 --name x --set device="
    _, err = done(program(folder, f"{arguments}auto", PYTHONPATH=path), 1)
    assert "PyTorch isn't loaded" in err
    assert list(folder.iterdir()) == []
    call(folder, f"{arguments}cpu")


def test_a_members_record_that_names_other_code_than_its_sweep_is_not_gone_on_with(
    folder: Path,
) -> None:
    call(folder, f"sweep {SMALL} --workers 2")
    sweep = sweep_on(folder)
    evil = folder / "evil.py"
    evil.write_text(f"open({str(folder / 'executed')!r}, 'w')\n")
    path = sweep.members[3].path
    writer = RunWriter(path)
    writer.fact("status", "stopped")
    more = {"dynamics": f"{evil}:A", "steps": 300}
    writer.fact("config", sweep.members[3].config.changed(more).to_toml())
    writer.close()
    _, err = call(folder, f"resume {sweep.id}", 1)
    assert f"would execute code of `{evil}:A`" in err
    assert f"`eostui resume {path.name} --trust-code`" in err
    assert not (folder / "executed").exists()


def test_members_are_added_to_a_sweep_and_trained(folder: Path, undisturbed: Sweep) -> None:
    """Two sweeps of a half each come to what one whole does."""
    half = SMALL.replace("--weight-decay 0,1e-3,1e-2", "--weight-decay 0,1e-3")
    call(folder, f"sweep {half}")
    sweep = sweep_on(folder)
    before = {member.path.name for member in sweep.members}
    call(folder, f"sweep --add {sweep.id} --weight-decay 1e-2")
    whole = Sweep(sweep.path)
    assert before < {member.path.name for member in whole.members}
    assert_same_members(whole, undisturbed)


def test_members_are_added_while_others_train(folder: Path, undisturbed: Sweep) -> None:
    part = SMALL.replace("--weight-decay 0,1e-3,1e-2", "--weight-decay 0")
    process = program(folder, f"sweep {part} --workers 2")
    sweep = sweep_on(folder)
    wait_until(lambda: any(member.path.exists() for member in sweep.members))
    engines = engines_of(folder)
    for pid in engines:
        os.kill(pid, signal.SIGSTOP)
    out, err = call(folder, f"sweep --add {sweep.id} --weight-decay 1e-3,1e-2")
    for pid in engines:
        os.kill(pid, signal.SIGCONT)
    assert out == f"{sweep.path}\n"
    assert "takes 4 more members" in err
    _, err = done(process)
    assert "4 more members" in err
    assert_same_members(Sweep(sweep.path), undisturbed)


def test_members_are_added_while_pytorch_is_loaded(folder: Path) -> None:
    """The process has read the manifest already, and no member has begun."""
    part = SMALL.replace("--weight-decay 0,1e-3,1e-2", "--weight-decay 0").replace("=cpu", "=auto")
    process = program(folder, f"sweep {part} --workers 2")
    sweep = sweep_on(folder)
    wait_until(lambda: engines_of(folder))
    (template,) = engines_of(folder)
    os.kill(template, signal.SIGSTOP)
    _, err = call(folder, f"sweep --add {sweep.id} --weight-decay 1e-3,1e-2")
    assert "takes 4 more members" in err
    os.kill(template, signal.SIGCONT)
    _, err = done(process)
    assert "6 finished" in err


def test_members_that_are_added_as_it_ends_are_trained_by_who_adds_them(folder: Path) -> None:
    """Nobody is left to take them up, and its lock is held a while yet."""
    words = ("--seed", "1", "--steps", "20", "--set", "device=cpu", "--workers", "1")
    process = changed_program(folder, LATE_TO_GO, "sweep", "toy-two-layer", *words)
    sweep = sweep_on(folder)
    wait_until(lambda: (folder / "ends").exists())
    _, err = call(folder, f"sweep --add {sweep.id} --seed 2")
    assert "takes 1 more" not in err
    assert "2 finished" in err
    done(process)
    assert {each.state for each in sweep_on(folder).states()} == {"finished"}


def test_members_that_are_added_where_nothing_was_left_to_train_are_trained(folder: Path) -> None:
    """By who had taken the sweep up, and hadn't looked yet what there is to do."""
    call(folder, "sweep toy-two-layer --seed 1 --steps 20 --set device=cpu --workers 1")
    sweep = sweep_on(folder)
    process = changed_program(folder, SLOW_TO_LOOK, "resume", sweep.id)
    wait_until(lambda: (folder / "taken").exists())
    _, err = call(folder, f"sweep --add {sweep.id} --seed 2")
    assert "takes 1 more" in err
    _, err = done(process)
    assert "2 finished" in err
    assert {each.state for each in sweep_on(folder).states()} == {"finished"}


def test_members_that_are_added_while_it_stops_are_left_to_resume(folder: Path) -> None:
    process = program(folder, f"sweep {LONG} --workers 2")
    sweep = sweep_on(folder)
    wait_until(lambda: trains(sweep) == 2)
    engines = engines_of(folder)
    for pid in engines:
        os.kill(pid, signal.SIGSTOP)  # they still save
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    _, err = call(folder, f"sweep --add {sweep.id} --seed 7")
    for pid in engines_of(folder):
        os.kill(pid, signal.SIGCONT)
    assert "takes 3 more members; if it was told to stop, `eostui resume " in err
    _, err = done(process, 130)
    assert "more members" not in err
    assert [each.state for each in sweep_on(folder).states()][6:] == [WAITING] * 3


def test_of_two_that_make_a_sweep_of_one_name_at_once_one_is_refused(folder: Path) -> None:
    words = ("--seed", "1,2", "--steps", "20", "--set", "device=cpu", "--name", "one")
    both = [
        changed_program(folder, SLOW_TO_MAKE, "sweep", "toy-two-layer", *words) for _ in range(2)
    ]
    told = [done(each, None) for each in both]
    assert sorted(each.returncode for each in both) == [0, 2]
    (path,) = sweeps_of(folder)
    (refused,) = [err for each, (_, err) in zip(both, told, strict=True) if each.returncode]
    assert refused == (f"eostui: the name `one` already finds sweep {path.name}: choose another\n")
    assert len(list(folder.iterdir())) == 3


def never_loaded(folder: Path) -> dict[str, str]:
    """Variables by which PyTorch takes longer to load than a test waits."""
    torch = folder / "torch"
    torch.mkdir()
    (torch / "__init__.py").write_text("import time\ntime.sleep(1000)\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("how", ["stop", "SIGINT", "SIGTERM"])
def test_a_sweep_is_stopped_while_its_engines_load_pytorch(
    folder: Path, tmp_path_factory, device: str, how: str
) -> None:
    """Whether it asks for devices or its members have begun: at once, and it can be gone on with."""
    more = never_loaded(tmp_path_factory.mktemp("slow"))
    arguments = f"sweep toy-two-layer --seed 1,2 --steps 20 --workers 2 --set device={device}"
    process = program(folder, arguments, **more)
    sweep = sweep_on(folder)
    wait_until(lambda: engines_of(folder))
    time.sleep(1.0)
    assert process.poll() is None
    if how == "stop":
        assert call(folder, f"stop {sweep.id}")[1] == f"sweep {sweep.id} stopped\n"
        code = 1
    else:
        process.send_signal(getattr(signal, how))
        code = 128 + getattr(signal, how)
    out, err = done(process, code)
    assert out == f"{sweep.path}\n"
    assert "2 waiting" in err
    assert f"`eostui resume {sweep.id}` goes on" in err
    assert {each.state for each in sweep.states()} == {WAITING}
    wait_until(lambda: not engines_of(folder))


def test_a_sweep_that_another_has_taken_up_is_not_deleted_from_under_it(
    folder: Path, tmp_path_factory
) -> None:
    """Nothing was begun of it yet: PyTorch is loaded for its devices."""
    words = ("--seed", "1,2", "--steps", "20", "--set", "device=auto")
    first = changed_program(folder, OUTRUN, "sweep", "toy-two-layer", *words)
    sweep = sweep_on(folder)
    more = never_loaded(tmp_path_factory.mktemp("slow"))
    second = program(folder, f"resume {sweep.id}", **more)
    _, err = done(first, 2)
    assert err == f"eostui: another process is at work on sweep {sweep.id}\n"
    assert sweeps_of(folder) == [sweep.path]
    second.send_signal(signal.SIGINT)
    done(second, 130)


@pytest.mark.parametrize("how", ["stop", "SIGINT"])
def test_a_sweep_is_stopped_while_engines_of_the_process_before_end(folder: Path, how: str) -> None:
    first = program(folder, f"sweep {LONG} --workers 2")
    sweep = sweep_on(folder)
    wait_until(lambda: trains(sweep) == 2)
    engines = engines_of(folder)
    for pid in engines:
        os.kill(pid, signal.SIGSTOP)
    first.kill()
    done(first, -signal.SIGKILL)
    second = program(folder, f"resume {sweep.id}")
    wait_until(lambda: at_work(sweep.path))
    if how == "stop":
        assert call(folder, f"stop {sweep.id}")[1] == f"sweep {sweep.id} stopped\n"
        out, err = done(second, 1)
        assert err.endswith("eostui: stopped as asked before any member began\n")
    else:
        second.send_signal(signal.SIGINT)
        out, err = done(second, 130)
        assert err.endswith("eostui: stopped by SIGINT before any member began\n")
    assert out == ""
    for pid in engines:
        os.kill(pid, signal.SIGCONT)
    wait_for_states(sweep, "stopped", WAITING)


def test_a_sweep_is_stopped_while_another_downloads_its_data_set(folder: Path) -> None:
    data = folder / "data"
    data.mkdir()
    with open(data / ".download.lock", "w") as another:
        fcntl.flock(another, fcntl.LOCK_EX)
        arguments = "sweep cifar5k-mlp --seed 1,2 --workers 2 --set device=cpu"
        process = program(folder / "runs", arguments, EOSTUI_DATA=str(data))
        sweep = sweep_on(folder / "runs")
        wait_until(lambda: log.read(sweep.path))
        time.sleep(1.0)
        _, err = call(folder / "runs", f"stop {sweep.id}")
        assert err == f"sweep {sweep.id} stopped\n"
        _, err = done(process, 1)
    assert "2 waiting" in err
    assert not engines_of(folder / "runs")


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_dry_run_is_ended_while_pytorch_is_loaded(
    folder: Path, tmp_path_factory, device: str, number: int
) -> None:
    more = never_loaded(tmp_path_factory.mktemp("slow"))
    arguments = f"sweep toy-two-layer --seed 1,2 --steps 20 --dry-run --set device={device}"
    process = program(folder, arguments, **more)
    wait_until(lambda: engines_of(folder))
    time.sleep(1.0)
    process.send_signal(number)
    out, err = done(process, 128 + number)
    assert out == ""
    name = signal.Signals(number).name
    assert err.endswith(f"eostui: stopped by {name} before the plan was timed\n")
    wait_until(lambda: not engines_of(folder))
    assert list(folder.iterdir()) == []


def test_a_dry_run_tells_what_it_costs_and_leaves_nothing(folder: Path) -> None:
    out, err = call(folder, f"sweep {SMALL} --set width=8,64 --dry-run --workers 2")
    lines = out.splitlines()
    assert lines[0].split() == ["member", "settings", "steps", "time", "at", "most"]
    assert len([line for line in lines if "λ 0.01" in line]) == 4
    assert "12 members, 2 at a time" in out
    assert "disk" in lines[-1]
    assert "taking some steps" in err
    told = json.loads(call(folder, f"sweep {SMALL} --dry-run --json --workers 2")[0])
    assert told["members"][0]["settings"] == {"weight_decay": 0.0, "seed": 1}
    assert told["workers"] == 2
    assert 0 < max(m["seconds"] for m in told["members"]) <= told["seconds"]
    assert sweeps_of(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_dry_run_is_ended_while_its_data_set_is_downloaded(folder: Path, number: int) -> None:
    """By a proxy that takes the call, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(PATIENCE)
        where = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        process = program(
            folder, "sweep cifar5k-mlp --seed 1,2 --set device=cpu --dry-run",
            EOSTUI_DATA=str(folder / "data"),
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), where),
        )  # fmt: skip
        with proxy.accept()[0]:
            process.send_signal(number)
            out, err = done(process, 128 + number)
    assert out == ""
    name = signal.Signals(number).name
    assert err.endswith(f"eostui: stopped by {name} before the plan was timed\n")
    assert not engines_of(folder)


def test_a_member_that_someone_stops_is_named_and_goes_on_later(folder: Path) -> None:
    process = program(folder, f"sweep {LONG} --workers 2 --seed 1 --weight-decay 0,1e-3")
    sweep = sweep_on(folder)
    wait_until(lambda: trains(sweep) == 2)
    for member in sweep.members:
        wait_until(lambda: state_of(member).state in LIVE_STATES)  # noqa: B023
        call(folder, f"stop {member.path.name}")
    _, err = done(process, 1)
    assert "2 stopped" in err
    assert f"`eostui resume {sweep.id}` goes on" in err
