"""`run`: a preset is trained, with or without a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from eostui.cli.options import (
    Device,
    Group,
    Name,
    Number,
    OtherStep,
    PresetName,
    Settings,
    SharpAbove,
    SharpStep,
    StopAt,
    View,
    complete_probe,
    set_values,
)
from eostui.cli.start import show, start
from eostui.errors import InputError
from eostui.stability import CONTROLS, STABILITY


def run(
    preset: PresetName = "digits-mlp",
    eta: Annotated[Number, typer.Option(help="Learning rate η, such as 0.02 or 2/100.")] = None,
    weight_decay: Annotated[Number, typer.Option(help="Weight decay λ.")] = None,
    momentum: Annotated[Number, typer.Option(help="Momentum μ, of dynamics that have one.")] = None,
    sharp_step: SharpStep = None,
    other_step: OtherStep = None,
    sharp_above: SharpAbove = None,
    dynamics: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(STABILITY)}, or your own FILE.py:CLASS."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps to train.")] = None,
    stop_at: StopAt = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random choices.")] = None,
    device: Device = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the engine.")] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Share the samples out among so many processes, or GPUs."),
    ] = None,
    chunk_size: Annotated[
        int | None, typer.Option(help="Samples in memory at a time; 0 for the whole batch.")
    ] = None,
    calibrate_at: Annotated[
        str | None,
        typer.Option(
            metavar="auto|STEP|never",
            help="Lay theory's prediction over the run: from where S crosses 2/η − λ, or a step.",
        ),
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE.py:CLASS",
            help="An optional probe of the program, or a measurement of your own; repeatable.",
            autocompletion=complete_probe,
        ),
    ] = None,
    name: Name = "",
    group: Group = "",
    assign: Settings = None,
    *,
    view: View,
) -> None:
    """Train a preset, live or headless.

    Headless, stdout is the run's folder (or a summary with --json) and stderr shows the progress; the
    exit code is 0 when the run finished, 3 when it diverged, 130 when interrupted.

    Examples:

      eostui run digits-mlp --weight-decay 1e-3

      eostui run digits-mlp --set width=200 --set activation=tanh --headless

      eostui run my-preset.toml --name first-try
    """
    from eostui import locations, presets, torchrun

    torchrun.become_worker(locations.data_dir(view.data_dir))
    config = presets.load(preset).config
    values = set_values(
        assign,
        {
            "dynamics": dynamics,
            "probes": [*config.probes, *probe] if probe else None,
            "steps": steps,
            "stop_at": stop_at,
            "seed": seed,
            "device": device,
            "dtype": dtype,
            "threads": threads,
            "processes": processes,
            "chunk_size": chunk_size,
            "calibrate_at": calibrate_at,
        },
        {
            "eta": eta,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "sharp_step": sharp_step,
            "other_step": other_step,
            "sharp_above": sharp_above,
        },
    )
    if config.processes == 1 < torchrun.processes():
        values.setdefault("processes", torchrun.processes())
    config = config.changed(values)
    for control in CONTROLS.keys() & values.keys() - config.controls_at_start().keys():
        raise InputError(
            f"`{control}` is no control of {config.dynamics}: choose others by `--dynamics`"
        )
    start(config, view, name=name, group=group)


def run_default() -> None:
    """Train the default preset and show it live."""
    from eostui import presets

    show(presets.load(presets.DEFAULT_PRESET).config, None, None)
