"""Sweeps on a Dask cluster: a real scheduler and two workers on loopback, in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from engines import PATIENCE, assert_same_rows, small
from sweep_runs import SMALL, call, done, environment, program, sweep_on, wait_for_states

from eostui.errors import InputError
from eostui.runs.run import Run
from eostui.runs.store.liveness import engine_alive
from eostui.sweeps import log, remote
from eostui.sweeps.cluster import Cluster, _refuse_workers, close, connect
from eostui.sweeps.plan import Axis, Plan
from eostui.sweeps.sweep import WAITING, Sweep, state_of
from eostui.version import __version__

Client = pytest.importorskip("distributed").Client

#: Six members that take seconds each, with checkpoints all the time: one ends while another is killed.
SIX = f"{SMALL} --steps 1500"
#: Members that never end by themselves while a test looks on.
LONG = f"{SMALL} --steps 1000000"


class DaskCluster:
    """A scheduler and workers, each with a thread, in processes of their own."""

    def __init__(self, folder: Path, *security: str, protocol: str = "tcp") -> None:
        self.folder, self.security = folder, security
        file = folder / "address"
        self.scheduler = self._start(
            "scheduler", "--scheduler-file", str(file), "--protocol", protocol, "--port", "0",
            "--host", "127.0.0.1",
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not file.exists() or not file.read_text().rstrip().endswith("}"):
            assert time.monotonic() < deadline
            time.sleep(0.05)

        self.address = json.loads(file.read_text())["address"]
        self.workers: list[subprocess.Popen[bytes]] = []

    def add_worker(self, *more: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a worker, and return its process: without a nanny, it stays dead."""
        number = len(self.workers)
        scratch = self.folder / f"worker-{number}"
        worker = self._start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--local-directory",
            str(scratch), "--name", f"w{number}", "--host", "127.0.0.1", *more,
            **variables,
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def _start(self, what: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", what, *arguments, "--no-dashboard", *self.security],
            env=environment(self.folder, EOSTUI_CACHE=str(self.folder / "cache"), **variables),
            cwd=self.folder, stdout=subprocess.DEVNULL,
            stderr=open(self.folder / f"{what}.err", "ab"),
        )  # fmt: skip

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@contextmanager
def cluster_in(folder: Path, workers: int = 2, *security: str, protocol: str = "tcp"):
    cluster = DaskCluster(folder, *security, protocol=protocol)
    try:
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with cluster_in(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The six, trained by processes of this machine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    call(folder, f"sweep {SIX} --workers 2")
    return sweep_on(folder)


def assert_each_ended_once(sweep: Sweep, undisturbed: Sweep) -> None:
    """All members are whole, with the rows of the undisturbed ones; each was begun once."""
    assert [each.settings for each in sweep.members] == [e.settings for e in undisturbed.members]
    for mine, others in zip(sweep.members, undisturbed.members, strict=True):
        assert_same_rows(mine.path, others.path, whole=True)
        with Run(mine.path) as run:
            kinds = Counter(event.kind for event in run.events)
            assert run.state == "finished"
        assert kinds["started"] == kinds["finished"] == 1
    begun = Counter(
        e["run"] for e in log.read(sweep.path) if e["kind"] == log.STARTED and not e["resumed"]
    )
    assert begun == {member.path.name: 1 for member in sweep.members}
    runs = {path.name for path in sweep.path.parent.iterdir() if path != sweep.path}
    assert runs == {member.path.name for member in sweep.members}


def wait_until(what, patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def at_step(sweep: Sweep, step: int) -> list[Path]:
    """The runs that train, and are that far."""
    found = []
    for member in sweep.members:
        if engine_alive(member.path):
            entry = state_of(member).entry
            if entry is not None and entry.last_step >= step:
                found.append(member.path)
    return found


def descends_from(path: Path, process: subprocess.Popen[bytes]) -> bool:
    """Whether the engine of a run is a copy of a template that this process started."""
    fields = Path(f"/proc/{engine_of(path)}/stat").read_text().rpartition(")")[2].split()
    template = int(fields[1])
    return Path(f"/proc/{template}/stat").read_text().rpartition(")")[2].split()[1] == str(
        process.pid
    )


def engine_of(path: Path) -> int:
    return int((path / "lock").read_text())


def trained_by(sweep: Sweep, worker: subprocess.Popen[bytes]) -> Path | None:
    """The run of a member that a worker's engine trains, a good while; None if there is none."""
    found = [path for path in at_step(sweep, 100) if descends_from(path, worker)]
    return found[0] if found else None


def test_a_worker_is_killed_and_all_six_end_once(
    tmp_path: Path, cluster: DaskCluster, undisturbed: Sweep
) -> None:
    """Its engine lives on a while: whoever takes the member up waits for that, and goes on from there."""
    process = program(tmp_path, f"sweep {SIX} --scheduler {cluster.address}")
    sweep = sweep_on(tmp_path)
    wait_until(lambda: trained_by(sweep, cluster.workers[0]))
    lost = trained_by(sweep, cluster.workers[0])
    assert lost is not None
    engine = engine_of(lost)
    os.kill(engine, signal.SIGSTOP)
    cluster.workers[0].kill()
    time.sleep(3.0)  # the member is another worker's now
    assert engine_of(lost) == engine
    os.kill(engine, signal.SIGCONT)
    out, err = done(process)
    assert out == f"{sweep.path}\n"
    assert "6 members, 2 at a time" in err
    assert "6 finished" in err
    assert_each_ended_once(sweep, undisturbed)
    resumed = [e for e in log.read(sweep.path) if e["kind"] == log.STARTED and e["resumed"]]
    assert {event["run"] for event in resumed} == {lost.name}


def test_runs_are_sent_back_where_the_shelf_is_not_shared(
    tmp_path: Path, cluster: DaskCluster, undisturbed: Sweep
) -> None:
    """A worker is killed too: what it had is gone, and its member begun anew."""
    process = program(tmp_path, f"sweep {SIX} --scheduler {cluster.address} --send-back")
    sweep = sweep_on(tmp_path)
    wait_until(lambda: any(member.path.exists() for member in sweep.members))
    cluster.workers[1].kill()
    _, err = done(process)
    assert "6 finished" in err
    assert_each_ended_once(sweep, undisturbed)


@pytest.mark.slow
def test_workers_come_later_and_a_member_that_lost_its_time_goes_on(tmp_path: Path) -> None:
    """SLURM ends a job by SIGTERM to all of it: nobody wanted that member to stop."""
    with cluster_in(tmp_path, 0) as cluster:
        shelf = tmp_path / "shelf"
        process = program(shelf, f"sweep {SIX} --seed 1 --scheduler {cluster.address}")
        sweep = sweep_on(shelf)
        time.sleep(2.0)
        assert {each.state for each in sweep.states()} == {WAITING}
        cluster.add_worker()
        wait_until(lambda: at_step(sweep, 100))
        (stopped,) = at_step(sweep, 100)
        os.kill(engine_of(stopped), signal.SIGTERM)
        _, err = done(process)
        assert "3 members, as soon as there are workers" in err
        assert "3 finished" in err
    events = [event for event in log.read(sweep.path) if event["kind"] == log.STARTED]
    assert [event["run"] for event in events if event["resumed"]] == [stopped.name]
    assert len([event for event in events if not event["resumed"]]) == 3


def test_it_is_stopped_before_any_worker_comes(tmp_path: Path) -> None:
    with cluster_in(tmp_path, 0) as cluster:
        shelf = tmp_path / "shelf"
        process = program(shelf, f"sweep {LONG} --scheduler {cluster.address}")
        sweep = sweep_on(shelf)
        wait_until(lambda: log.read(sweep.path))
        assert call(shelf, f"stop {sweep.id}")[1] == f"sweep {sweep.id} stopped\n"
        _, err = done(process, 1)
    assert "6 members, as soon as there are workers" in err
    assert "6 waiting" in err


def test_a_member_that_is_handed_out_as_all_stop_is_stopped_too(tmp_path: Path) -> None:
    """The stop comes when its worker is chosen, and nobody knows yet what is to be stopped."""
    shelf = tmp_path / "shelf"
    config = small(steps=1_000_000)
    sweep = Sweep.create(shelf, Plan(config, (Axis(("seed",), ((1,), (2,))),)))
    handed_out = threading.Event()
    with cluster_in(tmp_path, 1) as cluster:
        client = connect(cluster.address, "it")
        executor = Cluster(client, "it", sweep, tmp_path, [config])
        submit = client.submit

        def late(*arguments, **named):
            handed_out.set()
            time.sleep(2.0)
            return submit(*arguments, **named)

        client.submit = late
        with ThreadPoolExecutor(1) as training:
            told = training.submit(executor.train, sweep.members[0])
            assert handed_out.wait(PATIENCE)
            executor.stop()
            try:
                state, _ = told.result(30.0)
            finally:
                cluster.close()  # a member that trains on ends with its worker
        assert state in (WAITING, "stopped")
        executor.close()
        close(client)


@pytest.mark.parametrize("more", ["", pytest.param("--send-back", marks=pytest.mark.slow)])
def test_ctrl_c_stops_members_and_resume_goes_on(
    tmp_path: Path, cluster: DaskCluster, undisturbed: Sweep, more: str
) -> None:
    process = program(tmp_path, f"sweep {SIX} --scheduler {cluster.address} {more}")
    sweep = sweep_on(tmp_path)
    if more:
        wait_until(lambda: list(cluster.folder.glob("worker-*/**/checkpoints/*.safetensors")))
    else:
        wait_until(lambda: len(at_step(sweep, 200)) == 2)
    process.send_signal(signal.SIGINT)
    out, err = done(process, 130)
    assert out == f"{sweep.path}\n"
    assert f"`eostui resume {sweep.id}` goes on" in err
    states = Counter(each.state for each in sweep.states())
    assert states["stopped"] >= 1
    assert set(states) <= {"stopped", "finished", WAITING}
    call(tmp_path, f"resume {sweep.id} --scheduler {cluster.address} {more}")
    assert_each_ended_once(sweep, undisturbed)


@pytest.mark.slow
def test_a_sweep_that_is_killed_takes_its_members_along(
    tmp_path: Path, cluster: DaskCluster
) -> None:
    process = program(tmp_path, f"sweep {LONG} --scheduler {cluster.address}")
    sweep = sweep_on(tmp_path)
    wait_until(lambda: len(at_step(sweep, 1)) == 2)
    process.kill()
    done(process, -signal.SIGKILL)
    states = wait_for_states(sweep, "stopped", WAITING)
    assert sum(each.state == "stopped" for each in states) == 2


@pytest.mark.slow
def test_a_scheduler_that_dies_ends_the_sweep_and_members_go_on_elsewhere(
    tmp_path: Path, cluster: DaskCluster, undisturbed: Sweep
) -> None:
    process = program(tmp_path, f"sweep {SIX} --scheduler {cluster.address}")
    sweep = sweep_on(tmp_path)
    wait_until(lambda: len(at_step(sweep, 200)) == 2)
    cluster.scheduler.kill()
    _, err = done(process, 1)
    assert f"the scheduler {cluster.address} is gone\n" in err
    assert f"`eostui resume {sweep.id}` goes on" in err
    wait_until(lambda: not any(engine_alive(member.path) for member in sweep.members))
    call(tmp_path, f"resume {sweep.id} --workers 2")
    assert_each_ended_once(sweep, undisturbed)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1:9", "eostui: no Dask scheduler answers at tcp://127.0.0.1:9 ("),
        ("nowhere://x", "eostui: no Dask scheduler answers at nowhere://x ("),
    ],
)
def test_a_scheduler_that_is_not_there_is_a_sentence(
    tmp_path: Path, address: str, said: str
) -> None:
    out, err = call(tmp_path, f"sweep {SMALL} --scheduler {address}", 2)
    assert err.startswith(said)
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--scheduler tcp://a:1 --slurm partition=a", "--scheduler and --slurm: give one of them"),
        ("--send-back", "--send-back is for --scheduler and --slurm"),
        ("--scheduler tcp://a:1 --workers 0", "--workers is 0, but must be at least 1"),
        ("--scheduler tcp://a:1 --dry-run", "--dry-run times steps on this machine"),
    ],
)
def test_what_can_not_be_meant_is_a_sentence(tmp_path: Path, arguments: str, said: str) -> None:
    _, err = call(tmp_path, f"sweep {SMALL} {arguments}", 2)
    assert said in err
    assert err.count("\n") == 1


def test_members_that_want_a_gpu_are_for_workers_that_have_one(tmp_path: Path) -> None:
    """One worker says that it has one: all members of `device = "auto"` are its own."""
    with cluster_in(tmp_path, 1) as cluster:
        cluster.add_worker("--resources", "GPU=1")
        arguments = "sweep toy-two-layer --steps 50 --seed 1,2,3 --set device=auto"
        shelf = tmp_path / "shelf"
        process = program(
            shelf, f"{arguments} --scheduler {cluster.address} --send-back", EOSTUI_DEVICE="cpu"
        )
        _, err = done(process)
        assert "3 members, one at a time" in err
        assert "3 finished" in err


def test_a_worker_without_eostui_is_refused(tmp_path: Path) -> None:
    with cluster_in(tmp_path, 0) as cluster:
        (tmp_path / "empty" / "eostui").mkdir(parents=True)
        (tmp_path / "empty" / "eostui" / "__init__.py").write_text("raise ImportError('not here')")
        cluster.add_worker(PYTHONPATH=str(tmp_path / "empty"))
        with Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=PATIENCE)
        shelf = tmp_path / "shelf"
        _, err = call(shelf, f"sweep {LONG} --scheduler {cluster.address}", 2)
        assert "can't load eostui (ImportError('not here')): install version" in err
        assert err.count("\n") == 1
        assert not shelf.exists()


def test_a_worker_of_another_version_is_refused(tmp_path: Path) -> None:
    """Where the sweep begins, and by one that comes later."""

    class Asked:
        def run(self, _function, _text, on_error):
            assert on_error == "return"
            return {"tcp://a:1": {"version": __version__}, "tcp://b:1": {"version": "0.1.0"}}

    with pytest.raises(InputError, match=r"worker tcp://b:1 has eostui 0\.1\.0, and here is"):
        _refuse_workers(Asked())
    request = remote.Train(
        session="s", version="0.1.0", number=0, config="", sweep=tmp_path, run="r", token="",
        began=False, data_dir=tmp_path, changed_data=False,
    )  # fmt: skip
    said = remote.answer(request.model_dump_json())
    assert said == {"error": f"a worker has eostui {__version__}, who asks has 0.1.0"}


def certificates(folder: Path, *names: str) -> Path:
    """A CA of our own in `ca.pem`, and a certificate with its key in one file for each name."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl isn't installed")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    for name in names:
        openssl(
            "req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"
        )
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out",
            f"{name}.crt", "-CAcreateserial",
        )  # fmt: skip
        (folder / f"{name}.pem").write_text(
            (folder / f"{name}.crt").read_text() + (folder / f"{name}.key").read_text()
        )
    return folder


@pytest.mark.slow
def test_tls_as_dask_is_configured_and_nothing_without(tmp_path: Path) -> None:
    folder = certificates(tmp_path, "mine", "client")
    shelf = tmp_path / "shelf"
    security = ("--tls-ca-file", str(folder / "ca.pem"), "--tls-cert", str(folder / "mine.pem"))
    with cluster_in(tmp_path, 1, *security, protocol="tls") as cluster:
        assert cluster.address.startswith("tls://")
        arguments = f"sweep {SMALL} --seed 1 --scheduler {cluster.address}"
        configured = {
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(folder / "ca.pem"),
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": str(folder / "client.pem"),
            "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
        }
        _, err = done(program(shelf, arguments, **configured))
        assert "3 finished" in err
        _, err = done(program(shelf, arguments), 2)  # no certificate
        assert err.startswith(f"eostui: no Dask scheduler answers at {cluster.address} (")
        assert err.count("\n") == 1
        plain = f"sweep {SMALL} --seed 1 --scheduler {cluster.address.replace('tls', 'tcp')}"
        _, err = done(program(shelf, plain, **configured), 2)
        assert err.startswith("eostui: no Dask scheduler answers at tcp://")
