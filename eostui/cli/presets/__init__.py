"""`presets`: named settings."""

from __future__ import annotations

import typer

presets = typer.Typer(
    help="List, show and validate presets; save a run as one; tell what can be set.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
