"""Dask workers as jobs of SLURM, by dask-jobqueue: https://jobqueue.dask.org.

The scheduler is in this process, and the jobs are cancelled when it ends; dask-jobqueue's own
configuration (`~/.config/dask/jobqueue.yaml`) says what isn't given.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eostui.config import RunConfig
from eostui.errors import InputError, printable
from eostui.sweeps import cost
from eostui.sweeps.cluster import GPU, refuse_missing

if TYPE_CHECKING:
    from dask_jobqueue import SLURMCluster

#: What a job is given by name; what else there is goes to `sbatch` as it stands.
_OWN = ("account", "cpus", "gpus", "interface", "jobs", "mem", "partition", "time")
#: Options of `sbatch` that would make more of a job than one worker.
_OTHER = ("array", "a", "nodes", "N", "ntasks", "n", "wrap")
#: Jobs where it isn't said, if there are as many members.
_JOBS = 8
#: Bytes that the Dask worker and the template of engines take beside the members.
_BESIDE = 1.5e9
#: Seconds in which `sbatch` answers.
_PATIENCE = 60.0


@dataclass(frozen=True)
class Jobs:
    """What is asked of SLURM.

    Attributes:
        settings: of `_OWN`, as they were typed.
        directives: further options of `sbatch`.
    """

    settings: dict[str, str]
    directives: tuple[str, ...]

    def number(self, key: str, otherwise: int) -> int:
        """Return a setting that is a whole number."""
        return int(self.settings.get(key, otherwise))

    @property
    def at_once(self) -> int:
        """Members that a job trains at once."""
        return self.number("cpus", self.number("gpus", 1))


def parse(words: Iterable[str]) -> Jobs:
    """Return what `--slurm partition=… time=…` asks for; several words may be one text.

    Raises:
        InputError: if one isn't KEY=VALUE, or would make a job more than one worker.
    """
    settings: dict[str, str] = {}
    directives = []
    for word in (part for text in words for part in text.split()):
        key, separator, value = word.partition("=")
        key = key.lstrip("-")
        # a script is made of them
        if (
            not separator
            or not re.fullmatch(r"[A-Za-z][\w-]*", key)
            or not re.fullmatch(r"[\w.,:/+@%\[\]*=-]+", value)
        ):
            raise InputError(f"--slurm {word}: must be KEY=VALUE, such as partition=gpu")
        if key in _OTHER:
            raise InputError(f"--slurm {word}: a job is one worker; jobs=4 asks for four of them")
        if key in settings:
            raise InputError(f"--slurm {word}: `{key}` is given twice")
        if key in ("cpus", "gpus", "jobs") and not re.fullmatch(r"[1-9]\d{0,4}", value):
            raise InputError(f"--slurm {word}: must be a whole number, 1 or more")
        if key in _OWN:
            settings[key] = value
        else:
            directives.append(f"--{key}={value}")
    return Jobs(settings, tuple(directives))


def jobs_wanted(jobs: Jobs, members: int) -> int:
    """Return how many jobs are submitted for so many members."""
    needed = math.ceil(members / jobs.at_once)
    return min(jobs.number("jobs", _JOBS), needed)


def cluster_of(jobs: Jobs, configs: Sequence[RunConfig]) -> SLURMCluster:
    """Return dask-jobqueue's cluster of such jobs, none of which is submitted yet.

    Args:
        jobs: what is asked for.
        configs: of the members.

    Raises:
        InputError: if dask-jobqueue isn't installed, or refuses what is asked for.
    """
    refuse_missing("dask_jobqueue")
    import dask
    from dask_jobqueue import SLURMCluster
    from distributed.security import Security

    own, configured = jobs.settings, "jobqueue.slurm"
    memory = _BESIDE + jobs.at_once * max(map(cost.memory_bytes, configs))
    gpus = jobs.number("gpus", 0)
    worker = ["--no-dashboard", *dask.config.get(f"{configured}.worker-extra-args", [])]
    directives = [*dask.config.get(f"{configured}.job-extra-directives", []), *jobs.directives]
    if gpus:
        worker += ["--resources", f"{GPU}={gpus}"]
        directives.append(f"--gres=gpu:{gpus}")
    encrypted = dask.config.get("distributed.comm.tls.ca-file", None) is not None
    try:
        return SLURMCluster(
            queue=own.get("partition"),
            account=own.get("account"),
            walltime=own.get("time"),
            cores=jobs.at_once * cost.cores_taken(configs),
            memory=own.get("mem") or f"{math.ceil(memory / 1e9)}GB",
            processes=1,
            interface=own.get("interface"),
            job_name="eostui",
            job_extra_directives=directives,
            worker_extra_args=worker,
            security=Security() if encrypted else None,
            scheduler_options={
                "dashboard": False,
                "dashboard_address": "127.0.0.1:0",  # a port that nobody has: the usual one may be taken
                **dask.config.get(f"{configured}.scheduler-options", {}),
            },
        )
    except Exception as error:
        text = printable(" ".join(str(error).split()))
        raise InputError(f"--slurm: dask-jobqueue can't make such jobs: {text}") from None


def refuse_script(script: str) -> None:
    """Raise InputError unless SLURM would take a job with this script."""
    if shutil.which("sbatch") is None:
        raise InputError(
            "--slurm: there is no `sbatch` on this machine: call it where jobs are submitted"
        )
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        try:
            tried = subprocess.run(
                ["sbatch", "--test-only", file.name], capture_output=True, text=True, check=False,
                timeout=_PATIENCE, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise InputError(f"--slurm: `sbatch` didn't answer in {_PATIENCE:.0f} s") from None
    if tried.returncode:
        said = printable((tried.stderr.strip().splitlines() or ["it doesn't say why"])[-1])
        raise InputError(f"--slurm: SLURM refuses such a job: {said}")
