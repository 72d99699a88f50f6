"""What of a run directory is sound."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError, RunFormatError
from eostui.runs.repair.salvage import Salvage, salvage
from eostui.runs.run import Run
from eostui.runs.store import checkpoints, schema
from eostui.runs.store.connection import UNREADABLE, connect, unreadable
from eostui.runs.store.liveness import engine_alive

#: What SQLite's own check tells at most.
_MOST_ANSWERS = 20


@dataclass(frozen=True)
class Finding:
    """One part of a run.

    Attributes:
        part: its name.
        sound: whether all is well with it.
        description: what there is of it, or what is wrong.
    """

    part: str
    sound: bool
    description: str


def check_run(path: Path) -> list[Finding]:
    """Look at every part of a run directory; nothing in it is changed.

    Raises:
        InputError: if it is no run directory.
        BusyError: if another program has locked it.
    """
    if not (path / schema.DATABASE).is_file():
        raise InputError(f"{path}: not a run directory (it has no {schema.DATABASE})")
    findings = list(_directory(path))
    try:
        database = connect(path / schema.DATABASE)
    except RunFormatError as error:
        return [*findings, Finding("database", False, str(error)), *_checkpoints(path)]
    end, alive = None, engine_alive(path)
    try:
        database.execute("BEGIN")  # one snapshot: its engine may be at work
        findings += _integrity(database)
        salvaged = salvage(database)
        findings += _tables(path, salvaged)
        if "steps" not in salvaged.lost and not alive:  # an engine may have saved since
            end = salvaged.next_step
    except UNREADABLE as error:
        findings.append(Finding("database", False, str(unreadable(path / schema.DATABASE, error))))
    finally:
        database.close()
    return [*findings, *_checkpoints(path, end), *_opening(path)]


def links(path: Path) -> list[Path]:
    """Return what in a run directory is a link, and may lead out of it."""
    inside = [path / name for name in os.listdir(path)]
    for folder in (path / schema.COMMANDS, path / checkpoints.FOLDER):
        if folder.is_dir() and not folder.is_symlink():
            inside += [folder / name for name in os.listdir(folder)]
    return sorted(file for file in inside if file.is_symlink())


def _directory(path: Path) -> Iterator[Finding]:
    leading_out = links(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    described = f"mode {mode:04o}" + (", readable by others" if mode & 0o077 else "")
    if leading_out:
        described = f"links in it: {', '.join(str(file.relative_to(path)) for file in leading_out)}"
    yield Finding("directory", not leading_out, described)
    alive = engine_alive(path)
    yield Finding("lock", True, "held: an engine drives it" if alive else "free: no engine")


def _integrity(database: sqlite3.Connection) -> Iterator[Finding]:
    answers = [row[0] for row in database.execute(f"PRAGMA integrity_check({_MOST_ANSWERS})")]
    sound = answers == ["ok"]
    yield Finding("database", sound, "SQLite finds nothing wrong" if sound else "; ".join(answers))


def _tables(path: Path, salvaged: Salvage) -> Iterator[Finding]:
    if not _facts_parse(path, salvaged):
        salvaged.lose("facts", "the config in them can't be understood")
    present = {
        "facts": f"{len(salvaged.facts)}, format {salvaged.version}",
        "steps": f"{salvaged.next_step} rows without a gap",
        schema.measured_table(
            salvaged.version
        ): f"{len(salvaged.readings)}, each at a step with a row",
        "calibrated": f"{sum(len(matrix) for *_, matrix in salvaged.calibrated)} rows",
        "landscapes": "no map" if salvaged.landscape is None else "a map",
        "events": f"{len(salvaged.events)}",
    }
    for table, described in present.items():
        yield Finding(
            table, table not in salvaged.lost, "; ".join([described, *salvaged.losses(table)])
        )
    for table in salvaged.lost.keys() - present.keys():
        yield Finding(table, False, "; ".join(salvaged.losses(table)))


def _facts_parse(path: Path, salvaged: Salvage) -> bool:
    try:
        RunConfig.from_toml(salvaged.facts.get("config", "\0"), f"{path}: stored config")
    except InputError:
        return False
    return True


def _checkpoints(path: Path, end: int | None = None) -> Iterator[Finding]:
    """Read all checkpoints; `end` is the first step without a row, where that is known."""
    sound, wrong = 0, []
    for file in checkpoints.files(path):
        try:
            checkpoints.read(file.path)
        except RunFormatError as error:
            if os.path.lexists(file.path):  # else its engine has thinned it away meanwhile
                wrong.append(str(error))
        else:
            if end is not None and file.step > end:
                wrong.append(
                    f"{file.path.name}: ahead of the record, whose rows before it are lost"
                )
            else:
                sound += 1
    described = f"{sound} of {sound + len(wrong)} sound" if sound or wrong else "none"
    yield Finding("checkpoints", not wrong, "; ".join([described, *wrong]))


def _opening(path: Path) -> Iterator[Finding]:
    try:
        with Run(path) as run:
            yield Finding("record", True, f"opens as a run that is {run.state}")
    except EostuiError as error:
        yield Finding("record", False, str(error))
