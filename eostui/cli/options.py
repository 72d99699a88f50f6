"""Options and arguments that several commands share, with their completions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from eostui.cli.streams import say_ascii
from eostui.filter import GRAMMAR, OF_RUNS


def _complete_preset(incomplete: str) -> list[str]:
    from eostui import presets

    return [name for name in presets.available() if name.startswith(incomplete)]


def _complete_run(incomplete: str) -> list[str]:
    from eostui import locations
    from eostui.runs.shelf_index import completions

    return completions(locations.runs_dir(), incomplete)


def _complete_run_or_sweep(incomplete: str) -> list[str]:
    from eostui import locations
    from eostui.sweeps.shelf import completions

    return completions(locations.runs_dir(), incomplete) + _complete_run(incomplete)


def complete_panel(incomplete: str) -> list[str]:
    """Return the panels of a run that begin so, behind those that are typed already."""
    from eostui.panels import PANELS

    before, comma, name = incomplete.rpartition(",")
    names = [panel.name for panel in PANELS if panel.name.startswith(name)]
    return [f"{before}{comma}{name}" for name in names]


def complete_probe(incomplete: str) -> list[str]:
    """Return the program's optional probes that begin so."""
    from eostui.optional_probes import OPTIONAL_PROBES

    return [name for name in OPTIONAL_PROBES if name.startswith(incomplete)]


def _ascii(wanted: bool) -> bool:
    """Obey --ascii before anything else is read: what is wrong with that is told in ASCII too."""
    if wanted:
        say_ascii()
    return wanted


PresetName = Annotated[
    str,
    typer.Argument(
        help="A preset's name, or the path of your own.", autocompletion=_complete_preset
    ),
]
RunName = Annotated[
    str | None,
    typer.Argument(
        help="A run's id, the end of it, its name, or its path. The newest if left out.",
        autocompletion=_complete_run,
    ),
]
RunOrSweep = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN|SWEEP]",
        help="A run or a sweep: an id, the end of it, a name, or a path. The newest run if left out.",
        autocompletion=_complete_run_or_sweep,
    ),
]
RunsOrSweeps = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|SWEEP...",
        help="Runs and sweeps: each an id, the end of it, a name, or a path.",
        autocompletion=_complete_run_or_sweep,
    ),
]
LiveRunName = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN|SWEEP]",
        help="A run or a sweep: an id, the end of it, a name, or a path. "
        "The newest live run if left out.",
        autocompletion=_complete_run_or_sweep,
    ),
]
GivenRun = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, the end of it, its name, or its path.",
        autocompletion=_complete_run,
    ),
]
RunNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN|SWEEP]...",
        help="Runs, and sweeps for their members: each an id, the end of it, a name, or a path. "
        "The newest run if left out.",
        autocompletion=_complete_run_or_sweep,
    ),
]
RunsDir = Annotated[
    Path | None, typer.Option("--runs-dir", help="Folder of the runs [env: EOSTUI_RUNS].")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the data sets [env: EOSTUI_DATA].")
]
RunFilter = Annotated[
    str,
    typer.Option(
        "--filter",
        metavar="TEXT",
        help=f"Only runs that match. {GRAMMAR} Keys are settings, and {', '.join(OF_RUNS)}.",
    ),
]
PresetFilter = Annotated[
    str,
    typer.Option(
        "--filter",
        metavar="TEXT",
        help=f"Only presets that match. {GRAMMAR} Keys are settings, and name.",
    ),
]
Number = str | None
SharpStep = Annotated[
    Number,
    typer.Option(
        help="Step along eigenvectors above the bound, as a share of what it would be: 0 for none."
    ),
]
OtherStep = Annotated[
    Number,
    typer.Option(help="Step in all other directions, as a share: 0 to move along them only."),
]
SharpAbove = Annotated[
    Number, typer.Option(help="The bound of both, in units of 2/η − λ; 1 if left out.")
]
Name = Annotated[str, typer.Option(help="A name to find the run by.")]
Group = Annotated[
    str, typer.Option(metavar="TEXT", help="What runs that belong together share, to list them by.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting; repeatable."),
]
StopAt = Annotated[
    list[str] | None,
    typer.Option(
        "--stop-at",
        metavar="WHAT",
        help="Ends it before its steps are done, as 'rest +2000', 'train accuracy 99.99 %', 'loss 1e-3', "
        "edge, 'step 5000'; repeatable, the first that holds; nothing for none.",
    ),
]
Headless = Annotated[
    bool, typer.Option("--headless", help="Without the live view; prints the run's folder.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Execute the files that the run's record names as its problem, its dynamics or its probes.",
    ),
]
ChangedData = Annotated[
    bool,
    typer.Option(
        "--changed-data",
        help="Go on although the data or the source of your own code changed; the record says so.",
    ),
]
Fps = Annotated[float | None, typer.Option(help="Frames a second; fewer over SSH by default.")]
Theme = Annotated[
    str | None,
    typer.Option(
        help="Colours: eostui, okabe-ito, print, or a theme of Textual's [env: EOSTUI_THEME]."
    ),
]
AsciiOnly = Annotated[
    bool,
    typer.Option("--ascii", callback=_ascii, is_eager=True, help="Draw and say all in ASCII."),
]
NoStandby = Annotated[
    bool,
    typer.Option(
        "--no-standby",
        help="Keep no process ready, with PyTorch loaded, for the next run [env: EOSTUI_NO_STANDBY].",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Width = Annotated[int | None, typer.Option(help="Columns; the terminal's if left out.")]
Height = Annotated[int | None, typer.Option(help="Rows; the terminal's if left out.")]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Members that train at once; as many as cores, memory and GPUs allow if left out."
    ),
]
Scheduler = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Train on a Dask cluster: its scheduler's address, tcp://… or tls://….",
    ),
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Train in jobs of SLURM: partition, time, account, cpus, gpus, mem, jobs, and what sbatch "
        "takes besides; repeatable.",
    ),
]
SendBack = Annotated[
    bool,
    typer.Option(
        "--send-back",
        help="Runs are sent back when they end, though the machines of --scheduler or --slurm see the "
        "shelf.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


@dataclass(frozen=True)
class View:
    """Where a run goes and how it is followed: of every command that starts an engine."""

    headless: Headless = False
    runs_dir: RunsDir = None
    data_dir: DataDir = None
    fps: Fps = None
    theme: Theme = None
    ascii_only: AsciiOnly = False
    as_json: AsJson = False
    no_standby: NoStandby = False


def set_values(
    assignments: list[str] | None, flags: dict[str, Any], numbers: dict[str, str | None]
) -> dict[str, Any]:
    """Return the settings that the command line changes.

    Args:
        assignments: `key=value` texts of --set.
        flags: settings given by flags of their own; None where not given.
        numbers: the same, as numbers typed by a person (`2/100`).

    Raises:
        InputError: if one of them can't be understood.
    """
    from eostui import locations
    from eostui.config import absolute_files, parse_setting
    from eostui.text import parse_number

    values = dict(parse_setting(text) for text in assignments or [])
    values |= {key: value for key, value in flags.items() if value is not None}
    values |= {key: parse_number(text) for key, text in numbers.items() if text is not None}
    return absolute_files(values, locations.present_folder())
