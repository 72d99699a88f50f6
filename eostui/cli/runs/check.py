"""`runs check`: which parts of a run are sound."""

from __future__ import annotations

import sys

import typer

from eostui.cli.options import AsJson, RunName, RunsDir
from eostui.cli.output import print_json
from eostui.errors import EXIT_FAILED, printable


def check(run: RunName = None, runs_dir: RunsDir = None, as_json: AsJson = False) -> None:
    """Say which parts of a run are sound: exit code 0 if all are, 1 if not. Nothing is changed.

    Examples:

      eostui runs check k3f9

      eostui runs check digits-mlp-k3f9 --json
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.repair.check import check_run

    path = shelf.find_path(locations.runs_dir(runs_dir), run)
    findings = check_run(path)
    sound = all(finding.sound for finding in findings)
    if as_json:
        parts = [{"part": f.part, "sound": f.sound, "told": f.description} for f in findings]
        print_json({"run": path.name, "path": str(path), "sound": sound, "parts": parts})
    else:
        for finding in findings:
            word = "sound" if finding.sound else "DAMAGED"
            print(f"{finding.part:<14}{word:<9}{printable(finding.description)}")
    if not sound:
        print(
            f"eostui: {printable(path.name)} isn't sound: `eostui runs repair` makes a copy "
            "of what can be read",
            file=sys.stderr,
        )
        raise typer.Exit(EXIT_FAILED)
