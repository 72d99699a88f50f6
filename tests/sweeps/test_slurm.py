"""Jobs of SLURM: the script that dask-jobqueue's own class writes, and a `sbatch` that runs it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest
from sweep_runs import SMALL, done, program, sweep_on

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.sweeps.slurm import cluster_of, jobs_wanted, parse, refuse_script

pytest.importorskip("dask_jobqueue")

CONFIGS = [RunConfig.build({"threads": 1, "data": "digits"}, "test")] * 6


def script_of(text: str) -> tuple[list[str], list[str]]:
    """The directives of the script for such jobs, and the worker's command."""
    cluster = cluster_of(parse([text]), CONFIGS)
    try:
        lines = cluster.job_script().splitlines()
    finally:
        cluster.close()
    assert lines[0].startswith("#!")
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    return directives, shlex.split(lines[-1])


def test_the_script_has_what_was_asked_for() -> None:
    directives, worker = script_of(
        "partition=gpu time=02:00:00 account=phys cpus=4 gpus=2 mem=20GB qos=low constraint=a100 jobs=3"
    )
    for directive in (
        "-J eostui", "-p gpu", "-A phys", "-n 1", "--cpus-per-task=4", "--mem=19G", "-t 02:00:00",
        "--qos=low", "--constraint=a100", "--gres=gpu:2",
    ):  # fmt: skip
        assert directive in directives, directives
    assert worker[:3] == [sys.executable, "-m", "distributed.cli.dask_worker"]
    assert worker[3].startswith("tcp://")
    for option, value in (("--nthreads", "4"), ("--resources", "GPU=2")):
        assert worker[worker.index(option) + 1] == value
    assert "--nanny" in worker
    assert "--no-dashboard" in worker


def test_what_is_not_asked_for_is_one_core_and_memory_for_it() -> None:
    directives, worker = script_of("partition=batch")
    assert "--cpus-per-task=1" in directives
    assert "--mem=2G" in directives
    assert "--resources" not in worker


def test_dask_config_for_jobs_and_tls_counts(tmp_path: Path) -> None:
    import dask

    files = {
        "distributed.comm.tls.ca-file": str(tmp_path / "ca.pem"),
        "distributed.comm.tls.worker.cert": str(tmp_path / "worker.pem"),
        "distributed.comm.tls.scheduler.cert": str(tmp_path / "scheduler.pem"),
        "distributed.comm.tls.client.cert": str(tmp_path / "client.pem"),
    }
    from test_cluster import certificates

    certificates(tmp_path, "worker", "scheduler", "client")
    own = {"jobqueue.slurm.job-extra-directives": ["--exclusive"]}
    with dask.config.set({**files, **own}):
        directives, worker = script_of("partition=batch qos=low")
    assert directives[-2:] == ["--exclusive", "--qos=low"]
    assert worker[3].startswith("tls://")
    assert worker[worker.index("--tls-ca-file") + 1] == files["distributed.comm.tls.ca-file"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["partition"], "--slurm partition: must be KEY=VALUE, such as partition=gpu"),
        (["partition="], "must be KEY=VALUE"),
        (["comment=a;rm"], "must be KEY=VALUE"),
        (["comment=$(id)"], "must be KEY=VALUE"),
        (["cpus=two"], "--slurm cpus=two: must be a whole number, 1 or more"),
        (["gpus=0"], "must be a whole number"),
        (["time=1:00", "time=2:00"], "--slurm time=2:00: `time` is given twice"),
        (["nodes=2"], "a job is one worker; jobs=4 asks for four"),
        (["--array=1-4"], "a job is one worker"),
    ],
)
def test_what_makes_no_job_is_a_sentence(words: list[str], said: str) -> None:
    with pytest.raises(InputError) as error:
        parse(words)
    assert said in str(error.value)


def test_jobs_are_as_many_as_members_need() -> None:
    assert jobs_wanted(parse(["cpus=4"]), 6) == 2
    assert jobs_wanted(parse(["jobs=3"]), 6) == 3
    assert jobs_wanted(parse(["jobs=30"]), 6) == 6
    assert jobs_wanted(parse(["partition=a"]), 100) == 8


#: What stands for SLURM: it runs a job's script at once, and refuses one partition.
_SBATCH = """#!/bin/sh
for file; do :; done
echo "$@" >> {folder}/calls
if grep -q -- '-p closed' "$file"; then
    echo "sbatch: error: invalid partition specified: closed" >&2; exit 1
fi
[ "$1" = --test-only ] && exit 0
cp "$file" {folder}/job.sh
setsid sh {folder}/job.sh > {folder}/job.out 2>&1 &
echo $! > {folder}/$!.job
echo "Submitted batch job $!"
"""
_SCANCEL = """#!/bin/sh
echo "cancel $@" >> {folder}/calls
kill -- -$1
"""


@pytest.fixture
def slurm(tmp_path: Path):
    """A folder of a `sbatch` and a `scancel`, first in the path."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("sbatch", _SBATCH), ("scancel", _SCANCEL)):
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o700)
    yield folder
    for job in folder.glob("*.job"):
        try:
            os.killpg(int(job.stem), 9)
        except ProcessLookupError:
            continue


def on_slurm(folder: Path, slurm: Path, asked: str):
    words = [*f"sweep {SMALL} --slurm".split(), asked]
    return program(
        folder / "shelf", words, PATH=f"{slurm}:{os.environ['PATH']}",
        EOSTUI_CACHE=str(folder / "cache"),
    )  # fmt: skip


def test_a_sweep_in_a_job_and_the_job_ends_with_it(tmp_path: Path, slurm: Path) -> None:
    (tmp_path / "shelf").mkdir()
    out, err = done(on_slurm(tmp_path, slurm, "partition=fast cpus=2 jobs=1"))
    assert "6 finished" in err
    sweep = sweep_on(tmp_path / "shelf")
    assert out == f"{sweep.path}\n"
    assert "-p fast" in (slurm / "job.sh").read_text()
    calls = (slurm / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls if call.startswith("cancel")] == ["cancel"]


def test_jobs_that_slurm_refuses_leave_no_sweep(tmp_path: Path, slurm: Path) -> None:
    (tmp_path / "shelf").mkdir()
    out, err = done(on_slurm(tmp_path, slurm, "partition=closed"), 2)
    assert err == (
        "eostui: --slurm: SLURM refuses such a job: sbatch: error: invalid partition specified: closed\n"
    )
    assert out == ""
    assert list((tmp_path / "shelf").iterdir()) == []


def test_without_sbatch_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="there is no `sbatch` on this machine"):
        refuse_script("#!/bin/sh")
