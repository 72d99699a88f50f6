"""Signals that end a command in order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from eostui.errors import EXIT_INTERRUPTED, Interrupted

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
assert 128 + signal.SIGINT == EXIT_INTERRUPTED


class NotedSignals:
    """The SIGINT, SIGTERM or SIGHUP that comes while it is entered: the first that stops, else a SIGHUP.

    It is only noted, never raised, but where `raised` says so: an engine that was started is never lost
    sight of in between.

    Attributes:
        number: that of the signal, 0 before it came.
        answered: whether it was obeyed: the next one ends the program at once then.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        """Note these signals; all that end a command if none is named."""
        self.number = 0
        self.answered = False
        self._raises = False
        # what `nohup` lets be ignored stays so
        self._ends = [n for n in numbers or _ENDING if signal.getsignal(n) is not signal.SIG_IGN]

    def __enter__(self) -> NotedSignals:
        self._before = {number: signal.signal(number, self._note) for number in self._ends}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if not self.stops:  # who let the run go on may yet end it, but not the other way round
            self.number = number
        if self._raises and number != signal.SIGHUP:
            self._raises = False
            raise KeyboardInterrupt

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Have the next one that stops raise KeyboardInterrupt within, also where one was obeyed."""
        for number in self._ends:
            signal.signal(number, self._note)
        self._raises = True
        try:
            yield
        finally:
            self._raises = False

    def obeyed(self) -> None:
        """Take in that the engine knows of it."""
        self.answered = True
        for number in self._ends:
            signal.signal(number, signal.SIG_DFL)

    @property
    def hung_up(self) -> bool:
        """Whether the terminal is gone, which takes no run along."""
        return self.number == signal.SIGHUP

    @property
    def stops(self) -> bool:
        """Whether the run shall end."""
        return self.number != 0 and not self.hung_up

    def interruption(self, before: str = "the run began") -> Interrupted:
        """Return what to raise where there is nothing yet to be ended: it came `before` that."""
        name = signal.Signals(self.number).name
        return Interrupted(f"stopped by {name} before {before}", 128 + self.number)
