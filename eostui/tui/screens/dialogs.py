"""Small dialogs: leaving, typing a value, a yes or no, an error."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from eostui.errors import InputError, printable
from eostui.text import parse_number
from eostui.tui.widgets.bars import KEY, Clickable

Answer = TypeVar("Answer")

#: The key that leads out of a dialog: as it is written, Textual's name, and what follows it.
BACK = "esc", "escape", "  back"


class KeyText(Static, Clickable):
    """A line of keys, each with what it does; a click on either presses it."""

    def __init__(self, *keys: tuple[str, str, str], id: str | None = None) -> None:
        """`keys` are as written, by Textual's name, and what follows them."""
        pieces: list[tuple[str, str | Style]] = []
        for shown, name, text in keys:
            meta = {KEY: name}
            pieces += [(shown, Style(bold=True, meta=meta)), (text.rstrip(), Style(meta=meta))]
            pieces += [(" " * (len(text) - len(text.rstrip())), "")]
        super().__init__(Text.assemble(*pieces), id=id)


class Dialog(ModalScreen[Answer]):
    """A question over the screen beneath, which is answered once.

    A key that answers it is stopped: Textual would have it obeyed by the screen beneath too.
    """

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Give the answer and go; a key that came right behind the one that answered is too late.

        Textual would take the screen beneath away for it.
        """
        if self.app.screen is not self:
            return AwaitComplete()
        return super().dismiss(result)

    async def handle_key(self, event: events.Key) -> bool:
        """Obey a key; one that answers isn't for the screen beneath too."""
        handled = await super().handle_key(event)
        if self.app.screen is not self:
            event.stop()
        return handled


class ChoiceDialog(Dialog[str]):
    """A question answered by one key; escape answers ''."""

    def __init__(self, question: str, choices: dict[str, str]) -> None:
        """`choices` maps a key to what it does."""
        super().__init__()
        self._question = question
        self._choices = choices

    def compose(self) -> ComposeResult:
        """Show the question and a line for each key."""
        with VerticalScroll(classes="dialog"):
            yield Static(self._question, markup=False)
            yield Static()
            for key, text in self._choices.items():
                yield KeyText((key, key, f"  {text}"))
            yield KeyText(BACK)

    def key_escape(self, event: events.Key) -> None:
        """Answer ''."""
        event.stop()
        self.dismiss("")

    def on_key(self, event: events.Key) -> None:
        """Answer with the key if it is one of the choices."""
        if event.character in self._choices:
            event.stop()
            self.dismiss(event.character)


class LeaveDialog(ChoiceDialog):
    """Asks what becomes of the runs that train; to leave once more keeps them."""


class MessageDialog(Dialog[None]):
    """A sentence that any key puts away."""

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self._sentence = sentence

    def compose(self) -> ComposeResult:
        """Show the sentence."""
        with VerticalScroll(classes="dialog"):
            yield Static(printable(self._sentence), markup=False)
            yield Static()
            yield KeyText(("any key", "escape", "  back"))

    def on_key(self, event: events.Key) -> None:
        """Put it away."""
        event.stop()
        self.dismiss(None)


class PickDialog(Dialog[str]):
    """A list to pick one row of; escape answers ''."""

    AUTO_FOCUS = "OptionList"

    def __init__(
        self,
        question: str,
        rows: dict[str, str],
        first: str = "",
        look: Callable[[str], None] = lambda _: None,
        *,
        dimmed: Collection[str] = (),
        wide: bool = False,
    ) -> None:
        """Take what there is to pick from.

        Args:
            question: a sentence.
            rows: what is shown for each answer.
            first: the answer at which the cursor begins.
            look: called with the answer that the cursor comes to.
            dimmed: answers that lead nowhere now, whose rows are drawn so.
            wide: whether the rows take the whole width.
        """
        super().__init__()
        self._question = question
        self._rows, self._first, self._look = rows, first, look
        self._dimmed, self._wide = dimmed, wide

    def on_mount(self) -> None:
        """Begin at the first answer."""
        if self._first in self._rows:
            for options in self.query(OptionList):  # none, if it is put away as it opens
                options.highlighted = list(self._rows).index(self._first)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Look at the row that the cursor comes to."""
        self._look(str(event.option_id))

    def compose(self) -> ComposeResult:
        """Show the question and the rows."""
        with VerticalScroll(classes="dialog -wide" if self._wide else "dialog"):
            yield Static(self._question, markup=False)
            yield OptionList(
                *(
                    Option(Text(printable(row), "dim" if key in self._dimmed else ""), id=key)
                    for key, row in self._rows.items()
                ),
                markup=False,
            )
            yield KeyText(("enter", "enter", "  take it   "), BACK)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answer with the row."""
        self.dismiss(event.option_id)

    def key_escape(self, event: events.Key) -> None:
        """Answer ''."""
        event.stop()
        self.dismiss("")


class AskDialog(Dialog[Answer | None]):
    """Asks for something typed; escape answers None."""

    AUTO_FOCUS = "Input"

    def __init__(self, question: str, present: str, parse: Callable[[str], Answer]) -> None:
        """`parse` makes the answer of what was typed; what it refuses (InputError) is asked again."""
        super().__init__()
        self._question = question
        self._present = present
        self._parse = parse

    def compose(self) -> ComposeResult:
        """Show the question, a field with the present value, and a place for complaints."""
        with VerticalScroll(classes="dialog"):
            yield Static(self._question, markup=False)
            yield Input(self._present, select_on_focus=True)
            yield KeyText(("enter", "enter", "  set   "), BACK, id="hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer with what was typed, or say why it can't be."""
        try:
            self.dismiss(self._parse(event.value))
        except InputError as error:
            self.query_one("#hint", Static).update(Text(str(error)))

    def key_escape(self, event: events.Key) -> None:
        """Answer None."""
        event.stop()
        self.dismiss(None)


class NumberDialog(AskDialog[float]):
    """Asks for a number such as 0.02, 1e-3 or 2/100."""

    def __init__(self, question: str, present: str) -> None:
        super().__init__(question, present, parse_number)
