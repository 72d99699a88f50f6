"""The terminal underneath: signals through it, and whether it is still there."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
from collections.abc import Callable


def leave_on_signals(leave: Callable[[int], None]) -> None:
    """Call `leave` with an exit code on SIGTERM and SIGHUP, which would else leave the screen as it is.

    Needs a running event loop.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, leave, 128 + number)


def leave_if_gone(leave: Callable[[int], None]) -> None:
    """Call `leave` with SIGHUP's exit code when the terminal is gone."""
    if terminal_gone():
        code = 128 + signal.SIGHUP
        leave(code)
        # restoring a terminal that isn't there may hang
        threading.Timer(3.0, os._exit, (code,)).start()


def terminal_gone() -> bool:
    """Return whether the other end of stdin hung up: a dropped link doesn't always bring a SIGHUP."""
    if sys.__stdin__ is None:
        return True
    poller = select.poll()
    try:
        poller.register(sys.__stdin__.fileno(), 0)
    except (OSError, ValueError):
        return True
    return any(happened & (select.POLLHUP | select.POLLERR) for _, happened in poller.poll(0))
