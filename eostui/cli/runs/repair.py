"""`runs repair`: what can be read of a damaged run is copied."""

from __future__ import annotations

import sys

from eostui.cli.options import AsJson, RunName, RunsDir
from eostui.cli.output import print_json
from eostui.errors import printable


def repair(run: RunName = None, runs_dir: RunsDir = None, as_json: AsJson = False) -> None:
    """Copy what can be read of a damaged run to RUN-repaired beside it; the run isn't touched.

    Examples:

      eostui runs repair k3f9
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.repair.rebuild import repair_run

    repaired = repair_run(shelf.find_path(locations.runs_dir(runs_dir), run))
    if as_json:
        print_json({"path": str(repaired.path), "kept": repaired.kept, "lost": repaired.lost})
        return
    for how in repaired.lost:
        print(f"lost  {printable(how)}", file=sys.stderr)
    print(f"kept  {', '.join(repaired.kept)}", file=sys.stderr)
    print(repaired.path)
