"""The oscillator screen: the reduced map by itself, redrawn at every change of a setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container

from eostui import oscillator_presets
from eostui.charts.numbers import control, grouped
from eostui.charts.palette import COLOURS
from eostui.errors import InputError
from eostui.oscillator_presets import OscillatorPreset
from eostui.panels.crosshair import Value, orbit_values_at
from eostui.panels.orbit import PANELS
from eostui.panels.orbit.view import OrbitView
from eostui.stability import CONTROLS, ETA, WEIGHT_DECAY
from eostui.tui.crosshair import text_lines
from eostui.tui.keys import Hints, Key, on_this_screen, turning
from eostui.tui.oscillator_settings import OscillatorSettings
from eostui.tui.oscillator_texts import (
    CONDITIONS,
    answer_lines,
    conditions,
    settings_line,
    short_values,
)
from eostui.tui.screens.dialogs import NumberDialog
from eostui.tui.screens.linked import LinkedCharts
from eostui.tui.session import Session
from eostui.tui.widgets.bars import TextBar, fields_line, monitor_line
from eostui.tui.widgets.chart import ChartWidget
from eostui.tui.widgets.plane import PlaneWidget

_OWN = "of the oscillator"


class OscillatorScreen(LinkedCharts):
    """Shows one orbit and its theory; needs no run. Keys of the training change the oscillator here."""

    KEYS = (
        *on_this_screen(
            {
                f"{control.name}.{word}": turning(control, direction, _OWN)
                for control in (ETA, WEIGHT_DECAY)
                for word, direction in (("down", -1), ("up", 1))
            }
            | {
                f"{control.name}.type": f"type {control.symbol} {_OWN}"
                for control in (ETA, WEIGHT_DECAY)
            }
            | {
                "undo": "undo the last change of the oscillator",
                "preset.next": "next preset of the oscillator",
                "preset.previous": "previous preset of the oscillator",
                "restart": "reset the oscillator to its preset",
            }
        ),
        Key("setting.next", "greater_than_sign", ">", "screen.choose(1)", "next setting",
            group="oscillator"),
        Key("setting.previous", "less_than_sign", "<", "screen.choose(-1)", "previous setting",
            group="oscillator"),
        Key("setting.up", "up", "↑", "screen.turn_chosen(1)", "that setting × 1.25, from 0 too",
            group="oscillator"),
        Key("setting.down", "down", "↓", "screen.turn_chosen(-1)", "that setting ÷ 1.25, through 0",
            group="oscillator"),
        Key("setting.type", "enter", "enter", "screen.type_chosen", "type a value for that setting",
            group="oscillator"),
    )  # fmt: skip
    HINTS: ClassVar[Hints] = (
        ("[ ]", "η"), ("{ }", "λ"), ("n p", "preset"), ("< >", "choose"), ("↑ ↓", "change"),
        ("enter", "type"), ("r", "reset"), ("tab", "screen"), ("i", "run's values"), ("y", "scale"),
        ("z", "zoom"), ("?", "help"), ("q", "quit"),
    )  # fmt: skip

    def __init__(self, session: Session) -> None:
        super().__init__(session, [panel.name for panel in PANELS])
        self._planes = {panel.name: panel.plane() for panel in PANELS if panel.plane}
        self.begin_with(oscillator_presets.load(oscillator_presets.DEFAULT_PRESET))

    def begin_with(self, preset: OscillatorPreset) -> None:
        """Take a preset, as if there had been nothing before it."""
        self.settings = OscillatorSettings(preset)
        self.oscillator = OrbitView.of(preset.simulation)

    def about(self) -> Text:
        """Return what the panels show, and what the theory's conditions are for."""
        text, fill = Text(), self.session.fill
        text.append("\nOscillator", "bold")
        text.append(
            fill(
                " (‹screen.next›): the reduced map of the bounce x along u and of y = S − 2/η, with "
                "settings of its own; ‹theory› takes them from the run's newest measurement. Below the "
                "panels stand the paper's leading order, the map's exact answer and what this orbit "
                "shows.\n"
            )
        )
        meanings = {panel.name: panel.meaning for panel in PANELS} | CONDITIONS
        for name, meaning in meanings.items():
            text.append(f"  {name}", "bold")
            text.append(fill(f": {meaning}\n"))
        return text

    @property
    def picture_name(self) -> str:
        """What a picture of it is named, without its ending."""
        return "oscillator"

    def compose(self) -> ComposeResult:
        """Lay out title, tabs, the panels, the lines of text and the keys."""
        yield TextBar(id="title")
        yield TextBar(id="tabs")
        with Container(id="charts"):
            for panel in PANELS:
                widget = ChartWidget if panel.chart else PlaneWidget
                yield widget(unicode=self.unicode, id=panel.name)
        yield TextBar(id="settings")
        yield TextBar(id="answers")
        yield TextBar(id="conditions")
        yield TextBar(id="crosshair")
        yield TextBar(id="keys")
        yield TextBar(id="values")

    @property
    def last_x(self) -> float:
        """Position of the last step."""
        return float(len(self.oscillator.orbit.x) - 1)

    @property
    def last_step(self) -> int:
        """The last step of the orbit."""
        return len(self.oscillator.orbit.x) - 1

    def values_at(self, step: int) -> list[Value]:
        """Return the state of the orbit at a step."""
        return orbit_values_at(self.oscillator, step)

    @property
    def chosen_step(self) -> int | None:
        """No run is forked at a step of an orbit."""
        return None

    def draw(self) -> None:
        """Draw everything that is visible."""
        if not self.is_mounted:
            return
        self.draw_bars()
        if self.has_class("-tiny"):
            self.query_one("#values", TextBar).show(self._short_values())
            return
        self._draw_panels()
        self.draw_tabs()
        self.query_one("#settings", TextBar).show(settings_line(self.settings))
        self.query_one("#answers", TextBar).show(answer_lines(self.oscillator, self.size.width))
        self.query_one("#conditions", TextBar).show(
            monitor_line(conditions(self.oscillator), (), self.size.width)
        )

    def draw_changed(self) -> None:
        """Draw what the title says of the training."""
        self.draw_bars()

    def start_over(self) -> None:
        """Draw what the title says of another training; the oscillator stays."""
        if self.is_mounted:
            self.draw_bars()

    def take(self, preset: OscillatorPreset) -> None:
        """Show another preset. Raises InputError, and then shows what it did."""
        self._change(lambda settings: settings.take(preset))

    def action_turn(self, name: str, direction: int) -> None:
        """Turn η or λ up (+1) or down (−1)."""
        self._try(lambda settings: settings.turn(name, direction))

    def action_type_control(self, name: str) -> None:
        """Ask for η or λ."""
        control = CONTROLS[name]
        self._type(name, f"{control.description} {control.symbol} {_OWN}")

    def action_choose(self, offset: int) -> None:
        """Choose another setting."""
        self.settings.choose(offset)
        self.query_one("#settings", TextBar).show(settings_line(self.settings))

    def action_turn_chosen(self, direction: int) -> None:
        """Multiply or divide the chosen setting."""
        self._try(lambda settings: settings.turn_chosen(direction))

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
            self.window.show_all()
            for plane in self._planes.values():
                plane.forget()
            for chart in self.query(ChartWidget):
                chart.forget()
        self.oscillator = OrbitView.of(self.settings.simulation)
        self.draw()

    def _draw_panels(self) -> None:
        x_range = self.x_range()
        for panel, choice in zip(PANELS, self._scale_choice, strict=True):
            widget = self.query_one(f"#{panel.name}")
            if widget.has_class("-hidden"):
                continue
            if isinstance(widget, ChartWidget) and panel.chart:
                kind = panel.kinds[choice % len(panel.kinds)]
                chart, title = panel.chart(self.oscillator, kind)
                widget.show(chart, x_range, (title,))
            elif isinstance(widget, PlaneWidget):
                plane, title = self._planes[panel.name].plane(self.oscillator)
                widget.show(plane, title, panel.signs[not self.unicode])
        self.draw_crosshair()

    def draw_bars(self) -> None:
        """Draw the title, of the oscillator, and the key bar."""
        values = self.settings.simulation.settings()
        width = self.size.width
        fields = [
            (1, "OSCILLATOR", f"bold {COLOURS['path']}"),
            (2, self.settings.name, f"bold {COLOURS['title']}"),
            (0, f"η {control(values['eta'])}", f"bold {COLOURS['mark']}"),
            (0, f"λ {control(values['weight_decay'])}", f"bold {COLOURS['mark']}"),
            (3, "not the training's", COLOURS["cool"]),
            (4, self._training(), COLOURS["axis"]),
        ]
        self.query_one("#title", TextBar).show(fields_line(fields, width))
        self.draw_keys(self.HINTS)

    def _short_values(self) -> Text:
        """Return what the orbit shows as text, or the values at the crosshair."""
        if self.crosshair is None:
            return short_values(self.oscillator)
        step = min(self.crosshair.step, self.last_step)
        return text_lines(self.values_at(step), self.head(), step, unicode=self.unicode)

    def _training(self) -> str:
        """Return what goes on behind this screen."""
        view = self.session.view
        if view is None:
            return "behind: no run yet"
        return f"behind: {view.run.config.preset} {view.state}, step {grouped(view.run.last_step)}"
