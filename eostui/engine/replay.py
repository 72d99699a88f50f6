"""`replay`: a run's steps are taken once more and compared with its record; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eostui.engine.comparison import ComparingWriter, Difference, Past, Progress
from eostui.engine.origin import newest_sound, origin_of
from eostui.engine.recorder import Divergence
from eostui.engine.same_problem import recognise
from eostui.engine.session import EngineSession
from eostui.errors import InputError
from eostui.runs.record import Record
from eostui.version import __version__


@dataclass(frozen=True)
class Replay:
    """What came of taking a run's steps once more.

    Attributes:
        record: of the run, from its first own step on.
        differences: where the repetition first left it, by what differs; with a record of another
            version, by more than both allow for.
        measurements: how many were compared.
        exact: whether all of these were the same to the bit.
        probes: how the source of its user's probes changed, in words; "" if it didn't.
    """

    record: Record
    differences: list[Difference]
    measurements: int
    exact: bool
    probes: str

    @property
    def across_versions(self) -> bool:
        """Whether another version of eostui made the record."""
        return self.record.version not in ("", __version__)


def replay(session: EngineSession, path: Path, progress: Progress) -> Replay:
    """Take all own steps of a run once more.

    Raises:
        InputError: if the problem isn't what it was.
        EostuiError: if the record is damaged.
    """
    origin = origin_of(path)
    checkpoint = newest_sound(path, origin, origin)[0] if origin else None
    found = recognise(path, session.problem, session.facts(path, ""), checkpoint)
    if found.changed:
        raise InputError(
            found.sentence(path.name, "its steps can be repeated once what was there is put back")
        )
    record = Record.of(path, checkpoint)
    store = ComparingWriter(record, path, checkpoint.events if checkpoint else 0, None)
    past = Past(checkpoint, record.next_step, origin, record.controls, progress)
    try:
        session.driver.repeat(store, past)
    except Divergence as divergence:  # as it did then, or at another step now
        if divergence.step != record.next_step - 1:
            store.note(divergence.step, "ended", "no", "diverged")
    store.end()
    differences = sorted(store.differences, key=lambda difference: difference.step)
    return Replay(record, differences, store.measured, store.exact, found.probes)
