"""Help: the keys, from their one table, and what each panel means."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from eostui.charts.palette import PHASE_COLOURS
from eostui.panels.orbit import PANELS as ORBIT_PANELS
from eostui.runs.analysis.monitors import MEANINGS
from eostui.runs.analysis.phases import HOW_CLASSIFIED, PHASES
from eostui.tui.keys import KEYS, ON_OSCILLATOR, ON_PLAYBACK
from eostui.tui.oscillator_texts import CONDITIONS
from eostui.tui.screens.dialogs import Dialog

_PANELS = """\
[b]Sharpness[/b]: S is the largest eigenvalue of the Hessian ∇²L(θ), measured every few steps. Plain
gradient descent is stable on a quadratic while S < 2/η; with weight decay the limit is 2/η − λ
(dashed). "rest" (dotted) is where the drives of a run that doesn't bounce would put S:
S + βα/λ − g, the paper's collapsed level. κ is the path curvature, the curvature each step really met:
κ = ⟨∇L(θ⁺) − ∇L(θ), Δθ⟩ / ‖Δθ‖². Its spread over the steps is stippled, its median a line. On ReLU
networks with weight decay S may sink far below 2/η while κ stays there: the run is still at its edge.

[b]Drives[/b]: To first order S⁺ − S ≈ η(βα − λg). βα = −⟨∇L, ∇S⟩ is the drive that sharpens, λg with
g = ⟨θ, ∇S⟩ the one with which decay flattens. Where they cross below the edge (✕) sharpening
stops before S reaches 2/η: the phase transition. On the edge itself the bounce swings βα up and down
(stippled); the line is freed of what alternates from reading to reading.

[b]Loss[/b]: L is the unregularised full-batch loss; its band is the oscillation, nothing is skipped.
Lλ = L + ½λ‖θ‖² is what descent with decay descends.

[b]Norm[/b]: ‖θ‖ over all parameters, and which assumptions of the theory hold now (see below). On the
bounce itself ∇L ⟂ u always fails and βα is forced negative, so neither can be judged there.

[b]Oscillator[/b]: c freezes θ*, u and ∇S; from there on x = ⟨u, θ − θ*⟩, whose sign the bounce turns at
every step (so two strands; times √β it has the unit of S), and q = ⟨∇S, θ − θ*⟩, to first order S − S*,
are drawn beside what the reduced map of the theory predicts (dotted) from the constants measured at θ*.
The map has one term more than the paper's: the curvature that moves x is S + D⁴x²/6, with D⁴ the fourth
derivative of L along u, by differences; 0 where kinks (ReLU) leave none, and in runs from before it.
They agree while S* + q and S stay within 2 % of S* of the prediction. At θ* x is 0 to rounding, so a
predicted hump is right in height and depth before it is right in time: once x is out of the noise, C
restarts the prediction from the network's own x and q.

[b]Another run[/b] (o; a fork has its parent): what was measured of it, as points (·) in dimmer
colours under this run's lines; of a run with a common history from the fork (┊ fork) on. Labels and
marks that begin with · are its own.

[b]Landscape[/b] (tab): L and S around the path of a problem of two parameters; shades part each map
into five bands of equal area. On the sharpness map the line is S = 2/η, dotted S = 2/η − λ: it moves
with η and λ. ● is θ now, and its newest steps are joined. Descent bounces where S lies above the line.

[b]Strips[/b]: phase, cosine, signs and ups lie on the x axis of the chart above them: of all charts, of
the left ones. The step cosine ⟨Δθ_t, Δθ_{t−1}⟩/(‖Δθ_t‖‖Δθ_{t−1}‖), in every column its median from −1
(low) to 1 (full), tells who bounces: near −1 every step undoes the one before it, whether or not the
loss rises; at 1 they flow. A bounce that lasts has κ = 2/η − λ exactly. Signs may come of it: ▲ a step
that raised Lλ, ▼ one that lowered it, ◆ several with both (zoom in: +); ups is the share of up-steps
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

    def __init__(self, state: str) -> None:
        """`state` is that of the run shown, "" without one: some keys can't act on it."""
        super().__init__()
        self._state = state

    def compose(self) -> ComposeResult:
        """Show the key table by group, then the panels."""
        with VerticalScroll(classes="help"):
            yield Static(_key_table(self._state))
            yield Static(_reflowed(_PANELS))
            yield Static(_phase_table())
            yield Static(_assumption_table())
            yield Static(_oscillator_table())

    def action_dismiss_help(self) -> None:
        """Put the help away."""
        self.dismiss(None)


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


def _oscillator_table() -> Text:
    """Return what the oscillator screen's panels show, and what the theory's conditions are for."""
    text = Text()
    text.append("\nOscillator", "bold")
    text.append(
        " (tab): the reduced map of the bounce x along u and of y = S − 2/η, with settings of its own; "
        "i takes them from the run's newest measurement. Below the panels stand the paper's leading "
        "order, the map's exact answer and what this orbit shows.\n"
    )
    meanings = {panel.name: panel.meaning for panel in ORBIT_PANELS} | CONDITIONS
    for name, meaning in meanings.items():
        text.append(f"  {name}", "bold")
        text.append(f": {meaning}\n")
    return text


def _key_table(state: str) -> str:
    lines = []
    for group in ("training", "view", "oscillator", "playback", "program"):
        lines.append(f"[b]{group.capitalize()}[/b]")
        shown = [
            (key.shown, key.text if key.acts(state) else f"[dim]{key.text}: not now[/dim]")
            for key in KEYS
            if key.group == group
        ]
        here = {"oscillator": ON_OSCILLATOR, "playback": ON_PLAYBACK}.get(group, {})
        shown += [(key.shown, here[key.id]) for key in KEYS if key.id in here]
        lines += [f"  {keys:<10}".replace("[", chr(92) + "[") + text for keys, text in shown]
        lines.append("")
    return "\n".join(lines)
