"""A sweep on disk: a directory beside its members' runs, with a manifest that names each of them.

A member's run directory has its name before anything starts, and the engine that trains it makes that
directory: so a member is run once, whatever ends whom in between, and is an ordinary run otherwise.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tomli_w

from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError
from eostui.runs.completeness import is_complete
from eostui.runs.shelf import Entry, new_run_path, read_entry
from eostui.runs.shelf_index import Stamp, is_run, stamp_of
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.schema import DATABASE
from eostui.sweeps import log
from eostui.sweeps.plan import MOST_MEMBERS, Axis, Plan, canonical, merged, within
from eostui.sweeps.shelf import LOCK, MANIFEST, at_work, is_sweep, locked, take_stop_request
from eostui.text import parse_toml, read_text
from eostui.version import __version__

_FORMAT = 1
#: Files whose locks are held by the engines of members, and by who adds members.
_MEMBERS_LOCK, _WRITER_LOCK = "members.lock", "manifest.lock"
#: Seconds in which whoever only looks whether a sweep is at work has looked.
_INSTANT = 0.5

#: The state of a member whose run isn't there yet; others are those of runs.
WAITING = "waiting"


@dataclass(frozen=True)
class Member:
    """One run of a sweep, there or to come.

    Attributes:
        number: its place in the plan, from 0.
        path: of its run directory.
        settings: those that the axes give it.
        config: all of its settings.
    """

    number: int
    path: Path
    settings: Mapping[str, Any]
    config: RunConfig


@dataclass(frozen=True)
class MemberState:
    """A member as it is now.

    Attributes:
        member: which.
        entry: its run as the shelf lists it; None as long as there is none, or it can't be read.
        state: WAITING, or its run's.
        sentence: why it can't be read or failed, or how it ended.
        complete: whether it came to its end: its last step, what it was to stop at, or divergence.
    """

    member: Member
    entry: Entry | None
    state: str
    sentence: str = ""
    complete: bool = False


class Sweep:
    """A sweep directory, as its manifest tells.

    Attributes:
        path: of the directory; its name is the sweep's id, and the group of its members' runs.
        name: that its user gave it; "" for none.
        created: in Unix time.
        plan: what varies.
    """

    def __init__(self, path: Path) -> None:
        """Read the manifest. Raises InputError if there is none, or it isn't one."""
        self.path = path
        self._ended: dict[int, tuple[Stamp, MemberState]] = {}
        where = f"sweep {path.name}"
        with suppress(OSError):  # it is told below
            self._read = _stamp(path)
        content = parse_toml(read_text(path / MANIFEST, where), where)
        try:
            if content["format"] > _FORMAT:
                raise InputError(f"{where} is of a later version ({content['version']})")
            self.name = str(content["name"])
            self.created = float(content["created"])
            axes = tuple(_axis(axis["keys"], axis["values"]) for axis in content["axes"])
            self._members = [
                (_safe(each["run"]), dict(each["settings"])) for each in content["members"]
            ]
            self.plan = Plan(RunConfig.build(content["base"], where), axes)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path / MANIFEST} is damaged: {error!r}") from None

    @classmethod
    def create(cls, runs_dir: Path, plan: Plan, name: str = "", stem: str = "") -> Sweep:
        """Make a sweep's directory on a shelf; nothing runs yet.

        Args:
            runs_dir: the shelf.
            plan: what it runs.
            name: to find it by; "" for none.
            stem: that its id begins with; the preset's name if left out.

        Raises:
            InputError: if it can't be made, or a member's config isn't valid.
        """
        path = new_run_path(runs_dir, stem or plan.base.preset)
        # hidden: a kill leaves no half sweep on the shelf
        unfinished = path.with_name(f".{path.name}")
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            unfinished.mkdir(mode=0o700)
            _write(unfinished, path.name, plan, name, time.time(), list(plan.settings()))
            unfinished.rename(path)
        except OSError as error:
            raise InputError(f"{path}: no sweep can be made there: {error.strerror}") from None
        return cls(path)

    def extended(self, axes: Iterable[Axis]) -> tuple[Sweep, bool]:
        """Add the members that more values of some settings make; those there keep their places.

        Returns:
            The sweep with them, and whether a process is at work on it, which takes them up, unless it
            was told to stop.

        Raises:
            InputError: if nothing is added, or a member's config isn't valid; nothing is changed then.
        """
        with _only_writer(self.path):
            return Sweep(self.path)._extended(axes), at_work(self.path)

    def _extended(self, axes: Iterable[Axis]) -> Sweep:
        plan, there, new = self._with_more(axes)
        try:
            _write(self.path, self.id, plan, self.name, self.created, [*there, *new])
        except OSError as error:
            raise InputError(f"{self.path}: can't be written to: {error.strerror}") from None
        return Sweep(self.path)

    def more(self, axes: Iterable[Axis]) -> list[RunConfig]:
        """Return the configs of the members that `extended` would add. Raises InputError as it does."""
        plan, _, new = self._with_more(axes)
        return [plan.config(settings, f"sweep {self.id}") for settings in new]

    def _with_more(
        self, axes: Iterable[Axis]
    ) -> tuple[Plan, list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the plan with more values, and the settings of the members there and of new ones."""
        where = f"sweep {self.id}"
        plan = canonical(merged(self.plan, axes, where), where)
        settings = [dict(settings) for _, settings in self._members]
        known = {repr(sorted(each.items())) for each in settings}
        base = self.plan.base.model_dump(mode="json")
        for each in settings:  # what didn't vary until now is stated too
            each.update({key: within(base, key) for key in plan.keys if key not in each})
        known |= {repr(sorted(each.items())) for each in settings}
        new = [each for each in plan.settings() if repr(sorted(each.items())) not in known]
        if not new:
            raise InputError(
                f"{where} has all of these members already: `eostui resume {self.id}` trains what is "
                "left of them"
            )
        if len(settings) + len(new) > MOST_MEMBERS:
            raise InputError(
                f"{where} would have {len(settings) + len(new)} members, but has at most {MOST_MEMBERS}"
            )
        return plan, settings, new

    @property
    def is_current(self) -> bool:
        """Whether no members were added since the manifest was read. Raises OSError if it is gone."""
        return self._read == _stamp(self.path)

    @property
    def id(self) -> str:
        """By which commands know it."""
        return self.path.name

    @property
    def run_paths(self) -> list[Path]:
        """The run directories of all members, there or not, in the order of the plan."""
        return [self.path.parent / run for run, _ in self._members]

    @property
    def settings(self) -> list[Mapping[str, Any]]:
        """What each member has of its own, in the order of the plan."""
        return [settings for _, settings in self._members]

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """All members, in the order of the plan. Raises InputError if a config isn't valid."""
        return tuple(
            Member(number, self.path.parent / run, settings, self.plan.config(settings, run))
            for number, (run, settings) in enumerate(self._members)
        )

    def states(self) -> list[MemberState]:
        """Return what each member is doing now, in the order of the plan.

        Of members that ended, and whose runs didn't change since, nothing is read again.
        """
        refused = log.refusals(self.path)
        states = []
        for member in self.members:
            stamp = stamp_of(member.path)
            kept = self._ended.get(member.number)
            if kept is None or stamp is None or kept[0] != stamp:
                state = state_of(member, refused)
                if stamp is not None and state.complete:
                    self._ended[member.number] = stamp, state
                states.append(state)
            else:
                states.append(kept[1])
        return states


class Claim:
    """The right to begin members of a sweep, held by one process at a time.

    Its engines hold a share of it: whoever takes the sweep up after a kill waits until they have ended,
    and finds members as they stay.

    Attributes:
        descriptor: what engines hold.
    """

    def __init__(self, path: Path, wait: Callable[[], None] = lambda: None) -> None:
        """Claim a sweep's directory; what it was asked before, to stop, isn't meant any more.

        Args:
            path: of the sweep.
            wait: called now and then while engines of the process before are ending; it may raise.

        Raises:
            InputError: if another process is at work on the sweep.
        """
        with ExitStack() as undone:
            own = self._opened(path / LOCK)
            undone.callback(os.close, own)
            if not _locked_soon(own):
                raise InputError(f"another process is at work on sweep {path.name}")
            take_stop_request(path)  # it was for who was at work before
            self.descriptor = self._opened(path / _MEMBERS_LOCK)
            undone.callback(os.close, self.descriptor)
            # opened now: a disk that fills up meanwhile keeps nobody from ending
            self._writers = self._opened(path / _WRITER_LOCK)
            undone.callback(os.close, self._writers)
            while not locked(self.descriptor):
                wait()
                time.sleep(0.1)
            undone.pop_all()
        self._own: int | None = own

    def let_go(self, done: Callable[[], bool]) -> bool:
        """Begin no more members, if all is done; return whether it is.

        Members that are added are either seen by `done`, or whoever adds them sees nobody at work.
        """
        fcntl.flock(self._writers, fcntl.LOCK_EX)
        try:
            if not done():
                return False
            self._close_own()
            return True
        finally:
            fcntl.flock(self._writers, fcntl.LOCK_UN)

    def release(self) -> None:
        """Give it up; engines that still end keep their share."""
        os.close(self.descriptor)
        os.close(self._writers)
        self._close_own()

    def _close_own(self) -> None:
        if self._own is not None:
            os.close(self._own)
            self._own = None

    @staticmethod
    def _opened(file: Path) -> int:
        try:
            return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise InputError(f"{file}: can't be opened: {error.strerror}") from None


def _locked_soon(descriptor: int) -> bool:
    """Take a file's lock; return whether it was free, but for instants in which others look at it."""
    deadline = time.monotonic() + _INSTANT
    while not locked(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def never_began(path: Path) -> bool:
    """Return whether a run's directory has nothing of a run: whoever made it was killed at once."""
    if not path.is_dir() or engine_alive(path):
        return False
    database = path / DATABASE
    if not database.is_file() or not database.stat().st_size:
        return True
    try:
        connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True)
    except sqlite3.Error:
        return False
    try:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return not tables or not connection.execute("SELECT count(*) FROM run").fetchone()[0]
    except sqlite3.Error:
        return False
    finally:
        connection.close()


def state_of(member: Member, refused: Mapping[str, str] = MappingProxyType({})) -> MemberState:
    """Return what a member is doing now.

    Args:
        member: which.
        refused: why members could not begin, by the names of their runs; one that isn't among them waits.
    """
    if not is_run(member.path):
        sentence = refused.get(member.path.name)
        return MemberState(member, None, WAITING if sentence is None else "failed", sentence or "")
    try:
        entry = read_entry(member.path)
        complete = is_complete(entry)
    except EostuiError as error:
        if never_began(member.path):
            return MemberState(member, None, WAITING)
        return MemberState(member, None, "unreadable", str(error))
    return MemberState(member, entry, entry.state, entry.sentence, complete)


def _write(
    path: Path,
    sweep_id: str,
    plan: Plan,
    name: str,
    created: float,
    settings: Sequence[Mapping[str, Any]],
) -> None:
    """Write a manifest into a folder, whole or not at all. Raises OSError."""
    digits = max(3, len(str(plan.count - 1)))
    there = [member.name for member in _named(path)]
    runs = there + [f"{sweep_id}.{n:0{digits}}" for n in range(len(there), len(settings))]
    content = {
        "format": _FORMAT,
        "version": __version__,
        "name": name,
        "created": created,
        "base": plan.base.model_dump(mode="json"),
        "axes": [
            {"keys": list(axis.keys), "values": list(map(list, axis.values))} for axis in plan.axes
        ],
        "members": [{"run": run, "settings": own} for run, own in zip(runs, settings, strict=True)],
    }
    unfinished = path / f"{MANIFEST}.new"
    with open(unfinished, "wb") as file:
        file.write(tomli_w.dumps(content).encode())
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path / MANIFEST)


@contextmanager
def _only_writer(path: Path) -> Iterator[None]:
    """Let nobody else write the manifest within; whoever does is waited for."""
    try:
        descriptor = os.open(path / _WRITER_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise InputError(f"{path}: can't be written to: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes when a manifest is written. Raises OSError."""
    manifest = (path / MANIFEST).stat()
    return manifest.st_mtime_ns, manifest.st_ino


def _named(path: Path) -> list[Path]:
    """Return the run directories that a manifest names already."""
    if not is_sweep(path):
        return []
    content = parse_toml(read_text(path / MANIFEST, path.name), path.name)
    return [path.parent / str(each["run"]) for each in content["members"]]


def _axis(keys: Any, values: Any) -> Axis:
    """Return an axis as a manifest states it. Raises TypeError or ValueError if it is none."""
    points = tuple(tuple(point) for point in values)
    words = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not words or not keys or not points or any(len(point) != len(keys) for point in points):
        raise ValueError(f"`keys` is {keys!r}")
    return Axis(tuple(keys), points)


def _safe(name: object) -> str:
    """Return the name of a run directory beside the sweep's. Raises ValueError if it leads elsewhere."""
    if not isinstance(name, str) or name != Path(name).name or name in ("", ".", ".."):
        raise ValueError(f"`run` is {name!r}")
    return name
