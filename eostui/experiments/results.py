"""What experiments came to: members on the shelf that are read and judged, kept beside them as JSON."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eostui.errors import EostuiError
from eostui.experiments.columns import added
from eostui.experiments.criterion import judged, together
from eostui.experiments.experiment import Experiment
from eostui.experiments.readings import UNFINISHED, Rows
from eostui.runs.analysis.outcome import nothing
from eostui.runs.completeness import ENDS
from eostui.runs.run import Run
from eostui.runs.store.reader import RunReader
from eostui.sweeps.conductor import unfinished
from eostui.sweeps.cost import record_bytes, refuse_disk, work
from eostui.sweeps.names import only_namer
from eostui.sweeps.plan import Plan
from eostui.sweeps.shelf import MANIFEST, sweeps_of
from eostui.sweeps.summary import SummaryReader, write_whole
from eostui.sweeps.sweep import Sweep
from eostui.sweeps.transition import ENDED, SEED
from eostui.text import plain

_FORMAT = 1
#: Work of members, in multiplications, from which on two cores take many hours.
_GPU_WORK = 1e15
#: What a result has at least.
_KEYS = {"experiment", "verdict", "digest", "criteria", "members", "seconds", "made_with"}
#: States of an experiment without a verdict: nothing there, a part of its members, all of them, and a
#: verdict by criteria other than those of now.
NEVER_RUN, BEGUN, DONE, OUTDATED = "never run", "begun", "done", "criteria changed"
#: Facts of a run that say what made it.
_MADE_WITH = ("eostui", "torch", "numpy", "python", "device", "device_name")

Result = dict[str, Any]


class OnShelf:
    """The sweeps of a shelf by what they run.

    Attributes:
        runs_dir: the shelf.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._read: dict[Path, tuple[int, Sweep]] = {}
        self._sweeps: dict[str, list[Sweep]] = {}
        self.look()

    def look(self) -> None:
        """Look at the shelf as it is now; of manifests that didn't change nothing is read again."""
        before, self._read, self._sweeps = self._read, {}, {}
        for path in sweeps_of(self.runs_dir):
            # a damaged one is told by what is asked of it
            with contextlib.suppress(OSError, EostuiError):
                stamp = (path / MANIFEST).stat().st_mtime_ns
                kept = before.get(path)
                sweep = kept[1] if kept is not None and kept[0] == stamp else Sweep(path)
                self._read[path] = stamp, sweep
                self._sweeps.setdefault(_told(sweep.plan, sweep.settings), []).append(sweep)

    def sweeps(self, plan: Plan) -> list[Sweep]:
        """Return the sweeps of just these members, the newest first."""
        return self._sweeps.get(_told(plan, plan.settings()), [])


@dataclass(frozen=True)
class Standing:
    """How an experiment stands on a shelf.

    Attributes:
        experiment: which.
        plan: the members that it needs.
        sweep: of them; None where there is none.
        state: a verdict, or one of the states above.
        complete: how many members came to their end.
        result: the last one; None for none, or where it is of fewer members than there are now, or of a
            part while the others can still be trained.
    """

    experiment: Experiment
    plan: Plan
    sweep: Sweep | None
    state: str
    complete: int = 0
    result: Result | None = None


def standing(experiment: Experiment, shelf: OnShelf, *, paper_scale: bool = False) -> Standing:
    """Return how an experiment stands.

    Of several sweeps of its members it stands by the one with a verdict, else by the most complete, else
    by the newest.

    Raises:
        InputError: if it has no runs of that size.
    """
    plan = experiment.plan(paper_scale=paper_scale)
    every = [_standing_of(sweep, experiment, plan) for sweep in shelf.sweeps(plan)]
    return max(every, key=_rank, default=Standing(experiment, plan, None, NEVER_RUN))


def _rank(found: Standing) -> tuple[bool, bool, int]:
    judged = found.result is not None
    return judged and found.state != OUTDATED, judged, found.complete


def _standing_of(sweep: Sweep, experiment: Experiment, plan: Plan) -> Standing:
    """Return how an experiment stands by one sweep of its members."""
    states = sweep.states()
    complete = sum(each.complete for each in states)
    result = stored(sweep, experiment)
    if result is not None and _made_of(result) < (plan.count if unfinished(states) else complete):
        result = None  # it was made of a part of them
    if result is not None:
        current = result["digest"] == experiment.definition.digest()
        state = str(result["verdict"]) if current else OUTDATED
    else:
        state = DONE if complete == plan.count else BEGUN
    return Standing(experiment, plan, sweep, state, complete, result)


def found_or_made(experiment: Experiment, shelf: OnShelf, *, paper_scale: bool = False) -> Sweep:
    """Return the sweep that an experiment stands by, as the shelf is now; one is made if there is none.

    Raises:
        InputError: if none can be made, or it has no runs of that size.
    """
    with only_namer(shelf.runs_dir):
        shelf.look()  # another process may have made one since
        found = standing(experiment, shelf, paper_scale=paper_scale)
        if found.sweep is not None:
            return found.sweep
        refuse_disk(shelf.runs_dir, sum(map(record_bytes, found.plan.configs())))
        stem = Path(experiment.preset(paper_scale=paper_scale)).stem
        return Sweep.create(shelf.runs_dir, found.plan, "", stem)


def result_file(sweep: Sweep, experiment: Experiment) -> Path:
    """Return where a result is kept, in the sweep's folder."""
    return sweep.path / f"experiment-{experiment.name}.json"


def _made_of(result: Result) -> int:
    """Return how many members had come to their end when it was made; older results say it by states."""
    members = result["members"]
    return int(result.get("complete", sum(members.get(state, 0) for state in (*ENDS, "stopped"))))


def needs_gpu(plan: Plan) -> bool:
    """Return whether members are so much work that a machine without a GPU is hardly used for them."""
    return sum(map(work, plan.configs())) >= _GPU_WORK


def stored(sweep: Sweep, experiment: Experiment) -> Result | None:
    """Return the result that is kept of an experiment; None if there is none that can be read."""
    return read_result(result_file(sweep, experiment))


def read_result(file: Path) -> Result | None:
    """Return the result in a file; None if there is none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("format") == _FORMAT and {*content} >= _KEYS:
            return content
    return None


def judge(
    experiment: Experiment, sweep: Sweep, rows: Rows | None = None, *, paper_scale: bool = False
) -> Result:
    """Judge an experiment by its members, keep the result in the sweep's folder and return it.

    Members that didn't come to their end count for nothing, and are named.

    Args:
        experiment: which.
        sweep: of its members.
        rows: what `rows_of` read of them; they are read here if left out.
        paper_scale: whether they are of the paper's size.

    Raises:
        InputError: if a member's config isn't valid, or the result can't be written.
    """
    definition = experiment.definition
    rows = rows or rows_of(sweep, experiment)
    judgements = tuple(judged(each, rows) for each in definition.criteria)
    seeds = [member.config.seed for member in sweep.members]
    content = {
        "format": _FORMAT,
        "experiment": experiment.name,
        **definition.model_dump(
            mode="json", include={"paper", "figure", "claim", "inferred", "lost"}
        ),
        "digest": definition.digest(),
        "scale": "paper" if paper_scale else "twin",
        "preset": experiment.preset(paper_scale=paper_scale),
        "sweep": sweep.id,
        "verdict": together(judgements),
        "criteria": [each.content() for each in judgements],
        "members": dict(Counter(str(row["state"]) for row in rows.rows)),
        "complete": sum(each.complete for each in sweep.states()),
        "seconds": sum(row["seconds"] for row in rows.rows if row["seconds"] == row["seconds"]),
        "varied": list(rows.settings),
        "seeds": sorted({*seeds}),
        "made_with": _made_with(sweep),
        "judged": time.time(),
    }
    made: Result = plain(content)
    write_result(result_file(sweep, experiment), made)
    return made


def write_result(file: Path, result: Result) -> None:
    """Write a result, whole or not at all. Raises InputError if it can't be written."""
    text = json.dumps(result, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    write_whole(file, text)


def rows_of(sweep: Sweep, experiment: Experiment) -> Rows:
    """Return what the members came to, with the experiment's own columns.

    Raises:
        InputError: if a member's config isn't valid.
    """
    summary = SummaryReader().of_sweep(sweep)
    rows = []
    for row, state in zip(summary.rows, sweep.states(), strict=True):
        if not state.complete:  # what it came to until then isn't what was asked for
            ended = UNFINISHED if state.state in ENDED else state.state
            known = {"run": row["run"], "state": ended, "sentence": state.sentence}
            settings = {key: row[key] for key in summary.settings}
            rows.append(nothing(**known, seconds=row["seconds"]) | settings)
            continue
        rows.append({**row, **_own_columns(state.member.path, experiment)})
    seeded = [
        {SEED: member.config.seed, **row} for row, member in zip(rows, sweep.members, strict=True)
    ]
    return Rows(tuple(seeded), summary.settings)


def _own_columns(path: Path, experiment: Experiment) -> Mapping[str, float]:
    if not experiment.definition.columns:
        return {}
    try:
        with Run(path) as run:
            return added(run, experiment.definition.columns)
    except EostuiError:  # its row says so
        return {}


def _made_with(sweep: Sweep) -> dict[str, str]:
    """Return versions and devices of the members that began, several with a comma between them."""
    found: dict[str, dict[str, None]] = {}
    for facts in _facts(sweep):
        for key in _MADE_WITH:
            if key in facts:
                found.setdefault(key, {})[facts[key]] = None
    return {key: ", ".join(values) for key, values in found.items()}


def _facts(sweep: Sweep) -> Iterator[Mapping[str, str]]:
    for state in sweep.states():
        if state.entry is not None:
            with (
                contextlib.suppress(EostuiError),
                contextlib.closing(RunReader(state.member.path)) as reader,
            ):
                yield reader.facts()


def _told(plan: Plan, settings: Iterable[Mapping[str, Any]]) -> str:
    """Return a text that two plans share if they have the same members, whose settings are given.

    A manifest states both: it is anybody's, and what is trained are its members.
    """
    axes = [[axis.keys, axis.values] for axis in plan.axes]
    members = sorted(json.dumps(each, sort_keys=True, default=str) for each in settings)
    told = [plan.base.model_dump(mode="json"), axes, members]
    return json.dumps(told, sort_keys=True, default=str)
