"""Keys one after another, each on the screen that the key before it left."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from textual import events
from textual.app import App
from textual.message_pump import MessagePump
from textual.screen import ModalScreen

#: Seconds that a key may take to be obeyed, and a dialog to be ready, before the next one passes.
_PATIENCE = 1.0
#: Seconds between looks at a dialog that isn't ready.
_LOOK_EVERY = 0.01

#: What is typed.
Typed = events.Key | events.Paste


class KeyQueue:
    """Has a key obeyed, and all that it leads to at once, before the next one is looked at.

    Textual passes keys that come together all to the screen that is shown, where those after one that
    opens a dialog are lost: of `e`, `0.04` and enter the number that arrives is 4. Quick typing, a slow
    link and a busy machine all bring keys together.
    """

    def __init__(self, app: App[str], obey: Callable[[Typed], Awaitable[None]]) -> None:
        """`obey` passes a key on to the application `app`, as if there were no queue."""
        self._app, self._obey = app, obey
        self._waiting: deque[Typed] = deque()
        self._number = 0  # of the key under way
        self._obeyed = 0  # of the last one that was obeyed

    async def take(self, typed: Typed) -> None:
        """Take a key; it is obeyed in its turn."""
        self._waiting.append(typed)
        if self._obeyed == self._number:
            await self._pass_next()

    async def _pass_next(self) -> None:
        if not self._waiting:
            return
        self._number += 1
        app, number = self._app, self._number
        target = app.focused or app.screen
        await self._obey(self._waiting.popleft())
        # a key climbs from widget to widget up to the app, and then acts; what it makes a field say
        # climbs once more: so does what follows them
        way = [node for node in target.ancestors_with_self if node is not app]
        self._follow_up([*way, app, *way], number)
        app.set_timer(_PATIENCE, lambda: self._end(number))

    def _follow_up(self, nodes: list[MessagePump], number: int) -> None:
        if not nodes or not nodes[0].call_later(self._follow_up, nodes[1:], number):
            self._app.call_later(self._obey_next, number)

    async def _obey_next(self, number: int) -> None:
        """Pass the next key on, once a dialog that was opened by this one can take it."""
        if number != self._number or self._obeyed == number:
            return
        if self._opening:
            self._app.set_timer(_LOOK_EVERY, lambda: self._obey_next(number))
        else:
            await self._end(number)

    async def _end(self, number: int) -> None:
        if number == self._number and self._obeyed != number:
            self._obeyed = number
            await self._pass_next()

    @property
    def _opening(self) -> bool:
        """Whether a dialog was opened that has no place to type into yet."""
        if not self._app.screen_stack:  # the application is ending
            return False
        screen = self._app.screen
        return (
            isinstance(screen, ModalScreen) and screen.AUTO_FOCUS != "" and screen.focused is None
        )
