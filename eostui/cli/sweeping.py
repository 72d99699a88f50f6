"""A sweep is begun, or gone on with: its progress on stderr, its folder on stdout."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from rich.console import Console

from eostui.cli.headless import Narration
from eostui.cli.output import print_json
from eostui.cli.progress import ProgressBar
from eostui.cli.signals import NotedSignals
from eostui.errors import EXIT_FAILED, EostuiError, Interrupted, printable
from eostui.locations import present_folder
from eostui.runs import shelf
from eostui.runs.family import symbol_of, told
from eostui.runs.template import Template
from eostui.runs.trust import refuse_foreign_code
from eostui.sweeps import cost, log
from eostui.sweeps.conductor import Conductor, Executor, Outcome, unfinished
from eostui.sweeps.devices import worker_devices
from eostui.sweeps.knee import TOO_FEW
from eostui.sweeps.lookup import find_sweep, no_such_sweep
from eostui.sweeps.names import check_name, only_namer
from eostui.sweeps.processes import Processes
from eostui.sweeps.progress import Progress
from eostui.sweeps.shelf import at_work, take_stop_request
from eostui.sweeps.summary import summary_of, write
from eostui.sweeps.sweep import Claim, Member, MemberState, Sweep
from eostui.sweeps.transition import transitions

if TYPE_CHECKING:
    from eostui.cli.machines import Machines, Reached
    from eostui.config import RunConfig
    from eostui.sweeps.plan import Draft, Plan

Folders = tuple[Path, Path]  # of the runs, of the data sets

_POLL = 0.25
#: Members that are named at the end.
_NAMED = 20
_MARKS = {"finished": "✓", "stopped": "■", "diverged": "✗", "failed": "✗", "interrupted": "!"}


def begun(
    plan: Plan, name: str, stem: str, folders: Folders, machines: Machines, *, as_json: bool
) -> int:
    """Make a sweep and train its members; return the exit code."""
    check_name(name, folders[0])
    cost.refuse_disk(folders[0], sum(cost.record_bytes(c) for c in plan.configs()))
    present_folder()
    with machines.reached(list(plan.configs())) as reached:
        with only_namer(folders[0]):
            check_name(name, folders[0])  # nobody has taken it meanwhile
            sweep = Sweep.create(folders[0], plan, name, stem)
        try:
            return conducted(sweep, folders[1], machines.workers, reached, as_json=as_json)
        except EostuiError:
            # nothing was begun: it is as if it hadn't been asked for
            if not log.read(sweep.path) and not at_work(sweep.path):
                shelf.delete(sweep.path)
            raise


def added(
    wanted: str,
    draft: Draft,
    folders: Folders,
    machines: Machines,
    *,
    trusted: bool,
    as_json: bool,
) -> int:
    """Add members to a sweep, and train what is unfinished of it; return the exit code."""
    before = found(wanted, folders[0])
    axes = draft.axes()
    new = before.more(axes)
    there = [member.config for member in before.members]
    for config in (*there, *before.plan.configs()):  # of which the new ones are made
        refuse_foreign_code(config, before.path, trusted=trusted)
    _refuse_disk(before.path.parent, unfinished(before.states()), new)
    sweep, taken_up = before, at_work(before.path)
    if taken_up:  # unless that ends just now
        sweep, taken_up = before.extended(axes)
    if not taken_up:
        with machines.reached([*there, *new]) as reached:
            if sweep is before:
                sweep, taken_up = before.extended(axes)
            if not taken_up:
                return conducted(sweep, folders[1], machines.workers, reached, as_json=as_json)
    count = len(sweep.run_paths) - len(there)
    print(
        f"{sweep.id}: whoever is at work on it takes {count} more members; if it was told to stop, "
        f"`eostui resume {sweep.id}` does",
        file=sys.stderr,
    )
    print(sweep.path)
    return 0


def resumed(
    path: Path,
    data_dir: Path,
    machines: Machines,
    *,
    failed: bool,
    trusted: bool,
    changed_data: bool,
    as_json: bool,
) -> int:
    """Go on with a sweep; return the exit code."""
    sweep = Sweep(path)
    for member in sweep.members:
        refuse_foreign_code(member.config, path, trusted=trusted)
    with machines.reached([member.config for member in sweep.members]) as reached:
        return conducted(
            sweep, data_dir, machines.workers, reached, failed=failed, changed_data=changed_data,
            as_json=as_json,
        )  # fmt: skip


def found(wanted: str, runs_dir: Path) -> Sweep:
    """Return the sweep of that name. Raises InputError if there is none."""
    path = find_sweep(runs_dir, wanted)
    if path is None:
        raise no_such_sweep(runs_dir, wanted)
    return Sweep(path)


def conducted(
    sweep: Sweep,
    data_dir: Path,
    workers: int | None,
    reached: Reached | None = None,
    *,
    failed: bool = False,
    changed_data: bool = False,
    as_json: bool,
) -> int:
    """Train what is unfinished of a sweep, and print what it came to; return the exit code.

    Raises:
        InputError: if another process is at work on it, or a member's config isn't valid.
    """
    trained_sweep = trained(
        sweep, data_dir, workers, reached, failed=failed, changed_data=changed_data
    )
    if as_json:
        print_json(_summary(trained_sweep.sweep, trained_sweep.states))
    else:
        print(trained_sweep.sweep.path)
    return trained_sweep.exit_code


class Trained(NamedTuple):
    """A sweep after its members were trained.

    Attributes:
        sweep: as it is now.
        states: of its members.
        interrupted: the exit code of a signal that came; 0 for none.
        stopped: whether it was told to stop, by a signal or by `eostui stop`.
        cut: whether a signal ended its summing up.
    """

    sweep: Sweep
    states: Sequence[MemberState]
    interrupted: int
    stopped: bool
    cut: bool

    @property
    def exit_code(self) -> int:
        """What the program ends with."""
        whole = _whole(self.states) and not self.cut
        return 0 if whole else self.interrupted or EXIT_FAILED


def _whole(states: Sequence[MemberState]) -> bool:
    return all(each.complete for each in states)


class _Ending:
    """Whether a sweep is told to end, by a signal or by `eostui stop`."""

    def __init__(self, path: Path, signals: NotedSignals) -> None:
        self._path, self._signals = path, signals
        self._asked = False

    @property
    def seen(self) -> bool:
        """Whether it was, when that was looked at last."""
        return self._asked or self._signals.stops

    def look(self) -> bool:
        """Return whether it is, by now."""
        self._asked = take_stop_request(self._path) or self._asked
        return self.seen

    def heed(self) -> None:
        """Raise Interrupted if it is, where no member has begun."""
        if not self.look():
            return
        if self._signals.stops:
            raise self._signals.interruption("any member began")
        raise Interrupted("stopped as asked before any member began", EXIT_FAILED)


def trained(
    sweep: Sweep,
    data_dir: Path,
    workers: int | None,
    reached: Reached | None = None,
    *,
    failed: bool = False,
    changed_data: bool = False,
) -> Trained:
    """Train what is unfinished of a sweep; its progress is told on stderr.

    ctrl+c and SIGTERM let members save and stop; a second one ends this process at once, and members
    save and stop by themselves then. One that comes while members that ended are summed up ends that. At
    SIGHUP all goes on.

    Raises:
        InputError: if another process is at work on it, or a member's config isn't valid.
        Interrupted: if it is told to stop while engines of the process before are ending.
    """
    narrate = Console(file=cast("IO[str]", Narration()), highlight=False)
    with NotedSignals() as signals:
        ending = _Ending(sweep.path, signals)
        told = False

        def wait() -> None:
            nonlocal told
            ending.heed()
            if not told:
                narrate.print("waiting for members to save and stop …", style="dim")
                told = True

        def left() -> list[Member]:
            nonlocal sweep
            sweep = Sweep(sweep.path)  # members may have been added until now
            return unfinished(sweep.states(), failed=failed)

        claim = Claim(sweep.path, wait)
        template = Template()
        try:
            members = left()
            while not (members or claim.let_go(lambda: sweep.is_current)):
                members = left()
            if members:
                _refuse_disk(sweep.path.parent, members)
                try:
                    if reached is not None:
                        executor: Executor = reached.executor(
                            sweep, data_dir, members, changed_data
                        )
                    else:
                        configs = [member.config for member in members]
                        devices = worker_devices(configs, workers, template, ending.heed)
                        executor = Processes(
                            sweep, data_dir, devices, template, claim, changed_data
                        )
                    ending.heed()
                except Interrupted as error:
                    narrate.print(str(error), markup=False, soft_wrap=True)
                else:
                    conductor = Conductor(sweep, members, executor)
                    _follow(conductor, claim, signals, ending, narrate)
                    sweep = conductor.sweep  # members may have been added
        finally:
            template.close()
            claim.release()
        if ending.seen:
            sweep = Sweep(sweep.path)  # those that were added meanwhile are left too
        states = sweep.states()
        _tell_end(sweep, states, narrate)
        cut = False
        if _whole(states) or not signals.stops:
            if signals.stops:
                narrate.print("summing up … (again: end at once)", style="dim")
            cut = not _sum_up(sweep, signals, narrate)
        interrupted = 128 + signals.number if signals.stops else 0
    return Trained(sweep, states, interrupted, ending.seen, cut)


def _refuse_disk(folder: Path, members: Sequence[Member], more: Sequence[RunConfig] = ()) -> None:
    """Raise InputError if a disk has no room for the records that members, and more to come, begin."""
    new = [*(member.config for member in members if not member.path.exists()), *more]
    cost.refuse_disk(folder, sum(map(cost.record_bytes, new)))


def _follow(
    conductor: Conductor, claim: Claim, signals: NotedSignals, ending: _Ending, narrate: Console
) -> None:
    """Let the members be trained, and show how far they are, until all ended."""
    sweep, count = conductor.sweep, len(conductor.members)
    places = conductor.executor.places
    several = f"{places} at a time" if places > 1 else "one at a time"
    if not places:
        several = "as soon as there are workers"
    narrate.print(f"{sweep.id}: {count} members, {several}", markup=False, soft_wrap=True)
    progress = Progress(conductor.members)
    told = 0
    with ProgressBar(sweep.id, "", narrate) as bar:
        conductor.begin()
        while True:
            ended = conductor.wait(_POLL)
            if conductor.take_up_added():
                narrate.print(f"{len(conductor.members) - count} more members", style="dim")
                progress, count = Progress(conductor.members), len(conductor.members)
            elif ended:
                ending.look()  # what came as the last members ended is meant as much
                if claim.let_go(conductor.done):
                    break
            if signals.stops and not signals.answered:
                conductor.stop()
                narrate.print("members save and stop … (again: end at once)", style="dim")
                signals.obeyed()
            elif not conductor.stopped and ending.look():
                conductor.stop()
                narrate.print("members save and stop …", style="dim")
            told = _tell_outcomes(conductor.outcomes, told, narrate)
            share = progress.share(conductor.at_work(), [o.member for o in conductor.outcomes])
            note = f"{told} of {count} done, {len(conductor.at_work())} at work"
            bar(round(1000 * share), 1000, note=note)
    log.write(sweep.path, log.LET_GO, ended=len(conductor.outcomes))
    _tell_outcomes(conductor.outcomes, told, narrate)
    if conductor.executor.failure:
        narrate.print(conductor.executor.failure, markup=False, soft_wrap=True)


def _tell_outcomes(outcomes: Sequence[Outcome], told: int, narrate: Console) -> int:
    for outcome in outcomes[told:]:
        mark = _MARKS.get(outcome.state, "?")
        sentence = outcome.sentence or outcome.state
        narrate.print(f"{mark} {called(outcome.member)}: {sentence}", markup=False, soft_wrap=True)
        told += 1
    return told


def _sum_up(sweep: Sweep, signals: NotedSignals, narrate: Console) -> bool:
    """Write what the members came to into the sweep's folder, and say where the transition is.

    ctrl+c and SIGTERM end it at once.

    Returns:
        Whether none of them did.
    """
    try:
        with signals.raised():
            summary = summary_of(sweep)
            found = transitions(summary.rows, summary.settings)
            write(sweep, summary, found)
    except KeyboardInterrupt:
        told = f"stopped before it was summed up: `eostui runs summary {sweep.id}` does it"
        narrate.print(told, markup=False, soft_wrap=True)
        return False
    except EostuiError as error:  # the members are whole: `runs summary` does it again
        narrate.print(f"no summary: {printable(str(error))}", markup=False, soft_wrap=True)
        return True
    for each in found[:_NAMED]:
        if each.knee.outcome != TOO_FEW:
            narrate.print(printable(each.sentence()), markup=False, soft_wrap=True)
    return True


def _tell_end(sweep: Sweep, states: Sequence[MemberState], narrate: Console) -> None:
    """Say how many members ended how, and name those that didn't finish."""
    counts = Counter(each.state for each in states)
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    narrate.print(f"{sweep.id}: {told}", markup=False, soft_wrap=True)
    named = [each for each in states if each.state in ("failed", "unreadable", "diverged")]
    for each in named[:_NAMED]:
        line = f"  {called(each.member)}: {each.sentence or each.state}"
        narrate.print(line, markup=False, soft_wrap=True)
    if len(named) > _NAMED:
        narrate.print(f"  and {len(named) - _NAMED} more: `eostui runs list --group {sweep.id}`")
    if any(
        each.state in ("waiting", "stopped", "interrupted") and not each.complete for each in states
    ):
        narrate.print(f"`eostui resume {sweep.id}` goes on", markup=False, soft_wrap=True)
    elif counts["failed"]:
        narrate.print(
            f"`eostui resume {sweep.id} --failed` repeats what failed", markup=False, soft_wrap=True
        )


def called(member: Member) -> str:
    """Return a member's number and settings, as `003 λ 0.001, seed 2`."""
    return f"{member.path.name.rpartition('.')[2]} {settings_label(member.settings)}".rstrip()


def settings_label(settings: Mapping[str, Any]) -> str:
    """Return settings as `λ 0.001, seed 2`."""
    return ", ".join(f"{symbol_of(key)} {told(value)}" for key, value in settings.items())


def _summary(sweep: Sweep, states: Sequence[MemberState]) -> dict[str, Any]:
    return {
        "id": sweep.id,
        "name": sweep.name,
        "path": str(sweep.path),
        "states": dict(Counter(each.state for each in states)),
        "members": [
            {
                "id": each.member.path.name, "settings": dict(each.member.settings),
                "state": each.state, "sentence": each.sentence,
                "last_step": each.entry.last_step if each.entry else None,
            }
            for each in states
        ],
    }  # fmt: skip
