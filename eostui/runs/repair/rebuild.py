"""A repaired copy of a damaged run: all rows that can be read, in a new directory beside the old one."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from eostui.config import RunConfig
from eostui.errors import InputError, RunFormatError, StoreError
from eostui.runs.repair.salvage import Salvage, salvage
from eostui.runs.shelf import safe_name
from eostui.runs.store import checkpoints, schema
from eostui.runs.store.columns import FIRST_STEP_COLUMNS
from eostui.runs.store.connection import UNREADABLE, refuse_foreign_files, restrain
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.own_columns import (
    dynamics_columns_of,
    probes_fact,
    step_columns_of,
    step_columns_of_width,
)
from eostui.runs.store.readings import ProbeReading, unpacked
from eostui.runs.store.writer import RunWriter

#: Stands for the preset's name where a run's config is lost.
CONFIG_LOST = "(config lost)"
_PAGE = 4096
#: Formats whose first pages differ, for stores that lost theirs: of several that have the same tables the
#: last. A new format whose tables are others adds the one before it here.
_MADE_ALIKE = (schema.SCHEMA_VERSION, schema.READINGS_SINCE - 1)


@dataclass(frozen=True)
class Repaired:
    """What a repair came to.

    Attributes:
        path: the copy.
        kept: what it has, a phrase each.
        lost: what it lacks, a sentence each.
    """

    path: Path
    kept: list[str]
    lost: list[str]


def repair_run(path: Path) -> Repaired:
    """Write what can be read of a run into a new directory beside it; the run itself isn't touched.

    Raises:
        InputError: if it is no run directory, an engine drives it, or the copy can't be written.
        RunFormatError: if nothing can be read.
    """
    database = path / schema.DATABASE
    if not database.is_file() or database.is_symlink():
        raise InputError(f"{path}: not a run directory (it has no {schema.DATABASE})")
    if engine_alive(path):
        raise InputError(f"{path.name} is live: `eostui stop {path.name}` first")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".repair-") as name:
            aside = _copied(path, Path(name))
            ways = [aside, *(_with_schema_of(version, aside) for version in _MADE_ALIKE)]
            salvaged = max(map(_read, ways), key=lambda each: each.rows)
            if not salvaged.next_step and not salvaged.facts:
                raise RunFormatError(f"{database}: nothing of a run can be read in it")
            return _write(path, salvaged, Path(name))
    except (OSError, sqlite3.Error, StoreError) as error:
        said = error.strerror if isinstance(error, OSError) else error.__cause__ or error
        raise InputError(f"{path}: no repaired copy can be made beside it: {said}") from None


def _copied(path: Path, folder: Path) -> Path:
    """Copy the store and its log: SQLite would change even what it only reads."""
    refuse_foreign_files(path / schema.DATABASE)
    for name in (schema.DATABASE, f"{schema.DATABASE}-wal", f"{schema.DATABASE}-journal"):
        if (path / name).is_file() and not (path / name).is_symlink():
            shutil.copyfile(path / name, folder / name)
    return folder / schema.DATABASE


def _with_schema_of(version: int, database: Path) -> Path:
    """Return another copy whose first page, with the header and the list of tables, is a new one.

    Tables are made in one order, so their roots lie where they do in every store of that format.
    """
    folder = database.parent / f"schema-{version}"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "new.db")) as new:
        new.executescript(schema.tables(version))
    first = bytearray((folder / "new.db").read_bytes()[:_PAGE])
    first[28:32] = bytes(4)  # as many pages as the file has
    copy = folder / schema.DATABASE
    shutil.copyfile(database, copy)
    with copy.open("r+b") as file:
        file.write(first)
    wal = database.with_name(f"{database.name}-wal")
    if wal.is_file():
        shutil.copyfile(wal, folder / wal.name)
    return copy


def _read(database: Path) -> Salvage:
    """Return what can be read of a copied store; nothing if SQLite can't open it at all."""
    try:
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            restrain(connection)
            # a file that is shorter than it says is read as far as it goes
            connection.execute("PRAGMA writable_schema=ON")
            tables = connection.execute("SELECT name, type FROM sqlite_master").fetchall()
            if any(kind not in ("table", "index") for _, kind in tables):
                return Salvage()
            return salvage(connection)
    except UNREADABLE:
        return Salvage()


def _write(path: Path, salvaged: Salvage, folder: Path) -> Repaired:
    """Write the copy into a folder, and put it beside the run when it is whole."""
    copy = _free(path)
    made = folder / copy.name
    lost = [f"{table}: {how}" for table in salvaged.lost for how in salvaged.losses(table)]
    writer = RunWriter(made, _facts(path, copy, salvaged, lost))
    try:
        for first, matrix in salvaged.steps:
            writer.steps(first, matrix)
        for each in salvaged.readings:
            values = unpacked(salvaged.probes[each.probe], each.numbers)
            writer.reading(
                ProbeReading(each.step, each.probe, values, each.point, each.seconds, each.products)
            )
        for number, first, matrix in salvaged.calibrated:
            writer.calibrated(number, first, matrix)
        if salvaged.landscape is not None:
            writer.landscape(salvaged.landscape)
        for event in salvaged.events:
            writer.past_event(event)
    finally:
        writer.close()
    copied = _copy_checkpoints(path, made, salvaged.next_step, lost)
    made.rename(copy)
    kept = [
        f"{salvaged.next_step} steps",
        f"{len(salvaged.readings)} readings",
        f"{sum(len(matrix) for *_, matrix in salvaged.calibrated)} calibrated rows",
        f"{len(salvaged.events)} events",
        f"{len(salvaged.facts)} facts",
        f"{copied} checkpoints",
    ]
    return Repaired(copy, kept, lost)


def _free(path: Path) -> Path:
    copy = path.with_name(f"{safe_name(path.name)}-repaired")
    number = 2
    while os.path.lexists(copy):
        copy = path.with_name(f"{safe_name(path.name)}-repaired-{number}")
        number += 1
    return copy


def _facts(path: Path, copy: Path, salvaged: Salvage, lost: list[str]) -> dict[str, str]:
    """Return the facts of the copy: those that were read, and stand-ins for what a run needs."""
    facts = {**salvaged.facts, "id": copy.name, "repaired_from": path.name}
    try:
        RunConfig.from_toml(facts["config"], f"{path}: stored config")
    except (KeyError, InputError):
        facts["config"] = RunConfig.build({"preset": CONFIG_LOST}, "repair").to_toml()
        lost.append("facts: the config; the one in the copy is made up of defaults")
    for key, read in (("dynamics", dynamics_columns_of), ("step_columns", step_columns_of)):
        try:
            read(facts)
        except ValueError as error:
            del facts[key]
            lost.append(f"facts: `{key}`: {error}")
    if salvaged.probes:
        facts["probes"] = probes_fact(salvaged.probes.values())
    width = salvaged.steps[0][1].shape[1] if salvaged.steps else len(FIRST_STEP_COLUMNS)
    if "step_columns" not in facts:
        facts["step_columns"] = json.dumps(step_columns_of_width(width, salvaged.version))
    if "created" not in facts:
        facts["created"] = str((path / schema.DATABASE).stat().st_mtime)
    if salvaged.lost or "status" not in facts:  # it isn't what it ended with
        facts["status"] = "running"
        facts.pop("sentence", None)
    return facts


def _copy_checkpoints(path: Path, copy: Path, next_step: int, lost: list[str]) -> int:
    copied = 0
    for file in checkpoints.files(path):
        try:
            checkpoint = checkpoints.read(file.path)
        except RunFormatError as error:
            lost.append(f"checkpoints: {error}")
            continue
        if checkpoint.step <= next_step:
            checkpoints.write(copy, checkpoint)
            copied += 1
    return copied
