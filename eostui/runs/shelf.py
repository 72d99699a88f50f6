"""The shelf: all run directories of one folder, their names, and how to find one."""

from __future__ import annotations

import contextlib
import math
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from eostui.config import RunConfig
from eostui.errors import BusyError, EostuiError, InputError, RunFormatError, did_you_mean
from eostui.locations import absolute
from eostui.runs.analysis.switched_probes import FORKED, SWITCHED, own_switches, probes_in_force
from eostui.runs.shelf_index import ShelfIndex, Stamp, is_run, run_paths, stamp_of
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.lookup import events_of, glance, newest_row
from eostui.runs.store.reader import RunReader, run_state
from eostui.runs.store.schema import DATABASE, LIVE_STATES, own_steps_from
from eostui.stability import ETA, WEIGHT_DECAY, changed_to

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
        further: what else it is steered by that was set since it began, by name, as it is now.
        probes: names of the optional probes and the user's own that are on; None where none was turned on
            or off since it began: `config` has them then.
        ended: when it ended, in Unix time; where that isn't on record, when it was last written to.
        late_sharpness: the mean of S over the last fifth of the steps, NaN if it wasn't measured.
        phase: the newest phase.
        parent: the id of the run that it was forked from, with the step; "" and None for others.
        group: what runs that belong together share; "" for none.
        origin: the step from which on its steps can be taken again (`schema.own_steps_from`).
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
    group: str = ""
    origin: int = 0
    late_sharpness: float = math.nan
    phase: str = ""
    further: Mapping[str, float] = field(default_factory=dict)
    probes: tuple[str, ...] | None = None

    @property
    def live(self) -> bool:
        """Whether its engine is at work or paused."""
        return self.state in LIVE_STATES


class NoSuchRunError(InputError):
    """No run has that name.

    Attributes:
        names: of those that there are.
        unread: a sentence on those that can't be read, "" if all can.
    """

    def __init__(
        self, kind: str, wanted: str, folder: Path, names: Sequence[str], unread: str = ""
    ) -> None:
        near = did_you_mean(wanted, names)
        aside = f" ({unread})" if unread else ""
        super().__init__(f"there is no {kind} `{wanted}` in {folder}{near}{aside}")
        self.names, self.unread = names, unread


def new_run_path(folder: Path, preset: str) -> Path:
    """Return the path of a new run: the preset's name and four letters that nobody has."""
    stem = safe_name(preset)
    while True:
        tag = "".join(secrets.choice(_TAG_LETTERS) for _ in range(4))
        path = folder / f"{stem}-{tag}"
        if not path.exists():
            return path


class ShelfReader:
    """Reads a shelf, once or again and again: of runs that didn't change nothing is read twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: dict[Path, _Kept] = {}
        self._index: ShelfIndex | None = ShelfIndex(folder)

    def read(
        self, progress: Callable[[int, int], None] | None = None
    ) -> tuple[list[Entry], dict[Path, EostuiError]]:
        """Return all readable runs, newest first; and of the others why they can't be read.

        Those are damaged, locked, of a newer format, or being made.

        Args:
            progress: told how many runs of how many were looked at.

        Raises:
            InputError: if the folder can't be listed.
        """
        paths = list(run_paths(self.folder))
        found, unread, kept = [], {}, {}
        for done, path in enumerate(paths):
            if progress is not None:
                progress(done, len(paths))
            kept[path] = self._look(path)
            outcome = kept[path].entry
            if isinstance(outcome, Entry):
                found.append(outcome)
            else:
                unread[path] = outcome
        self._kept = kept
        if self._index is not None:  # later looks find little that is new to it
            self._index.save({path.name for path in paths})
            self._index = None
        return sorted(found, key=lambda entry: entry.created, reverse=True), unread

    def _look(self, path: Path) -> _Kept:
        """Return a run as it was found last, if nothing of it changed since, else as it is now."""
        stamp = stamp_of(path)
        before = self._kept.get(path)
        if before is not None and stamp is not None and before.stamp == stamp:
            if before.status not in LIVE_STATES or not isinstance(before.entry, Entry):
                return before
            state = before.status if engine_alive(path) else "interrupted"
            if stamp_of(path) == stamp:  # else it ended between
                if state == before.entry.state:
                    return before
                return before._replace(entry=replace(before.entry, state=state))
        try:
            entry, status = _indexed(path, self._index) if self._index else _read(path)
        except EostuiError as error:
            busy = isinstance(error, BusyError)
            return _Kept(None if busy else stamp, error)
        return _Kept(stamp if stamp == stamp_of(path) else None, entry, status)


class _Kept(NamedTuple):
    """What was found of a run: its stamp then, itself or why it can't be read, its status as stored."""

    stamp: Stamp | None
    entry: Entry | EostuiError
    status: str = ""


def read(folder: Path) -> tuple[list[Entry], dict[Path, EostuiError]]:
    """Return all readable runs of a folder, newest first; and of the others why they can't be read.

    Raises:
        InputError: if the folder can't be listed.
    """
    return ShelfReader(folder).read()


def entries(folder: Path) -> list[Entry]:
    """Return all readable runs of a folder, newest first. Raises InputError."""
    return read(folder)[0]


def read_entry(path: Path) -> Entry:
    """Return the shelf's view of one run directory. Raises InputError or RunFormatError."""
    return _read(path)[0]


def _indexed(path: Path, index: ShelfIndex) -> tuple[Entry, str]:
    """Return a run as the index has it, if nothing of it changed since, else as its store does.

    With its status as stored.
    """
    stamp = stamp_of(path)
    summary = index.get(path.name, stamp)
    if summary is not None:
        with contextlib.suppress(ValidationError, TypeError, ValueError, LookupError):
            status = state = summary["status"]
            if state in LIVE_STATES and not engine_alive(path):
                state = "interrupted"
            if stamp_of(path) == stamp:  # else it ended between
                return _from_index(path, state, summary), status
    entry, status = _read(path)
    if stamp is not None and stamp_of(path) == stamp:
        index.put(path.name, stamp, _for_index(entry, status))
    return entry, status


#: What of an entry is stored as it is: text, numbers, None.
_PLAIN = (
    "name", "sentence", "last_step", "eta", "weight_decay", "created", "ended", "note", "parent",
    "parent_step", "group", "origin", "late_sharpness", "phase", "further", "probes",
)  # fmt: skip
_MAYBE_NAN = ("eta", "weight_decay", "late_sharpness")


def _for_index(entry: Entry, status: str) -> dict[str, Any]:
    plain = {name: getattr(entry, name) for name in _PLAIN}
    return {**plain, "status": status, "config": entry.config.model_dump(mode="json")}


def _from_index(path: Path, state: str, summary: Mapping[str, Any]) -> Entry:
    """Return what `_for_index` was made of. Raises ValidationError or KeyError where it isn't that."""
    values = {name: summary[name] for name in _PLAIN}
    for name in _MAYBE_NAN:  # which JSON lacks
        values[name] = math.nan if values[name] is None else values[name]
    if values["probes"] is not None:
        values["probes"] = tuple(values["probes"])
    config = RunConfig.model_validate(summary["config"])
    return Entry(id=path.name, path=path, state=state, config=config, **values)


def _read(path: Path) -> tuple[Entry, str]:
    """Return a run as its store has it, and its status as stored."""
    reader = RunReader(path)
    try:
        facts = reader.facts()
        try:
            created = _time(facts, "created")
            ended = _time(facts, "ended") if "ended" in facts else created
            parent_step = int(facts["parent_step"]) if "parent_step" in facts else None
            origin = own_steps_from(facts)
            config = RunConfig.from_toml(facts["config"], f"{path}: stored config")
        except (KeyError, ValueError, InputError) as error:
            raise RunFormatError(f"{path / DATABASE}: its facts are damaged: {error}") from None
        state = run_state(path, facts)
        if "ended" not in facts or state in (
            *LIVE_STATES,
            "interrupted",
        ):  # or it is of an earlier end
            ended = max(ended, last_written(path))
        newest = newest_row(reader)
        last_step = int(newest.get("step", -1))
        sharpness, phase = glance(reader, (last_step + 1) * 4 // 5)
        further, probes = _changed_since(reader, config)
        entry = Entry(
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
            group=facts.get("group", ""),
            origin=origin,
            late_sharpness=sharpness,
            phase=phase,
            further=further,
            probes=probes,
        )
        return entry, facts.get("status", "running")
    finally:
        reader.close()


def _changed_since(
    reader: RunReader, config: RunConfig
) -> tuple[dict[str, float], tuple[str, ...] | None]:
    """Return the controls beside η and λ that were set, and what probes are on if any was switched."""
    events = events_of(reader, "control", SWITCHED, FORKED)
    further: dict[str, float] = {}
    for event in events:
        if event.kind == "control":
            further |= changed_to(event.payload)
    for name in (ETA.name, WEIGHT_DECAY.name):
        further.pop(name, None)
    if not any(own_switches(events)):
        return further, None
    return further, probes_in_force(config, tuple(reader.probes), events)


def last_written(path: Path) -> float:
    """Return when a run's store was last written to, in Unix time, as its files tell; 0 if none does."""
    newest = 0.0
    for file in (path / DATABASE, path / f"{DATABASE}-wal"):
        with contextlib.suppress(OSError):  # a log may go at any time
            found = file.lstat()
            if found.st_size:  # who only reads makes an empty log
                newest = max(newest, found.st_mtime)
    return newest


def newest(folder: Path, *, live: bool = False) -> Entry | None:
    """Return the newest run, or the newest whose engine lives; None if there is none.

    Raises:
        InputError: if a run that can't be read may be newer: nobody is given another run unawares.
    """
    shelf, unread = read(folder)
    found = next((entry for entry in shelf if entry.live or not live), None)
    written = {path: last_written(path) for path in unread if not live or engine_alive(path)}
    doubtful = max(written, key=written.__getitem__, default=None)
    if doubtful is None or (found is not None and written[doubtful] < found.created):
        return found
    raise InputError(
        f"{doubtful.name} may be the newest run, but can't be read, so name the run that is meant "
        f"({unread[doubtful]})"
    )


def find(folder: Path, wanted: str | None, *, live: bool = False) -> Entry:
    """Return the run that `wanted` names: a path, an id, a name, or the end of an id.

    Args:
        folder: the shelf.
        wanted: None for the newest run.
        live: consider only runs whose engine lives.

    Raises:
        InputError: if there is none, or more than one, or it isn't certain which is the newest.
        RunFormatError: if it can't be read.
    """
    kind = "live run" if live else "run"
    if wanted is None:
        found = newest(folder, live=live)
        if found is None:
            raise InputError(f"there is no {kind} in {folder}")
        return found
    if wanted == "":
        raise InputError("the name of the run is empty; leave it out for the newest")
    if (path := exact_path(folder, wanted)) is not None:
        entry = read_entry(path)
        if live and not entry.live:
            raise InputError(f"{entry.id} is no live run: it is {entry.state}")
        return entry
    shelf, unread = read(folder)
    shelf = [entry for entry in shelf if entry.live or not live]
    matching = {e.id: e for e in shelf if wanted == e.name or e.id.endswith(wanted)}
    damaged = {path.name: error for path, error in unread.items() if path.name.endswith(wanted)}
    ids = [*matching, *damaged]
    if len(ids) > 1:
        raise InputError(f"`{wanted}` could be {', '.join(ids)}: type more of it")
    if ids:
        if damaged:
            raise damaged[ids[0]]
        return matching[ids[0]]
    names = [text for entry in shelf for text in (entry.id, entry.name) if text]
    raise NoSuchRunError(kind, wanted, folder, names, told_unread(unread) if unread else "")


def told_unread(unread: Collection[Path]) -> str:
    """Return a sentence that names the runs that can't be read."""
    names = sorted(path.name for path in unread)
    return f"can't be read: {', '.join(names)}; `eostui runs check {names[0]}` says why"


def exact_path(folder: Path, wanted: str) -> Path | None:
    """Return the run directory that `wanted` is the path of, or the id; None for none."""
    for path in (Path(wanted), folder / wanted) if wanted else ():
        if is_run(path):
            return absolute(path)
    return None


def find_path(folder: Path, wanted: str | None) -> Path:
    """Return the directory that `wanted` names, as `find` does, also of a run that can't be read.

    Raises:
        InputError: if there is none, or more than one.
    """
    if wanted is not None and (path := exact_path(folder, wanted)) is not None:
        return path
    ending = [path for path in run_paths(folder) if wanted and path.name.endswith(wanted)]
    return ending[0] if len(ending) == 1 else find(folder, wanted).path


def safe_name(text: str, otherwise: str = "run") -> str:
    """Return a text as a name that is safe for a file: letters, digits and `._-` alone."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or otherwise


def delete(path: Path) -> None:
    """Delete a run directory, readable or not. Raises InputError if its engine is alive."""
    if refusal := refuse_delete(path):
        raise InputError(refusal)
    try:
        shutil.rmtree(path)  # links in it are removed, not followed
    except OSError as error:
        raise InputError(f"{path}: can't be deleted: {error.strerror or error}") from None


def refuse_delete(path: Path) -> str:
    """Return why a run directory can't be deleted, "" if it can."""
    if engine_alive(path):
        return f"{path.name} is still running: `eostui stop {path.name}` first"
    if path.is_symlink():
        return f"{path}: is a link, and only what it leads to can be deleted as a run"
    return ""


def _time(facts: Mapping[str, str], key: str) -> float:
    """Return a fact that is a time, in Unix time. Raises KeyError or ValueError if it is none."""
    time = float(facts[key])
    if not 0 <= time < _LAST_TIME:
        raise ValueError(f"`{key}` is {time}")
    return time
