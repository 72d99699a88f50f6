"""Which probes a run measures by: those of its config, as they were turned on and off since.

The events are the engine's, `eostui/engine/driver.py`: `{"probe": name, "on": true or false}`, and acts
from the event's step on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from eostui.config import RunConfig
from eostui.optional_probes import OPTIONAL_PROBES
from eostui.runs.store.columns import BUILT_IN_COLUMNS
from eostui.runs.store.rows import Event

#: The kind of the event, and of the command that asks for it.
SWITCHED = "probe"
#: That a fork's own life begins: what was turned on and off before is in its config.
FORKED = "forked"
_OF_EVERY_RUN = {probe.name for probe in BUILT_IN_COLUMNS}


def names_of(config: RunConfig, stated: Iterable[str]) -> dict[str, str]:
    """Return what a config's `probes` are called on record, by how the config names them.

    Args:
        config: of the run.
        stated: names of the probes that the run states, in their order; those of a user's own files are
            known from nowhere else.
    """
    named = [name for name in stated if name not in _OF_EVERY_RUN]
    return dict(zip(config.probes, named, strict=False))


def own_switches(events: Sequence[Event]) -> Iterator[Event]:
    """Yield the events that turned a probe on or off in a run's own life, oldest first."""
    first = max((at for at, event in enumerate(events) if event.kind == FORKED), default=0)
    return (event for event in events[first:] if event.kind == SWITCHED)


def switched(before: Iterable[str], events: Iterable[Event]) -> tuple[str, ...]:
    """Return the names of those that are on after events, in the order in which they measure."""
    on = dict.fromkeys(before)
    for event in events:
        name = str(event.payload.get("probe", ""))
        if event.payload.get("on"):
            on.setdefault(name)
        else:
            on.pop(name, None)
    return (*(name for name in OPTIONAL_PROBES if name in on),
            *(name for name in on if name not in OPTIONAL_PROBES))  # fmt: skip


def probes_in_force(
    config: RunConfig, stated: Iterable[str], events: Sequence[Event], step: float = float("inf")
) -> tuple[str, ...]:
    """Return the names of the optional probes and a user's own that are on at a step."""
    names = [names_of(config, stated).get(each, each) for each in config.probes]
    return switched(names, (event for event in own_switches(events) if event.step <= step))
