"""How far a sweep's members are, in what they cost."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable

from eostui.errors import EostuiError
from eostui.runs.store.lookup import newest_row
from eostui.runs.store.reader import RunReader
from eostui.sweeps.cost import work
from eostui.sweeps.sweep import Member


class Progress:
    """Tells how much of some members is done."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._work = {member.number: work(member.config) for member in members}

    def share(self, at_work: Collection[Member], done: Collection[Member]) -> float:
        """Return how much is done, from 0 to 1."""
        total = sum(self._work.values())
        finished = sum(self._work[member.number] for member in done)
        begun = sum(self._work[member.number] * _part(member) for member in at_work)
        return (finished + begun) / total if total else 1.0


def _part(member: Member) -> float:
    """Return how much of a member's steps are taken."""
    with contextlib.suppress(EostuiError):
        reader = RunReader(member.path)
        try:
            step = float(newest_row(reader).get("step", 0))
        finally:
            reader.close()
        return min(max(step, 0.0) / member.config.steps, 1.0)
    return 0.0
