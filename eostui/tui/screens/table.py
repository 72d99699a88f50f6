"""The table of screens: a screen is one file, and one line here.

From here come the ring that tab goes round, a key for each screen, and what palette and help say of it.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass

from eostui.errors import InputError
from eostui.tui.keymap import Keymap, refuse_unknown, textual_name
from eostui.tui.keys import KEYS, Key
from eostui.tui.screens.compare import CompareScreen
from eostui.tui.screens.experiments import ExperimentsScreen
from eostui.tui.screens.function_space import FunctionSpaceScreen
from eostui.tui.screens.landscape import LandscapeScreen
from eostui.tui.screens.live import LiveScreen
from eostui.tui.screens.oscillator import OscillatorScreen
from eostui.tui.screens.playback import PlaybackScreen
from eostui.tui.screens.presets import PresetsScreen
from eostui.tui.screens.runs import RunsScreen
from eostui.tui.screens.screen import SessionScreen
from eostui.tui.screens.slices import SlicesScreen
from eostui.tui.screens.spectrum import SpectrumScreen
from eostui.tui.screens.sweep import SweepScreen
from eostui.tui.session import Session


@dataclass(frozen=True)
class ScreenEntry:
    """A screen of the application.

    Attributes:
        name: one word.
        key: that shows it.
        text: what it shows, for help and palette.
        screen: makes it of the session.
        applies: whether there is something for it to show; where there isn't, tab passes it by.
        of_run: whether it shows the run at hand; tab passes the others by.
        played_back: whether it is for a run that is played back, or for all others; None for any. Two
            screens may have one key where one is for each.
    """

    name: str
    key: str
    text: str
    screen: type[SessionScreen]
    applies: Callable[[Session], bool] = lambda _: True
    of_run: bool = True
    played_back: bool | None = None

    def is_beside(self, other: ScreenEntry) -> bool:
        """Return whether one application can have both."""
        return (
            None in (self.played_back, other.played_back) or self.played_back == other.played_back
        )

    @property
    def as_key(self) -> Key:
        """The key that shows it."""
        return Key(
            f"screen.{self.name}", self.key, self.key, f"show_screen('{self.key}')", self.text
        )


def _of_two_parameters(session: Session) -> bool:
    return session.run is not None and len(session.run.coordinates) == 2


def _of_a_run(session: Session) -> bool:
    return session.run is not None


#: In the order of the ring. The first that applies when the application starts lies below the others.
SCREENS: list[ScreenEntry] = [
    ScreenEntry("live", "f2", "the run's charts", LiveScreen, played_back=False),
    ScreenEntry("playback", "f2", "the run's charts", PlaybackScreen, played_back=True),
    ScreenEntry("landscape", "f3", "landscape of two parameters", LandscapeScreen, _of_two_parameters),
    ScreenEntry("oscillator", "f4", "the reduced oscillator", OscillatorScreen),
    ScreenEntry(
        "spectrum", "f6", "the Hessian's spectrum: eigenvalues, density, rotations", SpectrumScreen,
        _of_a_run,
    ),
    ScreenEntry(
        "function", "f7", "function space: the NTK beside S, alignments, the Weyl gap",
        FunctionSpaceScreen, _of_a_run,
    ),
    ScreenEntry(
        "compare", "O", "any number of runs side by side", CompareScreen,
        lambda session: session.comparing is not None,
    ),
    ScreenEntry(
        "sweep", "f5", "a sweep: its members as they come, and a map of two settings", SweepScreen,
        lambda session: session.sweep is not None,
    ),
    ScreenEntry(
        "slices", "X", "slices of the landscape at a step: L and S along −∇L, u, ∇S", SlicesScreen,
        lambda session: session.run is not None, of_run=False,
    ),
    ScreenEntry("runs", "l", "the runs of the shelf", RunsScreen, of_run=False),
    ScreenEntry(
        "experiments", "f8", "the papers' claims as experiments: verdicts, costs, members",
        ExperimentsScreen, of_run=False,
    ),
    ScreenEntry("presets", "P", "the presets, with what to look for", PresetsScreen, of_run=False),
]  # fmt: skip


#: Keys offered to a screen whose own is taken, the likeliest first; and how many of them.
_OFFERED, _FEW = (*(f"f{n}" for n in range(1, 13)), *string.ascii_letters), 5


def entries_of(session: Session) -> dict[str, ScreenEntry]:
    """Return the screens of a session by key."""
    played_back = session.watch is not None
    return {entry.key: entry for entry in SCREENS if entry.played_back in (None, played_back)}


def refuse_unreachable(keymap: Keymap) -> None:
    """Raise InputError if a screen, such as one of the user's own, can't be reached by its key.

    Args:
        keymap: the user's keys, by which those of the table may be elsewhere.
    """
    acts = {name: f"“{key.text}”" for key in KEYS for name in keymap.of(key).keys.split(",")}
    for position, entry in enumerate(SCREENS):
        refuse_unknown(entry.key, f"the key of the screen `{entry.name}`")
        before = [other for other in SCREENS[:position] if other.is_beside(entry)]
        if any(entry.name == other.name for other in before):
            raise InputError(
                f"two screens are called `{entry.name}`: one of them needs another name"
            )
        shows = {other.key: f"the screen `{other.name}`" for other in before}
        if taken := shows.get(entry.key) or acts.get(textual_name(entry.key)):
            used = acts.keys() | {each.key for each in SCREENS}
            free = [key for key in _OFFERED if key not in used]
            raise InputError(
                f"the screen `{entry.name}` can't have the key `{entry.key}`, which is that of "
                f"{taken}: give it another; free are {', '.join(free[:_FEW])}"
            )


def screen_keys() -> tuple[Key, ...]:
    """Return the keys that show a screen, each once."""
    return tuple({entry.key: entry.as_key for entry in reversed(SCREENS)}.values())[::-1]


def keys_by_group() -> dict[str, list[Key]]:
    """Return all keys as help and documentation list them: by what they act on, or by their screen.

    A key of the application that does something else on a screen is listed there too.
    """
    groups: dict[str, list[Key]] = {"training": [], "view": []}
    for key in (*KEYS, *screen_keys()):
        groups.setdefault(key.group, []).append(key)
    program = groups.pop("program")
    for entry in SCREENS:
        if entry.screen.KEYS:
            groups[entry.name] = list(entry.screen.KEYS)
    return {**groups, "program": program}
