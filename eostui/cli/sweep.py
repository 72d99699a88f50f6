"""`sweep`: many runs of one preset over its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from eostui.cli.machines import Machines
from eostui.cli.options import AsciiOnly, AsJson, DataDir, Name, RunsDir
from eostui.errors import InputError

if TYPE_CHECKING:
    from eostui.sweeps.plan import Draft

_VALUES = "VALUES"


def _complete(incomplete: str) -> list[str]:
    from eostui import presets
    from eostui.sweeps import presets as sweeps

    names = dict.fromkeys([*sweeps.available(), *presets.available()])
    return [name for name in names if name.startswith(incomplete)]


def sweep(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="PRESET|SWEEPFILE",
            help="A preset, or a sweep preset: a name, or the path of your own.",
            autocompletion=_complete,
        ),
    ] = None,
    eta: Annotated[
        str | None, typer.Option(metavar=_VALUES, help="Learning rates η: 0.1,0.15 or 0.02:0.3:8.")
    ] = None,
    weight_decay: Annotated[
        str | None,
        typer.Option(metavar=_VALUES, help="Weight decays λ: 0:0.03:20 or 0,1e-5..1e-2:9log."),
    ] = None,
    momentum: Annotated[
        str | None, typer.Option(metavar=_VALUES, help="Momenta μ, of dynamics that have one.")
    ] = None,
    seed: Annotated[str | None, typer.Option(metavar=_VALUES, help="Seeds: 0..5 or 1,10.")] = None,
    steps: Annotated[
        str | None, typer.Option(metavar=_VALUES, help="Steps that each member trains.")
    ] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUES",
            help="Any setting, such as width=50,100 or controls.0.step=500,1000; repeatable.",
        ),
    ] = None,
    together: Annotated[
        list[str] | None,
        typer.Option(
            "--zip",
            metavar="KEY=VALUES",
            help="A setting that varies together with the others of --zip, value by value; repeatable.",
        ),
    ] = None,
    add: Annotated[
        str, typer.Option(metavar="SWEEP", help="Add members to a sweep that is there.")
    ] = "",
    trust: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="With --add: execute the files that the sweep's manifest names as its problem, its "
            "dynamics or its probes.",
        ),
    ] = False,
    name: Name = "",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only show the plan, and what it costs: some steps are timed for it."
        ),
    ] = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    ascii_only: AsciiOnly = False,
    as_json: AsJson = False,
    *,
    machines: Machines,
) -> None:
    """Train many runs of one preset over its settings, several at a time.

    VALUES is a list, with a comma between its items; each is a value or a range: 0:0.03:20 (20 numbers,
    both ends among them), 1e-5..1e-2:9log (at equal ratios), 0..5 (whole numbers). Settings that have
    several values make a grid. stdout is the sweep's folder (or a summary with --json), stderr shows the
    progress. ctrl+c lets members save and stop: `eostui resume SWEEP` goes on. The exit code is 0 when
    all members finished, diverged or came to their `stop_at`, 1 when one failed, 130 when interrupted
    before.

    Examples:

      eostui sweep digits-mlp --weight-decay 0:0.03:20 --seed 0..5 --steps 4000

      eostui sweep digits-mlp --eta 0.1,0.15 --set width=50,100 --dry-run

      eostui sweep digits-mlp --zip eta=0.1,0.15 --zip steps=6000,4000

      eostui sweep --add x7k2 --weight-decay 0.04

      eostui sweep cifar5k-mlp --weight-decay 0:0.03:20 --scheduler tcp://10.0.0.1:8786

      eostui sweep cifar5k-mlp --weight-decay 0:0.03:20 --slurm partition=gpu time=2:00:00
    """
    del ascii_only
    from eostui import locations
    from eostui.cli.sweep_plan import planned
    from eostui.cli.sweeping import added, begun
    from eostui.config import RunConfig
    from eostui.sweeps.plan import Draft

    machines.check()
    folders = locations.runs_dir(runs_dir), locations.data_dir(data_dir)
    lists = {
        "eta": eta, "weight_decay": weight_decay, "momentum": momentum, "steps": steps, "seed": seed
    }  # fmt: skip
    given = [(key, text) for key, text in lists.items() if text is not None]
    if add:
        if what is not None or name or dry_run:
            raise InputError("--add SWEEP takes settings alone: no preset, no --name, no --dry-run")
        draft = Draft(RunConfig())
        _take(draft, given, assign, together)
        code = added(add, draft, folders, machines, trusted=trust, as_json=as_json)
        raise typer.Exit(code)
    if trust:
        raise InputError("--trust-code is for --add: what you name yourself has your word")
    if what is None:
        raise InputError("say what is swept: a preset, or a sweep preset (`eostui presets list`)")
    draft, stem = _draft(what)
    _take(draft, given, assign, together)
    plan = draft.plan(f"sweep {what}")
    if dry_run:
        if machines.elsewhere:
            raise InputError(
                "--dry-run times steps on this machine: leave --scheduler and --slurm out"
            )
        planned(plan, folders, machines.workers, as_json=as_json)
        return
    raise typer.Exit(begun(plan, name, stem, folders, machines, as_json=as_json))


def _draft(what: str) -> tuple[Draft, str]:
    """Return what a preset of either kind says, and its name."""
    from eostui import presets
    from eostui.errors import did_you_mean
    from eostui.sweeps import presets as sweeps
    from eostui.sweeps.plan import Draft

    if sweeps.is_meant(what):
        sweep = sweeps.load(what)
        return sweep.draft, sweep.name
    runs = presets.available()
    if what not in runs and not (what.endswith(".toml") or "/" in what):
        near = did_you_mean(what, [*sweeps.available(), *runs])
        raise InputError(
            f"there is no preset and no sweep preset `{what}`{near} (`eostui presets list`, with "
            "--sweeps for those of sweeps, names them all; your own can be given by path)"
        )
    config = presets.load(what).config
    return Draft(config), config.preset


def _take(
    draft: Draft,
    given: list[tuple[str, str]],
    assign: list[str] | None,
    together: list[str] | None,
) -> None:
    """Put what the command line says over what the draft says."""
    from eostui.sweeps.plan import check_key
    from eostui.sweeps.values import parse_values

    for key, text in given:
        draft.take(key, text, f"--{key.replace('_', '-')} {text}")
    for text in assign or []:
        key, values = _pair(text, "--set")
        draft.take(key, values, f"--set {text}")
    lists = {}
    for text in together or []:
        key, values = _pair(text, "--zip")
        check_key(key, f"--zip {text}")
        if key in lists:
            raise InputError(f"--zip {text}: `{key}` is given twice")
        lists[key] = parse_values(values, f"--zip {text}", distinct_values=False)
    if len(lists) == 1:
        raise InputError(
            f"--zip {next(iter(lists))}: nothing varies together with it: give another"
        )
    if lists:
        draft.zip(lists, "--zip")


def _pair(text: str, flag: str) -> tuple[str, str]:
    key, separator, values = (part.strip() for part in text.partition("="))
    if not separator or not key:
        raise InputError(f"{flag} {text}: must be KEY=VALUES, such as width=50,100")
    return key, values
