"""Which part of the x axis the charts show: all of it, a stretch, or the newest stretch."""

from __future__ import annotations

from dataclasses import dataclass

from eostui.charts.scales import nice_above

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
            return 0.0, max(nice_above(max(last, shortest)), last)  # it may miss by a rounding
        if self.following and not self.right - self.span <= last <= self.right:
            self.right = max(last + _JUMP * self.span, self.span)
        return self.right - self.span, self.right

    def scale(self, direction: int, last: float, unit: float, end: float | None = None) -> None:
        """Show half as much (−1) or twice as much (+1).

        Args:
            direction: −1 or +1.
            last, unit: as in `range`.
            end: how far the whole of x reaches, if farther than the newest point.
        """
        left, right, end = self._shown(last, unit, end)
        span = (right - left) * _ZOOM**direction
        if span >= nice_above(end) and direction > 0:
            self.show_all()
            return
        self.span = max(span, 4 * unit)
        if self.following:
            self.right = max(last + _JUMP * self.span, self.span)
        else:
            middle = (left + right) / 2
            self.right = max(min(middle + self.span / 2, end), self.span)

    def zoom_at(
        self, at: float, factor: float, last: float, unit: float, end: float | None = None
    ) -> None:
        """Show so many times as much about a point, which stays where it is.

        Args:
            at: the point.
            factor: below 1 to zoom in.
            last, unit, end: as in `scale`.
        """
        left, right, end = self._shown(last, unit, end)
        span = max((right - left) * factor, 4 * unit)
        if span >= nice_above(end) and factor > 1:
            self.show_all()
            return
        share = (at - left) / (right - left)
        self.span = span
        self.right = max(min(at + (1 - share) * span, max(end, right)), span)
        self.following = self.following and at >= last

    def show(self, left: float, right: float, unit: float) -> None:
        """Show a stretch of x, of a few steps at least, and stop following."""
        self.span = max(right - left, 4 * unit)
        self.right = max((left + right + self.span) / 2, self.span)
        self.following = False

    def reveal(self, at: float, last: float, unit: float) -> None:
        """Move as little as brings a point into sight."""
        left, right = self.range(last, unit)
        if not left <= at <= right:
            span = right - left
            self.span, self.following = span, False
            self.right = max(at if at > right else at + span, span)

    def pan(self, direction: int, last: float, unit: float, end: float | None = None) -> None:
        """Move by a quarter of the window, to 0 or the end at most, and stop following.

        Where there is nothing more to see on that side, nothing changes. The arguments are those of
        `scale`.
        """
        left, right, end = self._shown(last, unit, end)
        span = right - left
        # the end may lie left of the window's: that is no reason to move back
        moved = min(max(right + direction * _PAN * span, span), max(end, right))
        if moved != right:
            self.span, self.right, self.following = span, moved, False

    def _shown(self, last: float, unit: float, end: float | None) -> tuple[float, float, float]:
        """Return the ends that are shown, and the end of x."""
        end = last if end is None else max(end, last)
        return *self.range(end if self.span is None else last, unit), end

    def show_all(self) -> None:
        """Show the whole run and follow it."""
        self.span, self.following = None, True

    def follow(self) -> None:
        """Follow the newest point, at the present width."""
        self.following = True
