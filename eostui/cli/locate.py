"""`locate`: where things are."""

from __future__ import annotations

from typing import Annotated

import typer

from eostui.cli.options import DataDir, RunsDir
from eostui.errors import InputError, did_you_mean


def locate(
    place: Annotated[
        str | None,
        typer.Argument(help="runs, data, presets, your-presets, settings, keys or cache."),
    ] = None,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Of keys: write the file, every key in it, for you to change."
        ),
    ] = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Print where runs, data, presets, settings and the cache are; all, or the one named.

    Keys of your own are in the file that `eostui locate keys` prints; --write begins it.
    """
    from eostui import locations

    if write:
        if place != "keys":
            raise InputError("--write is for keys: `eostui locate keys --write`")
        from eostui.tui import keymap
        from eostui.tui.screens.table import keys_by_group

        keymap.write(keys_by_group())

    places = {
        "runs": locations.runs_dir(runs_dir),
        "data": locations.data_dir(data_dir),
        "presets": locations.shipped("presets"),
        "your-presets": locations.user_presets_dir(),
        "settings": locations.settings_dir(),
        "keys": locations.keys_file(),
        "cache": locations.cache_dir(),
    }
    if place is None:
        for name, path in places.items():
            print(f"{name:<14}{path}")
        return
    if place not in places:
        near = did_you_mean(place, places) or f"; there are {', '.join(places)}"
        raise InputError(f"there is no place `{place}`{near}")
    print(places[place])
