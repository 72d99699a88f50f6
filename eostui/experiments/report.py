"""A report of experiments: what stands in it, and in Markdown verdicts, numbers and commands."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from eostui.errors import printable
from eostui.experiments.criterion import AGREES, DIFFERS, UNDECIDED
from eostui.experiments.drawings import Drawing
from eostui.experiments.experiment import Experiment, by_paper
from eostui.experiments.results import NEVER_RUN, Result, needs_gpu
from eostui.version import __version__

#: Whose claims they are, by the letters that experiments name.
PAPERS = {
    "WD": "Saether, Kolic, Poggio, Beneventano: Does Weight Decay Enhance Training Stability?",
    "INST": "Wang, Roberts: Can Stability be Detrimental?",
    "WHY": "D'Angelo et al.: Why Do We Need Weight Decay for Overparameterized Deep Networks?",
    "REV": "Shapira: Edge of Stability Training Dynamics",
    "ours": "claims of this program's own",
}
#: What is said of a result by other criteria than those of now.
CHANGED = "the criteria were changed since: this is by those of then"
#: What is said where there is a result without a figure.
NO_FIGURE = "no figure: it was judged without matplotlib, or its members are no longer there"


@dataclass(frozen=True)
class Entry:
    """An experiment in a report.

    Attributes:
        experiment: which.
        paper_scale: whether at the paper's size.
        state: its verdict, or how it stands without one.
        members: how many it takes.
        steps: of all of them together.
        needs_gpu: whether they are too much for a machine without.
        result: what it came to; None for nothing.
        drawings: its figures.
    """

    experiment: Experiment
    paper_scale: bool
    state: str
    members: int
    steps: int
    needs_gpu: bool
    result: Result | None = None
    drawings: Sequence[Drawing] = ()

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        *,
        paper_scale: bool = False,
        state: str = NEVER_RUN,
        result: Result | None = None,
        drawings: Sequence[Drawing] = (),
    ) -> Entry:
        """Return an entry; its state is told of one without a result. Raises InputError."""
        plan = experiment.plan(paper_scale=paper_scale)
        return cls(
            experiment,
            paper_scale,
            str(result["verdict"]) if result else state,
            plan.count,
            sum(config.steps for config in plan.configs()),
            needs_gpu(plan),
            result,
            drawings,
        )

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.experiment.name

    @property
    def size(self) -> str:
        """Of what was run: `twin` or `paper`."""
        return "paper" if self.paper_scale else "twin"

    @property
    def where(self) -> str:
        """Where the claim stands."""
        return f"{self.experiment.definition.paper}, {self.experiment.definition.figure}"

    @property
    def command(self) -> str:
        """By which it is run, or once more."""
        scale = " --paper-scale" if self.paper_scale else ""
        return printable(f"eostui reproduce {self.experiment.argument}{scale}")

    @property
    def preset_command(self) -> str:
        """By which its members are trained alone."""
        plan = self.experiment.plan(paper_scale=self.paper_scale)
        verb = "sweep" if plan.axes else "run"
        preset = self.experiment.preset_argument(paper_scale=self.paper_scale)
        return printable(f"eostui {verb} {preset}")

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        members = "1 member" if self.members == 1 else f"{self.members} members"
        steps = f"{self.steps:,}".replace(",", " ")
        gpu = "; needs a GPU" if self.needs_gpu else ""
        return f"{members}, {steps} steps{gpu}"

    @property
    def outdated(self) -> bool:
        """Whether its result is by other criteria than those of now."""
        result = self.result
        return result is not None and result["digest"] != self.experiment.definition.digest()


@dataclass(frozen=True)
class Judged:
    """A criterion's line in a report.

    Attributes:
        says: what it asks.
        value: what was read; "—" for nothing.
        error: its standard error; "" for none.
        bound: what it must be.
        verdict: of it.
        why: why nothing is decided; "" where it is.
    """

    says: str
    value: str
    error: str
    bound: str
    verdict: str
    why: str


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return them by papers, as experiments are listed."""
    every = list(entries)
    ordered = by_paper({entry.name: entry.experiment for entry in every}.values())
    place = {experiment.name: number for number, experiment in enumerate(ordered)}
    return sorted(every, key=lambda entry: (place[entry.name], entry.paper_scale))


def counted(entries: Sequence[Entry]) -> str:
    """Return how many there are of each verdict."""
    counts = Counter(entry.state for entry in entries)
    states = dict.fromkeys((AGREES, DIFFERS, UNDECIDED, *counts))
    return ", ".join(f"{counts[state]} {state}" for state in states if counts[state]) or "nothing"


def made_today() -> str:
    """Return what a report says of itself: by which version it was made, and when."""
    return f"Made by eostui {__version__}, {time.strftime('%Y-%m-%d', time.gmtime())}"


def judgements(result: Result) -> list[Judged]:
    """Return a result's criteria as lines."""
    return [
        Judged(
            each["criterion"]["says"], *_value(each), bound(each), each["verdict"], each["why"]
        )
        for each in result["criteria"]
    ]  # fmt: skip


def facts(entry: Entry) -> list[tuple[str, str]]:
    """Return what else there is to say of a result, each with its title."""
    result = entry.result
    if result is None:
        return []
    definition = entry.experiment.definition
    members = ", ".join(f"{count} {state}" for state, count in result["members"].items())
    left_out = dict.fromkeys(line for each in result["criteria"] for line in each["left_out"])
    lines = [
        ("note", CHANGED if entry.outdated else ""),
        ("inferred", "; ".join(definition.inferred)),
        ("not in the text we have", "; ".join(definition.lost)),
        ("members", f"{members}; {result['seconds']:.0f} s of training"),
        ("seeds", ", ".join(map(str, result["seeds"]))),
        ("left out", "; ".join(left_out)),
        ("made with", ", ".join(f"{key} {value}" for key, value in result["made_with"].items())),
        ("judged", time.strftime("%Y-%m-%d", time.gmtime(result["judged"]))),
    ]
    return [(title, printable(text)) for title, text in lines if text]


def markdown(entries: Sequence[Entry], head: str = "", folder: str = "") -> str:
    """Return a report in Markdown.

    Args:
        entries: in their order, those of a paper together.
        head: what stands above the verdicts, in Markdown; a title, and what made it, if left out.
        folder: where the figures of results lie, from the report on; "" for a report without.
    """
    done = [entry for entry in entries if entry.result is not None]
    parts = [
        head
        or "# Experiments of the papers\n\n"
        f"{made_today()}: {counted(entries)}. "
        "A criterion stands in its experiment's file before that is run; see `docs/reproduce.md`.",
    ]
    if done:
        parts.append(
            _table(
                ("experiment", "where", "size", "verdict"),
                [(f"`{e.name}`", e.where, e.size, e.state) for e in done],
            )
        )
    for paper, group in groupby(done, key=lambda entry: entry.experiment.definition.paper):
        parts += [f"## {_safe(paper)}", _safe(PAPERS.get(paper, ""))]
        for entry in group:
            parts += _section(entry, folder)
    if lacking := [entry for entry in entries if entry.result is None]:
        rows = [
            (f"`{e.command}`", e.where, e.experiment.definition.claim, e.state, e.takes)
            for e in lacking
        ]
        parts += [
            "## Without a result",
            _table(("command", "where", "claim", "state", "takes"), rows),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(entry: Entry, folder: str) -> list[str]:
    assert entry.result is not None
    rows = [
        (
            each.says,
            each.value + each.error,
            each.bound,
            each.verdict + (each.why and f": {each.why}"),
        )
        for each in judgements(entry.result)
    ]
    lines = [
        *(f"- {title}: {_safe(text)}" for title, text in facts(entry)),
        f"- again: `{entry.command}`; alone: `{entry.preset_command}`",
    ]
    size = ", at the paper's size" if entry.paper_scale else ""
    pictures = "\n".join(
        f"![{_safe(drawing.alternative)}]({folder}/{kept_name(entry)}.{number}.svg)"
        for number, drawing in enumerate(entry.drawings, start=1)
    )
    return [
        f"### {_safe(entry.experiment.definition.figure)}{size}: {entry.state}",
        _safe(entry.experiment.definition.claim),
        _table(("criterion", "read", "must be", "verdict"), rows),
        pictures if folder else "",
        "\n".join(lines),
    ]


def kept_name(entry: Entry) -> str:
    """Return by which name data of an entry are kept, without an ending."""
    definition = entry.experiment.definition
    other = entry.paper_scale and definition.paper_scale != definition.twin
    return f"{entry.name}.paper" if other else entry.name


def read(judgement: Mapping[str, Any]) -> str:
    """Return what was read, with its error, as `-0.651 ± 0.02`; "—" for nothing."""
    return "".join(_value(judgement))


def _value(judgement: Mapping[str, Any]) -> tuple[str, str]:
    value, error = judgement["value"], judgement["error"]
    if value is None or math.isnan(value):
        return "—", ""
    known = error is not None and not math.isnan(error)
    return f"{value:.3g}", f" ± {error:.2g}" if known else ""


def bound(judgement: Mapping[str, Any]) -> str:
    """Return what it must be, as `below -0.1, margin 0.02`."""
    criterion, wanted = judgement["criterion"], judgement["wanted"]
    told = "—" if wanted is None or math.isnan(wanted) else f"{wanted:.3g}"
    margin = f", margin {criterion['margin']:.3g}" if criterion["margin"] else ""
    return f"{criterion['must_be']} {told}{margin}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(
        "| " + " | ".join(_safe(str(c)).replace("|", "\\|") for c in r) + " |" for r in lines
    )


def _safe(text: str) -> str:
    """Return a text without control characters, and without HTML: a file may come from a stranger."""
    return printable(text).replace("<", "&lt;")
