"""The forks of a run on a schedule: ordinary runs of one group, each made once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.fork_schedule import ForkSchedule
from eostui.runs.completeness import is_complete
from eostui.runs.fork import (
    CHANGEABLE,
    on_their_way,
    parent_controls,
    parent_controls_at,
    with_eta_cut,
)
from eostui.runs.launch import Fork, Resume
from eostui.runs.shelf import Entry


@dataclass(frozen=True)
class PlannedFork:
    """A fork that is to be.

    Attributes:
        fork: what it is.
        made: the run that it is already, None if there is none.
    """

    fork: Fork
    made: Entry | None = None

    @property
    def next(self) -> Fork | Resume | None:
        """What is still to do for it: to make it, to go on with it, or nothing.

        Raises:
            RunFormatError: if what ended it can't be read.
        """
        if self.made is None:
            return self.fork
        return None if self.made.live or is_complete(self.made) else Resume(self.made)


def group_of(parent: Entry) -> str:
    """Return the group of a run's forks, unless another is asked for."""
    return f"{parent.id}-forks"


def planned_forks(
    parent: Entry,
    schedules: Sequence[ForkSchedule],
    group: str,
    shelf: Iterable[Entry],
    *,
    changed_data: bool = False,
) -> list[PlannedFork]:
    """Return the forks of a run, as far as it has come, in the order of their steps.

    Args:
        parent: the run.
        schedules: when, and what they are.
        group: what they share.
        shelf: the runs that there are.
        changed_data: whether they go on also where data or source aren't what they were.

    Raises:
        InputError: if there can't be such a fork, or there is none.
    """
    mine = [each for each in shelf if each.group == group and each.parent == parent.id]
    last = parent.last_step + (not parent.live and parent.state != "diverged")
    plan = []
    for schedule in schedules:
        for step in schedule.steps(last):
            if step < parent.origin:
                continue
            changes = with_eta_cut(parent, step, schedule.changes)
            changes["steps"] = step + schedule.length - 1
            fork = Fork(parent, step, changes, changed_data)
            config = fork.config  # says at once why there can't be one
            made = next((each for each in mine if _is(each, fork, config)), None)
            plan.append(PlannedFork(fork, made))
    if not plan:
        raise InputError(
            f"{parent.id} has no step of that schedule: it has its own steps {parent.origin} to "
            f"{parent.last_step}"
        )
    return sorted(plan, key=lambda planned: planned.fork.at)


def _is(entry: Entry, fork: Fork, config: RunConfig) -> bool:
    """Return whether a run is this fork: from that step on, with that config and its controls."""
    if entry.parent_step != fork.at:
        return False
    if any(getattr(entry.config, key) != getattr(config, key) for key in CHANGEABLE):
        return False
    controls = parent_controls(fork.parent)
    asked = {name: value for name, value in fork.changes.items() if name in controls}
    ramps = on_their_way(fork.parent, fork.at)
    come_to = {name: ramp.at(fork.at) for name, ramp in ramps.items()}
    now = {**parent_controls_at(fork.parent, fork.at), **come_to, **asked}
    had = parent_controls_at(entry, fork.at)
    if any(had[name] != value for name, value in now.items() if name in had):
        return False
    go_on, went_on = (
        {name for name, ramp in each.items() if fork.at < ramp.last}
        for each in (ramps, on_their_way(entry, fork.at))
    )
    return go_on - asked.keys() == went_on
