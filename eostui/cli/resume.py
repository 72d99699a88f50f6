"""`resume`: an ended run goes on."""

from __future__ import annotations

from typing import Annotated

import typer

from eostui.cli.machines import Machines
from eostui.cli.options import ChangedData, RunOrSweep, StopAt, Trust, View
from eostui.cli.start import start
from eostui.errors import InputError


def resume(
    run: RunOrSweep = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps it shall have in all; as its config says if left out.")
    ] = None,
    stop_at: StopAt = None,
    trust: Trust = False,
    changed_data: ChangedData = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Of a sweep: repeat the members that failed too.")
    ] = False,
    *,
    machines: Machines,
    view: View,
) -> None:
    """Go on with a run that was stopped, interrupted or finished, as if it had never ended.

    A sweep goes on where it stopped: members that were stopped or interrupted, and those that wait.

    Its steps since the newest checkpoint are repeated, with the control changes on record, and compared
    with what is stored; on a CPU they are the same to the bit. One that ended by what it was to stop at
    goes on to its number of steps, or to what else it waits for; --stop-at gives it other ends.

    Examples:

      eostui resume                         the newest run

      eostui resume k3f9 --steps 20000      a finished one, further
    """
    from eostui import locations, torchrun
    from eostui.runs import shelf
    from eostui.runs.launch import Resume
    from eostui.runs.trust import refuse_foreign_code
    from eostui.sweeps.lookup import sweep_named

    folder = locations.runs_dir(view.runs_dir)
    if run is not None and (sweep := sweep_named(folder, run)) is not None:
        if steps is not None or stop_at is not None:
            flag = "--steps" if steps is not None else "--stop-at"
            raise InputError(f"{flag} is for runs: a sweep's members have that of their plan")
        from eostui.cli.sweeping import resumed

        machines.check()
        data = locations.data_dir(view.data_dir)
        code = resumed(
            sweep,
            data,
            machines,
            failed=failed,
            trusted=trust,
            changed_data=changed_data,
            as_json=view.as_json,
        )
        raise typer.Exit(code)
    if failed or machines.workers is not None:
        raise InputError("--failed and --workers are for sweeps, and this is none")
    if machines.elsewhere or machines.send_back:
        raise InputError("--scheduler and --slurm are for sweeps, and this is none")
    torchrun.become_worker(locations.data_dir(view.data_dir))
    entry = shelf.find(folder, run)
    refuse_foreign_code(entry.config, entry.path, trusted=trust)
    stops = None if stop_at is None else tuple(stop_at)
    start(Resume(entry, steps, changed_data, stops), view)
