"""What each probe that is on takes of the time: the line below the charts, and the rows of a choice."""

from __future__ import annotations

import math

from rich.text import Text

from eostui.charts.numbers import compact
from eostui.charts.palette import COLOURS
from eostui.optional_probes import OPTIONAL_PROBES, READING_COSTS
from eostui.runs.analysis.possible_probes import refusal
from eostui.runs.analysis.probe_costs import ProbeCost, probe_costs
from eostui.runs.analysis.remarks import TURNED_OFF
from eostui.runs.analysis.switched_probes import SWITCHED, names_of, probes_in_force
from eostui.runs.run import Run
from eostui.tui.widgets.bars import fields_line

_S = "sharpness"


def probes_on(run: Run) -> tuple[str, ...]:
    """Return the names of the optional probes and the user's own that are on."""
    return probes_in_force(run.config, run.probes, run.events)


def failed(run: Run) -> set[str]:
    """Return the names of those that failed since they were turned on, and measure no more."""
    found: set[str] = set()
    for event in run.events:
        name = str(event.payload.get("probe", ""))
        if event.kind == TURNED_OFF:
            found.add(name)
        elif event.kind == SWITCHED:
            found.discard(name)
    return found


def shares_line(run: Run, width: int) -> Text | None:
    """Return the share of training's time of each probe that is on, None where no optional one is.

    Where there is no room for all, the smallest are left out.
    """
    on = probes_on(run)
    if not on:
        return None
    costs, off = probe_costs(run), failed(run)
    shares = {name: costs[name].share if name in costs else math.nan for name in (_S, *on)}
    ranked = sorted(shares, key=lambda name: -1.0 if math.isnan(shares[name]) else shares[name])
    fields = [(0, "time in probes", COLOURS["axis"])]
    for name, share in shares.items():
        told = "failed" if name in off else _percent(share)
        importance = len(ranked) - ranked.index(name)
        colour = COLOURS["warm" if name in off else "title"]
        fields.append((importance, f"{'S' if name == _S else name} {told}", colour))
    return fields_line(fields, width)


def impossible(run: Run) -> dict[str, str]:
    """Return why an optional probe can't be turned on, by name: of those of which it is known."""
    off = [name for name in OPTIONAL_PROBES if name not in probes_on(run)]
    return {name: why for name in off if (why := refusal(name, run.config))}


def rows(run: Run, width: int) -> dict[str, str]:
    """Return a row for each probe that can be turned on or off, by name: whether it is on, its cost.

    Those that can't be turned on come last, with why. What doesn't fit in `width` cells is left out.
    """
    never = impossible(run)
    on, costs, off = probes_on(run), probe_costs(run), failed(run)
    own = [name for each, name in names_of(run.config, run.probes).items() if ":" in each]
    found = {}
    for name in sorted([*OPTIONAL_PROBES, *own], key=never.__contains__):
        sign = "✗" if name in off else "●" if name in on else " "
        cost = costs.get(name) if name in on else None
        told = "failed" if name in off else _cost(name, cost)
        text = OPTIONAL_PROBES.get(name, "a measurement of your own")
        content = f"{told:<26}{text}"
        if name in never:
            content = f"can't: {never[name]}".replace(f'the probe "{name}"', "it")
        row = Text(f"{sign} {name:<20}{content}")
        row.truncate(max(width, 24), overflow="ellipsis")
        found[name] = row.plain
    return found


def _cost(name: str, cost: ProbeCost | None) -> str:
    """Return what a probe took so far, or of one that is off what it may take."""
    if cost is None or not cost.readings:
        return READING_COSTS.get(name, "")
    each = f"{compact(cost.seconds * 1000, 2)} ms a reading"
    return each if math.isnan(cost.share) else f"{_percent(cost.share)}, {each}"


def _percent(share: float) -> str:
    if math.isnan(share):
        return "…"
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
