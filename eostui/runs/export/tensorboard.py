"""A run as TensorBoard event files, by tensorboardX: one scalar tag for each column."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eostui.errors import InputError
from eostui.runs.export.table import Part, Progress, RunTable
from eostui.runs.family import settings_of, told
from eostui.runs.run import Run
from eostui.runs.series import FloatArray
from eostui.runs.shelf import safe_name

#: Letters of a folder's name at most.
_LONGEST = 100


def write_tensorboard(
    table: RunTable, place: int, folder: Path, done: int = 0, progress: Progress | None = None
) -> int:
    """Write the rows of one run into `folder`. What isn't known is left out.

    TensorBoard keeps single precision. Wall time is that of the run's events, and between two of them
    goes with the step.

    Args:
        table: chooses rows and columns.
        place: of the run among its parts.
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
    part = table.parts[place]
    texts = {"step", *(label.column.name for label in table.labels)}
    writer = EventsWriter(str(folder / "events"), _mark(part))
    try:
        with part.opened() as run:
            known_steps, known_times = wall_times(run)
            for block in table.blocks_of(place, run):
                times = np.interp(block["step"], known_steps, known_times)
                columns = {
                    name: values.tolist()
                    for name, values in block.items()
                    if name not in texts and not np.isnan(values).all()
                }
                rows = zip(
                    block["step"].tolist(),
                    times.tolist(),
                    zip(*columns.values(), strict=True),
                    strict=False,
                )
                for step, now, row in rows:
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


def folders(table: RunTable, target: Path) -> list[Path]:
    """Return the folder of each run below `target`, by which TensorBoard calls it: its name.

    A run without a name is called by its settings that differ and the end of its id; where a name is
    another's too, or its folder holds another's events, the end of the id is added.
    """
    names = [list(_names(table, place)) for place in range(len(table.parts))]
    counts = Counter(each[0].casefold() for each in names)
    found = []
    for part, ways in zip(table.parts, names, strict=True):
        first, *others = ways
        places = [target / name for name in (others if counts[first.casefold()] > 1 else ways)]
        free = [place for place in places if not _is_anothers(place, part)]
        found.append((free or places[-1:])[0])
    return found


def _names(table: RunTable, place: int) -> Iterator[str]:
    """Yield what a run's folder may be called, the last of which no other run is."""
    part = table.parts[place]
    id = part.path.name
    tag = id.rpartition("-")[2]
    stem = safe_name(part.name, id)[:_LONGEST] if part.name else ""
    if not stem and table.family is not None and table.family.differing:
        settings = settings_of(table.family.entries[place])
        told_of = [
            f"{key}-{told(settings[key])}" for key in table.family.differing if key in settings
        ]
        stem = safe_name(f"{'_'.join(told_of)[:_LONGEST]}-{tag}", id)
    if stem:
        yield stem
        yield f"{stem}-{safe_name(tag)}"
    yield safe_name(id)


def _is_anothers(place: Path, part: Part) -> bool:
    """Return whether a folder holds event files of another run."""
    if place.name == safe_name(part.path.name):
        return False
    events = [path.name for path in place.glob("*.tfevents.*")]
    return bool(events) and not all(name.endswith(_mark(part)) for name in events)


def _mark(part: Part) -> str:
    """Return the end of the name of a run's event files, by which it is known that they are its."""
    return f".{safe_name(part.path.name)}"


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
