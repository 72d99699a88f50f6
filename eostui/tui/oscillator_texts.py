"""The oscillator screen's lines of text: settings, the three answers, the conditions of the theory."""

from __future__ import annotations

import math
from typing import Any

from rich.text import Text

from eostui.charts.numbers import compact, control
from eostui.charts.palette import COLOURS
from eostui.panels.orbit.view import MOST_SHOWN, OrbitView
from eostui.runs.analysis.monitors import Monitor
from eostui.tui.oscillator_settings import SETTINGS, OscillatorSettings

#: What each condition is for; the names are those on the screen.
CONDITIONS = {
    "cycle exists": "βα > λ(g − λ): the drive that sharpens outweighs decay's, so that to leading order "
    "there is a 2-cycle; where it fails the oscillator collapses.",
    "cycle attracts": "λ > ηβA²: decay outweighs the next order of the bounce, by which the 2-cycle "
    "repels; where it fails the orbit wanders or escapes.",
    "underdamped": "4βA² > λ²: small deviations from the cycle turn around it; where it fails they only "
    "decay.",
    "centre small": "c² < A²/10 with c = −½ηλg_x: where it fails leading order, which neglects c, has "
    "the amplitude wrong.",
}
_SMALL_CENTRE = 0.1
_COLUMNS = ("sharpness", "amplitude", "centre", "decay", "frequency")
_HEAD = ("rest S", "A", "centre", "decay", "frequency")
#: So many characters of a number, and a space, are a cell.
_CELL = 9


def conditions(view: OrbitView) -> list[Monitor]:
    """Judge the theory's conditions; None where there is no cycle to judge."""
    p, leading = view.parameters, view.summary["leading_order"]
    decay, drive = float(p.weight_decay), float(p.beta * p.alpha)
    pull = decay * (float(p.paper_g) - decay)
    spring = float(p.beta) * leading["amplitude"] ** 2
    repelling = float(p.eta) * spring
    centre, squared = leading["centre"] ** 2, leading["amplitude"] ** 2
    exists = bool(leading["cycles"])
    readings = (
        (drive > pull, f"βα {compact(drive)}, λ(g−λ) {compact(pull)}"),
        (decay > repelling, f"λ {control(decay)}, ηβA² {compact(repelling)}"),
        (4 * spring > decay**2, f"4βA² {compact(4 * spring)}, λ² {compact(decay**2)}"),
        (
            centre < _SMALL_CENTRE * squared,
            f"c² {compact(centre)}, A² {compact(squared)}",
        ),
    )
    return [
        Monitor(name, holds if exists or index == 0 else None, reading)
        for index, (name, (holds, reading)) in enumerate(zip(CONDITIONS, readings, strict=True))
    ]


def settings_line(settings: OscillatorSettings) -> Text:
    """Return all settings with their values, the chosen one reversed."""
    values = settings.simulation.settings()
    line = Text(no_wrap=True, overflow="ellipsis")
    for sign, name in (("η", "eta"), ("λ", "weight_decay")):
        line.append(f" {sign} {control(values[name])} ", f"bold {COLOURS['mark']}")
    for setting in SETTINGS:
        chosen = setting is settings.setting
        style = f"reverse {COLOURS['mark']}" if chosen else COLOURS["title"]
        line.append(f" {setting.sign} {_setting(values[setting.name])} ", style)
    if settings.simulation.steps > MOST_SHOWN:
        line.append(f" first {MOST_SHOWN} shown ", COLOURS["cool"])
    for sign, name in (("∇L·u", "gradient_u"), ("S*", "sharpness")):
        if values.get(name):
            line.append(f" {sign} {_setting(values[name])} ", COLOURS["axis"])
    return line


def answer_lines(view: OrbitView, width: int) -> Text:
    """Return the table of the paper's leading order, the exact answer and this orbit's own."""
    summary = view.summary
    leading, exact = summary["leading_order"], summary["exact"] or {}
    lines = [Text(f"{'':<8}" + "".join(f"{name:>10}" for name in _HEAD), COLOURS["axis"])]
    for name, answer, said, colour in (
        ("leading", leading, _damping(leading), "theory"),
        ("exact", exact, _attraction(exact), "sharpness"),
        ("orbit", summary["measured"], where(view), "title"),
    ):
        cells = "".join(f"{_cell(answer.get(column)):>10}" for column in _COLUMNS)
        lines.append(Text(f" {name:<7}{cells}  {said}", COLOURS[colour]))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def where(view: OrbitView) -> str:
    """Return where this orbit went."""
    summary = view.summary
    return {
        "cycle": "at the 2-cycle",
        "collapsed": "collapsed",
        "escaped": f"escaped at {summary['escape_step']}",
        "unsettled": f"no rest by {summary['last_step']}",
        "wandering": "wanders",
    }[str(summary["attractor"])]


def short_values(view: OrbitView) -> Text:
    """Return the last values as text, for terminals too small for a chart."""
    exact = view.summary["exact"] or {}
    measured = view.summary["measured"]
    lines = [
        "oscillator",
        f"S {_cell(measured['sharpness'])} exact {_cell(exact.get('sharpness'))}",
        f"A {_cell(measured['amplitude'])}",
        where(view),
    ]
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _setting(value: float) -> str:
    return f"{value:.5g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _damping(leading: dict[str, Any]) -> str:
    if not leading["damping"]:
        return "collapsed"
    return f"{leading['damping']}damped {compact(leading['damping_ratio'])}"


def _attraction(exact: dict[str, Any]) -> str:
    if not exact:
        return "no solution"
    kind = "2-cycle" if len(exact["states"]) == 2 else "fixed point"
    return f"{kind} {'attracts' if exact['attracts'] else 'repels'}"


def _cell(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value + 0.0:.5g}"  # no −0
    return text if len(text) <= _CELL else f"{value:.3g}"
