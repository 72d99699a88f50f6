"""When something that goes on will be done, by how fast it went of late."""

from __future__ import annotations

import math
from collections import deque

#: Seconds of the past that the pace is taken over, and the fewest that tell one.
_OVER, _LEAST = 30.0, 1.5


class Forecast:
    """Tells how long several things take yet, each from how far it was at some times."""

    def __init__(self) -> None:
        self._seen: dict[object, deque[tuple[float, float]]] = {}

    def see(self, what: object, now: float, done: float) -> None:
        """Take note of how far something is; one that went back begins anew.

        Args:
            what: its key.
            now: seconds of a clock that never goes back.
            done: in any unit.
        """
        seen = self._seen.setdefault(what, deque())
        if seen and done < seen[-1][1]:
            seen.clear()
        seen.append((now, done))
        while len(seen) > 2 and now - seen[1][0] >= _OVER:
            seen.popleft()

    def forget(self, what: object) -> None:
        """It doesn't go on: its pace is another when it does again."""
        self._seen.pop(what, None)

    def seconds(self, what: object, until: float) -> float:
        """Return how long it takes from its newest place to another; NaN where that can't be told."""
        seen = self._seen.get(what)
        if (
            seen is None
            or len(seen) < 2
            or seen[-1][0] - seen[0][0] < _LEAST
            or seen[-1][1] <= seen[0][1]
        ):
            return math.nan
        (start, first), (end, last) = seen[0], seen[-1]
        return max(until - last, 0.0) * (end - start) / (last - first)
