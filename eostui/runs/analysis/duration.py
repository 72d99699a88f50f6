"""How long a run trained: not how long ago it was made."""

from __future__ import annotations

from collections.abc import Iterable

from eostui.runs.store.rows import Event

#: Events that end a run, or let it wait, and those after which it trains.
_ENDS = ("finished", "stopped", "diverged", "failed", "paused")
_BEGINS = ("resumed", "continued")


def seconds_trained(created: float, events: Iterable[Event], now: float) -> float:
    """Return for how many seconds a run trained, without those in which it was paused or had ended.

    An engine that was killed is taken to have trained until the last event that it wrote.

    Args:
        created: when the run was made, in unix time: a fork has older events, its parent's.
        events: of the run, in order.
        now: the present, in unix time.
    """
    trained, begun, newest = 0.0, float(created), float(created)
    trains = True
    for event in events:
        if event.unix_time < created:
            continue
        if event.kind in _ENDS and trains:
            trained, trains = trained + event.unix_time - begun, False
        elif event.kind in _BEGINS:
            if trains:  # its engine was killed
                trained += newest - begun
            begun, trains = event.unix_time, True
        newest = event.unix_time
    if trains:
        trained += now - begun
    return max(trained, 0.0)
