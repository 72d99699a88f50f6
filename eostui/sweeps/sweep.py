"""A sweep on disk: a directory beside its members' runs, with a manifest that names each of them.

A member's run directory has its name before anything starts, and the engine that trains it makes that
directory: so a member is run once, whatever ends whom in between, and is an ordinary run otherwise.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tomli_w

from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError
from eostui.runs.shelf import Entry, new_run_path, read_entry
from eostui.runs.shelf_index import is_run
from eostui.sweeps.plan import Axis, Plan
from eostui.text import parse_toml, read_text
from eostui.version import __version__

#: The file that makes a directory a sweep.
MANIFEST = "sweep.toml"
_FORMAT = 1

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
    """

    member: Member
    entry: Entry | None
    state: str
    sentence: str = ""


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
        where = f"sweep {path.name}"
        content = parse_toml(read_text(path / MANIFEST, where), where)
        try:
            if content["format"] > _FORMAT:
                raise InputError(f"{where} is of a later version ({content['version']})")
            self.name = str(content["name"])
            self.created = float(content["created"])
            axes = tuple(
                Axis(tuple(axis["keys"]), tuple(tuple(point) for point in axis["values"]))
                for axis in content["axes"]
            )
            self._members = [
                (str(each["run"]), dict(each["settings"])) for each in content["members"]
            ]
            self.plan = Plan(RunConfig.build(content["base"], where), axes)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path / MANIFEST} is damaged: {error!r}") from None

    @classmethod
    def create(cls, runs_dir: Path, plan: Plan, name: str = "") -> Sweep:
        """Make a sweep's directory on a shelf; nothing runs yet.

        Raises:
            InputError: if it can't be made, or a member's config isn't valid.
        """
        path = new_run_path(runs_dir, plan.base.preset)
        digits = max(3, len(str(plan.count - 1)))
        members = [
            {"run": f"{path.name}.{number:0{digits}}", "settings": settings}
            for number, settings in enumerate(plan.settings())
        ]
        content = {
            "format": _FORMAT,
            "version": __version__,
            "name": name,
            "created": time.time(),
            "base": plan.base.acting(),
            "axes": [
                {"keys": list(axis.keys), "values": list(map(list, axis.values))}
                for axis in plan.axes
            ],
            "members": members,
        }
        try:
            path.mkdir(parents=True)
            unfinished = path / f"{MANIFEST}.new"
            unfinished.write_text(tomli_w.dumps(content), encoding="utf-8")
            os.replace(unfinished, path / MANIFEST)
        except OSError as error:
            raise InputError(f"{path}: no sweep can be made there: {error.strerror}") from None
        return cls(path)

    @property
    def id(self) -> str:
        """By which commands know it."""
        return self.path.name

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """All members, in the order of the plan. Raises InputError if a config isn't valid."""
        return tuple(
            Member(number, self.path.parent / run, settings, self.plan.base.changed(settings, run))
            for number, (run, settings) in enumerate(self._members)
        )

    def states(self) -> list[MemberState]:
        """Return what each member is doing now, in the order of the plan."""
        return [_state_of(member) for member in self.members]


def is_sweep(path: Path) -> bool:
    """Return whether a path is a sweep's directory."""
    return os.path.isfile(path / MANIFEST)


def sweeps_of(runs_dir: Path) -> list[Path]:
    """Return the directories of all sweeps on a shelf, newest first."""
    if not runs_dir.is_dir():
        return []
    found = [path for path in runs_dir.iterdir() if is_sweep(path)]
    return sorted(found, key=lambda path: (path / MANIFEST).stat().st_mtime, reverse=True)


def _state_of(member: Member) -> MemberState:
    if not is_run(member.path):
        return MemberState(member, None, WAITING)
    try:
        entry = read_entry(member.path)
    except EostuiError as error:
        return MemberState(member, None, "unreadable", str(error))
    return MemberState(member, entry, entry.state, entry.sentence)
