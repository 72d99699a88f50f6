"""The tables of `run.db` and the names of the files beside it."""

from __future__ import annotations

from collections.abc import Mapping

#: 2 added the fact `step_columns` and the table `landscapes`, 3 the table `calibrated`, 4 a checksum of
#: every whole row and the table `seal`, 5 the step columns `arrival_cosine` and `arrival_norm`, 6 the
#: facts `probes` and `dynamics`, and the table `readings` in place of `measurements`, which had a row a
#: step and a column for each of `MEASURED`, 7 the step column `train_accuracy`. All are read and gone on
#: with, each in its own format and with its own columns: those of its facts, or of its table
#: `measurements`.
SCHEMA_VERSION = 7
#: The format from which on every row carries a checksum, ids have no gaps and a seal counts the rows.
SEALED_SINCE = 4
#: The format from which on a row is what one probe measured at a step.
READINGS_SINCE = 6
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
    "noted", "turned_off", "flow_coarse", "stands",
)  # fmt: skip

#: Facts of a step before which a run's steps can't be taken again: they are another run's, or of other
#: data.
ORIGIN_FACTS = ("parent_step", "changed_step")

# crc32 is that of all cells of its row but the id: see rows.py. Bits also flip where no blob is.
_READINGS = """
CREATE TABLE readings (
    id INTEGER PRIMARY KEY,
    step INTEGER NOT NULL,
    probe TEXT NOT NULL,        -- a name in the fact `probes`, which has its columns
    point TEXT NOT NULL,        -- where it was taken: raw or midpoint
    numbers BLOB NOT NULL,      -- float64, little-endian: its columns in their order, arrays flattened
    seconds REAL,               -- that it took
    products INTEGER,           -- Hessian products spent on it
    crc32 INTEGER NOT NULL,
    UNIQUE (step, probe)
);"""
_MEASUREMENTS = """
CREATE TABLE measurements (
    id INTEGER PRIMARY KEY,
    step INTEGER NOT NULL,
    point TEXT NOT NULL,
    {columns},
    crc32 INTEGER NOT NULL,
    UNIQUE (step)
);"""
_TABLES = """
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
);{measured}
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
    {measured_name} INTEGER NOT NULL,
    calibrated INTEGER NOT NULL,
    landscapes INTEGER NOT NULL,
    events INTEGER NOT NULL,
    facts INTEGER NOT NULL
);
INSERT INTO seal VALUES (1, 0, 0, 0, 0, 0, 0);
"""


def measured_table(version: int = SCHEMA_VERSION) -> str:
    """Return the table in which a format has what was measured."""
    return "readings" if version >= READINGS_SINCE else "measurements"


def tables(version: int = SCHEMA_VERSION) -> str:
    """Return the statements that make the tables of format 4 or a later one, and say which it is."""
    measured = _READINGS if version >= READINGS_SINCE else wide_table()
    made = _TABLES.replace("{measured_name}", measured_table(version))
    made = made.replace("{measured}", measured)
    return f"{made} PRAGMA user_version={version};"


def wide_table() -> str:
    """Return the statement that makes the table `measurements` of format 4 or 5."""
    # here alone: whoever completes a name at a key press waits for what is loaded
    from eostui.runs.store.columns import MEASURED, NOT_WIDE

    names = (column.name for column in MEASURED if column.name not in NOT_WIDE)
    return _MEASUREMENTS.replace("{columns}", ", ".join(f"{name} REAL" for name in names))


def appended(version: int = SCHEMA_VERSION) -> tuple[str, ...]:
    """Return the tables whose rows are only ever appended, or as `landscapes` replaced by a newer one."""
    return ("steps", measured_table(version), "calibrated", "landscapes", "events")


def seal(version: int = SCHEMA_VERSION) -> str:
    """Return the statement that renews the seal of format 4 or a later one."""
    newest = (
        f"{table} = (SELECT coalesce(max(id), 0) FROM {table})" for table in appended(version)
    )
    return f"UPDATE seal SET {', '.join(newest)}, facts = (SELECT count(*) FROM run)"


def own_steps_from(facts: Mapping[str, str]) -> int:
    """Return the step from which on a run's steps can be taken again: that of its fork, or the one at
    which it went on with other data; else 0.

    Raises:
        ValueError: if these facts are damaged.
    """
    return max(int(facts.get(key, "0")) for key in ORIGIN_FACTS)
