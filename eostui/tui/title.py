"""The line at the top of every screen: the run, its phase and step, and its controls."""

from __future__ import annotations

import math

from rich.text import Text

from eostui.charts.numbers import compact, control, grouped
from eostui.charts.palette import COLOURS, PHASE_COLOURS
from eostui.panels.oscillator import agreement
from eostui.panels.overlay import short
from eostui.panels.view import RunView, intervention
from eostui.runs.analysis.controls import controls_at, controls_of
from eostui.runs.analysis.stops import pending
from eostui.runs.store.schema import LIVE_STATES
from eostui.stop_condition import in_words
from eostui.tui.session import Session
from eostui.tui.widgets.bars import fields_line

_STATE_SIGNS = {
    "running": "●", "paused": "‖", "finished": "✓", "stopped": "■", "playing": "▶", "held": "‖",
}  # fmt: skip

#: Importance (0 is the most), text and colour.
Field = tuple[int, str, str]


def title_line(session: Session, width: int) -> Text:
    """Return the line, as much of it as fits; what goes on while there is no run to show."""
    if session.view is None:
        return fields_line([(0, session.message, COLOURS["title"])], width)
    return fields_line(_fields(session, session.view), width)


def _fields(session: Session, view: RunView) -> list[Field]:
    run, state = view.newest, view.state
    values = controls_at(run)
    elsewhere = "" if view.is_newest else f"view up to step {grouped(view.seen.last_step)}"
    residual = run.measured.newest("sharpness_residual")
    phase_colour = PHASE_COLOURS[view.phase.letter] if view.phase else COLOURS["axis"]
    colour = COLOURS["path"] if state == "running" else COLOURS["mark"]
    progress = f"⋯ {session.progress}" if session.progress else ""
    speed = f"{session.speed:.0f}/s" if state == "running" and session.speed is not None else ""
    return [
        (6, "eostui", COLOURS["axis"]),
        (5, run.config.preset, f"bold {COLOURS['title']}"),
        (1, view.phase.name.upper() if view.phase else "", f"bold {phase_colour}"),
        (2, f"{_STATE_SIGNS.get(state, '✗')} {state.upper()}", f"bold {colour}"),
        (0, progress, f"bold {COLOURS['cool']}"),
        (3, "❄ view frozen" if view.frozen else "", COLOURS["cool"]),
        (0, f"step {grouped(max(run.last_step, 0))}", COLOURS["title"]),
        *_playback(session),
        (3, _stops_at(view) if state in LIVE_STATES else "", COLOURS["cool"]),
        (2, elsewhere, COLOURS["cool"]),
        (7, speed, COLOURS["axis"]),
        *(
            (0, f"{each.symbol} {control(values[each.name])}", f"bold {COLOURS['mark']}")
            for each in controls_of(run)
        ),
        (1, intervention(values, view.dynamics.label), f"bold {COLOURS['warm']}"),
        (6, agreement(view), COLOURS["theory"]),
        (9, "" if math.isnan(residual) else f"residual {compact(residual, 2)}", COLOURS["axis"]),
        (8, f"{run.facts.get('device', '')} {run.config.dtype}", COLOURS["axis"]),
        (4, f"run {short(run)}", COLOURS["axis"]),
    ]


def _stops_at(view: RunView) -> str:
    stops = pending(view.newest.events)
    asked = in_words((stop.condition for stop in stops), view.dynamics.label)
    return f"stops at {asked}" if asked else ""


def _playback(session: Session) -> list[Field]:
    playback = session.playback
    if playback is None:
        return []
    return [
        (1, f"of {grouped(max(playback.last_step, 0))}", COLOURS["title"]),
        (2, f"plays {compact(playback.speed)} steps/s", COLOURS["axis"]),
    ]
