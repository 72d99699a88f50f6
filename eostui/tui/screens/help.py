"""Help: the keys, from their one table, and what each panel means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from eostui.charts.palette import PHASE_COLOURS
from eostui.panels import PANELS
from eostui.runs.analysis.monitors import MEANINGS
from eostui.runs.analysis.phases import HOW_CLASSIFIED, PHASES
from eostui.tui.keys import Key, fill
from eostui.tui.screens.dialogs import Dialog

_BESIDE = """\
[b]Another run[/b] (‹overlay›; a fork has its parent): what was measured of it, as points (·) in dimmer
colours under this run's lines; of a run with a common history from the fork (┊ fork) on. Labels and
marks that begin with · are its own.

[b]Strips[/b]: phase, cosine, signs and ups lie on the x axis of the chart above them: of all charts, of
the left ones. The step cosine ⟨Δθ_t, Δθ_{t−1}⟩/(‖Δθ_t‖‖Δθ_{t−1}‖), in every column its median from −1
(low) to 1 (full), tells who bounces: near −1 every step undoes the one before it, whether or not the
loss rises; at 1 they flow. A bounce that lasts has κ = 2/η − λ exactly. Signs may come of it: ▲ a step
that raised Lλ (or L, where it stands before them: key ‹signs›), ▼ one that lowered it, ◆ several with
both (zoom in: ‹span.in›); ups is the share of up-steps
(full at a half). Beside them: the last steps one by one, and over the last 200 the share of those that
raised the loss, and sign changes a step. All are of the steps up to the right end of x, as are the
monitors and the values beside curves; the title alone is always of now.
At the edge nearly every second step goes up, and yet the loss falls in the long run.
"""


class HelpScreen(Dialog[None]):
    """Scrollable help; escape, q or ? puts it away."""

    BINDINGS = [
        ("escape", "dismiss_help", "back"),
        ("q", "dismiss_help", "back"),
        ("question_mark", "dismiss_help", "back"),
        ("f1", "dismiss_help", "back"),
    ]

    def __init__(
        self,
        keys: Mapping[str, Sequence[Key]],
        state: str,
        about: Iterable[Text | str],
        key: Callable[[str], str],
    ) -> None:
        """Take what there is to help with.

        Args:
            keys: by group.
            state: of the run shown, "" without one: some keys can't act on it.
            about: what each screen says of itself.
            key: writes a key by its id.
        """
        super().__init__()
        self._keys, self._state, self._about, self._key = keys, state, about, key

    def compose(self) -> ComposeResult:
        """Show the key table by group, then the panels, and the screens."""
        with VerticalScroll(classes="help"):
            yield Static(_key_table(self._keys, self._state))
            yield Static(self._filled(_charts()))
            yield Static(_phase_table())
            yield Static(_assumption_table())
            for text in self._about:
                if text:
                    yield Static(self._filled(text) if isinstance(text, str) else text)

    def _filled(self, text: str) -> str:
        """Return a text with the keys that it names, its lines broken where the widget must."""
        return fill(_reflowed(text), lambda id: self._key(id).replace("[", chr(92) + "["))

    def action_dismiss_help(self) -> None:
        """Put the help away."""
        self.dismiss(None)


def _charts() -> str:
    """Return what the panels of a run show, and what lies beside them, a paragraph each."""
    meanings = {panel.name.capitalize(): panel.meaning.strip() for panel in PANELS if panel.meaning}
    return "\n\n".join([*(f"[b]{name}[/b]: {text}" for name, text in meanings.items()), _BESIDE])


def _reflowed(text: str) -> str:
    """Return paragraphs without their line breaks: the widget breaks them where it must."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _phase_table() -> Text:
    """Return the letters of the band, each with its phase and what it means."""
    text = Text()
    text.append("\nPhase", "bold")
    text.append(f": {HOW_CLASSIFIED}. Of the phases in a cell the shortest is shown.\n")
    for phase in PHASES:
        text.append(f"  {phase.letter} ", f"bold {PHASE_COLOURS[phase.letter]}")
        text.append(f"{phase.name}: {phase.meaning}.\n")
    return text


def _assumption_table() -> Text:
    """Return what each assumption of the theory is for."""
    text = Text()
    text.append("\nHolds", "bold")
    text.append(
        ": ✓ an assumption of the theory holds now, ✗ it fails, · it can't be judged now.\n"
    )
    for name, meaning in MEANINGS.items():
        text.append(f"  {name}", "bold")
        text.append(f": {meaning}\n")
    return text


def _key_table(groups: Mapping[str, Sequence[Key]], state: str) -> str:
    lines = []
    for group, keys in groups.items():
        lines.append(f"[b]{group.capitalize()}[/b]")
        for key in keys:
            text = key.text if key.acts(state) else f"[dim]{key.text}: not now[/dim]"
            lines.append(f"  {key.shown:<10}".replace("[", chr(92) + "[") + text)
        lines.append("")
    return "\n".join(lines)
