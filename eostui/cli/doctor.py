"""`doctor`: what this machine offers, and what a run would make of a data file."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from eostui.cli.options import AsJson, DataDir, RunsDir, Settings, set_values
from eostui.cli.output import print_json
from eostui.errors import EXIT_FAILED, InputError, printable

Check = tuple[str, bool, str]


def doctor(
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Tell what a run would make of an .npz file, or of a data set."
        ),
    ] = None,
    assign: Settings = None,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Check device, PyTorch, terminal, data and folders; exit code 1 if a run could not work.

    With --data it tells instead what a run would make of a data file: shapes, layout, classes, ranges,
    scaling, and what may not be meant; exit code 2 if it would be refused. --set takes the settings that
    decide.

    Examples:

      eostui doctor --data mine.npz

      eostui doctor --data mine.npz --set layout=channels-first --set standardize=channels
    """
    if data is not None:
        _tell_data(data, assign, data_dir, as_json=as_json)
        return
    if assign:
        raise InputError("--set is for --data FILE here: without it no settings are looked at")
    checks = [*_machine(), *_terminal(), *_folders(runs_dir, data_dir)]
    if as_json:
        print_json([{"name": name, "ok": good, "text": text} for name, good, text in checks])
    else:
        for name, good, text in checks:
            print(f"{'ok  ' if good else 'BAD '} {name:<12}{text}")
    if not all(good for _, good, _ in checks):
        raise typer.Exit(EXIT_FAILED)


def _tell_data(
    data: str, assign: list[str] | None, data_dir: Path | None, *, as_json: bool
) -> None:
    """Print what a run would make of a data set; nothing is downloaded for it."""
    from eostui import locations
    from eostui.config import RunConfig
    from eostui.problems.datasets import load_dataset

    folder = locations.data_dir(data_dir)
    known = ("digits", *locations.DOWNLOADS)
    file = {"data": data} if data in known else {"data": "npz", "data_file": data}
    values = set_values(assign, file, {})
    config = RunConfig.build(values, "command line")
    made = load_dataset(config, folder, lambda _: None, download=False)
    facts = {key: text for key, text in made.facts.items() if key != "warnings"}
    if as_json:
        print_json({**facts, "warnings": made.warnings})
        return
    for key, text in facts.items():
        print(f"{key:<14}{printable(text)}")
    for text in made.warnings:
        print(f"{'warning':<14}{printable(text)}")


def _machine() -> Iterator[Check]:
    from eostui import locations
    from eostui.version import __version__

    yield "eostui", True, f"{__version__}, Python {platform.python_version()}"
    start = time.perf_counter()
    locations.present_folder()
    try:
        import torch

        from eostui.engine.device import automatic_device, available_devices
    except ImportError as error:
        yield "torch", False, f"can't be imported: {error}"
        return
    took = time.perf_counter() - start
    yield "torch", True, f"{torch.__version__}, imported in {took:.1f} s"
    names = [
        f"{name} ({torch.cuda.get_device_name(name)})" if name.startswith("cuda") else name
        for name in available_devices()
    ]
    cores = f"{torch.get_num_threads()} CPU threads of {os.cpu_count()} cores"
    try:
        yield "devices", True, f"{', '.join(names)}; auto is {automatic_device()}; {cores}"
    except InputError as error:
        yield "devices", False, str(error)


def _terminal() -> Iterator[Check]:
    size = shutil.get_terminal_size()
    tty = sys.stdin.isatty() and sys.stdout.isatty()
    encoding = sys.stdout.encoding or "unknown"
    drawing = "braille" if "utf" in encoding.lower() else "ASCII"
    if "NO_COLOR" in os.environ:
        colour = "no colour (NO_COLOR)"
    else:
        colour = os.environ.get("COLORTERM") or "256 or fewer colours"
    text = (
        f"TERM {os.environ.get('TERM', 'unset')}, {size.columns}×{size.lines}, {drawing}, {colour}"
    )
    if not tty:
        text += "; not a terminal here: only `--headless` would work"
    yield "terminal", True, text


def _folders(runs_dir: Path | None, data_dir: Path | None) -> Iterator[Check]:
    from eostui import locations, presets
    from eostui.runs.store.filesystem import on_network

    runs = locations.runs_dir(runs_dir)
    kind = "network file system, rollback journal" if on_network(runs) else "local file system"
    yield "runs", *_writable(runs, kind)
    data = locations.data_dir(data_dir)
    found = sorted(path.name for path in data.iterdir()) if data.is_dir() else []
    yield "data", *_writable(data, f"holds {', '.join(found)}" if found else "empty")
    digits = locations.shipped("assets") / "digits.npz"
    yield "digits", digits.is_file(), str(digits)
    yield "presets", bool(presets.available()), f"{len(presets.available())} found"


def _writable(folder: Path, text: str) -> tuple[bool, str]:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        return False, f"{folder}: can't be written to"
    free = shutil.disk_usage(nearest).free / 1e9
    return True, f"{folder} ({text}; {free:.0f} GB free)"
