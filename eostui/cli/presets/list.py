"""`presets list`: all presets, shipped and your own."""

from __future__ import annotations

from typing import Annotated

import typer

from eostui.cli.options import AsJson, PresetFilter
from eostui.cli.output import print_presets
from eostui.errors import InputError


def list_presets(
    filter: PresetFilter = "",
    sweeps: Annotated[
        bool, typer.Option("--sweeps", help="List those of `eostui sweep` instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List all presets: shipped, and your own in the settings folder.

    Examples:

      eostui presets list --filter "toy weight_decay>0"

      eostui presets list --sweeps
    """
    if sweeps:
        from eostui.sweeps import presets as of_sweeps

        if filter:
            raise InputError("--filter is for presets of runs: --sweeps lists all of its own")
        print_presets(of_sweeps.available(), of_sweeps.load, as_json)
        return
    from eostui import presets as found
    from eostui.runs.filter_fields import parse_preset_filter, preset_fields, preset_names

    wanted = parse_preset_filter(filter)
    print_presets(
        found.available(),
        found.load,
        as_json,
        lambda preset: wanted.matches(preset_names(preset), preset_fields(preset)),
    )
