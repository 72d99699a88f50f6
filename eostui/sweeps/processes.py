"""Trains a sweep's members in engine processes of this machine, one for each device that is given."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from pathlib import Path

from eostui.runs.template import Template
from eostui.sweeps.sweep import Claim, Member, Sweep
from eostui.sweeps.training import Training


class Processes:
    """The executor of a sweep on this machine.

    Attributes:
        places: how many members train at once.
        failure: always "": processes are there.
    """

    failure = ""

    def __init__(
        self,
        sweep: Sweep,
        data_dir: Path,
        devices: Sequence[str],
        template: Template,
        claim: Claim,
        changed_data: bool = False,
    ) -> None:
        """Nothing begins yet.

        Args:
            sweep: whose members are trained.
            data_dir: where the data sets are.
            devices: one for each place: what `device = "auto"` is there; "" for what it is here.
            template: of the engines.
            claim: of the sweep.
            changed_data: whether members go on also where data or source aren't what they were.
        """
        self.places = len(devices)
        self._sweep, self._data_dir, self._changed_data = sweep, data_dir, changed_data
        self._template, self._claim = template, claim
        self._free: queue.SimpleQueue[str] = queue.SimpleQueue()
        for device in devices:
            self._free.put(device)
        self._trainings: dict[int, Training] = {}  # by their members' numbers
        self._lock = threading.Lock()
        self._stopped = False

    def train(self, member: Member) -> tuple[str, str]:
        """Have a member trained to its end, as `Training.run`."""
        device = self._free.get()
        training = Training(
            member, self._sweep.id, self._sweep.path, self._data_dir, device,
            lambda: self._template.engine(self._claim.descriptor), self._changed_data,
        )  # fmt: skip
        with self._lock:
            self._trainings[member.number] = training
            if self._stopped:
                training.stop()
        try:
            return training.run()
        finally:
            with self._lock:
                del self._trainings[member.number]
            self._free.put(device)

    def stop(self) -> None:
        """Let the members at work save and stop. Returns at once."""
        with self._lock:
            self._stopped = True
            for training in self._trainings.values():
                training.stop()
        self._template.close()  # those that wait until PyTorch is loaded need it no more
