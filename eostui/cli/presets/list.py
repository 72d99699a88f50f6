"""`presets list`: all presets, shipped and your own."""

from __future__ import annotations

from eostui.cli.options import AsJson, PresetFilter
from eostui.cli.output import print_presets


def list_presets(filter: PresetFilter = "", as_json: AsJson = False) -> None:
    """List all presets: shipped, and your own in the settings folder.

    Example:

      eostui presets list --filter "toy weight_decay>0"
    """
    from eostui import presets as found
    from eostui.runs.filter_fields import parse_preset_filter, preset_fields, preset_names

    wanted = parse_preset_filter(filter)
    print_presets(
        found.available(),
        found.load,
        as_json,
        lambda preset: wanted.matches(preset_names(preset), preset_fields(preset)),
    )
