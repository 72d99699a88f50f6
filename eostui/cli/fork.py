"""`fork`: a new run begins as another was at a step."""

from __future__ import annotations

from typing import Annotated

import typer

from eostui.cli.options import (
    ChangedData,
    Group,
    Name,
    Number,
    OtherStep,
    RunName,
    Settings,
    SharpAbove,
    SharpStep,
    StopAt,
    Trust,
    View,
    set_values,
)
from eostui.cli.start import start
from eostui.errors import InputError


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
    eta_factor: Annotated[
        Number, typer.Option(help="What η is multiplied by from there on, in place of --eta.")
    ] = None,
    sharp_step: SharpStep = None,
    other_step: OtherStep = None,
    sharp_above: SharpAbove = None,
    steps: Annotated[int | None, typer.Option(help="Steps it shall have in all.")] = None,
    stop_at: StopAt = None,
    length: Annotated[
        int | None, typer.Option(help="Steps that it takes itself, in place of --steps.")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(help="One fork every so many steps, each of --length, without the live view."),
    ] = None,
    first: Annotated[
        int | None,
        typer.Option("--from", help="With --every: the first step at which there is one."),
    ] = None,
    until: Annotated[int | None, typer.Option(help="With --every: the last one.")] = None,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="Those that the run's own `[[forks]]` say.")
    ] = False,
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

      eostui fork k3f9 --at 60 --sharp-step 0        nothing moves along eigenvectors above 2/η − λ

      eostui fork k3f9 --every 200 --length 100 --eta 1e-4 --weight-decay 0

    With --every or --scheduled they are made one after another, in one group; what is there already isn't
    made again, and what was cut off or stopped goes on.
    """
    from eostui import locations, torchrun
    from eostui.runs import shelf
    from eostui.runs.fork import newest_fork_step, with_eta_cut
    from eostui.runs.launch import Fork
    from eostui.runs.trust import refuse_foreign_code

    torchrun.become_worker(locations.data_dir(view.data_dir))
    entry = shelf.find(locations.runs_dir(view.runs_dir), run)
    refuse_foreign_code(entry.config, entry.path, trusted=trust)
    changes = set_values(
        assign,
        {"steps": steps, "stop_at": stop_at},
        {
            "eta": eta,
            "eta_factor": eta_factor,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "sharp_step": sharp_step,
            "other_step": other_step,
            "sharp_above": sharp_above,
        },
    )
    if every is not None or scheduled:
        from eostui.cli.fork_series import make_forks, schedules_of

        for option, given in (("--at", at), ("--steps", steps), ("--name", name or None)):
            if given is not None:
                raise InputError(f"{option} is for one fork: --every and --scheduled make several")
        schedules = schedules_of(entry, every, first, until, length, changes, scheduled=scheduled)
        code = make_forks(entry, schedules, group, view, changed_data=changed_data)
        raise typer.Exit(code)
    if first is not None or until is not None:
        raise InputError("--from and --until are for --every")
    step = newest_fork_step(entry.last_step, entry.state) if at is None else at
    if length is not None:
        if steps is not None:
            raise InputError("--length and --steps both say how long it is: give one of them")
        changes["steps"] = step + length - 1
    branch = Fork(entry, step, with_eta_cut(entry, step, changes), changed_data)
    start(branch, view, name=name, group=group)
