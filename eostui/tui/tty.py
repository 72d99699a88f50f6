"""The terminal underneath: signals through it, the shell that lent it, and whether it is still there."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable

from textual.driver import Driver

#: Seconds between looks at the terminal.
_LOOK_EVERY = 0.5
#: Seconds that leaving may take, with a terminal and without: what is written to one that is gone, or
#: that nobody reads, waits for ever, and the event loop with it.
_PATIENCE, _PATIENCE_ALONE = 5.0, 2.0
#: A terminal's rows, columns, and what they are in pixels, as the kernel has them.
_SIZE = struct.Struct("HHHH")


def give_size() -> None:
    """Make a terminal 80×24 that says it has no columns or no rows, as some serial lines do.

    What asks it for its size falls back on different ones otherwise, and draws for each in turn.
    """
    for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or no terminal
            descriptor = stream.fileno()  # type: ignore[union-attr]
            size = fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(_SIZE.size))
            rows, columns, *pixels = _SIZE.unpack(size)
            if not rows or not columns:
                size = _SIZE.pack(rows or 24, columns or 80, *pixels)
                fcntl.ioctl(descriptor, termios.TIOCSWINSZ, size)


def leave_on_signals(leave: Callable[[int], None]) -> None:
    """Call `leave` with an exit code on a signal that would else leave the screen as it is.

    One that is ignored, as `nohup` has it, stays so. Needs a running event loop.
    """
    loop = asyncio.get_running_loop()

    def obey(code: int) -> None:
        _end_after(_PATIENCE, code)
        leave(code)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, obey, 128 + number)


def leave_when_gone(leave: Callable[[int], None]) -> None:
    """Call `leave` with SIGHUP's exit code once the terminal is gone, and end the process soon after.

    A thread looks, not the event loop: the loop may wait for the terminal that is gone. Needs a running
    event loop, in which `leave` is called.
    """
    loop = asyncio.get_running_loop()
    code = 128 + signal.SIGHUP

    def watch() -> None:
        while not terminal_gone():
            time.sleep(_LOOK_EVERY)
            if loop.is_closed():  # left already
                return
        _end_after(_PATIENCE_ALONE, code)
        with contextlib.suppress(RuntimeError):  # the loop is closed: it was leaving already
            loop.call_soon_threadsafe(leave, code)

    threading.Thread(target=watch, name="eostui-terminal", daemon=True).start()


def stop_and_go_on(driver: Driver, shown_again: Callable[[], None]) -> None:
    """Give the terminal back to the shell when stopped (SIGTSTP), and take it again when continued.

    Textual does so too, but takes it twice where what stopped the process was SIGSTOP, which nothing can
    catch: two threads then share its keys.

    Args:
        driver: has the terminal.
        shown_again: called once it has it again.
    """
    lent = False

    def stop(*_: object) -> None:
        nonlocal lent
        if not lent:
            driver.suspend_application_mode()
            lent = True
        os.kill(os.getpid(), signal.SIGSTOP)

    def go_on(*_: object) -> None:
        nonlocal lent
        if not lent:  # it was stopped without a word, and a shell has had the terminal since
            driver.suspend_application_mode()
            lent = True
        driver.resume_application_mode()  # stops the process again if it is in the background
        if lent:
            lent = False
            shown_again()

    signal.signal(signal.SIGTSTP, stop)
    signal.signal(signal.SIGCONT, go_on)


def suspend() -> bool:
    """Stop the job that this process belongs to; return False where no shell would continue it."""
    if not _under_job_control():
        return False
    os.killpg(os.getpgrp(), signal.SIGTSTP)  # with what it was started through: `uv run`, a script
    return True


def _under_job_control() -> bool:
    """Return whether the parent of this process's job is a shell that put it in a group of its own."""
    process = os.getppid()
    while process > 1:
        try:
            if os.getpgid(process) != os.getpgrp():
                return os.getsid(process) == os.getsid(0)
        except ProcessLookupError:
            return False
        command = ["ps", "-o", "ppid=", "-p", str(process)]
        process = int(subprocess.run(command, capture_output=True, check=False).stdout or 0)
    return False


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


def _end_after(seconds: float, code: int) -> None:
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
