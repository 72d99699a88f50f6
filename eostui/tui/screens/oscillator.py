"""The oscillator screen: the reduced map by itself, redrawn at every change of a setting."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Container

from eostui.charts.numbers import control, grouped
from eostui.charts.palette import COLOURS
from eostui.errors import InputError
from eostui.oscillator_presets import OscillatorPreset
from eostui.panels.orbit import PANELS
from eostui.panels.orbit.bounce import bounce_chart
from eostui.panels.orbit.portrait import Portrait
from eostui.panels.orbit.regimes import RegimeMap
from eostui.panels.orbit.sharpness import sharpness_chart
from eostui.panels.orbit.view import OrbitView
from eostui.tui.keys import KEYS, ON_OSCILLATOR, OSCILLATOR_HINTS
from eostui.tui.oscillator_settings import OscillatorSettings
from eostui.tui.oscillator_texts import answer_lines, conditions, settings_line, short_values
from eostui.tui.screens.dialogs import NumberDialog
from eostui.tui.screens.linked import LinkedCharts
from eostui.tui.screens.live import LiveScreen
from eostui.tui.widgets.bars import TextBar, fields_line, key_line, monitor_line, tabs_line
from eostui.tui.widgets.chart import ChartWidget
from eostui.tui.widgets.plane import PlaneWidget

#: Seconds between looks at the training, which goes on behind this screen.
_TITLE_EVERY = 0.3
_PORTRAIT_LEGEND = {
    True: "dots even steps · × odd · ● last · ○ exact",
    False: "dots even steps, x odd, @ last, O exact",
}


class OscillatorScreen(LinkedCharts):
    """Shows one orbit and its theory; needs no run.

    The keys of ON_OSCILLATOR are bound here too, and so act here before the application sees them.
    """

    BINDINGS = [binding for key in KEYS if key.id in ON_OSCILLATOR for binding in key.bindings()]

    def __init__(self, live: LiveScreen, preset: OscillatorPreset, *, unicode: bool) -> None:
        """`live` is the screen whose run goes on behind this one."""
        super().__init__([panel.name for panel in PANELS], unicode=unicode)
        self.settings = OscillatorSettings(preset)
        self.view = OrbitView.of(preset.simulation)
        self._live = live
        self._portrait, self._regimes = Portrait(), RegimeMap()
        self._titled = 0.0

    def compose(self) -> ComposeResult:
        """Lay out title, tabs, the panels, the lines of text and the keys."""
        yield TextBar(id="title")
        yield TextBar(id="tabs")
        with Container(id="charts"):
            for panel in PANELS[:2]:
                yield ChartWidget(unicode=self._unicode, id=panel.name)
            for panel in PANELS[2:]:
                yield PlaneWidget(unicode=self._unicode, id=panel.name)
        yield TextBar(id="settings")
        yield TextBar(id="answers")
        yield TextBar(id="conditions")
        yield TextBar(id="keys")
        yield TextBar(id="values")

    @property
    def last_x(self) -> float:
        """Position of the last step."""
        return float(len(self.view.orbit.x) - 1)

    def draw(self) -> None:
        """Draw everything that is visible."""
        if not self.is_mounted:
            return
        self._draw_title()
        if self.has_class("-tiny"):
            self.query_one("#values", TextBar).show(short_values(self.view))
            return
        self._draw_panels()
        names = [panel.name for panel in PANELS]
        self.query_one("#tabs", TextBar).show(tabs_line(names, self.focused_panel))
        self.query_one("#settings", TextBar).show(settings_line(self.settings))
        self.query_one("#answers", TextBar).show(answer_lines(self.view, self.size.width))
        self.query_one("#conditions", TextBar).show(monitor_line(conditions(self.view), ""))
        self.query_one("#keys", TextBar).show(key_line(self.size.width, OSCILLATOR_HINTS))

    def draw_if_shown(self) -> None:
        """Draw what changes by itself: what the title says of the training."""
        now = time.monotonic()
        if self.is_mounted and self.is_current and now - self._titled >= _TITLE_EVERY:
            self._draw_title()

    def take(self, preset: OscillatorPreset) -> None:
        """Show another preset. Raises InputError, and then shows what it did."""
        self._change(lambda settings: settings.take(preset))

    def action_scale_eta(self, direction: int) -> None:
        """Multiply or divide η."""
        self._try(lambda settings: settings.scale_eta(direction))

    def action_scale_decay(self, direction: int) -> None:
        """Multiply or divide λ."""
        self._try(lambda settings: settings.scale_decay(direction))

    def action_type_eta(self) -> None:
        """Ask for η."""
        self._type("eta", "learning rate η of the oscillator")

    def action_type_decay(self) -> None:
        """Ask for λ."""
        self._type("weight_decay", "weight decay λ of the oscillator")

    def action_choose(self, offset: int) -> None:
        """Choose another setting."""
        self.settings.choose(offset)
        self.query_one("#settings", TextBar).show(settings_line(self.settings))

    def action_scale_chosen(self, direction: int) -> None:
        """Multiply or divide the chosen setting."""
        self._try(lambda settings: settings.scale_chosen(direction))

    def action_type_chosen(self) -> None:
        """Ask for the chosen setting."""
        self._type(self.settings.setting.name, self.settings.setting.question)

    def action_undo(self) -> None:
        """Undo the last change."""
        self._try(lambda settings: settings.undo())

    def action_restart(self) -> None:
        """Reset to the preset."""
        self._try(lambda settings: settings.reset())

    def action_preset(self, offset: int) -> None:
        """Take the next or previous preset."""
        self._try(lambda settings: settings.step_preset(offset))

    def _type(self, name: str, question: str) -> None:
        def answered(value: float | None) -> None:
            if value is not None:
                self._try(lambda settings: settings.set(name, value))

        present = f"{self.settings.value(name):.6g}"
        self.app.push_screen(NumberDialog(question, present), answered)

    def _try(self, change: Callable[[OscillatorSettings], None]) -> None:
        """Change the settings and redraw, or say why not."""
        self.app.clear_notifications()
        try:
            self._change(change)
        except InputError as error:
            self.notify(str(error), severity="error")

    def _change(self, change: Callable[[OscillatorSettings], None]) -> None:
        preset = self.settings.preset
        change(self.settings)
        if self.settings.preset is not preset:
            self._portrait.forget()
            self._regimes.forget()
            self.window.show_all()
            for panel in PANELS[:2]:
                if self.is_mounted:
                    self.query_one(f"#{panel.name}", ChartWidget).forget()
        self.view = OrbitView.of(self.settings.simulation)
        self.draw()

    def _draw_panels(self) -> None:
        x_range = self.window.range(self.last_x)
        kinds = [
            panel.kinds[choice % len(panel.kinds)]
            for panel, choice in zip(PANELS, self._scale_choice, strict=True)
        ]
        for index, build in enumerate((sharpness_chart, bounce_chart)):
            chart = self.query_one(f"#{PANELS[index].name}", ChartWidget)
            if not chart.has_class("-hidden"):
                drawn, title = build(self.view, kinds[index])
                chart.show(drawn, x_range, (title,))
        planes = (
            (self._portrait.plane, _PORTRAIT_LEGEND[self._unicode]),
            (self._regimes.plane, "o cycle  . collapse  % both  ~ neither"),
        )
        for panel, (make, legend) in zip(PANELS[2:], planes, strict=True):
            widget = self.query_one(f"#{panel.name}", PlaneWidget)
            if not widget.has_class("-hidden"):
                plane, title = make(self.view)
                widget.show(plane, title, legend)

    def _draw_title(self) -> None:
        self._titled = time.monotonic()
        values = self.settings.simulation.settings()
        self.query_one("#title", TextBar).show(
            fields_line(
                [
                    (1, "OSCILLATOR", f"bold {COLOURS['path']}"),
                    (2, self.settings.name, f"bold {COLOURS['title']}"),
                    (0, f"η {control(values['eta'])}", f"bold {COLOURS['mark']}"),
                    (0, f"λ {control(values['weight_decay'])}", f"bold {COLOURS['mark']}"),
                    (3, "not the training's", COLOURS["cool"]),
                    (4, self._training(), COLOURS["axis"]),
                ],
                self.size.width,
            )
        )

    def _training(self) -> str:
        """Return what goes on behind this screen."""
        view = self._live.view
        if view is None:
            return "behind: no run yet"
        return f"behind: {view.run.config.preset} {view.state}, step {grouped(view.run.last_step)}"
