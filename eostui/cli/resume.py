"""`resume`: an ended run goes on."""

from __future__ import annotations

from typing import Annotated

import typer

from eostui.cli.options import ChangedData, RunName, StopAt, Trust, View
from eostui.cli.start import start


def resume(
    run: RunName = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps it shall have in all; as its config says if left out.")
    ] = None,
    stop_at: StopAt = None,
    trust: Trust = False,
    changed_data: ChangedData = False,
    *,
    view: View,
) -> None:
    """Go on with a run that was stopped, interrupted or finished, as if it had never ended.

    Its steps since the newest checkpoint are repeated, with the control changes on record, and compared
    with what is stored; on a CPU they are the same to the bit. One that ended by what it was to stop at
    goes on to its number of steps, or to what else it waits for; --stop-at gives it other ends.

    Examples:

      eostui resume                         the newest run

      eostui resume k3f9 --steps 20000      a finished one, further
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.launch import Resume
    from eostui.runs.trust import refuse_foreign_code

    entry = shelf.find(locations.runs_dir(view.runs_dir), run)
    refuse_foreign_code(entry.config, entry.path, trusted=trust)
    stops = None if stop_at is None else tuple(stop_at)
    start(Resume(entry, steps, changed_data, stops), view)
