"""A run as TensorBoard event files, by tensorboardX: one scalar tag for each column."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from eostui.errors import InputError
from eostui.runs.export.table import RUN, Progress, RunTable
from eostui.runs.run import Run
from eostui.runs.series import FloatArray


def write_tensorboard(
    table: RunTable, run: Run, folder: Path, done: int = 0, progress: Progress | None = None
) -> int:
    """Write the rows of one run into `folder`. What isn't known is left out.

    TensorBoard keeps single precision. Wall time is that of the run's events, and between two of them
    goes with the step.

    Args:
        table: chooses rows and columns.
        run: one of its runs.
        folder: exists, and is empty.
        done: how many rows of the table were written before.
        progress: told how many rows of how many are done.

    Returns:
        How many rows of the table are written now.

    Raises:
        InputError: if tensorboardX isn't installed.
        OSError: if the files can't be written.
    """
    try:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary
    except ImportError:
        raise InputError(
            "event files need tensorboardX: python -m pip install 'eostui[tensorboard]'"
        ) from None
    known_steps, known_times = wall_times(run)
    writer = EventsWriter(str(folder / "events"))
    try:
        for block in table.blocks_of(run):
            times = np.interp(block["step"], known_steps, known_times)
            columns = {
                name: values.tolist()
                for name, values in block.items()
                if name not in (RUN.name, "step") and not np.isnan(values).all()
            }
            rows = zip(*columns.values(), strict=True)
            for step, now, row in zip(block["step"].tolist(), times.tolist(), rows, strict=True):
                values = [
                    Summary.Value(tag=name, simple_value=value)
                    for name, value in zip(columns, row, strict=True)
                    if value == value  # NaN isn't
                ]
                event = Event(wall_time=now, step=int(step), summary=Summary(value=values))
                writer.write_event(event)
            done += len(times)
            if progress is not None:
                progress(done, table.rows)
    finally:
        writer.close()
    return done


def wall_times(run: Run) -> tuple[FloatArray, FloatArray]:
    """Return steps and the Unix times at which they were reached, as far as the run's events tell.

    Neither falls, though a clock may have been set back. A run at work reaches its newest step now.
    """
    told = [(event.step, event.unix_time) for event in run.events]
    told.append((0, float(run.facts["created"])))
    if run.state == "running":
        told.append((run.last_step, time.time()))
    steps, times = np.array(sorted(told), dtype=np.float64).T
    return steps, np.maximum.accumulate(times)
