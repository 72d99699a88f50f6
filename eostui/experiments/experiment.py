"""Experiments: TOML files that say what a paper claims, which runs show it, and what decides.

# What it is, in a line.
paper = "WD"
figure = "Fig. 4, MLP"
claim = "…"
twin = "digits-wd-fig4-mlp"     # a sweep preset, or a preset of one run
paper_scale = "wd-fig4-mlp"

[columns.late_ratio]            # numbers that a summary doesn't have
of = "ntk_ratio"
take = "late mean"

[[criteria]]
says = "…"
reading = "change"
arguments = {column = "resting_sharpness", over = "weight_decay"}
must_be = "below"
value = -0.1
margin = 0.02
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eostui import locations, presets
from eostui.config import RunConfig
from eostui.errors import InputError, did_you_mean
from eostui.experiments.columns import RunColumn
from eostui.experiments.criterion import Criterion
from eostui.experiments.readings import COLUMN_ARGUMENTS, OVER, knee
from eostui.presets import PresetFile, head_comment
from eostui.runs.analysis.outcome import COLUMNS, TEXTS
from eostui.sweeps import presets as sweeps
from eostui.sweeps.plan import Draft, Plan, check_key
from eostui.sweeps.transition import READINGS as WITH_KNEE
from eostui.text import parse_toml
from eostui.validation import sentence

#: By which a command line means all experiments.
ALL = "all"
#: Papers in the order in which they are listed; others follow.
_PAPERS = ("WD", "INST", "WHY", "REV", "ours")


class Definition(BaseModel):
    """What an experiment's file states."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: str = Field(min_length=1, description="whose claim it is")
    figure: str = Field(min_length=1, description="where it stands there")
    claim: str = Field(min_length=1, description="what is claimed, in a sentence")
    twin: str = Field(min_length=1, description="what is run on a small machine")
    paper_scale: str = Field("", description="what is run at the paper's size; none where empty")
    inferred: tuple[str, ...] = Field((), description="what was deduced")
    lost: tuple[str, ...] = Field((), description="what the text we have lacks")
    columns: dict[str, RunColumn] = Field(default_factory=dict)
    criteria: tuple[Criterion, ...] = Field(min_length=1)

    def digest(self) -> str:
        """Return what changes if what is read, or what decides, does."""
        decides = self.model_dump(mode="json", include={"columns", "criteria"})
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Experiment(PresetFile):
    """An experiment: a file, and what it states."""

    definition: Definition

    def preset(self, *, paper_scale: bool = False) -> str:
        """Return the preset that it runs, of either kind. Raises InputError if there is none."""
        found = self.definition.paper_scale if paper_scale else self.definition.twin
        if not found:
            raise InputError(
                f"experiment {self.name} has no runs at a paper's size: leave that out"
            )
        return found

    @property
    def argument(self) -> str:
        """What a command line means it by: its name, or its path where the name isn't this file's."""
        known = available().get(self.name)
        path = self.path.resolve()
        same = known is not None and known.resolve() == path
        return self.name if same else shlex.quote(str(path))

    def preset_argument(self, *, paper_scale: bool = False) -> str:
        """Return what a command line means its preset by. Raises InputError if there is none."""
        return shlex.quote(_named(self.preset(paper_scale=paper_scale), self.path))

    def plan(self, *, paper_scale: bool = False) -> Plan:
        """Return the members that it needs. Raises InputError if the preset is none, or not valid."""
        return _plan(self.preset(paper_scale=paper_scale), self.path, f"experiment {self.name}")


def available() -> dict[str, Path]:
    """Return the files of all experiments by name, sorted; the user's own hide shipped ones."""
    return presets.available("experiments")


def load(name_or_path: str) -> Experiment:
    """Load an experiment by its name, or by the path of its file.

    Raises:
        InputError: if there is none (with the nearest name), or it isn't valid (with the key).
    """
    listed = "`eostui reproduce` lists them all"
    path, text, where = presets.read(name_or_path, available(), "experiment", listed)
    content = parse_toml(text, where)
    try:
        definition = Definition.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{where}: {_told(error, content)}") from None
    experiment = Experiment(path.stem, path, head_comment(text), definition)
    _check(experiment, where)
    return experiment


@dataclass(frozen=True)
class Wanted:
    """What names mean.

    Attributes:
        experiments: each once.
        named: those of them that are named themselves, not by their paper or `all`.
        left_out: a sentence for each file among all, or among a paper's, that isn't valid.
    """

    experiments: tuple[Experiment, ...]
    named: tuple[Experiment, ...] = ()
    left_out: tuple[str, ...] = ()


def wanted(names: Iterable[str]) -> Wanted:
    """Return the experiments that names mean: each of one, of a paper, a path, or `all`.

    Raises:
        InputError: if a name means none, or the file of one that is named isn't valid.
    """
    found: dict[Path, Experiment] = {}
    named: list[Experiment] = []
    left_out: dict[str, None] = {}
    for name in names:
        meant = _meant(name)
        found |= {each.path: each for each in meant.experiments}
        named += meant.named
        left_out |= dict.fromkeys(meant.left_out)
    return Wanted(tuple(found.values()), tuple(named), tuple(left_out))


def by_paper(experiments: Iterable[Experiment]) -> list[Experiment]:
    """Return them in the order of the papers, then of their names."""
    return sorted(experiments, key=lambda each: (*_rank(each.definition.paper), each.name))


def _rank(paper: str) -> tuple[int, str]:
    return (_PAPERS.index(paper) if paper in _PAPERS else len(_PAPERS)), paper


def _meant(name: str) -> Wanted:
    known = available()
    if name in known or name.endswith(".toml") or "/" in name:
        one = (load(name),)
        return Wanted(one, named=one)
    every, left_out = [], []
    for each in known:
        try:
            every.append(load(each))
        except InputError as error:  # one that is wrong hides no other
            left_out.append(str(error))
    of_paper = [e for e in every if name == ALL or e.definition.paper.casefold() == name.casefold()]
    if not of_paper:
        papers = {each.definition.paper.casefold() for each in every}
        raise InputError(
            f"there is no experiment and no paper `{name}`{did_you_mean(name, [*known, *papers, ALL])} "
            "(`eostui reproduce` lists them all; your own can be given by path)"
        )
    return Wanted(tuple(by_paper(of_paper)), left_out=tuple(left_out))


def _check(experiment: Experiment, where: str) -> None:
    """Raise InputError unless its presets are there, and what is read are columns of theirs."""
    definition = experiment.definition
    for preset in filter(None, (definition.twin, definition.paper_scale)):
        _plan(preset, experiment.path, where)
    known = [column.name for column in COLUMNS if column.name not in TEXTS] + [*definition.columns]
    for name in definition.columns:
        if name in {column.name for column in COLUMNS}:
            raise InputError(f"{where}: `columns`: `{name}` is a column of every summary already")
        if name in RunConfig.model_fields:
            raise InputError(
                f"{where}: `columns`: `{name}` is a setting: call the column otherwise"
            )
    for number, criterion in enumerate(definition.criteria, 1):
        told = f"{where}: criterion {number} of `criteria`"
        for each in criterion.readings():
            for key in each.where:
                check_key(key, f"{told}: `where`")
            for key in COLUMN_ARGUMENTS:
                column = each.arguments.get(key) or known[0]
                if column not in known:
                    raise InputError(
                        f"{told}: there is no column `{column}`{did_you_mean(column, known)}"
                    )
            if (over := each.arguments.get(OVER, known[0])) not in known:
                check_key(over, f"{told}: `{OVER}`")
            elif each.reading == knee.__name__:
                raise InputError(f"{told}: a knee is over a setting, and `{over}` is a column")
            if each.reading == knee.__name__ and each.arguments["column"] not in WITH_KNEE:
                raise InputError(
                    f"{told}: a knee is of a column of every summary, not of `{each.arguments['column']}`"
                )


def _named(preset: str, file: Path) -> str:
    """Return a preset's name, or its path from the root on: it is meant from the experiment's file on."""
    if preset.endswith(".toml") or "/" in preset:
        return str(file.parent.absolute() / locations.expanded(Path(preset)))
    return preset


def _plan(preset: str, file: Path, where: str) -> Plan:
    """Return what a preset of either kind runs."""
    named = _named(preset, file)
    if sweeps.is_meant(named):
        return sweeps.load(named).plan()
    if named == preset and preset not in presets.available():
        near = did_you_mean(preset, [*sweeps.available(), *presets.available()])
        raise InputError(f"{where}: there is no preset and no sweep preset `{preset}`{near}")
    return Draft(presets.load(named).config).plan(where)


def _told(error: ValidationError, content: Mapping[str, Any]) -> str:
    """Return pydantic's first error as a sentence: in an entry of a table, with its place."""
    first = error.errors()[0]
    place = first["loc"]
    table = str(place[0]) if place else ""
    if table not in ("criteria", "columns") or len(place) < 2 or table not in content:
        return sentence(error.errors(), Definition.model_fields)
    keys = Criterion.model_fields if table == "criteria" else RunColumn.model_fields
    same = [e for e in error.errors() if e["loc"][:2] == place[:2]]
    inner: list[Any] = [{**e, "loc": e["loc"][2:]} for e in same]
    told = f"{int(place[1]) + 1}" if isinstance(place[1], int) else f"`{place[1]}`"
    kind = "criterion" if table == "criteria" else "column"
    return f"{kind} {told} of `{table}`: {sentence(inner, keys)}"
