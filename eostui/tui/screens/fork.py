"""The dialog of a fork: one key for λ → 0 from here, or other values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Input, Static

from eostui.charts.numbers import grouped
from eostui.errors import InputError
from eostui.stability import WEIGHT_DECAY, Control
from eostui.text import parse_number
from eostui.tui.screens.dialogs import BACK, Dialog, KeyText


@dataclass(frozen=True)
class ForkWish:
    """What a fork shall be.

    Attributes:
        step: the first step that it takes itself.
        controls: those from there on, by name.
        steps: how many steps it shall have in all.
        asked: the names of the controls that were chosen, be it as they were.
    """

    step: int
    controls: Mapping[str, float]
    steps: int
    asked: Collection[str] = ()

    @property
    def undecayed(self) -> ForkWish:
        """The same with λ = 0."""
        decay = WEIGHT_DECAY.name
        return replace(self, controls={**self.controls, decay: 0.0}, asked={decay})


#: Fields of numbers of steps, by what stands before them.
_STEP, _STEPS = "from step", "steps in all"


class ForkDialog(Dialog[ForkWish | None]):
    """Asks what changes in a fork; enter at once takes λ → 0, escape answers None."""

    AUTO_FOCUS = ""

    def __init__(self, parent: str, present: ForkWish, controls: Mapping[str, Control]) -> None:
        """Take what there is to fork.

        Args:
            parent: the id of the run that is forked.
            present: what the fork would be if nothing changed.
            controls: what the run is steered by.
        """
        super().__init__()
        self._controls = controls
        self._parent_id = parent
        self._present = present
        self._decays = present.controls[WEIGHT_DECAY.name] > 0
        self._typed_in: set[str] = set()  # the names of the fields

    def compose(self) -> ComposeResult:
        """Show the quick choice, a field for each value, and a place for complaints."""
        step = grouped(self._present.step)
        with VerticalScroll(classes="dialog form"):
            after = f", after its step {grouped(self._present.step - 1)}" * (self._present.step > 0)
            yield Static(f"fork {self._parent_id}{after}", markup=False)
            if self._decays:
                yield Static(f"\n[b]enter[/b]  λ → 0 from step {step} on")
                yield Static("[b]tab[/b]    other values:\n")
            else:
                yield Static("")
            for name, label, value in self._fields():
                with Horizontal():
                    yield Static(label, classes="label")
                    yield Input(_shown(value), id=name)
            yield Static()
            yield KeyText(("enter", "enter", "  fork with these   "), BACK, id="hint")

    def on_mount(self) -> None:
        """Where λ is 0 already, the first thing to type is η."""
        if not self._decays:
            self.query("#eta").focus()  # of a dialog that is put away as it opens there is none

    def key_enter(self, event: events.Key) -> None:
        """Take the quick choice; a field that has the focus takes enter for itself."""
        if self._decays and self.focused is None:  # else it must reach the field's own binding
            event.stop()
            self.dismiss(self._present.undecayed)

    def key_down(self) -> None:
        """Go to the next field."""
        self.focus_next("Input")

    def key_up(self) -> None:
        """Go to the field before."""
        self.focus_previous("Input")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Take note of a field that is typed in, whatever it says in the end."""
        self._note_typed(event.input.id, event.value)

    def on_input_submitted(self) -> None:
        """Answer with the values, or say which isn't one."""
        try:
            self.dismiss(self._typed())
        except InputError as error:
            self.query_one("#hint", Static).update(Text(str(error)))

    def key_escape(self, event: events.Key) -> None:
        """Answer None."""
        event.stop()
        self.dismiss(None)

    def _fields(self) -> Iterator[tuple[str, str, float]]:
        """Yield the name, the label and the present value of each field."""
        yield "step", _STEP, self._present.step
        for name, value in self._present.controls.items():
            yield name, f"{self._controls[name].symbol} from there", value
        yield "steps", _STEPS, self._present.steps

    def _note_typed(self, field: str | None, text: str) -> None:
        present = {name: _shown(value) for name, _, value in self._fields()}
        if field is not None and text != present[field]:
            self._typed_in.add(field)

    def _typed(self) -> ForkWish:
        for field in self.query(Input):  # it may not have been told of yet
            self._note_typed(field.id, field.value)
        values = {
            name: parse_number(self.query_one(f"#{name}", Input).value)
            if name in self._typed_in
            else present  # of which the field may not show every digit
            for name, _, present in self._fields()
        }
        for name, label in (("step", _STEP), ("steps", _STEPS)):
            if values[name] % 1 or values[name] < 0:
                raise InputError(f"{label}: {values[name]:g} isn't a number of steps")
        step, steps = int(values.pop("step")), int(values.pop("steps"))
        return ForkWish(step, values, steps, self._typed_in & values.keys())


def _shown(value: float) -> str:
    return f"{value:.12g}"
