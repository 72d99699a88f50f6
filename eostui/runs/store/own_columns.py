"""The columns that are a run's own: its facts state them, whichever version reads it.

`step_columns` names what is stored for every step, `dynamics` describes its controls and thresholds,
`probes` what its probes fill. Facts are whoever's wrote them: each is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eostui.errors import InputError, printable
from eostui.runs.store.columns import (
    BUILT_IN_COLUMNS,
    CALIBRATED,
    COORDINATES,
    DERIVED,
    EVERY_STEP,
    FIRST_STEP_COLUMNS,
    HESSIAN_PRODUCTS,
    INTERVENED,
    MEASURED,
    MEASURED_SECONDS,
    STORED_STEP_COLUMNS,
    TRAIN_ACCURACY,
    Column,
    ProbeColumns,
)
from eostui.stability import (
    BATCH_CURVATURE,
    BATCH_LOSS,
    BATCH_LOSS_STEP,
    ETA,
    FACT,
    THRESHOLD,
    UNDECAYED,
    WEIGHT_DECAY,
    Description,
)

STEP_COLUMNS, PROBES_FACT = "step_columns", "probes"
#: The format of the store from which on every run has all of STORED_STEP_COLUMNS.
_ALL_SINCE = 5
#: Numbers that all readings of a step may have at most, columns that a probe may, letters of a text.
_MOST_NUMBERS, _MOST_COLUMNS, _MOST_LETTERS = 100_000, 10_000, 1000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
#: Names that a column of its own can't have: they are taken in every run.
_TAKEN = {
    column.name
    for column in (
        *EVERY_STEP, *INTERVENED, *COORDINATES, *DERIVED, *CALIBRATED, HESSIAN_PRODUCTS,
        MEASURED_SECONDS,
    )
} | {UNDECAYED}  # fmt: skip
#: Those that what a dynamics stores for every step can't have; its thresholds are others.
_TAKEN_OF_STEPS = {
    *STORED_STEP_COLUMNS, TRAIN_ACCURACY.name, *(column.name for column in MEASURED),
    *_TAKEN - {THRESHOLD, UNDECAYED},
}  # fmt: skip
_BUILT_IN = {probe.name: {column.name for column in probe.columns} for probe in BUILT_IN_COLUMNS}


#: What dynamics that see batches store for every step.
#: What dynamics that see batches store of each step.
OF_BATCHES = (
    Column(
        BATCH_LOSS,
        "L",
        "L_B(θ_t) of this step's batch B; `loss`, of all samples, is had where something is "
        "measured",
    ),
    Column(BATCH_LOSS_STEP, "L", "L_B(θ_{t+1}) − L_B(θ_t) of this step's batch, by its own step"),
    Column(
        BATCH_CURVATURE, "L/θ²", "κ_B = ⟨∇L_B(θ_{t+1}) − ∇L_B(θ_t), Δθ⟩/‖Δθ‖² of this step's batch"
    ),
)


def step_columns_of(facts: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the stored step columns; those of format 1 where a run says nothing.

    They are its own: a run keeps the columns that it began with, whichever version goes on with it.

    Raises:
        ValueError: if it states others than an engine writes.
    """
    stated = facts.get(STEP_COLUMNS)
    if stated is None:
        return FIRST_STEP_COLUMNS
    names = _json(stated)
    own = [column.name for column in dynamics_columns_of(facts)]
    known = [*STORED_STEP_COLUMNS, *(column.name for column in (*COORDINATES, TRAIN_ACCURACY))]
    if (
        not isinstance(names, list)
        or any(name not in names for name in FIRST_STEP_COLUMNS)
        or [name for name in names if name not in own] != [name for name in known if name in names]
        or [name for name in names if name in own] not in ([], own)
    ):
        raise ValueError("the stored step columns aren't any that an engine writes")
    return tuple(names)


def step_columns_of_width(width: int, version: int) -> tuple[str, ...]:
    """Return the stored step columns of a run that doesn't state them, from how many there are.

    Args:
        width: how many.
        version: the format of its store; before format 5 no run had more than the first ones.
    """
    older = version < _ALL_SINCE or width < len(STORED_STEP_COLUMNS)
    base = FIRST_STEP_COLUMNS if older else STORED_STEP_COLUMNS
    return (base + tuple(column.name for column in COORDINATES))[: max(width, len(base))]


def dynamics_columns_of(facts: Mapping[str, str]) -> tuple[Column, ...]:
    """Return what a dynamics may have stored for every step beside η and λ: further controls, thresholds.

    Of gradient descent, whose thresholds follow from these two, they aren't stored.

    Raises:
        ValueError: if it states none that can be.
    """
    if FACT not in facts:
        return ()
    dynamics = Description.of_facts(facts)
    own = [
        Column(control.name, "1", printable(f"{control.description} {control.symbol}"))
        for control in dynamics.controls
        if control.name not in (ETA.name, WEIGHT_DECAY.name)
    ]
    label, undecayed = printable(dynamics.label), printable(dynamics.undecayed_label)
    own += [
        Column(THRESHOLD, "L/θ²", f"{label}, the stability limit with decay"),
        Column(UNDECAYED, "L/θ²", f"{undecayed}, the stability limit without decay"),
    ]
    if dynamics.batches:
        own += OF_BATCHES
    _refuse_names(own, _TAKEN_OF_STEPS)
    return tuple(own)


def probe_columns_of(facts: Mapping[str, str]) -> tuple[ProbeColumns, ...]:
    """Return what a run's probes fill; a run that states nothing has the program's own.

    The fact `probes` is a JSON list of objects with name, cost and a list `columns`, each with name,
    unit, description, optional and shape.

    Raises:
        ValueError: if it states none that can be.
    """
    stated = facts.get(PROBES_FACT)
    if stated is None:
        return BUILT_IN_COLUMNS
    content = _json(stated)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise ValueError("its probes aren't a JSON list of objects")
    probes = tuple(
        ProbeColumns(_text(entry, "name"), _text(entry, "cost"), _columns(entry.get("columns")))
        for entry in content
    )
    of_steps = [column.name for column in dynamics_columns_of(facts)]
    if TRAIN_ACCURACY.name in facts.get(
        STEP_COLUMNS, ""
    ):  # before there was that, a probe might have it
        of_steps.append(TRAIN_ACCURACY.name)
    check_probes(probes, of_steps)
    return probes


def probes_fact(probes: Iterable[ProbeColumns]) -> str:
    """Return the fact `probes` of a run with these.

    Raises:
        InputError: if they can't be probes of one run: names taken, arrays too large.
    """
    stated = json.dumps(
        [
            {
                "name": probe.name,
                "cost": probe.cost,
                "columns": [
                    {
                        "name": column.name,
                        "unit": column.unit,
                        "description": column.description,
                        "optional": column.optional,
                        "shape": list(column.shape),
                    }
                    for column in probe.columns
                ],
            }
            for probe in probes
        ],
        ensure_ascii=False,
    )
    try:
        probe_columns_of({PROBES_FACT: stated, STEP_COLUMNS: json.dumps([TRAIN_ACCURACY.name])})
    except ValueError as error:
        raise InputError(f"these probes can't measure one run: {error}") from None
    return stated


def joined(
    probes: Sequence[ProbeColumns], past: Iterable[ProbeColumns]
) -> tuple[ProbeColumns, ...]:
    """Return a run's probes, and after them those that only its past has: a fork has its parent's rows.

    What can't be told from a column of its own is left out.
    """
    names = {probe.name for probe in probes}
    taken = {name for probe in probes for name in _flat_names(probe.columns)}
    more = []
    for probe in past:
        columns = tuple(c for c in probe.columns if not taken & {c.name, *_flat_names([c])})
        if probe.name not in names and columns:
            more.append(ProbeColumns(probe.name, probe.cost, columns))
            taken |= {*_flat_names(columns)}
    return (*probes, *more)


def check_probes(probes: Sequence[ProbeColumns], of_steps: Iterable[str] = ()) -> None:
    """Raise ValueError if these can't be the probes of one run: names taken, arrays too large.

    Args:
        probes: all of the run.
        of_steps: names of further columns that its steps have.
    """
    names: set[str] = set()
    for probe in probes:
        if not _is_probe_name(probe.name):
            raise ValueError(f"a probe can't have the name `{printable(probe.name)}`")
        if probe.name in names:
            raise ValueError(f"there are two probes `{probe.name}`")
        names.add(probe.name)
    width = sum(probe.width for probe in probes)
    if width > _MOST_NUMBERS:
        raise ValueError(f"they have {width} numbers a step, but must have at most {_MOST_NUMBERS}")
    # a built-in's column is what readers take it for: nothing else has its name
    taken = {*_TAKEN, *of_steps} | {
        name for probe, columns in _BUILT_IN.items() for name in columns if probe not in names
    }
    columns = [column for probe in probes for column in probe.columns]
    _refuse_names(columns, taken)
    built_in = {column.name for column in MEASURED}
    for column in columns:
        if column.shape and column.name in built_in:
            raise ValueError(f"`{column.name}` is a number, not an array")


def _refuse_names(columns: Sequence[Column], taken: set[str]) -> None:
    for column in columns:
        if not _NAME.fullmatch(column.name):
            raise ValueError(f"a column can't have the name `{printable(column.name)}`")
        if column.name in taken:
            raise ValueError(f"a column of its own can't be called `{column.name}`: that is taken")
    seen: set[str] = set()
    for name in _flat_names(columns):
        if name in seen or name in taken:
            raise ValueError(f"there are two columns `{name}`")
        seen.add(name)
    arrays = {column.name for column in columns if column.shape}
    if both := arrays & seen:
        raise ValueError(f"there are two columns `{min(both)}`")


def _flat_names(columns: Iterable[Column]) -> list[str]:
    return [each.name for column in columns for each in column.flattened()]


def _is_probe_name(name: str) -> bool:
    return name.isprintable() and name == name.strip() and 0 < len(name) <= 100


def _columns(stated: object) -> tuple[Column, ...]:
    if not isinstance(stated, list) or len(stated) > _MOST_COLUMNS:
        raise ValueError("its columns aren't a list, or too many")
    columns = []
    for entry in stated:
        if not isinstance(entry, dict):
            raise ValueError("a column isn't a JSON object")
        shape = entry.get("shape", [])
        if (
            not isinstance(shape, list)
            or len(shape) > 8
            or not all(type(length) is int and 1 <= length <= _MOST_NUMBERS for length in shape)
        ):
            raise ValueError(f"the shape of the column `{_text(entry, 'name')}` is none")
        name, unit, description = (_text(entry, key) for key in ("name", "unit", "description"))
        optional = entry.get("optional", False) is True
        column = Column(name, unit, description, optional, tuple(shape))
        if column.size > _MOST_NUMBERS:
            raise ValueError(f"the shape of the column `{name}` is too large")
        columns.append(column)
    return tuple(columns)


def _text(entry: Mapping[str, Any], key: str) -> str:
    text = entry.get(key)
    if not isinstance(text, str) or len(text) > _MOST_LETTERS:
        raise ValueError(f"`{key}` of a column or a probe is no text, or too long")
    return printable(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
