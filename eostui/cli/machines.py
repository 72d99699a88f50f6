"""Where a sweep's members train: this machine, a Dask cluster, jobs of SLURM."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eostui.cli.options import Scheduler, SendBack, Slurm, Workers
from eostui.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

    from eostui.config import RunConfig
    from eostui.sweeps.cluster import Cluster
    from eostui.sweeps.slurm import Jobs
    from eostui.sweeps.sweep import Member, Sweep


@dataclass(frozen=True)
class Machines:
    """What the command line says of that.

    Attributes:
        workers: members that train at once; None for as many as there is room for.
        scheduler: the address of a Dask scheduler; "" for none.
        slurm: what is asked of SLURM; None for nothing.
        send_back: whether runs are sent back though workers see the shelf.
    """

    workers: Workers = None
    scheduler: Scheduler = ""
    slurm: Slurm = None
    send_back: SendBack = False

    @property
    def elsewhere(self) -> bool:
        """Whether members train on other machines than this."""
        return bool(self.scheduler or self.slurm)

    def check(self) -> None:
        """Raise InputError if it can't be meant."""
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers is {self.workers}, but must be at least 1")
        if self.scheduler and self.slurm:
            raise InputError("--scheduler and --slurm: give one of them")
        if self.send_back and not self.elsewhere:
            raise InputError("--send-back is for --scheduler and --slurm")

    @contextmanager
    def reached(self, configs: Sequence[RunConfig]) -> Iterator[Reached | None]:
        """Connect to the machines; None for this one. Jobs are submitted by the executor.

        Args:
            configs: of the members.

        Raises:
            InputError: if there is no such scheduler, or SLURM refuses such jobs.
        """
        if not self.elsewhere:
            yield None
            return
        from eostui.sweeps.cluster import close, connect

        if self.scheduler:
            client = connect(self.scheduler, self.scheduler)
            reached = Reached(self, client, f"the scheduler {self.scheduler}")
        else:
            from eostui.sweeps.slurm import cluster_of, parse, refuse_script

            jobs = parse(self.slurm or ())
            slurm = cluster_of(jobs, configs)
            try:
                refuse_script(slurm.job_script())
                client = connect(slurm, "this machine")
            except InputError:
                slurm.close()
                raise
            reached = Reached(self, client, "the scheduler of the SLURM jobs", slurm, jobs)
        try:
            yield reached
        finally:
            if reached.cluster is not None:
                reached.cluster.close()
            close(client)
            if reached.slurm is not None:
                with contextlib.suppress(Exception):  # SLURM ends jobs that find no scheduler
                    reached.slurm.close()


@dataclass
class Reached:
    """Machines that are connected to.

    Attributes:
        machines: which.
        client: of their scheduler.
        name: what the scheduler is called in a sentence.
        slurm: dask-jobqueue's cluster; None for none.
        jobs: what is asked of SLURM.
        cluster: the executor, once there is one.
    """

    machines: Machines
    client: Client
    name: str
    slurm: Any = None
    jobs: Jobs | None = None
    cluster: Cluster | None = None

    def executor(
        self, sweep: Sweep, data_dir: Path, members: Sequence[Member], changed_data: bool
    ) -> Cluster:
        """Return what trains members there; jobs are submitted for it."""
        from eostui.sweeps.cluster import Cluster
        from eostui.sweeps.slurm import jobs_wanted

        def keep_jobs() -> None:  # those that ended are submitted again
            if self.jobs is not None:
                self.slurm.scale(jobs=jobs_wanted(self.jobs, len(members)))

        self.cluster = Cluster(
            self.client, self.name, sweep, data_dir, [member.config for member in members],
            self.machines.workers, changed_data=changed_data,
            send_back=self.machines.send_back, keep_workers=keep_jobs,
        )  # fmt: skip
        return self.cluster
