"""Forks on a schedule, made one after another: for `fork --every` and `fork --scheduled`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eostui.cli.output import print_json
from eostui.errors import InputError, printable

if TYPE_CHECKING:
    from eostui.cli.options import View
    from eostui.fork_schedule import ForkSchedule
    from eostui.runs.shelf import Entry

#: Exit codes from here on are signals': then no more forks are begun.
_SIGNALS = 128


def schedules_of(
    entry: Entry,
    every: int | None,
    first: int | None,
    until: int | None,
    length: int | None,
    changes: Mapping[str, Any],
    *,
    scheduled: bool,
) -> list[ForkSchedule]:
    """Return the schedules that the command line asks for. Raises InputError if they can't be."""
    from pydantic import ValidationError

    from eostui.fork_schedule import ForkSchedule
    from eostui.validation import sentence

    if scheduled:
        if (every, first, until, length) != (None,) * 4 or changes:
            raise InputError("--scheduled takes all from the run's `[[forks]]`: give it alone")
        if not entry.config.forks:
            raise InputError(f"the config of {entry.id} has no `[[forks]]`: say which by --every")
        return list(entry.config.forks)
    if length is None:
        raise InputError("--every needs --length: how many steps each fork takes itself")
    given = {"every": every, "from": first, "until": until, "length": length}
    values = {key: value for key, value in given.items() if value is not None}
    try:
        return [ForkSchedule.model_validate({**changes, **values})]
    except ValidationError as error:
        keys = tuple(ForkSchedule.model_fields)
        raise InputError(f"command line: {sentence(error.errors(), keys)}") from None


def make_forks(
    entry: Entry,
    schedules: Sequence[ForkSchedule],
    group: str,
    view: View,
    *,
    changed_data: bool,
) -> int:
    """Make the forks that aren't there yet, go on with those that were cut off; return the exit code:
    the largest of theirs, or that of the signal that ended all."""
    from eostui import locations
    from eostui.cli.headless import follow
    from eostui.runs import shelf
    from eostui.runs.analysis.summary import summarize_run
    from eostui.runs.edit import refuse_name
    from eostui.runs.fork_plan import group_of, planned_forks

    if group and (refusal := refuse_name(group, "group")):
        raise InputError(refusal)
    group = group or group_of(entry)
    folders = locations.runs_dir(view.runs_dir), locations.data_dir(view.data_dir)
    plan = planned_forks(
        entry, schedules, group, shelf.entries(folders[0]), changed_data=changed_data
    )
    codes, paths = [0], []
    for number, planned in enumerate(plan, 1):
        what = planned.next
        told = f"{number} of {len(plan)}: {entry.id} at step {planned.fork.at}"
        if what is None:
            assert planned.made is not None
            print(f"{printable(told)} is {planned.made.id} already", file=sys.stderr)
            path = planned.made.path
        else:
            print(printable(told), file=sys.stderr)
            path, code = follow(what, *folders, "", group)
            codes.append(code)
        paths.append(path)
        if not view.as_json:
            print(path)
        if codes[-1] >= _SIGNALS:
            break
    if view.as_json:
        print_json([summarize_run(path) for path in paths])
    return codes[-1] if codes[-1] >= _SIGNALS else max(codes)
