"""What a sweep runs: a preset's config, and the settings that vary over it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eostui.config import RunConfig

#: Members that a sweep has at most.
MOST_MEMBERS = 10_000


@dataclass(frozen=True)
class Axis:
    """Settings that vary together.

    Attributes:
        keys: their names; several are zipped.
        values: of each of its points, in order, a value for each key.
    """

    keys: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the settings of each point."""
        for values in self.values:
            yield dict(zip(self.keys, values, strict=True))


@dataclass(frozen=True)
class Plan:
    """The product of some axes over a config.

    Attributes:
        base: what all members have in common.
        axes: the last varies fastest.
    """

    base: RunConfig
    axes: tuple[Axis, ...]

    @property
    def count(self) -> int:
        """How many members it has."""
        return math.prod(len(axis.values) for axis in self.axes)

    def settings(self) -> Iterator[dict[str, Any]]:
        """Yield what each member has of its own, in order."""
        for points in itertools.product(*(tuple(axis.points()) for axis in self.axes)):
            yield {key: value for point in points for key, value in point.items()}
