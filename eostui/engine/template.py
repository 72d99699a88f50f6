"""The template of a sweep's engines: a process that has loaded PyTorch, and forks for each of them.

A copy has what the template loaded and nothing else: no generator was drawn from, no thread begun, no GPU
touched. So a run in it is to the bit the one of a process of its own, and nothing of a run is left for
the next. `eostui/runs/template.py` is who asks.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from eostui.engine.preload import load


class Life:
    """What an engine and who asked for it know of each other: a socket that both hold.

    Its other end closes, or the process that had it ends, however that went: then the engine is alone,
    and stops as if it had been asked to. Through it the engine tells its process's id and its exit code.
    """

    def __init__(self, descriptor: int) -> None:
        """Take the socket over; until there is a run, being left alone ends the process."""
        self._socket = socket.socket(fileno=descriptor)
        self._alone = False
        self._stop: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._tell(os.getpid())
        threading.Thread(target=self._wait, daemon=True).start()

    def when_alone(self, stop: Callable[[], None]) -> None:
        """Have `stop` called once the engine is alone; nothing was made until now."""
        with self._lock:
            if self._alone:
                os._exit(1)
            self._stop = stop

    def end(self, code: int) -> NoReturn:
        """Tell the exit code, and end the process with it."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self._tell(code)
        os._exit(code)

    def _wait(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(64):
                pass
        with self._lock:
            self._alone = True
            if self._stop is None:
                os._exit(1)
            self._stop()

    def _tell(self, number: int) -> None:
        with contextlib.suppress(OSError):  # whoever asked is gone
            self._socket.sendall(f"{number}\n".encode())


def become_engine() -> Life:
    """Load what engines need; return in each copy that is asked for, as an engine that starts.

    The template itself ends when the socket that is its stdin does.
    """
    asked = socket.socket(fileno=os.dup(0))
    load()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # copies that ended leave nothing
    gc.collect()
    gc.freeze()  # what was loaded stays shared by all copies
    while True:
        message, descriptors, _, _ = socket.recv_fds(asked, 1, 5)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            break
        for each in descriptors:
            os.close(each)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asked.close()
    os.setsid()
    for number, each in enumerate(descriptors[:3]):
        os.dup2(each, number)
        os.close(each)
    for each in descriptors[3:]:  # the last one is held until this process ends
        os.set_inheritable(each, False)
    return Life(descriptors[3])
