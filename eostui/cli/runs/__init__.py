"""`runs`: the shelf. Without a command it is listed."""

from __future__ import annotations

import typer

from eostui.cli.runs.list import list_runs

runs = typer.Typer(rich_markup_mode=None)


@runs.callback(invoke_without_command=True)
def shelf_or_command(context: typer.Context) -> None:
    """List, show, name, compare, clear away runs. Without a command: list them.

    Examples:

      eostui runs                                    all, the newest first

      eostui runs list --state live --json           those at work, for programs

      eostui runs rename k3f9 baseline               a name to find it by

      eostui runs diff baseline x7q2                 how two differ

      eostui runs prune --older-than 30d --dry-run   what a clean-up would delete
    """
    if context.invoked_subcommand is None:
        list_runs()
