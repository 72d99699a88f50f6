"""Which part of the x axis the charts show: all of it, a stretch, or the newest stretch."""

from __future__ import annotations

from dataclasses import dataclass

from eostui.tui.charts.scales import nice_above

#: Steps that the axis shows at least.
SHORTEST = 50.0
_ZOOM = 2.0
_PAN = 0.25
#: When the newest point reaches the right end, the window jumps ahead by this share of itself.
_JUMP = 0.2


@dataclass
class Window:
    """The x range shared by all charts; it never begins before 0.

    Attributes:
        span: width shown, or None for the whole run.
        right: right end; moves by itself while `following`.
        following: whether the newest point stays in sight.
    """

    span: float | None = None
    right: float = 0.0
    following: bool = True

    def range(self, last: float, unit: float = 1.0) -> tuple[float, float]:
        """Return the ends to show when the newest point lies at `last`.

        Args:
            last: position of the newest point.
            unit: length of one step on this axis.
        """
        shortest = SHORTEST * unit
        if self.span is None:
            return 0.0, nice_above(max(last, shortest))
        if self.following and not self.right - self.span <= last <= self.right:
            self.right = max(last + _JUMP * self.span, self.span)
        return self.right - self.span, self.right

    def scale(self, direction: int, last: float, unit: float) -> None:
        """Show half as much (−1) or twice as much (+1)."""
        left, right = self.range(last, unit)
        span = (right - left) * _ZOOM**direction
        if span >= nice_above(last) and direction > 0:
            self.show_all()
            return
        self.span = max(span, 4 * unit)
        if self.following:
            self.right = max(last + _JUMP * self.span, self.span)
        else:
            middle = (left + right) / 2
            self.right = max(min(middle + self.span / 2, last), self.span)

    def pan(self, direction: int, last: float, unit: float) -> None:
        """Move by a quarter of the window, to 0 or the newest point at most, and stop following.

        Where there is nothing more to see on that side, nothing changes.
        """
        left, right = self.range(last, unit)
        span = right - left
        # the newest point may lie left of the right end: that is no reason to move back
        moved = min(max(right + direction * _PAN * span, span), max(last, right))
        if moved != right:
            self.span, self.right, self.following = span, moved, False

    def show_all(self) -> None:
        """Show the whole run and follow it."""
        self.span, self.following = None, True

    def follow(self) -> None:
        """Follow the newest point, at the present width."""
        self.following = True
