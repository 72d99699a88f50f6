"""The tables of `run.db` and the names of the files beside it."""

from __future__ import annotations

from collections.abc import Mapping

from eostui.runs.store.columns import MEASURED

#: 2 added the fact `step_columns` and the table `landscapes`, 3 the table `calibrated`, 4 a checksum of
#: every whole row and the table `seal`, 5 the step columns `arrival_cosine` and `arrival_norm`. All are
#: read and gone on with, each in its own format and with its own columns: those of its fact
#: `step_columns` and of its table `measurements`.
SCHEMA_VERSION = 5
#: The format from which on every row carries a checksum, ids have no gaps and a seal counts the rows.
SEALED_SINCE = 4
#: The formats from which on there are these tables.
LANDSCAPES_SINCE, CALIBRATED_SINCE = 2, 3

DATABASE = "run.db"
COMMANDS = "commands"
LOCK = "lock"
ENGINE_LOG = "engine.log"
#: Room kept for the end of a live run: see runs/store/durable.py.
RESERVE = "reserve"

#: States of a run as stored. "interrupted" isn't among them: it is "running" without a living engine.
LIVE_STATES = ("running", "paused")

#: Kinds of the events that follow from the steps alone: whoever repeats these makes them again.
DERIVED_EVENTS = (
    "phase", "audit", "unmeasured", "unconverged", "calibrated", "reseated", "unmapped",
)  # fmt: skip

#: Facts of a step before which a run's steps can't be taken again: they are another run's, or of other
#: data.
ORIGIN_FACTS = ("parent_step", "changed_step")

# crc32 is that of all cells of its row but the id: see rows.py. Bits also flip where no blob is.
TABLES = f"""
CREATE TABLE run (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    crc32 INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE steps (
    id INTEGER PRIMARY KEY,
    first_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    matrix BLOB NOT NULL,       -- float64, little-endian, one row a step
    crc32 INTEGER NOT NULL
);
CREATE TABLE measurements (
    id INTEGER PRIMARY KEY,
    step INTEGER NOT NULL,
    point TEXT NOT NULL,        -- where it was taken: raw or midpoint
    {", ".join(f"{column.name} REAL" for column in MEASURED)},
    crc32 INTEGER NOT NULL,
    UNIQUE (step)
);
CREATE TABLE calibrated (      -- from the first calibration on, as `steps`
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,    -- of the calibration, from 1
    first_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    matrix BLOB NOT NULL,       -- float64, little-endian: x and q, one row a step
    crc32 INTEGER NOT NULL
);
CREATE TABLE landscapes (      -- of two-parameter problems: only the newest map is kept
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    left REAL NOT NULL,
    right REAL NOT NULL,
    bottom REAL NOT NULL,
    top REAL NOT NULL,
    rows INTEGER NOT NULL,
    columns INTEGER NOT NULL,
    maps BLOB NOT NULL,         -- float32, little-endian: the loss, then the sharpness
    crc32 INTEGER NOT NULL
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    step INTEGER NOT NULL,
    unix_time REAL NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,      -- JSON
    crc32 INTEGER NOT NULL
);
CREATE TABLE seal (            -- one row, renewed by every flush: the newest ids, how many facts
    id INTEGER PRIMARY KEY,
    steps INTEGER NOT NULL,
    measurements INTEGER NOT NULL,
    calibrated INTEGER NOT NULL,
    landscapes INTEGER NOT NULL,
    events INTEGER NOT NULL,
    facts INTEGER NOT NULL
);
INSERT INTO seal VALUES (1, 0, 0, 0, 0, 0, 0);
"""

#: Tables whose rows are only ever appended, or as `landscapes` replaced by one of a higher id.
APPENDED = ("steps", "measurements", "calibrated", "landscapes", "events")

SEAL = f"""
UPDATE seal SET
    {", ".join(f"{table} = (SELECT coalesce(max(id), 0) FROM {table})" for table in APPENDED)},
    facts = (SELECT count(*) FROM run)
"""


def own_steps_from(facts: Mapping[str, str]) -> int:
    """Return the step from which on a run's steps can be taken again: that of its fork, or the one at
    which it went on with other data; else 0.

    Raises:
        ValueError: if these facts are damaged.
    """
    return max(int(facts.get(key, "0")) for key in ORIGIN_FACTS)
