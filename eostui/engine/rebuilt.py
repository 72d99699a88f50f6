"""What a run trained, once more: its problem, and θ at any of its own steps. Nothing is written."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils import deterministic

from eostui.config import RunConfig
from eostui.dynamics.dynamics import Dynamics
from eostui.engine.comparison import Progress
from eostui.engine.device import available_devices, prepare_machine
from eostui.engine.origin import began_on_other_data, newest_sound, origin_of, whole_fact
from eostui.engine.repetition import state_after
from eostui.engine.same_problem import Recognition, recognise
from eostui.engine.session import EngineSession
from eostui.errors import InputError, RunFormatError
from eostui.problems import Problem
from eostui.runs.store import checkpoints
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.reader import facts_of


class Rebuilt:
    """The problem of a run, from which θ at any of its own steps can be had.

    Threads, PyTorch's choice of algorithms and the generators of random numbers are the run's while this
    is at work, and afterwards what they were.

    Attributes:
        problem: what is trained, on the device of the run, or on the CPU where that isn't there.
        dynamics: the class of how it moves.
    """

    def __init__(
        self, path: Path, config: RunConfig, data_dir: Path, say: Callable[[str], None]
    ) -> None:
        """Build the problem; `say` is told if it isn't what the run was trained on.

        Args:
            path: of the run.
            config: of the run.
            data_dir: where the data sets are.
            say: told what takes long, and what isn't as it was.

        Raises:
            InputError: if the data or the user's code can't be had, or the run doesn't fit them any more.
            RunFormatError: if the record is damaged.
        """
        self._path = path
        device = device_of(path)
        if str(device) != recorded_device(path):
            say(
                f"{path.name} was computed on {recorded_device(path)}, which isn't here: "
                f"on {device} it may be rounded otherwise"
            )
        machine = {"device": str(device), "threads": whole_fact(path, "threads", "1")}
        self._config = config.changed(machine, f"{path}")
        with self.at_work():
            self._session = EngineSession(self._config, data_dir, say, alone=True)
            self.problem: Problem = self._session.problem
            self.dynamics: type[Dynamics] = self._session.dynamics
            self._newest: Checkpoint | None = None  # of the steps that were repeated last
            self._recognition = self._recognise(_first_checkpoint(path))
        if self._recognition.changed:
            say(self._recognition.sentence(path.name, "what is there now is taken all the same"))

    def theta(self, step: int, progress: Progress) -> Tensor:
        """Return θ at one of the run's own steps, shape (P,), on the device of the problem.

        The newest checkpoint up to there is gone on from, as a fork would, or what was repeated last.

        Args:
            step: whose row has its loss.
            progress: told of the steps that are repeated.

        Raises:
            InputError: if steps must be repeated, and the problem isn't what it was; or if there is no
                way to that step.
            EostuiError: if the record is damaged.
        """
        path, origin = self._path, origin_of(self._path)
        if step < origin:
            raise InputError(_before_origin(path, step, origin))
        stored = [file.step for file in checkpoints.files(path) if origin <= file.step <= step]
        begin = self._newest
        with self.at_work():
            if begin is None or not max(stored, default=0) <= begin.step <= step:
                begin = newest_sound(path, step, origin)[0]
                self._recognition = self._recognise(begin)
            if self._recognition.changed:
                raise InputError(
                    self._recognition.sentence(
                        path.name, "its steps can be repeated once what was there is put back"
                    )
                )
            self._newest, _ = state_after(
                self._session, path, begin, step, self._recognition, progress
            )
        return theta_of(self._newest, self.problem.initial.device)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Compute as the run did, and leave the process as it was."""
        with _process_kept(torch.device(self._config.device)):
            prepare_machine(self._config)
            yield

    def _recognise(self, checkpoint: Checkpoint | None) -> Recognition:
        return recognise(self._path, self.problem, self._session.facts(self._path, ""), checkpoint)


def _first_checkpoint(path: Path) -> Checkpoint | None:
    """Return the checkpoint at which a run's own steps begin, None if that is missing, or step 0."""
    origin = origin_of(path)
    try:
        return newest_sound(path, origin, origin)[0]
    except RunFormatError:
        return None


def stored_theta(path: Path, step: int) -> Tensor | None:
    """Return θ of a run before a step, where a sound checkpoint has it, on the device of the run."""
    for file in checkpoints.files(path):
        if file.step == step:
            try:
                return theta_of(checkpoints.read(file.path), device_of(path))
            except RunFormatError:
                return None
    return None


def theta_of(checkpoint: Checkpoint, device: torch.device) -> Tensor:
    """Return θ of a checkpoint, in memory of its own. Raises RunFormatError if it has none."""
    try:
        array = checkpoint.tensors["trainer.theta"]
    except KeyError:
        raise RunFormatError(f"the checkpoint of step {checkpoint.step} has no θ") from None
    return torch.from_numpy(np.array(array)).to(device)


def recorded_device(path: Path) -> str:
    """Return the name of the device on which a run was computed."""
    return facts_of(path).get("device", "cpu")


def device_of(path: Path) -> torch.device:
    """Return the device on which a run was computed, or the CPU where that isn't there."""
    device = recorded_device(path)
    return torch.device(device if device in available_devices() else "cpu")


def _before_origin(path: Path, step: int, origin: int) -> str:
    """Return why θ can't be had at a step before a run's own ones."""
    if not began_on_other_data(path, origin):
        return f"{path.name} is itself a fork from step {origin} on: ask its parent for step {step}"
    known = [str(file.step) for file in checkpoints.files(path) if file.step < origin]
    before = f", and before at its checkpoints: step {', '.join(known)}" if known else ""
    return (
        f"{path.name} went on with changed data at step {origin}, so the steps before can't be "
        f"repeated: θ can be had from step {origin} on{before}"
    )


@contextmanager
def _process_kept(device: torch.device) -> Iterator[None]:
    """Begin as an engine's process does, and leave threads, determinism, precision, seeds as they were.

    A notebook may have other defaults, or be within `torch.no_grad()`.
    """
    states = random.getstate(), np.random.get_state()
    threads = torch.get_num_threads()
    algorithms = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    fills = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    narrow = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    dtype = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float32)
        with (
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.device("cpu"),
        ):
            yield
    finally:
        torch.set_default_dtype(dtype)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(algorithms, warn_only=warns)
        deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = narrow
