"""`runs check` and `runs repair`: what of a run is sound, and how to keep it."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from eostui.cli.options import AsJson, RunName, RunsDir
from eostui.cli.output import print_json
from eostui.errors import EXIT_FAILED, printable


def register(runs: typer.Typer) -> None:
    """Add the commands to those of `runs`."""
    runs.command()(check)
    runs.command()(repair)


def check(run: RunName = None, runs_dir: RunsDir = None, as_json: AsJson = False) -> None:
    """Say which parts of a run are sound: exit code 0 if all are, 1 if not. Nothing is changed.

    Examples:

      eostui runs check k3f9

      eostui runs check digits-mlp-k3f9 --json
    """
    from eostui.runs.repair.check import check_run

    path = _path_of(run, runs_dir)
    findings = check_run(path)
    sound = all(finding.sound for finding in findings)
    if as_json:
        parts = [{"part": f.part, "sound": f.sound, "told": f.told} for f in findings]
        print_json({"run": path.name, "path": str(path), "sound": sound, "parts": parts})
    else:
        for finding in findings:
            word = "sound" if finding.sound else "DAMAGED"
            print(f"{finding.part:<14}{word:<9}{printable(finding.told)}")
    if not sound:
        print(
            f"eostui: {printable(path.name)} isn't sound: `eostui runs repair` makes a copy "
            "of what can be read",
            file=sys.stderr,
        )
        raise typer.Exit(EXIT_FAILED)


def repair(run: RunName = None, runs_dir: RunsDir = None, as_json: AsJson = False) -> None:
    """Copy what can be read of a damaged run to RUN-repaired beside it; the run isn't touched.

    Examples:

      eostui runs repair k3f9
    """
    from eostui.runs.repair.rebuild import repair_run

    repaired = repair_run(_path_of(run, runs_dir))
    if as_json:
        print_json({"path": str(repaired.path), "kept": repaired.kept, "lost": repaired.lost})
        return
    for how in repaired.lost:
        print(f"lost  {printable(how)}", file=sys.stderr)
    print(f"kept  {', '.join(repaired.kept)}", file=sys.stderr)
    print(repaired.path)


def _path_of(run: str | None, runs_dir: Path | None) -> Path:
    """Return the directory of a run, also of one too damaged to be listed."""
    from eostui import locations
    from eostui.runs import shelf

    return shelf.find_path(locations.runs_dir(runs_dir), run)
