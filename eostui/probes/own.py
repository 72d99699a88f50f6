"""A user's own probe: loaded and refused before a run, kept from harm to it while it measures."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.errors import InputError, did_you_mean
from eostui.optional_probes import OPTIONAL_PROBES
from eostui.own_code import load_class, seeded, told
from eostui.probes.probe import Cost, Moment, Probe, Reading, Value
from eostui.problems import Problem
from eostui.runs.analysis.remarks import NOTED
from eostui.runs.store.columns import Column, ProbeColumns
from eostui.runs.store.own_columns import check_probes
from eostui.runs.store.payloads import safe

#: What a probe may read of the program's own.
_READ = ("eigenvectors", "guards", "sharpness_gradient")
#: Of the tensors of a state: those that numpy has too.
_KEPT_TYPES = {
    torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64,
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


class ProbeError(Exception):
    """A user's probe doesn't keep to what a probe is; the message is a sentence's end."""


def own_probe(reference: str, config: RunConfig, before: Sequence[ProbeColumns]) -> type[Probe]:
    """Execute a user's file and return the probe that the reference names.

    Args:
        reference: a "file.py:Class".
        config: of the run.
        before: those that the run has already.

    Raises:
        InputError: if there is none, it fails, or its readings couldn't be recorded.
    """
    found = cast("type[Probe]", load_class(reference, "probes", Probe, config.seed))
    if refusal := _refuse(found, before):
        raise InputError(f"`probes`: {reference}: {refusal}")
    return found


def try_probes(kinds: Sequence[type[Probe]], config: RunConfig, problem: Problem) -> None:
    """Make each of the probes that the config names once. Raises InputError if one can't be made."""
    for kind, reference in zip(
        kinds[len(kinds) - len(config.probes) :], config.probes, strict=True
    ):
        try:
            if reference in OPTIONAL_PROBES:
                kind(config, problem)
            else:
                made(kind, config, problem)
        except InputError as error:
            raise InputError(f"`probes`: {reference}: {error}") from None
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            raise InputError(f"`probes`: {reference} failed: {told(error)}") from error


def made(kind: type[Probe], config: RunConfig, problem: Problem) -> Probe:
    """Make a user's probe; what it draws meanwhile is the same whenever it is made."""
    key = zlib.crc32(f"{config.seed} {kind.name}".encode())
    with seeded(key, problem.initial.device):
        return kind(config, problem)


def _refuse(own: type[Probe], before: Sequence[ProbeColumns]) -> str | None:
    """Return why a user's probe can't be used, or None."""
    name, columns = getattr(own, "name", None), getattr(own, "columns", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return 'it has no name that a record can have: give the class a `name = "…"` of letters'
    if name in OPTIONAL_PROBES:
        return f"`{name}` is the name of a probe of the program: give the class another"
    if not isinstance(columns, tuple | list) or not columns:
        return "it has no `columns`: give the class a tuple of eostui.probes.Column"
    for column in columns:
        if not isinstance(column, Column):
            return f"{column!r} among its `columns` is no eostui.probes.Column"
        if not isinstance(column.shape, tuple | list) or not all(
            type(length) is int and length > 0 for length in column.shape
        ):
            return f"the shape of its column `{column.name}` must be a tuple of sizes"
    if own.cost not in get_args(Cost):
        return f'its `cost` is "{own.cost}", but must be one of {", ".join(get_args(Cost))}'
    if abstract := sorted(getattr(own, "__abstractmethods__", ())):
        return f"it has no method `{abstract[0]}`"
    try:
        check_probes([*before, ProbeColumns(name, own.cost, tuple(columns))])
    except ValueError as error:
        return str(error)
    return None


@contextlib.contextmanager
def kept_from_harm(
    probe: Probe, point: Point, moment: Moment, seed: int
) -> Iterator[tuple[Point, Moment]]:
    """Yield a point and a moment for a user's probe, random numbers keyed by seed, step and its name.

    Whatever it changes in place of what the run and other probes go on with is put back.

    Raises:
        ProbeError: if it did so.
    """
    shared = {"θ": point.theta, "∇L": point.gradient}
    if moment.theta is not None:
        shared["θ_t"] = moment.theta
    if moment.displacement is not None:
        shared["the displacement"] = moment.displacement
    for other in moment.probes.values():
        if other is not probe and type(other).__module__.startswith("eostui."):
            for name, value in other.state().items():
                if isinstance(value, Tensor) and name in _READ:
                    shared[f"{name} of the probe {other.name}"] = value
    before = {name: (tensor.detach().clone(), tensor._version) for name, tensor in shared.items()}
    key = zlib.crc32(f"{seed} {moment.step} {probe.name}".encode())
    own = copy.copy(moment)
    own.probes, own.readings = MappingProxyType(dict(moment.probes)), dict(moment.readings)
    own.controls = dict(moment.controls)
    dtype = torch.get_default_dtype()
    try:
        # `enable_grad` puts back, too, whether gradients are recorded
        with seeded(key, point.theta.device), torch.enable_grad():
            yield copy.copy(point), own  # to release its own copy is its own affair
    finally:
        torch.set_default_dtype(dtype)
        changed = [
            name
            for name, tensor in shared.items()
            if tensor._version != before[name][1] or not _same_bits(tensor, before[name][0])
        ]
        for name in changed:
            shared[name].detach().copy_(before[name][0])
    if changed:
        raise ProbeError(f"it changed {changed[0]} in place: work on a clone")


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same, a NaN being itself: no version counts what `.data` changes."""
    words = torch.int64 if one.element_size() == 8 else torch.int32
    return torch.equal(one.detach().view(words), other.view(words))


def checked(probe: Probe, found: object) -> Reading:
    """Return what a user's probe measured, as numbers of its columns.

    Raises:
        ProbeError: if it isn't.
    """
    if not isinstance(found, Reading):
        raise ProbeError(f"it returned {type(found).__name__}, but must return a Reading")
    columns = {column.name: column for column in probe.columns}
    values = {name: _value(name, value, columns) for name, value in found.values.items()}
    if not isinstance(found.products, int) or found.products < 0:
        raise ProbeError(f"its products are {found.products!r}, but must be a count")
    return Reading(values, int(found.products), [_noted(probe, each) for each in found.remarks])


def _value(name: str, value: object, columns: Mapping[str, Column]) -> Value:
    if name not in columns:
        raise ProbeError(
            f"it returned `{name}`, which isn't among its columns{did_you_mean(str(name), columns)}"
        )
    shape = tuple(columns[name].shape)
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError
        numbers = array.astype(np.float64)
    except (TypeError, ValueError):
        raise ProbeError(f"its `{name}` is {value!r:.40}, but must be numbers") from None
    if numbers.shape != shape:
        raise ProbeError(f"its `{name}` has shape {numbers.shape}, but its column has {shape}")
    return numbers if shape else float(numbers)


def _noted(probe: Probe, remark: object) -> tuple[str, dict[str, Any]]:
    try:
        kind, payload = cast("tuple[str, dict[str, Any]]", remark)
        text = json.dumps([str(kind), dict(payload)], allow_nan=False)
    except (TypeError, ValueError):
        raise ProbeError(f"its remark {remark!r:.40} is no kind with what JSON can hold") from None
    kind, payload = json.loads(text)
    return NOTED, safe({"probe": probe.name, "kind": kind, "told": payload})


def checked_state(state: object) -> dict[str, Any]:
    """Return what a user's probe keeps, as a checkpoint can have it.

    Raises:
        ProbeError: if it can't.
    """
    if not isinstance(state, Mapping):
        raise ProbeError(f"its `state` returned {type(state).__name__}, but must return a mapping")
    kept: dict[str, Any] = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise ProbeError(f"its `state` has {name!r} for a name")
        if isinstance(value, Tensor):
            if value.layout != torch.strided or value.dtype not in _KEPT_TYPES:
                raise ProbeError(
                    f"its state `{name}` is a tensor that no checkpoint can hold: {value.layout}, "
                    f"{value.dtype}"
                )
            kept[name] = value
            continue
        try:
            kept[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            raise ProbeError(
                f"its state `{name}` is {type(value).__name__}, but must be a tensor or what JSON holds"
            ) from None
    return kept
