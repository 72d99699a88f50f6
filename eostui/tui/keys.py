"""The table of keys: it makes the bindings, the key bar, the help and the command palette.

A key is obeyed by the method `action_…` that it names: of the application, or of the screen that is
shown where it says `screen.`. A screen may have keys of its own, and others do something else there
(`on_this_screen`); what all of them are together `screens.table.keys_by_group` tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from textual.binding import Binding, BindingType

from eostui.panels import PANELS
from eostui.runs.launch import RESUMABLE_STATES
from eostui.runs.store.schema import LIVE_STATES
from eostui.stability import ETA, INTERVENTIONS, MOMENTUM, SHARP_STEP, WEIGHT_DECAY, Control


@dataclass(frozen=True)
class Key:
    """A key and what it does.

    Attributes:
        id: stable name, by which users will remap it.
        keys: Textual's names, separated by commas.
        shown: how it is written for people.
        action: the method that obeys it, without its `action_`.
        text: what it does.
        short: a word for the key bar; "" keeps it out of there.
        group: training, view or program; of a key that one screen alone has, the screen's name.
        needs: what the run must be for it: live, ended (and able to go on), or "" for any.
        pair: how it and its opposite are written together in the key bar; "" for as `shown`.
    """

    id: str
    keys: str
    shown: str
    action: str
    text: str
    short: str = ""
    group: str = "view"
    needs: str = ""
    pair: str = ""

    @property
    def title(self) -> str:
        """What it does, as the command palette writes it."""
        return self.text[0].upper() + self.text[1:]

    def acts(self, state: str) -> bool:
        """Return whether it can act on a run in this state; "" for one that isn't there yet."""
        if self.needs == "ended":
            return state in RESUMABLE_STATES
        return self.needs != "live" or state in ("", *LIVE_STATES)

    def bindings(self) -> list[Binding]:
        """Return Textual's bindings: control keys act in every dialog too, letters don't.

        So does tab, which a screen would take for itself otherwise; its action looks where it is.
        """
        names = self.keys.split(",")
        first = [name for name in names if name.startswith("ctrl+") or name.endswith("tab")]
        letters = ",".join(name for name in names if name not in first)
        controls = ",".join(first)
        bindings = []
        if letters:
            bindings.append(Binding(letters, self.action, self.text, show=False, id=self.id))
        if controls:
            bindings.append(Binding(controls, self.action, self.text, show=False, priority=True))
        return bindings


#: The groups of keys that act on every screen that hasn't another use for them.
EVERYWHERE = ("training", "view", "program")
#: Panels beyond so many have no digit; `;` and `,` reach them.
LAST_DIGIT = 9
#: The keys by which a control is turned down and up, and typed: Textual's names, and as shown.
_OF_CONTROLS: tuple[tuple[Control, tuple[str, str], tuple[str, str], str, str], ...] = (
    (ETA, ("left_square_bracket,D", "[ D"), ("right_square_bracket,E", "] E"), "[ ]", "e"),
    (WEIGHT_DECAY, ("left_curly_bracket,A", "{ A"), ("right_curly_bracket,W", "} W"), "{ }", "w"),
)
#: What turns a further control, one beside η and λ: μ of heavy ball, then interventions.
FURTHER = "further"
_NAMES = ", ".join(control.symbol for control in INTERVENTIONS)


def turning(control: Control, direction: int, of: str = "") -> str:
    """Return what a press does to a control: `η × 1.1`; `of` says whose it is."""
    sign, end = ("×", ", from 0 too") if direction > 0 else ("÷", ", down to 0")
    whose = f"{control.symbol} {of} " if of else f"{control.symbol} "
    return f"{whose}{sign} {control.factor:g}" + ("" if control.positive else end)


def _control_keys() -> Iterator[Key]:
    """Yield the keys of the controls: first those that turn them, then those that ask for a value."""
    for control, down, up, pair, _ in _OF_CONTROLS:
        for word, direction, (keys, shown) in (("down", -1, down), ("up", 1, up)):
            yield Key(
                f"{control.name}.{word}", keys, shown, f"turn('{control.name}', {direction})",
                turning(control, direction), control.symbol if direction < 0 else "",
                "training", "live", pair,
            )  # fmt: skip
    for control, *_, key in _OF_CONTROLS:
        example = ", such as 2/100" if control is ETA else ""
        yield Key(
            f"{control.name}.type", key, key, f"type_control('{control.name}')",
            f"type a value for {control.symbol}{example}", group="training", needs="live",
        )  # fmt: skip


KEYS = (
    *_control_keys(),
    Key(
        f"{FURTHER}.down", "left_parenthesis", "(", f"turn('{FURTHER}', -1)",
        f"{SHARP_STEP.symbol} ÷ {SHARP_STEP.factor:g}, down to 0, or the further control chosen down",
        group="training", needs="live",
    ),
    Key(
        f"{FURTHER}.up", "right_parenthesis", ")", f"turn('{FURTHER}', 1)",
        f"{SHARP_STEP.symbol} × {SHARP_STEP.factor:g}, or the further control chosen up",
        group="training", needs="live",
    ),
    Key(
        f"{FURTHER}.type", "m", "m", f"type_control('{FURTHER}')",
        f"type a value for {SHARP_STEP.symbol}, or for the further control chosen",
        group="training", needs="live",
    ),
    Key(
        f"{FURTHER}.next", "M", "M", "next_further",
        f"choose the next further control: {_NAMES} (of heavy ball {MOMENTUM.symbol} first)",
        group="training", needs="live",
    ),
    Key(
        "undo", "u", "u", "undo", "undo the last change of a control made here",
        group="training", needs="live",
    ),
    Key("pause", "space", "space", "pause", "pause or resume training", "pause", "training", "live"),
    Key(
        "step", "full_stop", ".", "single_step", "one step (pauses first)", "step", "training", "live",
    ),
    Key(
        "fork", "f", "f", "fork", "fork here: a new run from this step on, λ → 0 or other values",
        "fork", "training",
    ),
    Key(
        "resume", "R", "R", "resume", "go on with this run, which ended",
        "resume", "training", "ended",
    ),
    Key(
        "calibrate", "c", "c", "calibrate", "calibrate: lay theory's prediction over the run from here",
        "calibrate", "training", "live",
    ),
    Key(
        "reseat", "C", "C", "reseat", "restart the prediction from the network's own x and q",
        group="training", needs="live",
    ),
    Key(
        "stop_at", "b", "b", "stop_at", "stop at a step, a loss, a phase, an accuracy, rest",
        group="training", needs="live",
    ),
    Key(
        "probes", "K", "K", "probes", "turn optional probes on or off, with what each takes of the time",
        group="training",
    ),
    Key("note", "N", "N", "note", "write a note on this run", group="training"),
    Key("export", "x", "x", "export", "export as CSV into this folder", "csv", "training"),
    Key(
        "preset.save", "S", "S", "save_preset", "save this steered run as a preset", group="training",
    ),
    Key("preset.next", "n", "n", "preset(1)", "next preset", "preset", "training", pair="n p"),
    Key("preset.previous", "p", "p", "preset(-1)", "previous preset", group="training"),
    Key("restart", "r", "r", "restart", "restart from step 0", "restart", "training"),
    *(
        Key(f"panel.{n}", str(n), str(n), f"screen.panel({n - 1})", f"focus panel {n}")
        for n in range(1, min(len(PANELS), LAST_DIGIT) + 1)
    ),
    Key("panel.next", "semicolon", ";", "screen.next_panel(1)", "focus the next panel"),
    Key("panel.previous", "comma", ",", "screen.next_panel(-1)", "focus the panel before"),
    Key("screen.next", "tab", "tab", "next_screen(1)", "next screen", "screen"),
    Key("screen.previous", "shift+tab", "shift+tab", "next_screen(-1)", "previous screen"),
    Key("theory", "i", "i", "take_reading", "the oscillator at this run's newest measurement", "theory"),
    Key("zoom", "z", "z", "screen.zoom_panel", "one panel, full screen; from a mark: x to it", "zoom"),
    Key("scale", "y", "y", "screen.toggle_scale", "log or linear in the focused panel", "log"),
    Key("smooth", "s", "s", "screen.smooth", "medians of 20, 100, 500 points over the raw curves"),
    Key("radii", "B", "B", "screen.switch_radii", "S at the radius of the bounce, at all, at none"),
    Key("axis", "t", "t", "screen.toggle_axis", "step or flow time η·step as x", "time"),
    Key("pan.left", "left", "←", "screen.pan(-1)", "look back; the crosshair: a column back"),
    Key("pan.right", "right", "→", "screen.pan(1)", "look forward; the crosshair: a column on"),
    Key("span.in", "plus,equals_sign", "+", "screen.span(-1)", "zoom in on x, at the crosshair"),
    Key("span.out", "minus", "-", "screen.span(1)", "zoom out on x"),
    Key("span.all", "0", "0", "screen.span_all", "show the whole run, and y by itself"),
    Key("y.in", "pageup", "pgup", "screen.zoom_y(-1)", "zoom in on y of the focused panel"),
    Key("y.out", "pagedown", "pgdn", "screen.zoom_y(1)", "zoom out on y of the focused panel"),
    Key("y.fit", "Y", "Y", "screen.fit_y", "fit y closely to what was measured in sight"),
    Key("crosshair", "h", "h", "screen.crosshair", "crosshair at the newest step; again: a mark"),
    Key("crosshair.back", "shift+left", "shift+←", "screen.move_crosshair(-1)",
        "the crosshair: a step back"),
    Key("crosshair.on", "shift+right", "shift+→", "screen.move_crosshair(1)",
        "the crosshair: a step on"),
    Key("crosshair.fork", "enter", "enter", "fork_at_crosshair", "fork at the crosshair"),
    Key("crosshair.leave", "escape", "esc", "screen.leave_crosshair", "put the crosshair away"),
    Key("signs", "L", "L", "screen.switch_signs", "signs of the steps of Lλ, or of L"),
    Key("follow", "a", "a", "screen.follow", "follow the newest steps"),
    Key("overlay", "o", "o", "overlay", "draw another run under this one, or take it away"),
    Key("freeze", "v", "v", "screen.freeze", "freeze the view; training goes on", "freeze"),
    Key("picture", "ctrl+s", "ctrl+s", "picture", "save a picture (SVG) into this folder"),
    Key("figure", "F", "F", "figure", "write a figure for a paper (PDF, SVG, PNG), under a name to type"),
    Key("theme", "T", "T", "theme", "choose the colours", group="program"),
    Key("help", "question_mark,f1", "?", "help", "help", "help", "program"),
    Key(
        "suspend", "ctrl+z", "ctrl+z", "suspend_process",
        "to the shell, whose `fg` leads back; training goes on", group="program",
    ),
    Key("palette", "ctrl+p", "ctrl+p", "command_palette", "command palette", group="program"),
    Key(
        "leave", "q,ctrl+q,ctrl+c", "q", "leave", "leave (keep the run going or stop it)", "quit",
        "program",
    ),
)  # fmt: skip

#: A key in a fixed text, by its id.
_NAMED = re.compile(r"‹([\w.]+)›")


def fill(text: str, key: Callable[[str], str]) -> str:
    """Return a text with the keys that it names by their ids, as in `‹calibrate› freezes θ*`.

    Args:
        text: such a text.
        key: writes a key by its id.
    """
    return _NAMED.sub(lambda match: key(match[1]), text)


#: What a key bar shows: keys, and a word for them.
Hints = tuple[tuple[str, str], ...]


#: Keys of the theory, by id: they lead nowhere for dynamics for which it isn't derived.
_OF_THEORY = ("calibrate", "theory")


def training_hints(state: str, further: str = "", *, of_theory: bool = True) -> Hints:
    """Return the key bar of the screens of a run in this state: the keys that can act on it.

    Args:
        state: of the run.
        further: symbol of the further control that keys turn, "" without one.
        of_theory: whether the theory is derived for the run's dynamics.
    """
    words = {"pause": "go on"} if state == "paused" else {}
    hints = [
        (key.pair or key.shown, words.get(key.id, key.short))
        for key in KEYS
        if key.short and key.acts(state) and (of_theory or key.id not in _OF_THEORY)
    ]
    if further and state in LIVE_STATES:
        hints.insert(2, ("( )", further))
    return tuple(hints)


def on_this_screen(texts: Mapping[str, str]) -> tuple[Key, ...]:
    """Return keys of the table, by id, that do something else on one screen; with what that is."""
    by_id = {key.id: key for key in KEYS}
    return tuple(replace(by_id[name], text=text, needs="") for name, text in texts.items())


def bindings(keys: Iterable[Key]) -> list[BindingType]:
    """Return Textual's bindings of keys."""
    return [binding for key in keys for binding in key.bindings()]
