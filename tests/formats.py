"""Run directories of older formats: those that older versions wrote, and others made from new ones."""

import contextlib
import json
import shutil
import sqlite3
import zlib
from pathlib import Path

import numpy as np

from eostui.runs.store import schema
from eostui.runs.store.columns import (
    FIRST_STEP_COLUMNS,
    HESSIAN_PRODUCTS,
    MEASURED,
    NOT_WIDE,
    TRAIN_ACCURACY,
)
from eostui.runs.store.own_columns import step_columns_of
from eostui.runs.store.poller import Poller
from eostui.runs.store.reader import RunReader
from eostui.runs.store.readings import by_step
from eostui.runs.store.rows import checksum, in_columns
from eostui.runs.store.wide_rows import wide_checksum

#: Run directories, one of each format, as the programs of their time wrote them (see its README).
STORES = Path(__file__).parent / "stores"
#: The newest step of each of them.
LAST = 60


def kept(folder, version):
    """Return a copy of the store that is kept of a format."""
    # without its empty folder `commands`, which Git doesn't keep: the engine makes it anew
    return Path(shutil.copytree(STORES / f"format-{version}", folder / f"kept-{version}"))


def as_format(path, version):
    """Turn the store of an ended run into format 1 to 5.

    Before format 6 what was measured was one wide row a step, before 5 there were no cosines and lengths
    of steps, before 4 no checksums of rows and no seal, and before 3 and 2 fewer tables.
    """
    measured = _measured(path)
    with contextlib.closing(sqlite3.connect(path / "run.db")) as database, database:
        database.create_function("crc", 1, zlib.crc32)
        if measured is not None:
            _widen(database, measured)
        if version < 5:
            _drop(database, ("arrival_cosine", "arrival_norm"))
        if version < 7:
            _drop(database, (TRAIN_ACCURACY.name,))
        if version < 4:
            for table, blob in (
                ("steps", "matrix"),
                ("calibrated", "matrix"),
                ("landscapes", "maps"),
            ):
                database.execute(f"UPDATE {table} SET crc32 = crc({blob})")
            for table in ("run", "measurements", "events"):
                database.execute(f"ALTER TABLE {table} DROP COLUMN crc32")
            database.execute("DROP TABLE seal")
        if version < 3:
            database.execute("DROP TABLE calibrated")
        if version < 2:
            database.execute("DROP TABLE landscapes")
            database.execute("DELETE FROM run WHERE key = 'step_columns'")
        database.execute(f"PRAGMA user_version = {version}")


def _measured(path):
    """Return what was measured, a wide row a step; None of a run that has it so already."""
    reader = RunReader(path)
    try:
        if reader.version < schema.READINGS_SINCE:
            return None
        table = by_step(Poller(reader).poll().readings, reader.probes)
        return table or {"step": np.empty(0)}
    finally:
        reader.close()


def _widen(database, measured):
    """Put one row a measured step, with all columns, in the place of the readings."""
    names = [column.name for column in MEASURED if column.name not in NOT_WIDE]
    assert HESSIAN_PRODUCTS.name in names
    (point,) = database.execute("SELECT point FROM readings LIMIT 1").fetchone() or ("raw",)
    (count,) = database.execute("SELECT count(*) FROM run").fetchone()
    database.execute("DROP TABLE readings")
    database.execute(schema.wide_table())
    (seal,) = database.execute("SELECT steps, calibrated, landscapes, events FROM seal").fetchall()
    stated = database.execute("DELETE FROM run WHERE key = 'probes'").rowcount
    nothing = np.full(len(measured["step"]), np.nan)
    table = np.stack([measured.get(name, nothing) for name in names], axis=1)
    for step, row in zip(measured["step"].astype(int).tolist(), table, strict=True):
        cells = (step, point, *row.tolist())
        crc = wide_checksum(",".join(names), step, point, np.ascontiguousarray(row))
        holes = ", ".join("?" * (len(cells) + 1))
        database.execute(
            f"INSERT INTO measurements (step, point, {', '.join(names)}, crc32) VALUES ({holes})",
            (*cells, crc),
        )
    database.execute("ALTER TABLE seal RENAME COLUMN readings TO measurements")
    steps, calibrated, landscapes, events = seal
    database.execute(
        "UPDATE seal SET steps = ?, measurements = ?, calibrated = ?, landscapes = ?, events = ?, "
        "facts = ?",
        (steps, len(table), calibrated, landscapes, events, count - stated),
    )


def _drop(database, gone):
    """Leave out step columns."""
    facts = dict(database.execute("SELECT key, value FROM run"))
    names = step_columns_of(facts)
    left = tuple(name for name in names if name not in gone)
    assert left[:4] == FIRST_STEP_COLUMNS[:4]
    blocks = database.execute("SELECT id, first_step, last_step, matrix FROM steps").fetchall()
    for row_id, first, last, blob in blocks:
        rows = np.frombuffer(blob, dtype="<f8").reshape(-1, len(names))
        matrix = np.ascontiguousarray(in_columns(rows, names, left)).tobytes()
        database.execute(
            "UPDATE steps SET matrix = ?, crc32 = ? WHERE id = ?",
            (matrix, checksum((first, last), matrix), row_id),
        )
    if "step_columns" in facts:
        stated = ("step_columns", json.dumps(left))
        database.execute(
            "UPDATE run SET value = ?, crc32 = ? WHERE key = ?",
            (stated[1], checksum(stated), stated[0]),
        )
