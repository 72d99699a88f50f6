"""`presets show`: a preset's file, or its settings."""

from __future__ import annotations

from eostui.cli.options import AsJson, PresetName
from eostui.cli.output import print_json
from eostui.errors import printable


def show_preset(preset: PresetName, as_json: AsJson = False) -> None:
    """Print a preset's file, or with --json all its settings; of a sweep its axes too."""
    from eostui import presets as found
    from eostui.sweeps import presets as sweeps
    from eostui.text import read_text

    loaded: found.PresetFile
    if sweeps.is_meant(preset):
        loaded = sweep = sweeps.load(preset)
        plan = sweep.plan()
        axes = [{"keys": axis.keys, "values": axis.values} for axis in plan.axes]
        settings = {**plan.base.acting(mode="json"), "axes": axes}
    else:
        loaded = of_run = found.load(preset)
        settings = of_run.config.acting(mode="json")
    if as_json:
        print_json(settings)
    else:
        text = read_text(loaded.path, f"preset {loaded.path}")
        print("".join(c if c in "\n\t" else printable(c) for c in text), end="")
