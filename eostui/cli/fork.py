"""`fork`: a new run begins as another was at a step."""

from __future__ import annotations

from typing import Annotated

import typer

from eostui.cli.options import (
    ChangedData,
    Group,
    Name,
    Number,
    RunName,
    Settings,
    StopAt,
    Trust,
    View,
    set_values,
)
from eostui.cli.start import start


def fork(
    run: RunName = None,
    at: Annotated[
        int | None,
        typer.Option(
            help="The first step that the fork takes itself; from where it is if left out."
        ),
    ] = None,
    eta: Annotated[
        Number, typer.Option(help="Learning rate η from there on, as 0.02 or 2/100.")
    ] = None,
    weight_decay: Annotated[Number, typer.Option(help="Weight decay λ from there on.")] = None,
    momentum: Annotated[Number, typer.Option(help="Momentum μ from there on.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps it shall have in all.")] = None,
    stop_at: StopAt = None,
    name: Name = "",
    group: Group = "",
    assign: Settings = None,
    trust: Trust = False,
    changed_data: ChangedData = False,
    *,
    view: View,
) -> None:
    """Start a new run from the exact state of another at a step, live or ended: a counterfactual.

    It begins with its parent's record up to that step. Between checkpoints the parent's steps are
    repeated. What its parent's `[[controls]]` would change later of an η or λ given here is left out,
    and of its `stop_at`, unless another is given, what the parent had ended by.

    Examples:

      eostui fork k3f9 --at 3000 --weight-decay 0     the same network, without decay from there

      eostui fork --eta 2/20 --headless               the newest run, from where it is
    """
    from eostui import locations, torchrun
    from eostui.runs import shelf
    from eostui.runs.fork import newest_fork_step
    from eostui.runs.launch import Fork
    from eostui.runs.trust import refuse_foreign_code

    torchrun.become_worker(locations.data_dir(view.data_dir))
    entry = shelf.find(locations.runs_dir(view.runs_dir), run)
    refuse_foreign_code(entry.config, entry.path, trusted=trust)
    changes = set_values(
        assign,
        {"steps": steps, "stop_at": stop_at},
        {"eta": eta, "weight_decay": weight_decay, "momentum": momentum},
    )
    step = newest_fork_step(entry.last_step, entry.state) if at is None else at
    branch = Fork(entry, step, changes, changed_data)
    start(branch, view, name=name, group=group)
