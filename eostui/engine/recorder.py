"""Rows on their way from the device to the store, read in batches: no stall a step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eostui.curvature.capture import is_captured_on
from eostui.runs.analysis.divergence import first_diverged
from eostui.runs.analysis.phase_classifier import PhaseClassifier
from eostui.runs.analysis.phase_signals import bounded_loss, plain_arrivals, signal_columns
from eostui.runs.analysis.run_phases import PHASE_EVENT, payload
from eostui.runs.store.columns import COORDINATES, STORED_STEP_COLUMNS, TRAIN_ACCURACY
from eostui.runs.store.writer import Store
from eostui.stability import (
    BATCH_COLUMNS,
    GRADIENT_DESCENT,
    THRESHOLD,
    UNDECAYED,
    Stability,
    intervenes,
)

#: Rows are handed to the store at least this often, in seconds of training.
FLUSH_EVERY = 0.1
#: Rows held on the device at most.
CAPACITY = 1024

_DEVICE_COLUMNS = STORED_STEP_COLUMNS[: STORED_STEP_COLUMNS.index("eta")]


class Divergence(Exception):
    """The loss or θ left the finite, or the loss is far above its start.

    Attributes:
        step: the first step at which this holds; its row is the last one stored.
        reason: what was seen there.
    """

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(f"step {step}: {reason}")
        self.step = step
        self.reason = reason


class Recorder:
    """Collects one row a step and flushes them; tells divergence and phases when it reads them.

    Attributes:
        precision: that of the rows, float64 where the device has it.
        place: of the next row on the device, shape (1,): as `write` returned it, 0 after a flush.
        calibration: number of the calibration whose x and q come with the rows, 0 for none.
        calibrations: how many there were so far.
        has_accuracy: whether rows have the accuracy on the training samples.
    """

    def __init__(
        self,
        writer: Store,
        like: Tensor,
        coordinates: int = 0,
        observe: Callable[[NDArray[np.float64]], None] | None = None,
        chance: float | None = None,
        stability: Stability = GRADIENT_DESCENT,
        *,
        accuracy: bool = False,
    ) -> None:
        """Begin with step 0.

        Args:
            writer: takes the rows.
            like: gives their device and precision.
            coordinates: how many parameters are kept in each row, after its other columns.
            observe: told those of every flush, shape (n, coordinates), before they are written.
            chance: the loss of the best constant prediction, None where there is none.
            stability: of the dynamics. Only gradient descent is ever called stuck: a step of others
                doesn't promise ‖Δθ‖²/η.
            accuracy: whether that on the training samples is kept in each row, last.
        """
        self.writer, self._stability = writer, stability
        self._observe = observe
        self.next_step = 0
        self.calibration = self.calibrations = 0
        self.phases = PhaseClassifier(
            chance=chance if stability is GRADIENT_DESCENT else None,
            columns=signal_columns(stability.step_columns),
            threshold_label=stability.label,
            gradient_from_steps=stability.gradient_from_steps,
        )
        self.precision = torch.float32 if like.device.type == "mps" else torch.float64
        few = tuple(column.name for column in COORDINATES[:coordinates])
        self.has_accuracy, self._coordinates = accuracy, coordinates
        last = (TRAIN_ACCURACY.name,) if accuracy else ()
        self._names = STORED_STEP_COLUMNS + stability.step_columns + few + last
        of_batch = len(BATCH_COLUMNS) if stability.batches else 0
        self._first_coordinate = of_batch
        self._width = len(_DEVICE_COLUMNS) + of_batch + coordinates + len(last)
        self._of_phases = [self._names.index(name) for name in self.phases.columns]
        self._rows = like.new_zeros((CAPACITY, self._width + 2), dtype=self.precision)
        self._narrow = self._rows[:, : self._width]
        # index_copy_, where it is deterministic on CUDA, sorts its one index
        self._numbers = (
            torch.arange(CAPACITY, device=like.device)[:, None]
            if is_captured_on(like.device)
            else None
        )
        self._further = stability.step_columns[: len(stability.step_columns) - of_batch]
        self._controls = np.empty((CAPACITY, 2 + len(self._further)))
        self._intervened = np.zeros(CAPACITY + 1, dtype=np.bool_)  # first: of the step before
        self._count = 0
        self._flushed: NDArray[np.float64] | None = None  # the newest row that was
        self.place = torch.zeros(1, dtype=torch.int64, device=like.device)
        self._first_loss: float | None = None
        self._flushed_at = time.monotonic()

    @property
    def first_unread(self) -> int:
        """The first step whose row isn't read from the device yet."""
        return self.next_step - self._count

    def state(self) -> dict[str, Any]:
        """Return what the rows so far leave behind; all of them must be flushed."""
        return {
            "next_step": self.next_step,
            "calibration": self.calibration,
            "calibrations": self.calibrations,
            "first_loss": self._first_loss,
            "phases": self.phases.state(),
            "intervened": bool(self._intervened[0]),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.next_step, self.calibration = state["next_step"], state["calibration"]
        self.calibrations = state.get("calibrations", self.calibration)
        self._first_loss = state["first_loss"]
        self._intervened[0] = state.get("intervened", False)  # an older version had none
        phases = PhaseClassifier.restored(state["phases"])
        if phases is None:
            self.begin_phases()
        else:
            self.phases = phases

    def begin_calibration(self) -> int:
        """Let x and q of a new calibration come with the rows from now on; return its number.

        All rows must be flushed.
        """
        self.calibrations += 1
        self.calibration = self.calibrations
        return self.calibration

    def begin_phases(self) -> None:
        """Tell phases from the next step on, whatever was before; all rows must be flushed."""
        self.phases = self.phases.from_step(self.next_step, self._first_loss)

    def norm(self, vector: Tensor) -> Tensor:
        """Return ‖v‖, accumulated as precisely as rows are kept: its changes decide signs of L_λ."""
        norm: Tensor = torch.linalg.vector_norm(vector, dtype=self.precision)
        return norm

    def write(
        self,
        place: Tensor,
        loss: Tensor,
        theta_norm: Tensor,
        decayed_norm: Tensor,
        arrival_curvature: Tensor,
        arrival_cosine: Tensor,
        arrival_norm: Tensor,
        others: Sequence[Tensor] = (),
        projections: Sequence[Tensor] = (),
    ) -> Tensor:
        """Write the next row on the device at `place`, shape (1,); return the place of the one after it.

        Nothing here looks at a value: it is part of a step's program. `others` are what is of a batch
        where steps see batches, θ's coordinates where they are kept and the accuracy where there is one,
        `projections` x and q where there is a calibration. `took` counts the row.
        """
        arrivals = (arrival_curvature, arrival_cosine, arrival_norm)
        values = (loss, theta_norm, decayed_norm, *arrivals, *others, *projections)
        precision = self.precision
        same = [value if value.dtype is precision else value.to(precision) for value in values]
        row = torch.stack(same)[None]
        rows = self._rows if projections else self._narrow
        if self._numbers is None:
            rows.index_copy_(0, place, row)
        else:
            torch.where(self._numbers == place, row, rows, out=rows)
        return place + 1

    def make_room(self, rows: int) -> None:
        """See that so many rows fit at once. Raises Divergence as `flush` does."""
        if self._count + rows > CAPACITY:
            self.flush()

    def took(self, controls: Mapping[str, float], rows: int = 1) -> None:
        """Count the rows that were written, and flush if it is time to.

        Args:
            controls: those that move θ on from them, by name.
            rows: how many.

        Raises:
            Divergence: as `flush` does.
        """
        self._controls[self._count : self._count + rows] = self._of_controls(controls)
        self._intervened[self._count + 1 : self._count + rows + 1] = intervenes(controls)
        self._count += rows
        self.next_step += rows
        if self._count == CAPACITY or time.monotonic() - self._flushed_at > FLUSH_EVERY:
            self.flush()

    def _of_controls(self, controls: Mapping[str, float]) -> list[float]:
        """Return what a row tells of the controls: themselves, and up to which sharpness they do."""
        further = self._further
        if not further:
            return [controls["eta"], controls["weight_decay"]]
        told = {
            **controls,
            THRESHOLD: self._stability.threshold(controls),
            UNDECAYED: self._stability.undecayed(controls),
        }
        return [float(told[name]) for name in ("eta", "weight_decay", *further)]

    def newest_loss(self) -> float:
        """Return L of the newest row, NaN before there is one; this may wait for the device."""
        return self._newest(0)

    def newest_accuracy(self) -> float:
        """Return the accuracy on the training samples of the newest row, as `newest_loss`."""
        return self._newest(self._width - 1) if self.has_accuracy else math.nan

    def _newest(self, place: int) -> float:
        if self._count:
            return float(self._rows[self._count - 1, place])
        return math.nan if self._flushed is None else float(self._flushed[place])

    def precise(self, vector: Tensor) -> Tensor:
        """Return the vector in the precision of the rows."""
        return vector.to(self.precision)

    def measured(self, step: int, values: Mapping[str, Any]) -> None:
        """Take in all that was measured at the newest step, once its readings are written."""
        self.phases.read(step, values)

    def flush(self) -> None:
        """Read the rows from the device and write everything pending as one transaction.

        Raises:
            Divergence: after writing, if one of these rows diverged; rows after it are dropped.
        """
        divergence = None
        if self._count:
            values = self._rows[: self._count].cpu().double().numpy()
            self._flushed = values[-1]
            scalars, others, projections = np.split(
                values, [len(_DEVICE_COLUMNS), self._width], axis=1
            )
            matrix = np.concatenate((scalars, self._controls[: self._count], others), axis=1)
            first = self.next_step - self._count
            divergence = self._divergence(first, matrix)
            if divergence is not None:
                matrix = matrix[: divergence.step - first + 1]
                self.next_step = divergence.step + 1
            if self._observe is not None:  # where it diverged is far off what is worth a look
                first_one, kept = self._first_coordinate, len(matrix) - (divergence is not None)
                seen = others[:kept, first_one : first_one + self._coordinates]
                self._observe(seen)
            self.writer.steps(first, matrix, self._names)
            if self.calibration:
                self.writer.calibrated(self.calibration, first, projections[: len(matrix)])
            signals = plain_arrivals(matrix[:, self._of_phases], self._intervened[:-1])
            self._intervened[0] = self._intervened[self._count]
            for change in self.phases.feed(signals):
                self.writer.event(change.step, PHASE_EVENT, payload(change))
            self._count = 0
            self.place.zero_()
        self.writer.flush()
        self._flushed_at = time.monotonic()
        if divergence is not None:
            raise divergence

    def _divergence(self, first: int, matrix: NDArray[np.float64]) -> Divergence | None:
        loss = bounded_loss(matrix, self._names)
        if self._first_loss is None and math.isfinite(loss[0]):
            self._first_loss = float(loss[0])
        found = first_diverged(loss, matrix[:, 1], self._first_loss)
        return None if found is None else Divergence(first + found[0], found[1])
