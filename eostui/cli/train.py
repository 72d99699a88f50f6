"""`eostui`, `run`, `attach`, `stop`: training, with or without a terminal."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eostui.cli.options import (
    AsciiOnly,
    AsJson,
    DataDir,
    Fps,
    Headless,
    LiveRunName,
    Name,
    Number,
    PresetName,
    RunsDir,
    Settings,
    set_values,
)
from eostui.cli.output import print_json
from eostui.cli.signals import NotedSignals
from eostui.cli.streams import draw_in_cells, speaks_unicode
from eostui.errors import InputError, printable

if TYPE_CHECKING:
    from eostui.config import RunConfig
    from eostui.oscillator_presets import OscillatorPreset
    from eostui.runs.launch import Fork, Resume
    from eostui.runs.shelf import Entry
    from eostui.tui.session import Watch

#: How long `stop` waits for the engine to end.
_STOP_PATIENCE = 30.0


def run_default() -> None:
    """Train the default preset and show it live."""
    from eostui import presets

    show(presets.load(presets.DEFAULT_PRESET).config, None, None)


def run(
    preset: PresetName = "digits-mlp",
    eta: Annotated[Number, typer.Option(help="Learning rate η, such as 0.02 or 2/100.")] = None,
    weight_decay: Annotated[Number, typer.Option(help="Weight decay λ.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps to train.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random choices.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the engine.")] = None,
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
    name: Name = "",
    assign: Settings = None,
    headless: Headless = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    fps: Fps = None,
    _ascii: AsciiOnly = False,
    as_json: AsJson = False,
) -> None:
    """Train a preset, live or headless.

    Headless, stdout is the run's folder (or a summary with --json) and stderr shows the progress; the
    exit code is 0 when the run finished, 3 when it diverged, 130 when interrupted.

    Examples:

      eostui run digits-mlp --weight-decay 1e-3

      eostui run digits-mlp --set width=200 --set activation=tanh --headless

      eostui run my-preset.toml --name first-try
    """
    from eostui import presets

    values = set_values(
        assign,
        {
            "steps": steps,
            "seed": seed,
            "device": device,
            "dtype": dtype,
            "threads": threads,
            "chunk_size": chunk_size,
            "calibrate_at": calibrate_at,
        },
        {"eta": eta, "weight_decay": weight_decay},
    )
    config = presets.load(preset).config.changed(values)
    start(
        config, runs_dir, data_dir, name=name, headless=headless, as_json=as_json, fps=fps,
    )  # fmt: skip


def attach(
    run: LiveRunName = None,
    runs_dir: RunsDir = None,
    fps: Fps = None,
    _ascii: AsciiOnly = False,
) -> None:
    """Show a run, live or ended: the one named, else the newest live one, else the newest.

    The whole history is shown; a live run goes on being steered with the same keys, by several viewers at
    once too. A fork is shown with its parent's curves under its own.
    """
    from eostui import locations
    from eostui.runs import shelf

    folder = locations.runs_dir(runs_dir)
    entry = shelf.find(folder, run) if run is not None else _newest(folder)
    show(entry.path, runs_dir, None, fps=fps)


def stop(run: LiveRunName = None, runs_dir: RunsDir = None) -> None:
    """Stop a live run: the one named, else the newest live one. Its record stays."""
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.store import commands
    from eostui.runs.store.liveness import engine_alive

    entry = shelf.find(locations.runs_dir(runs_dir), run, live=True)
    commands.send(entry.path, "stop")
    deadline = time.monotonic() + _STOP_PATIENCE
    while engine_alive(entry.path) and time.monotonic() < deadline:
        time.sleep(0.05)
    ended = shelf.read_entry(entry.path)
    if ended.live:
        raise InputError(
            f"{entry.id} was told to stop but hasn't within {_STOP_PATIENCE:.0f} s; "
            f"its engine's output is in {entry.path}/engine.log"
        )
    print(printable(f"{ended.id}: {ended.sentence}"), file=sys.stderr)


def _newest(folder: Path) -> Entry:
    """Return the newest live run, without one the newest. Raises InputError if there is none."""
    from eostui.runs import shelf

    found = shelf.newest(folder, live=True) or shelf.newest(folder)
    if found is None:
        raise InputError(f"there is no run in {folder}; `eostui` starts one")
    return found


def start(
    what: RunConfig | Resume | Fork,
    runs_dir: Path | None,
    data_dir: Path | None,
    *,
    name: str = "",
    headless: bool,
    as_json: bool,
    fps: float | None,
) -> None:
    """Start an engine and follow it, live or headless; exit with its code."""
    from eostui import locations
    from eostui.config import RunConfig

    _check_fps(fps)
    if as_json and not headless:
        raise InputError("--json is for --headless: the live view prints nothing")
    if name:
        from eostui.runs.edit import check_name

        check_name(name, locations.runs_dir(runs_dir))
    if not isinstance(what, RunConfig):
        what.config  # noqa: B018 - says at once why there is nothing to go on with
    if headless:
        raise typer.Exit(_run_headless(what, runs_dir, data_dir, name, as_json))
    show(what, runs_dir, data_dir, name=name, fps=fps)


def show(
    what: RunConfig | Resume | Fork | Path | Watch | OscillatorPreset,
    runs_dir: Path | None,
    data_dir: Path | None,
    *,
    name: str = "",
    fps: float | None = None,
) -> None:
    """Open the live view of a run to start, to attach to, to play back, or of an oscillator.

    Exits with its code.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise InputError(
            "the live view needs a terminal, and this isn't one; without one, use "
            + ("`eostui plot RUN`" if isinstance(what, Path) else "`eostui run PRESET --headless`")
        )
    _check_fps(fps)
    from eostui import locations
    from eostui.config import RunConfig
    from eostui.runs.launch import EngineProcess, Fork, Resume

    draw_in_cells()
    runs, data = locations.runs_dir(runs_dir), locations.data_dir(data_dir)
    with NotedSignals() as signals:
        # the engine first: it loads PyTorch while this process loads the application
        begun = (
            EngineProcess(what, runs, data, name)
            if isinstance(what, (RunConfig, Resume, Fork))
            else what
        )
        from eostui.tui.app import run_app
        from eostui.tui.session import Settings

        if signals.number and isinstance(begun, EngineProcess):  # nobody would see its run
            begun.cancel()
            raise signals.interruption()
    slow_link = "SSH_CONNECTION" in os.environ
    settings = Settings(
        runs_dir=runs,
        data_dir=data,
        fps=fps if fps is not None else (4.0 if slow_link else 10.0),
        unicode=speaks_unicode(sys.stderr),  # which the application draws on
    )
    code, sentence = run_app(settings, begun)
    if sentence:
        print(f"eostui: {printable(sentence)}", file=sys.stderr)
    raise typer.Exit(code)


def _check_fps(fps: float | None) -> None:
    if fps is not None and not 0.1 <= fps <= 60:
        raise InputError(f"--fps is {fps:g}, but must be from 0.1 to 60")


def _run_headless(
    what: RunConfig | Resume | Fork,
    runs_dir: Path | None,
    data_dir: Path | None,
    name: str,
    as_json: bool,
) -> int:
    """Train without a live view; return the exit code."""
    from eostui import locations
    from eostui.cli.headless import follow
    from eostui.runs.analysis.summary import summarize_run

    path, code = follow(what, locations.runs_dir(runs_dir), locations.data_dir(data_dir), name)
    if as_json:
        print_json(summarize_run(path))
    else:
        print(path)
    return code
