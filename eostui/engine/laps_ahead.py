"""Laps of steps after a measurement, done by a GPU beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

from eostui.curvature.capture import Program, Programs, State, Tensors

#: Laps that are done beside a measurement, at most.
MOST = 8


class _Asked(NamedTuple):
    """What was asked of the device.

    Attributes:
        laps: how many.
        controls: those of their steps.
        probes: those that were on.
        before: what was handed on to the first of them.
    """

    laps: int
    controls: dict[str, float]
    probes: list[str]
    before: Tensors


class LapsAhead:
    """Laps that were asked of the device as if nothing came of the measurement that they are beside.

    A measurement keeps the host busier than the device, which does them meanwhile, on a stream and memory
    of their own. They count once they are taken; until then what they write over can be had back.
    """

    def __init__(self, programs: Programs, lap: Program, state: State) -> None:
        """Begin without any.

        Args:
            programs: those of the trajectory.
            lap: that of several steps.
            state: what one lap hands on to the next.
        """
        self._programs, self._lap, self._state = programs, lap, state
        self._asked: _Asked | None = None

    @property
    def count(self) -> int:
        """How many laps are ahead."""
        return 0 if self._asked is None else self._asked.laps

    def can_begin(self) -> bool:
        """Whether the device can do laps beside other work."""
        return self._lap.captured and self._programs.ahead is not None

    def begin(
        self,
        count: int,
        controls: Mapping[str, float],
        probes: Sequence[str],
        run: Callable[[], None],
    ) -> None:
        """Have laps done.

        Args:
            count: how many, 1 or more.
            controls: those of their steps.
            probes: those that are on.
            run: asks the device for one.
        """
        assert self._programs.ahead is not None
        before = tuple(torch.empty_like(tensor) for tensor in self._state.fixed)
        torch._foreach_copy_(before, self._state.fixed)
        self._asked = _Asked(count, dict(controls), list(probes), before)
        with self._programs.ahead.beside():
            for _ in range(count):
                run()

    def are_of(self, controls: Mapping[str, float], probes: Sequence[str]) -> bool:
        """Whether there are laps by these controls, with these probes on."""
        asked = self._asked
        return (
            asked is not None
            and self._lap.captured  # or rows may have come to hold more
            and asked.controls == dict(controls)
            and asked.probes == list(probes)
        )

    def take(self) -> None:
        """Let them count: what comes next goes on from them."""
        self._end()

    def take_back(self) -> None:
        """Be again before them, if there are any."""
        asked = self._asked
        if asked is not None:
            self._end()
            torch._foreach_copy_(self._state.fixed, asked.before)

    def _end(self) -> None:
        assert self._programs.ahead is not None
        self._asked = None
        self._programs.ahead.join()
