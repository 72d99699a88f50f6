"""The terminal underneath: whether it is still there."""

from __future__ import annotations

import select
import sys


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
