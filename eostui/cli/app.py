"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from eostui.cli import again, bench, export, machine, presets, records, simulate, train

app = typer.Typer(
    name="eostui",
    help="A laboratory for the edge of stability that lives in a terminal.\n\n"
    "`eostui` alone trains the default preset and shows it live; keys steer it.\n\n"
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
app.command()(train.run)
app.command()(train.attach)
app.command()(train.stop)
app.command()(again.resume)
app.command()(again.fork)
app.command()(again.replay)
app.add_typer(records.runs, name="runs")
app.add_typer(presets.presets, name="presets")
app.command()(export.export)
app.command()(records.plot)
app.command()(simulate.simulate)
app.command()(bench.bench)
app.command()(machine.doctor)
app.command()(machine.locate)


def _print_version(wanted: bool) -> None:
    if wanted:
        import eostui

        typer.echo(f"eostui {eostui.__version__}")
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
        train.run_default()
