"""`experiments`: files of what is claimed, and what decides."""

from __future__ import annotations

import typer

experiments = typer.Typer(
    help="Check the files of experiments; `eostui reproduce` runs them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
