"""Fingerprints of what a run is trained on: its arrays, and the source of a user's own problem and
dynamics.

They are facts of the run, so that whoever goes on with it knows whether data and code are what they were.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError
from torch import Tensor

from eostui.config import RunConfig
from eostui.errors import RunFormatError
from eostui.problems import Problem
from eostui.problems.batch import Chunk, parts_of

#: What facts begin with that are fingerprints.
PREFIX = "fingerprint."
_SOURCE, _SHAPES = f"{PREFIX}source", f"{PREFIX}parameters"
_DYNAMICS_SOURCE = f"{PREFIX}dynamics_source"
_PROBES_SOURCE = f"{PREFIX}probes_source"

#: What a person calls the arrays.
_WORDS = {
    "initial": "θ₀", "decayed": "which parameters decay acts on", "test_inputs": "the test inputs",
    "test_targets": "the test targets",
}  # fmt: skip

#: Elements that are read at a time.
_BLOCK = 1 << 20
#: Roundings by which another machine may move each element of an array: the data are standardised there.
_ROUNDINGS = 8
#: Facts of where an array was computed: only elsewhere is it rounded otherwise.
_COMPUTED_BY = ("torch", "numpy", "python", "device", "device_name", "threads", "processes", "host")

_Sources = TypeAdapter(dict[str, str])
_Shapes = TypeAdapter(list[list[int]])


class ArrayPrint(BaseModel):
    """The fingerprint of an array.

    Attributes:
        dtype: as torch names it.
        shape: of the array.
        sha256: of its bytes, in the order of its elements.
        projection: Σ w_i x_i with fixed weights w_i, by which another rounding is told from other data.
        norm: √Σ x_i².
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    dtype: str
    shape: tuple[int, ...]
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    projection: float
    norm: float

    @classmethod
    def of(cls, array: Tensor) -> ArrayPrint:
        """Take the fingerprint of an array on any device, block by block on the CPU."""
        digest = hashlib.sha256()
        # a bit generator's stream is the same with every version of numpy, unlike what is drawn from it
        raw = np.random.PCG64(0).random_raw(min(_BLOCK, max(array.numel(), 1)))
        weights = torch.from_numpy((raw >> 11) * 2.0**-52 - 1.0)
        projection = squares = 0.0
        for number, block in enumerate(torch.split(array.detach().reshape(-1), _BLOCK)):
            here = block.cpu().contiguous()
            digest.update(here.view(torch.uint8).numpy().data)
            values = here.double()
            # blocks have weights of their own size, or exchanged ones would leave the sum as it is
            scale = 1.0 + float(weights[number % len(weights)]) / 2
            projection += scale * float(values @ weights[: len(values)])
            squares += float(values @ values)
        dtype = str(array.dtype).removeprefix("torch.")
        return cls(
            dtype=dtype, shape=tuple(array.shape), sha256=digest.hexdigest(),
            projection=projection, norm=squares**0.5,
        )  # fmt: skip

    def is_rounded(self, other: ArrayPrint) -> bool:
        """Return whether two arrays differ by no more than roundings of their elements."""
        if (self.dtype, self.shape) != (other.dtype, other.shape):
            return False
        dtype = getattr(torch, self.dtype, None)
        if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            return False
        of_elements = _ROUNDINGS * torch.finfo(dtype).eps
        of_the_sum = torch.finfo(torch.float64).eps * math.prod(self.shape) ** 0.5
        allowed = (of_elements + of_the_sum) * max(self.norm, other.norm)
        return bool(abs(self.projection - other.projection) <= allowed)

    def is_same(self, other: ArrayPrint) -> bool:
        """Return whether two arrays are the same to the bit; their sums may be rounded otherwise."""
        mine = self.dtype, self.shape, self.sha256
        return mine == (other.dtype, other.shape, other.sha256)


def fingerprints(config: RunConfig, problem: Problem) -> dict[str, str]:
    """Return the fingerprints of a problem as facts of its run."""
    arrays = {"initial": problem.initial, **problem.arrays}
    if problem.decayed is not None:
        arrays["decayed"] = problem.decayed
    facts = {
        f"{PREFIX}{name}": ArrayPrint.of(array).model_dump_json() for name, array in arrays.items()
    }
    first = parts_of(problem.loss)[0]
    supervised = first.supervised if isinstance(first, Chunk) else None
    if supervised is not None:
        shapes = [list(p.shape) for p in supervised.module.parameters() if p.requires_grad]
        facts[_SHAPES] = json.dumps(shapes)
    for key, references in (
        (_SOURCE, [config.problem]), (_DYNAMICS_SOURCE, [config.dynamics]),
        (_PROBES_SOURCE, config.probes),
    ):  # fmt: skip
        sources: dict[str, str] = {}
        for reference in references:
            file, separator, _ = reference.rpartition(":")
            found = _source(Path(file)) if separator else {}
            for name, digest in found.items():
                # files of one name in several folders are told apart by these
                if sources.setdefault(name, digest) != digest:
                    sources[str(Path(file).parent / name)] = digest
        if sources:
            facts[key] = json.dumps(sources)
    return facts


def has_fingerprints(facts: Mapping[str, str]) -> bool:
    """Return whether a run states any: versions before 0.2.0 didn't."""
    return f"{PREFIX}initial" in facts


def changes(
    then: Mapping[str, str], now: Mapping[str, str], where: Path
) -> tuple[list[str], list[str]]:
    """Compare the fingerprints of a run with those of the problem as it is now.

    Args:
        then: the facts of the run; it states fingerprints.
        now: those that a run of the problem would have.
        where: the run directory, for errors.

    Returns:
        What isn't as it was, and what differs by rounding alone, both in words.

    Raises:
        RunFormatError: if a fingerprint is damaged.
    """
    changed, rounded = [], []
    elsewhere = any(then.get(key) != now.get(key) for key in _COMPUTED_BY)
    keys = [key for key in dict.fromkeys((*now, *then)) if key.startswith(PREFIX)]
    for key in keys:
        name = key.removeprefix(PREFIX)
        word = _WORDS.get(name, f"the {name}")
        before, after = then.get(key) or None, now.get(key) or None
        if before == after or key == _PROBES_SOURCE:  # no probe moves θ: see `changed_probes`
            continue
        if key in (_SOURCE, _DYNAMICS_SOURCE):
            changed += _changed_files(where, before, after)
        elif key == _SHAPES:
            continue  # what doesn't fit is refused by itself
        elif before is None or after is None:
            changed.append(f"{word} {'are gone' if after is None else 'are new'}")
        else:
            one, other = (_read_array(where, key, text) for text in (before, after))
            if one.is_same(other):
                continue
            if elsewhere and one.is_rounded(other):
                rounded.append(word)
            elif (one.shape, one.dtype) != (other.shape, other.dtype):
                changed.append(f"{word} changed from {_form(one)} to {_form(other)}")
            elif name != "initial" or _same_library(then, now):
                changed.append(f"{word} changed")
    return changed, rounded


def changed_probes(then: Mapping[str, str], now: Mapping[str, str], where: Path) -> str:
    """Return how the source of a user's probes differs from a run's, or "" if it doesn't.

    It is the same run all the same: θ goes its way whatever is measured.

    Raises:
        RunFormatError: if the fingerprint is damaged.
    """
    before, after = (facts.get(_PROBES_SOURCE) or None for facts in (then, now))
    return "" if before == after else "; ".join(_changed_files(where, before, after))


def other_shapes(then: Mapping[str, str], now: Mapping[str, str], where: Path) -> str:
    """Return how the shapes of a module's parameters differ from a run's, or "" if they don't.

    Raises:
        RunFormatError: if the fingerprint is damaged.
    """
    if _SHAPES not in then or _SHAPES not in now:
        return ""
    try:
        before, after = (_Shapes.validate_json(facts[_SHAPES]) for facts in (then, now))
    except ValidationError:
        raise _damaged(where, _SHAPES) from None
    if before == after:
        return ""
    for one, other in zip(before, after, strict=False):
        if one != other:
            return f"its parameters' shapes changed ({_shape(one)} is {_shape(other)} now)"
    return f"it has {len(after)} arrays of parameters, and had {len(before)}"


def _same_library(then: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Return whether θ₀ was drawn by the same generator: another torch or device has its own."""
    return all(then.get(key) == now.get(key) for key in ("torch", "device"))


def _changed_files(where: Path, before: str | None, after: str | None) -> list[str]:
    try:
        one, other = (_Sources.validate_json(text or "{}") for text in (before, after))
    except ValidationError:
        raise _damaged(where, _SOURCE) from None
    names = [name for name in dict.fromkeys((*other, *one)) if one.get(name) != other.get(name)]
    return [f"the source of {', '.join(names)} changed"]


def _read_array(where: Path, key: str, text: str) -> ArrayPrint:
    try:
        return ArrayPrint.model_validate_json(text)
    except ValidationError:
        raise _damaged(where, key) from None


def _damaged(where: Path, key: str) -> RunFormatError:
    return RunFormatError(f"{where}: its fact `{key}` is damaged")


def _form(array: ArrayPrint) -> str:
    return f"{_shape(array.shape)} {array.dtype}"


def _shape(shape: tuple[int, ...] | list[int]) -> str:
    return "×".join(map(str, shape)) or "a scalar"


def _source(file: Path) -> dict[str, str]:
    """Return the SHA-256 of a Python file and of the modules beside it that it imports, by name.

    The names are relative to the file's folder. What is imported by other means than `import` isn't
    found.
    """
    folder = file.absolute().parent
    found: dict[str, str] = {}
    waiting = [file.absolute()]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(folder).as_posix()
        if name in found:
            continue
        content = path.read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()
        for module in _imported(content, path, folder):
            waiting += [
                each
                for each in (module.with_name(f"{module.name}.py"), module / "__init__.py")
                if each.is_file() and each.is_relative_to(folder)
            ]
    return dict(sorted(found.items()))


def _imported(content: bytes, path: Path, folder: Path) -> Iterator[Path]:
    """Yield where the modules that a file imports would lie in `folder`, without their endings."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return  # it can't have been imported itself
    for node in ast.walk(tree):
        base, modules = folder, []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = path.parents[min(node.level, len(path.parents)) - 1]
            stem = f"{node.module}." if node.module else ""
            modules = [f"{stem}{alias.name}" for alias in node.names]
        for module in modules:
            parts = [part for part in module.split(".") if part != "*"]
            for length in range(1, len(parts) + 1):  # a package runs when a part of it is imported
                yield base.joinpath(*parts[:length])
