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
from types import FrameType
from typing import Any

from textual.app import App
from textual.driver import Driver

#: Seconds between looks at the terminal.
_LOOK_EVERY = 0.5
#: Seconds that leaving may take, with a terminal and without: what is written to one that is gone, or
#: that nobody reads, waits for ever, and the event loop with it.
_PATIENCE, _PATIENCE_ALONE = 5.0, 2.0
#: Tasks that last as long as their event loop, which itself keeps none.
_KEPT: set[asyncio.Task[None]] = set()
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

    One that is ignored, as `nohup` has it, stays so. Needs a running event loop, in which `leave` is
    called; where the loop stands still the process ends soon all the same.
    """
    loop = asyncio.get_running_loop()

    def obey(number: int, _: FrameType | None) -> None:
        # no lock here: what is interrupted may hold it
        code = 128 + number
        signal.signal(signal.SIGALRM, lambda *_: os._exit(code))
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
        loop.call_soon_threadsafe(leave, code)

    before = {
        number: signal.signal(number, obey)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }

    async def put_back() -> None:
        try:
            await asyncio.Event().wait()
        finally:  # the loop ends
            for number, handler in before.items():
                signal.signal(number, handler)

    _KEPT.add(task := loop.create_task(put_back()))
    task.add_done_callback(_KEPT.discard)


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
        with contextlib.suppress(RuntimeError):  # the loop is closed: it was leaving already
            loop.call_soon_threadsafe(leave, code)
        time.sleep(_PATIENCE_ALONE)
        os._exit(code)

    threading.Thread(target=watch, name="eostui-terminal", daemon=True).start()


def stop_and_go_on(app: App[Any], driver: Driver, shown_again: Callable[[], None]) -> None:
    """Give the terminal back to the shell when stopped (SIGTSTP), and take it again when continued.

    Textual does so too, but takes it twice where what stopped the process was SIGSTOP, which nothing can
    catch: two threads then share its keys. Needs a running event loop.

    Args:
        app: uses the terminal while it is running.
        driver: has the terminal.
        shown_again: called once it has it again.
    """
    loop = asyncio.get_running_loop()
    lent = continued = False

    def stop() -> None:
        nonlocal lent
        if not lent and app.is_running:
            driver.suspend_application_mode()
            lent = True
        os.kill(os.getpid(), signal.SIGSTOP)

    def note_continued() -> None:
        nonlocal continued
        if not continued:  # of many that came at once, as of one
            continued = True
            loop.call_soon(go_on)

    def go_on() -> None:
        nonlocal lent, continued
        continued = False
        if _in_background():  # a shell's `bg`: the terminal is still the shell's until its `fg`
            os.kill(os.getpid(), signal.SIGSTOP)
        elif app.is_running:
            if not lent:  # it was stopped without a word, and a shell has had the terminal since
                driver.suspend_application_mode()
            driver.resume_application_mode()
            lent = False
            shown_again()

    # in the event loop, not in the midst of whatever a signal interrupts: that may be a write to the
    # terminal, whose lock would be waited for for ever
    loop.add_signal_handler(signal.SIGTSTP, stop)
    loop.add_signal_handler(signal.SIGCONT, note_continued)


def suspend() -> bool:
    """Stop the job that this process belongs to; return False where no shell would continue it."""
    if not _under_job_control():
        return False
    os.killpg(os.getpgrp(), signal.SIGTSTP)  # with what it was started through: `uv run`, a script
    return True


def _in_background() -> bool:
    """Return whether the terminal is another job's now."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or no terminal
        return os.tcgetpgrp(sys.__stdin__.fileno()) != os.getpgrp()  # type: ignore[union-attr]
    return False


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
