"""The shelf: all run directories of one folder, their names, and how to find one."""

from __future__ import annotations

import contextlib
import math
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError, RunFormatError, did_you_mean
from eostui.runs.liveness import engine_alive
from eostui.runs.reader import RunReader, run_state
from eostui.runs.schema import DATABASE, LIVE_STATES

#: All states of a run, as the shelf tells them.
STATES = (*LIVE_STATES, "finished", "stopped", "diverged", "failed", "interrupted")
#: A run made later has a clock or a record that isn't right: the year 9999, in seconds since 1970.
_LAST_TIME = 253_370_764_800
_TAG_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # no 0/o, 1/l/i: ids are typed by hand


@dataclass(frozen=True)
class Entry:
    """A run as the shelf lists it.

    Attributes:
        eta, weight_decay: as they were set at its newest step; `config` has those it began with.
        ended: when it ended, in Unix time; where that isn't on record, when it was last written to.
        resting_sharpness: the mean of S over the last fifth of the steps, NaN if it wasn't measured.
        phase: the newest phase.
        parent: the id of the run that it was forked from, with the step; "" and None for others.
    """

    id: str
    path: Path
    name: str
    state: str
    sentence: str
    last_step: int
    eta: float
    weight_decay: float
    created: float
    ended: float
    config: RunConfig
    note: str = ""
    parent: str = ""
    parent_step: int | None = None
    resting_sharpness: float = math.nan
    phase: str = ""

    @property
    def live(self) -> bool:
        """Whether its engine is at work or paused."""
        return self.state in LIVE_STATES


def new_run_path(folder: Path, preset: str) -> Path:
    """Return the path of a new run: the preset's name and four letters that nobody has."""
    stem = safe_name(preset)
    while True:
        tag = "".join(secrets.choice(_TAG_LETTERS) for _ in range(4))
        path = folder / f"{stem}-{tag}"
        if not path.exists():
            return path


def entries(folder: Path) -> list[Entry]:
    """Return all readable runs of a folder, newest first."""
    found = []
    for path in _run_paths(folder):
        try:
            found.append(read_entry(path))
        except EostuiError:
            continue  # a run that is being made, or a damaged one: `find` tells why
    return sorted(found, key=lambda entry: entry.created, reverse=True)


def read_entry(path: Path) -> Entry:
    """Return the shelf's view of one run directory. Raises InputError or RunFormatError."""
    reader = RunReader(path)
    try:
        facts = reader.facts()
        try:
            created = _time(facts, "created")
            ended = _time(facts, "ended") if "ended" in facts else created
            parent_step = int(facts["parent_step"]) if "parent_step" in facts else None
            config = RunConfig.from_toml(facts["config"], f"{path}: stored config")
        except (KeyError, ValueError, InputError) as error:
            raise RunFormatError(f"{path / DATABASE}: its facts are damaged: {error}") from None
        state = run_state(path, facts)
        if "ended" not in facts or state in (*LIVE_STATES, "interrupted"):  # or it is of an earlier end
            ended = max(ended, last_written(path))
        newest = reader.newest()
        last_step = int(newest.get("step", -1))
        sharpness, phase = reader.glance((last_step + 1) * 4 // 5)
        return Entry(
            id=path.name,
            path=path,
            name=facts.get("name", ""),
            state=state,
            sentence=facts.get("sentence", ""),
            last_step=last_step,
            eta=newest.get("eta", config.eta),
            weight_decay=newest.get("weight_decay", config.weight_decay),
            created=created,
            ended=ended,
            config=config,
            note=facts.get("note", ""),
            parent=facts.get("parent", ""),
            parent_step=parent_step,
            resting_sharpness=sharpness,
            phase=phase,
        )
    finally:
        reader.close()


def last_written(path: Path) -> float:
    """Return when a run's store was last written to, in Unix time, as its files tell; 0 if none does."""
    newest = 0.0
    for file in (path / DATABASE, path / f"{DATABASE}-wal"):
        with contextlib.suppress(OSError):  # a log may go at any time
            found = file.lstat()
            if found.st_size:  # who only reads makes an empty log
                newest = max(newest, found.st_mtime)
    return newest


def find(folder: Path, wanted: str | None, *, live: bool = False) -> Entry:
    """Return the run that `wanted` names: a path, an id, a name, or the end of an id.

    Args:
        folder: the shelf.
        wanted: None for the newest run.
        live: consider only runs whose engine lives.

    Raises:
        InputError: if there is none, or more than one.
    """
    if wanted == "":
        raise InputError("the name of the run is empty; leave it out for the newest")
    for path in (Path(wanted), folder / wanted) if wanted else ():
        if (path / DATABASE).is_file():
            entry = read_entry(path.absolute())
            if live and not entry.live:
                raise InputError(f"{entry.id} is no live run: it is {entry.state}")
            return entry
    shelf = [entry for entry in entries(folder) if entry.live or not live]
    kind = "live run" if live else "run"
    if not shelf:
        raise InputError(f"there is no {kind} in {folder}")
    if wanted is None:
        return shelf[0]
    matching = [e for e in shelf if wanted == e.name or e.id.endswith(wanted)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise InputError(
            f"`{wanted}` could be {', '.join(e.id for e in matching)}: type more of it"
        )
    known = [text for entry in shelf for text in (entry.id, entry.name) if text]
    raise InputError(f"there is no {kind} `{wanted}` in {folder}{did_you_mean(wanted, known)}")


def find_path(folder: Path, wanted: str | None) -> Path:
    """Return the directory that `wanted` names, as `find` does, also of a run that can't be read.

    Raises:
        InputError: if there is none, or more than one.
    """
    for path in (Path(wanted), folder / wanted) if wanted else ():
        if (path / DATABASE).is_file():
            return path.absolute()
    ending = [path for path in _run_paths(folder) if wanted and path.name.endswith(wanted)]
    return ending[0] if len(ending) == 1 else find(folder, wanted).path


def safe_name(text: str, otherwise: str = "run") -> str:
    """Return a text as a name that is safe for a file: letters, digits and `._-` alone."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or otherwise


def delete(entry: Entry) -> None:
    """Delete a run directory. Raises InputError if its engine is alive."""
    if engine_alive(entry.path):
        raise InputError(f"{entry.id} is still {entry.state}: `eostui stop {entry.id}` first")
    if entry.path.is_symlink():
        raise InputError(
            f"{entry.path}: is a link, and only what it leads to can be deleted as a run"
        )
    try:
        shutil.rmtree(entry.path)  # links in it are removed, not followed
    except OSError as error:
        raise InputError(f"{entry.path}: can't be deleted: {error.strerror or error}") from None


def _time(facts: Mapping[str, str], key: str) -> float:
    """Return a fact that is a time, in Unix time. Raises KeyError or ValueError if it is none."""
    time = float(facts[key])
    if not 0 <= time < _LAST_TIME:
        raise ValueError(f"`{key}` is {time}")
    return time


def _run_paths(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if (path / DATABASE).is_file())
