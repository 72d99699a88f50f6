"""`presets show`: a preset's file, or its settings."""

from __future__ import annotations

from eostui.cli.options import AsJson, PresetName
from eostui.cli.output import print_json
from eostui.errors import printable


def show_preset(preset: PresetName, as_json: AsJson = False) -> None:
    """Print a preset's file, or with --json all its settings."""
    from eostui import presets as found
    from eostui.text import read_text

    loaded = found.load(preset)
    if as_json:
        print_json(loaded.config.acting(mode="json"))
    else:
        text = read_text(loaded.path, f"preset {loaded.path}")
        print("".join(c if c in "\n\t" else printable(c) for c in text), end="")
