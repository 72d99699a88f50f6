"""A live chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.message import Message

from eostui.charts.chart import Chart
from eostui.charts.layout import last_told
from eostui.charts.picture import draw, plot_columns
from eostui.charts.scales import StickyRange
from eostui.tui.widgets.grid import GridWidget

#: Cells within the border that a title must leave free.
_CORNERS = 2
#: A key zooms y by this factor, a notch of the wheel by that.
KEY_ZOOM, WHEEL_ZOOM = 2.0, 1.25
#: What the crosshair and its mark are drawn with, and the same without Unicode.
_SIGNS, _ASCII_SIGNS = ("│", "╎"), ("|", ":")


class ChartWidget(GridWidget):
    """Draws a `Chart`; its border carries the title. It tells its screen what a mouse does over it."""

    ALLOW_SELECT = False  # a drag over it is a stretch of x, not of text

    @dataclass
    class Pointed(Message):
        """The pointer is at an x: it was moved there, pressed, or moved while pressed.

        Attributes:
            chart: over which.
            x: the position on the x axis.
            pressed: whether the button went down here.
            dragged: whether it was down before.
        """

        chart: ChartWidget
        x: float
        pressed: bool = False
        dragged: bool = False

    @dataclass
    class Wheeled(Message):
        """The wheel was turned over the plot.

        Attributes:
            chart: over which.
            share: of the plot's width that lies left of the pointer.
            direction: up (−1: nearer) or down (+1).
        """

        chart: ChartWidget
        share: float
        direction: int

    def __init__(self, *, unicode: bool, id: str) -> None:
        super().__init__(id=id)
        self._unicode = unicode
        self._chart = Chart([], waiting="starting")
        self._x_range = (0.0, 1.0)
        self._titles: tuple[tuple[str, ...], tuple[str, ...]] = (), ()
        self._written = "", ""
        self._sticky = StickyRange()
        self._scale_kind = ""
        self._crosshair: tuple[float, float | None] | None = None
        self._pressed = False

    def show(
        self,
        chart: Chart,
        x_range: tuple[float, float],
        title: Sequence[str],
        legend: Sequence[str] = (),
    ) -> None:
        """Draw a chart in place of the last one, repainting what differs.

        Args:
            chart: what to draw.
            x_range: left and right end of x.
            title: upper left, in the border: parts, of which the last are left out if they don't fit.
            legend: lower right, in the border, in parts too.
        """
        self._chart, self._x_range = chart, x_range
        self._titles = tuple(title), tuple(legend)
        scale = f"{chart.scale.kind} {chart.scale.threshold}"
        if scale != self._scale_kind:
            self._scale_kind, self._sticky = scale, StickyRange(close=self._sticky.close)
        if self.size.width and self.display:
            self._redraw()

    def show_waiting(self, message: str, title: str) -> None:
        """Show what is waited for, before there is any run."""
        self.show(Chart([], waiting=message), self._x_range, (title,))

    def show_crosshair(self, crosshair: tuple[float, float | None] | None) -> None:
        """Show the crosshair at an x, and its mark at another; None for no crosshair."""
        self._crosshair = crosshair
        self._draw_crosshair()

    @property
    def plot(self) -> tuple[int, int]:
        """The first column of the plot on the screen, and how many it has."""
        left, columns = plot_columns(self.size.width)
        return self.content_region.x + left, columns

    @property
    def zoomed(self) -> bool:
        """Whether y shows another range than it would by itself."""
        return self._sticky.held or self._sticky.close

    def zoom_y(self, direction: int) -> None:
        """Show half as much of y (−1) or twice as much (+1), about the last value of the main curve."""
        self._zoom_y(KEY_ZOOM**direction, self._last_place())

    def fit_y(self) -> None:
        """Fit y closely to what was measured in sight; again, let it move rarely, thresholds in sight."""
        close = self._sticky.held or not self._sticky.close
        self._sticky = StickyRange(close=close)
        self._redraw()

    def forget(self) -> None:
        """Start the axes anew, for another run."""
        self._sticky = StickyRange()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._redraw()

    # --- the mouse --------------------------------------------------------------------------------------

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to point, unless beside the plot."""
        x = self._x_of(event)
        if event.button == 1 and x is not None:
            self._pressed = True
            self.capture_mouse()
            self.post_message(self.Pointed(self, x, pressed=True))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Point; what is dragged beyond an end of the plot is at the end."""
        x = self._x_of(event, clipped=self._pressed)
        if x is not None:
            self.post_message(self.Pointed(self, x, dragged=self._pressed))

    def on_mouse_up(self) -> None:
        """Point no longer."""
        if self._pressed:
            self._pressed = False
            self.release_mouse()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in at the pointer."""
        self._wheel(event, -1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out at the pointer."""
        self._wheel(event, 1)

    def _wheel(self, event: events.MouseEvent, direction: int) -> None:
        """Zoom x where the pointer is over the plot, y where it is over the axis to its left."""
        event.stop()
        share = self._share_of(event)
        if share is not None:
            self.post_message(self.Wheeled(self, share, direction))
        elif event.screen_x < self.plot[0]:
            sticky, height = self._sticky, max(self.size.height - 2, 1)
            below = (event.screen_y - self.content_region.y + 0.5) / height
            place = sticky.high - min(max(below, 0.0), 1.0) * (sticky.high - sticky.low)
            self._zoom_y(WHEEL_ZOOM**direction, place)

    def _x_of(self, event: events.MouseEvent, *, clipped: bool = False) -> float | None:
        """Return the x in the middle of the cell under the pointer; None beside the plot."""
        share, (left, right) = self._share_of(event, clipped=clipped), self._x_range
        return None if share is None else left + share * (right - left)

    def _share_of(self, event: events.MouseEvent, *, clipped: bool = False) -> float | None:
        """Return which share of the plot lies left of the middle of the cell under the pointer."""
        first, columns = self.plot
        column = event.screen_x - first
        if clipped:
            column = min(max(column, 0), columns - 1)
        if not 0 <= column < columns or not self._chart.curves:
            return None
        return (column + 0.5) / columns

    # --- drawing ----------------------------------------------------------------------------------------

    def _zoom_y(self, factor: float, place: float) -> None:
        self._sticky.zoom(factor, place)
        self._redraw()

    def _last_place(self) -> float:
        """Return where the uppermost labelled curve ends in sight, or the middle of y."""
        sticky = self._sticky
        for curve in reversed(self._chart.curves):
            upto = int(curve.x.searchsorted(self._x_range[1], side="right"))
            told = last_told(curve, upto) if curve.label and curve.ranged else None
            if told is not None:
                place = self._chart.scale.place(told.value)
                if sticky.low <= place <= sticky.high:
                    return place
        return (sticky.low + sticky.high) / 2

    def _redraw(self) -> None:
        width, height = self.size
        if not width or not height:
            return
        title, legend = (fitting(parts, width - _CORNERS) for parts in self._titles)
        if self._written != (title, legend):
            self._written = title, legend
            self.border_title, self.border_subtitle = Text(title), Text(legend)  # no markup
        self.present(
            draw(self._chart, width, height, self._x_range, self._sticky, unicode=self._unicode)
        )
        self._draw_crosshair()

    def _draw_crosshair(self) -> None:
        left, columns = plot_columns(self.size.width)
        signs = _SIGNS if self._unicode else _ASCII_SIGNS
        lines: dict[int, str] = {}
        if self._crosshair is not None and self._chart.curves and columns > 0:
            first, last = self._x_range
            for x, sign in zip(self._crosshair, signs, strict=True):
                if x is not None and first <= x <= last:
                    column = int((x - first) / (last - first) * columns)
                    lines.setdefault(left + min(column, columns - 1), sign)
        self.draw_lines(lines)


def fitting(parts: Sequence[str], room: int) -> str:
    """Return parts of a title, as many from the first on as fit; the first alone may be cut."""
    for count in range(len(parts), 1, -1):
        text = " · ".join(parts[:count])
        if cell_len(text) <= room:
            return text
    return parts[0] if parts else ""
