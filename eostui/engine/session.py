"""The session of an engine: the machine and the problem of one config, and the runs that begin in it.

A new run begins here; `resume.py`, `fork.py` and `replay.py` begin where a record leads.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eostui.config import RunConfig
from eostui.dynamics import dynamics_of
from eostui.dynamics.trial import try_dynamics
from eostui.engine.calibration import refuse_calibration
from eostui.engine.controls import NO_ACCURACY
from eostui.engine.convolutions import with_fastest_convolutions
from eostui.engine.device import available_devices, prepare_machine
from eostui.engine.driver import Driver
from eostui.engine.facts import initial_facts
from eostui.engine.origin import whole_fact
from eostui.engine.processes import Processes
from eostui.errors import EostuiError, InputError, StoreError
from eostui.own_code import heard
from eostui.probes import probes_of
from eostui.probes.own import try_probes
from eostui.problems import build_problem
from eostui.problems.batch import has_accuracy
from eostui.problems.convolutions import CONVOLUTIONS
from eostui.runs.analysis.remarks import NOT_INVARIANT, SAID, TRUSTED
from eostui.runs.store.reader import facts_of
from eostui.runs.store.writer import RunWriter, not_begun
from eostui.stop_condition import TRAIN_ACCURACY


class EngineSession:
    """The machine and the problem of one config, for any number of drivers.

    Attributes:
        config: the config, with what was chosen for this machine filled in.
        problem: what is trained.
        dynamics: how it moves.
        probes: what is measured.
        changed: the settings that are as the config says, whatever the run before it had.
        driver: that of the run.
    """

    def __init__(
        self,
        config: RunConfig,
        data_dir: Path,
        say: Callable[[str], None],
        like: Path | None = None,
        changed: Collection[str] = (),
        group: str = "",
        *,
        alone: bool = False,
    ) -> None:
        """Build the problem.

        Args:
            config: of the run.
            data_dir: where the data sets are.
            say: told what is done.
            like: a run on whose device, with as many threads, it computes.
            changed: the settings that are as the config says, whatever `like` had.
            group: of a new run.
            alone: whether this process computes the shards of all `processes`, with the same sums.

        Raises:
            InputError: if the data, the device or the dynamics aren't there, or the config asks of the
                dynamics what isn't derived for it.
            EostuiError: if one of its further processes can't begin.
        """
        had: dict[str, Any] = {}
        if like is not None:
            facts = facts_of(like)
            had = {
                "device": facts.get("device", "cpu"),
                "threads": whole_fact(like, "threads", "1"),
                "convolutions": facts.get(f"problem.{CONVOLUTIONS}", "native"),
            }
        kept = {key: had[key] for key in had if key not in changed}
        if like is not None and kept.get("device", "cpu") not in (there := available_devices()):
            raise InputError(
                f"{like.name} computed on {kept['device']}, but this machine has only "
                f"{', '.join(there)}: `eostui fork {like.name} --set device={there[-1]}` goes on "
                "with it there"
            )
        like_it = config.changed(kept, f"{like}")
        self._machine = prepare_machine(like_it)
        if like is not None and self._machine.device.type != had["device"].partition(":")[0]:
            like_it = like_it.changed({"convolutions": config.convolutions})
        self._processes = Processes(config, self._machine.device, data_dir, alone=alone)
        say("building the problem")
        built = config.changed({"convolutions": like_it.convolutions})
        self.problem = with_fastest_convolutions(
            built, build_problem(built, self._machine.device, data_dir, say), say
        )
        if config.processes > 1:
            settled = config.changed(
                {
                    "threads": self._machine.threads,
                    "chunk_size": self.problem.chunk_size,
                    "convolutions": self.problem.facts.get(CONVOLUTIONS, built.convolutions),
                }
            )
            self.problem = self._processes.share_out(self.problem, settled, say)
        with heard(say) as lines:  # after the problem's own file: that one begins anew
            self.dynamics = dynamics_of(config)
            self.probes = probes_of(config)
            if ":" in config.dynamics:
                try_dynamics(self.dynamics, config, self.problem)
            self.problem = self.dynamics.prepared(config, self.problem)
            if text := self.problem.facts.get(NOT_INVARIANT):
                say(f"the network isn't scale-invariant: {text}")
            try_probes(self.probes, config, self.problem)
        if lines:
            said = [self.problem.facts[SAID]] if SAID in self.problem.facts else []
            self.problem.facts[SAID] = " · ".join([*said, *lines])
        if config.calibrate_at != "never" and (refusal := refuse_calibration(self.dynamics)):
            raise InputError(f"`calibrate_at` is {config.calibrate_at}, but {refusal}")
        if not has_accuracy(self.problem.loss):
            for condition in config.stop_conditions:
                if condition.kind == TRAIN_ACCURACY:
                    raise InputError(f"`stop_at` has {condition.typed}, but {NO_ACCURACY}")
            for change in config.controls:
                if change.at_accuracy is not None:
                    raise InputError(f"{change.where}: {NO_ACCURACY}")
        if config.chunk_size == "auto":  # what was chosen belongs to the run
            config = config.changed({"chunk_size": self.problem.chunk_size})
        self.config, self.changed, self.say, self._group = config, changed, say, group
        self.driver = self._at_work = self.driver_of(config)

    def driver_of(self, config: RunConfig) -> Driver:
        """Return a driver of the same problem and dynamics; `stop` ends it too."""
        probes = self.probes if config.probes == self.config.probes else None
        self._at_work = Driver(config, self.problem, self.dynamics, probes)
        return self._at_work

    def stop(self, reason: str) -> None:
        """End what is at work before its next step, be it the run or a repetition that leads to it."""
        for driver in (self.driver, self._at_work):
            driver.controls.request_stop(reason)

    def refuse_stopped(self, path: Path) -> None:
        """Raise EostuiError if `stop` was called."""
        if self.driver.controls.stop:
            raise EostuiError(f"{path.name}: stopped before it could begin")

    def end_workers(self) -> str:
        """End the other processes; return a sentence if one had ended before, or ""."""
        return self._processes.end()

    def close(self) -> None:
        """End the other processes, and leave none behind."""
        self._processes.close()

    def new(self, path: Path, name: str) -> RunWriter:
        """Make the directory of a new run. Raises EostuiError if it can't be, or `stop` was called."""
        with self.making(path, self.facts(path, name)) as writer:
            self.remark(writer, 0)
            return writer

    @contextmanager
    def making(self, path: Path, facts: Mapping[str, str]) -> Iterator[RunWriter]:
        """Make the directory of a run that begins; what fails or is stopped within leaves none."""
        writer = RunWriter(path, facts)
        try:
            yield writer
            self.refuse_stopped(path)
        except BaseException as error:
            writer.discard()
            if isinstance(error, StoreError):
                raise not_begun(path, error) from error
            raise

    def remark(self, writer: RunWriter, step: int) -> None:
        """Begin the record with what its reader must know of the problem."""
        for kind in (SAID, TRUSTED, NOT_INVARIANT):
            if text := self.problem.facts.get(kind):
                writer.event(step, kind, {"text": text})

    def facts(self, path: Path, name: str) -> dict[str, str]:
        """Return what a run of this session states about itself before its first step."""
        own = {"id": path.name, "name": name, "created": str(time.time())}
        group = {"group": self._group} if self._group else {}
        return {**self._common_facts, **own, **group}

    @functools.cached_property
    def _common_facts(self) -> dict[str, str]:
        return initial_facts(
            self.config, self._machine, self.problem, "", "", self.dynamics, self.probes
        )
