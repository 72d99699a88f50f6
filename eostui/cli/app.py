"""The commands, put together: each is a file named as the command, and one line of COMMANDS."""

from __future__ import annotations

from typing import Annotated

import typer

from eostui.cli.attach import attach
from eostui.cli.bench import bench
from eostui.cli.command import BareCommands, Command, unfolded
from eostui.cli.compare import compare
from eostui.cli.doctor import doctor
from eostui.cli.experiments import experiments
from eostui.cli.experiments.validate import validate_experiments
from eostui.cli.export import export
from eostui.cli.figure import figure
from eostui.cli.fork import fork
from eostui.cli.locate import locate
from eostui.cli.ntk import ntk
from eostui.cli.orientation import orientation
from eostui.cli.plot import plot
from eostui.cli.presets import presets
from eostui.cli.presets.list import list_presets
from eostui.cli.presets.save import save
from eostui.cli.presets.settings import explain
from eostui.cli.presets.show import show_preset
from eostui.cli.presets.validate import validate
from eostui.cli.replay import replay
from eostui.cli.reproduce import reproduce
from eostui.cli.resume import resume
from eostui.cli.run import run, run_default
from eostui.cli.runs import runs
from eostui.cli.runs.check import check
from eostui.cli.runs.delete import delete
from eostui.cli.runs.diff import diff
from eostui.cli.runs.list import list_runs
from eostui.cli.runs.note import note
from eostui.cli.runs.prune import prune
from eostui.cli.runs.rename import rename
from eostui.cli.runs.repair import repair
from eostui.cli.runs.show import show_run
from eostui.cli.runs.summary import summary
from eostui.cli.simulate import simulate
from eostui.cli.slice import slice_
from eostui.cli.stop import stop
from eostui.cli.sweep import sweep

app = typer.Typer(
    name="eostui",
    cls=BareCommands,
    help="A laboratory for the edge of stability that lives in a terminal.\n\n"
    "`eostui` alone trains the default preset and shows it live; keys steer it. It takes the options of "
    "`eostui run`.\n\n"
    "Examples:\n\n"
    "  eostui                                      live, digits-mlp\n\n"
    "  eostui run digits-mlp-collapse              live, another preset\n\n"
    "  eostui run digits-mlp --eta 2/10 --headless  no terminal needed\n\n"
    "  eostui export -o run.csv                    the newest run as CSV\n\n"
    "  eostui attach                               back to a run that goes on",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)

#: Every command: where it belongs, its name, and what it does; in the order of the help.
COMMANDS = (
    (app, "run", run),
    (app, "sweep", sweep),
    (app, "reproduce", reproduce),
    (app, "attach", attach),
    (app, "stop", stop),
    (app, "resume", resume),
    (app, "fork", fork),
    (app, "replay", replay),
    (app, "export", export),
    (app, "plot", plot),
    (app, "figure", figure),
    (app, "compare", compare),
    (app, "ntk", ntk),
    (app, "slice", slice_),
    (app, "orientation", orientation),
    (app, "simulate", simulate),
    (app, "bench", bench),
    (app, "doctor", doctor),
    (app, "locate", locate),
    (runs, "list", list_runs),
    (runs, "show", show_run),
    (runs, "summary", summary),
    (runs, "delete", delete),
    (runs, "rename", rename),
    (runs, "note", note),
    (runs, "diff", diff),
    (runs, "prune", prune),
    (runs, "check", check),
    (runs, "repair", repair),
    (presets, "list", list_presets),
    (presets, "show", show_preset),
    (presets, "validate", validate),
    (presets, "save", save),
    (presets, "settings", explain),
    (experiments, "validate", validate_experiments),
)
for _group, _name, _command in COMMANDS:
    _group.command(_name, cls=Command)(unfolded(_command))
app.add_typer(runs, name="runs")
app.add_typer(presets, name="presets")
app.add_typer(experiments, name="experiments")


def _print_version(wanted: bool) -> None:
    if wanted:
        from eostui.version import __version__

        typer.echo(f"eostui {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Without a command: train the default preset and show it live."""
    del version
    if context.invoked_subcommand is None:
        run_default()
