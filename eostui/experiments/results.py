"""What experiments came to: members on the shelf that are read and judged, kept beside them as JSON."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eostui.errors import EostuiError
from eostui.experiments.columns import added
from eostui.experiments.criterion import judged, together
from eostui.experiments.experiment import Experiment
from eostui.experiments.readings import ENDED, UNFINISHED, Rows
from eostui.runs.analysis.outcome import nothing
from eostui.runs.run import Run
from eostui.runs.store.reader import RunReader
from eostui.sweeps.cost import work
from eostui.sweeps.plan import Plan
from eostui.sweeps.shelf import sweeps_of
from eostui.sweeps.summary import SummaryReader, write_whole
from eostui.sweeps.sweep import Sweep
from eostui.sweeps.transition import SEED
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
    """The sweeps of a shelf by what they run, read once."""

    def __init__(self, runs_dir: Path) -> None:
        self._sweeps: dict[str, Sweep] = {}
        for path in reversed(sweeps_of(runs_dir)):  # of several, the newest
            with contextlib.suppress(EostuiError):  # a damaged one is told by what is asked of it
                sweep = Sweep(path)
                self._sweeps[_told(sweep.plan)] = sweep

    def find(self, plan: Plan) -> Sweep | None:
        """Return the newest sweep of just these members, None if there is none."""
        return self._sweeps.get(_told(plan))

    def take(self, sweep: Sweep) -> None:
        """Take in a sweep that was made meanwhile."""
        self._sweeps[_told(sweep.plan)] = sweep


@dataclass(frozen=True)
class Standing:
    """How an experiment stands on a shelf.

    Attributes:
        experiment: which.
        plan: the members that it needs.
        sweep: of them; None where there is none.
        state: a verdict, or one of the states above.
        complete: how many members came to their end.
        result: the last one; None for none.
    """

    experiment: Experiment
    plan: Plan
    sweep: Sweep | None
    state: str
    complete: int = 0
    result: Result | None = None


def standing(experiment: Experiment, shelf: OnShelf, *, paper_scale: bool = False) -> Standing:
    """Return how an experiment stands. Raises InputError if it has no runs of that size."""
    plan = experiment.plan(paper_scale=paper_scale)
    sweep = shelf.find(plan)
    if sweep is None:
        return Standing(experiment, plan, None, NEVER_RUN)
    complete = sum(each.complete for each in sweep.states())
    result = stored(sweep, experiment)
    if result is not None:
        current = result["digest"] == experiment.definition.digest()
        state = str(result["verdict"]) if current else OUTDATED
    else:
        state = DONE if complete == plan.count else BEGUN
    return Standing(experiment, plan, sweep, state, complete, result)


def result_file(sweep: Sweep, experiment: Experiment) -> Path:
    """Return where a result is kept, in the sweep's folder."""
    return sweep.path / f"experiment-{experiment.name}.json"


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


def _told(plan: Plan) -> str:
    """Return a text that two plans share if they have the same members."""
    axes = [[axis.keys, axis.values] for axis in plan.axes]
    return json.dumps([plan.base.model_dump(mode="json"), axes], sort_keys=True, default=str)
