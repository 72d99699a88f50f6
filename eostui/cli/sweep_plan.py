"""`--dry-run` of a sweep: its members, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, cast

from rich.console import Console

from eostui.charts.numbers import age
from eostui.cli.headless import Narration
from eostui.cli.output import print_json, print_table
from eostui.cli.signals import NotedSignals
from eostui.cli.sweeping import Folders, settings_label
from eostui.errors import EostuiError
from eostui.locations import present_folder
from eostui.runs.prune import shown_size
from eostui.runs.template import Template
from eostui.sweeps import cost, trial
from eostui.sweeps.devices import worker_devices

if TYPE_CHECKING:
    from eostui.config import RunConfig
    from eostui.sweeps.plan import Plan


def planned(
    plan: Plan,
    folders: Folders,
    workers: int | None,
    *,
    as_json: bool,
    experiments: Sequence[str] = (),
) -> None:
    """Print a plan, and what it costs: some steps of its cheapest and its dearest member are taken.

    ctrl+c and SIGTERM end it in order, a second one at once.

    Args:
        plan: of a sweep.
        folders: of the runs, of the data sets.
        workers: that would train at once; None for as many as can.
        as_json: as one line for programs.
        experiments: whose members these are, for programs to know.

    Raises:
        Interrupted: by a signal; a disk that is too small is told with the plan.
        EostuiError: if it can't be timed.
    """
    present_folder()
    configs = list(plan.configs())
    narrate = Console(file=cast("IO[str]", Narration()), highlight=False)
    template = Template()
    with NotedSignals() as signals:

        def stopped() -> bool:
            if signals.stops and not signals.answered:
                template.close()  # an engine that waits until PyTorch is loaded ends too
                signals.obeyed()  # the others end with this process
            return signals.stops

        def heed() -> None:
            if stopped():
                raise signals.interruption("the plan was timed")

        try:
            devices = worker_devices(configs, workers, template, heed)
            trials = []
            for config in trial.to_time(configs):
                narrate.print("taking some steps, to time them …", style="dim")
                try:
                    trials.append(trial.timed(config, folders[1], template, devices[0], stopped))
                except EostuiError:  # one that is stopped says that it took no step
                    if not signals.stops:
                        raise
                heed()
        finally:
            template.close()
    costs = trial.estimate(configs, trials, len(devices))
    free = cost.free_bytes(folders[0])
    if as_json:
        whose = {"experiments": list(experiments)} if experiments else {}
        print_json(whose | _plan_json(plan, configs, devices, costs, free))
        return
    rows = [("member", "settings", "steps", "time at most")]
    for number, (settings, config) in enumerate(zip(plan.settings(), configs, strict=True)):
        label = settings_label(settings) or "—"
        rows.append((f"{number:03}", label, str(config.steps), age(costs.seconds[number])))
    print_table(rows)
    at_once = f"{len(devices)} at a time" if len(devices) > 1 else "one at a time"
    on = sorted({device for device in devices if device not in ("", "cpu")})
    where = f" on {', '.join(on)}" if on else ""
    print(f"\n{len(configs)} members, {at_once}{where}: {age(costs.wall)} at most")
    memory = f", memory {shown_size(costs.memory)}" if costs.memory else ""
    short = "; that is too little" if costs.disk > free else ""
    print(f"disk {shown_size(costs.disk)} of {shown_size(free)} free{short}{memory}")


def _plan_json(
    plan: Plan,
    configs: Sequence[RunConfig],
    devices: Sequence[str],
    costs: trial.Estimate,
    free: float,
) -> dict[str, Any]:
    return {
        "preset": plan.base.preset,
        "axes": [{"keys": a.keys, "values": a.values} for a in plan.axes],
        "members": [
            {"number": number, "settings": settings, "steps": config.steps, "seconds": seconds}
            for number, (settings, config, seconds) in enumerate(
                zip(plan.settings(), configs, costs.seconds, strict=True)
            )
        ],
        "workers": len(devices),
        "devices": list(devices),
        "seconds": costs.wall,
        "disk": costs.disk,
        "disk_free": free,
        "memory": costs.memory or None,
    }
