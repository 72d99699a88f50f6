"""Sweeps whose members' records are written by hand: each rests where its settings say."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from made import facts, measure, rows

from eostui.config import RunConfig
from eostui.runs.store.writer import RunWriter
from eostui.sweeps.plan import Axis, Plan, canonical
from eostui.sweeps.sweep import Member, Sweep


def make_sweep(
    folder: Path, axes: dict[str, list[object]], *, name: str = "", steps: int = 600
) -> Sweep:
    """A sweep over some settings of which nothing has begun."""
    base = RunConfig.build(
        {"preset": "made", "steps": steps, "eta": 0.1, "seed": 0, "width": 50}, "test"
    )
    told = tuple(Axis((key,), tuple((value,) for value in axes[key])) for key in axes)
    return Sweep.create(folder, canonical(Plan(base, told), "test"), name, "made")


def rest(member: Member) -> float:
    """The sharpness at which a made member rests."""
    config = member.config
    return 20.0 - 100 * config.weight_decay - config.seed / 10 - (50 - config.width) / 100


def begin(sweep: Sweep, member: Member, last: int, status: str = "finished") -> RunWriter:
    """Write a member's record up to a step; one whose writer is open and `running` lives."""
    stated = {
        **facts(last, group=sweep.id), "config": member.config.to_toml(), "status": status,
        "created": f"{1000 + member.number}.0", "name": "",
    }  # fmt: skip
    writer = RunWriter(member.path, stated)
    writer.event(0, "started")
    matrix = rows(0, last)
    matrix[:, 5] = member.config.weight_decay
    writer.steps(0, matrix)
    measure(writer, 0, last, rest(member))
    writer.event(0, "phase", {"from": None, "to": "edge", "step": 0, "why": "made so"})
    writer.flush()
    return writer


def finish(sweep: Sweep, numbers: Iterable[int], steps: int = 600) -> None:
    """Write whole records of some members."""
    for number in numbers:
        begin(sweep, sweep.members[number], steps).close()
