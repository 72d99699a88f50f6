"""The one table of keys: it makes the bindings, the key bar, the help and the command palette."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding

from eostui.runs.launch import RESUMABLE_STATES
from eostui.runs.store.schema import LIVE_STATES


@dataclass(frozen=True)
class Key:
    """A key and what it does.

    Attributes:
        id: stable name, by which users will remap it.
        keys: Textual's names, separated by commas.
        shown: how it is written for people.
        action: the application's action.
        text: what it does.
        short: a word for the key bar; "" keeps it out of there.
        group: training, view, oscillator, playback (keys of those screens alone) or program.
        needs: what the run must be for it: live, ended (and able to go on), or "" for any.
    """

    id: str
    keys: str
    shown: str
    action: str
    text: str
    short: str = ""
    group: str = "view"
    needs: str = ""

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


KEYS = (
    Key(
        "eta.down", "left_square_bracket,D", "[ D", "scale_eta(-1)", "η ÷ 1.1",
        group="training", needs="live",
    ),
    Key(
        "eta.up", "right_square_bracket,E", "] E", "scale_eta(1)", "η × 1.1",
        group="training", needs="live",
    ),
    Key(
        "decay.down", "left_curly_bracket,A", "{ A", "scale_decay(-1)", "λ ÷ 1.25, down to 0",
        group="training", needs="live",
    ),
    Key(
        "decay.up", "right_curly_bracket,W", "} W", "scale_decay(1)", "λ × 1.25, from 0 too",
        group="training", needs="live",
    ),
    Key(
        "eta.type", "e", "e", "type_eta", "type a value for η, such as 2/100",
        group="training", needs="live",
    ),
    Key("decay.type", "w", "w", "type_decay", "type a value for λ", group="training", needs="live"),
    Key(
        "undo", "u", "u", "undo", "undo the last change of η or λ made here",
        group="training", needs="live",
    ),
    Key("pause", "space", "space", "pause", "pause or resume training", "pause", "training", "live"),
    Key(
        "step", "full_stop", ".", "single_step", "one step (pauses first)", "step", "training", "live",
    ),
    Key("preset.next", "n", "n", "preset(1)", "next preset", group="training"),
    Key("preset.previous", "p", "p", "preset(-1)", "previous preset", group="training"),
    Key("restart", "r", "r", "restart", "restart from step 0", "restart", "training"),
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
        "preset.save", "S", "S", "save_preset", "save this steered run as a preset", group="training",
    ),
    Key("export", "x", "x", "export", "export as CSV into this folder", "csv", "training"),
    *(
        Key(f"panel.{n}", str(n), str(n), f"screen.panel({n - 1})", f"focus panel {n}")
        for n in range(1, 6)
    ),
    Key("screen.next", "tab", "tab", "next_screen(1)", "next screen", "screen"),
    Key("screen.previous", "shift+tab", "shift+tab", "next_screen(-1)", "previous screen"),
    Key("screen.live", "f2", "f2", "show_screen('live')", "the run's charts"),
    Key("screen.landscape", "f3", "f3", "show_screen('landscape')", "landscape of two parameters"),
    Key("screen.oscillator", "f4", "f4", "show_screen('oscillator')", "the reduced oscillator"),
    Key("theory", "i", "i", "take_reading", "the oscillator at this run's newest measurement", "theory"),
    Key("zoom", "z", "z", "screen.zoom_panel", "one panel, full screen", "zoom"),
    Key("scale", "y", "y", "screen.toggle_scale", "log or linear in the focused panel", "log"),
    Key("axis", "t", "t", "screen.toggle_axis", "step or flow time η·step as x", "time"),
    Key("pan.left", "left", "←", "screen.pan(-1)", "look back"),
    Key("pan.right", "right", "→", "screen.pan(1)", "look forward"),
    Key("span.in", "plus,equals_sign", "+", "screen.span(-1)", "zoom in on x"),
    Key("span.out", "minus", "-", "screen.span(1)", "zoom out on x"),
    Key("span.all", "0", "0", "screen.span_all", "show the whole run"),
    Key("follow", "a", "a", "screen.follow", "follow the newest steps"),
    Key("overlay", "o", "o", "overlay", "draw another run under this one, or take it away"),
    Key("freeze", "v", "v", "screen.freeze", "freeze the view; training goes on", "freeze"),
    Key("picture", "ctrl+s", "ctrl+s", "picture", "save a picture (SVG) into this folder"),
    Key("setting.next", "greater_than_sign", ">", "screen.choose(1)", "next setting",
        group="oscillator"),
    Key("setting.previous", "less_than_sign", "<", "screen.choose(-1)", "previous setting",
        group="oscillator"),
    Key("setting.up", "up", "↑", "screen.scale_chosen(1)", "that setting × 1.25, from 0 too",
        group="oscillator"),
    Key("setting.down", "down", "↓", "screen.scale_chosen(-1)", "that setting ÷ 1.25, through 0",
        group="oscillator"),
    Key("setting.type", "enter", "enter", "screen.type_chosen", "type a value for that setting",
        group="oscillator"),
    Key("playback.faster", "greater_than_sign", ">", "screen.pace(1)", "play twice as fast",
        group="playback"),
    Key("playback.slower", "less_than_sign", "<", "screen.pace(-1)", "play half as fast",
        group="playback"),
    Key("playback.start", "home", "home", "screen.end(-1)", "back to step 0", group="playback"),
    Key("playback.end", "end", "end", "screen.end(1)", "on to the newest step", group="playback"),
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

#: The key bar's opening pairs: two keys under one word.
_STEERING, _PRESETS = (("[ ]", "η"), ("{ }", "λ")), (("n p", "preset"),)
PAIRS = (*_STEERING, *_PRESETS)

#: What a key bar shows: keys, and a word for them.
Hints = tuple[tuple[str, str], ...]


def training_hints(state: str) -> Hints:
    """Return the key bar of the screens of a run in this state: the keys that can act on it."""
    pairs = PAIRS if KEYS[0].acts(state) else _PRESETS
    return *pairs, *((key.shown, key.short) for key in KEYS if key.short and key.acts(state))


#: Keys that move the cursor where a run is played back, and how.
ON_PLAYBACK = {
    "pause": "hold the playback or let it go on",
    "step": "hold, and reveal one step",
    "pan.left": "go back, by a fiftieth of what is in sight",
    "pan.right": "go on, by a fiftieth of what is in sight",
}

#: The key bar of a playback.
PLAYBACK_HINTS: Hints = (
    ("space", "hold"), ("← →", "scrub"), ("< >", "speed"), ("home end", "ends"), (".", "step"),
    ("+ -", "zoom"), ("o", "overlay"), ("v", "freeze"), ("x", "csv"), ("?", "help"), ("q", "quit"),
)  # fmt: skip

#: Keys of the training that act on the oscillator instead where that screen is shown, and how.
ON_OSCILLATOR = {
    "eta.down": "η of the oscillator ÷ 1.1",
    "eta.up": "η of the oscillator × 1.1",
    "decay.down": "λ of the oscillator ÷ 1.25, down to 0",
    "decay.up": "λ of the oscillator × 1.25, from 0 too",
    "eta.type": "type η of the oscillator",
    "decay.type": "type λ of the oscillator",
    "undo": "undo the last change of the oscillator",
    "preset.next": "next preset of the oscillator",
    "preset.previous": "previous preset of the oscillator",
    "restart": "reset the oscillator to its preset",
}

#: The key bar of the oscillator screen.
OSCILLATOR_HINTS: Hints = (
    *PAIRS, ("< >", "choose"), ("↑ ↓", "change"), ("enter", "type"), ("r", "reset"), ("tab", "screen"),
    ("i", "run's values"), ("y", "scale"), ("z", "zoom"), ("?", "help"), ("q", "quit"),
)  # fmt: skip
