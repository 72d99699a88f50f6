"""`presets list`: all presets, shipped and your own."""

from __future__ import annotations

from eostui.cli.options import AsJson
from eostui.cli.output import print_presets


def list_presets(as_json: AsJson = False) -> None:
    """List all presets: shipped, and your own in the settings folder."""
    from eostui import presets as found

    print_presets(found.available(), found.load, as_json)
