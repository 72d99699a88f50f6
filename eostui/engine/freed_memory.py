"""What glibc does with memory that was freed: it is kept for the next step."""

from __future__ import annotations

import ctypes
import sys

#: Numbers of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX, _M_MXFAST = -1, -3, -8, 1


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next step instead of handing it back to the system.

    Every step allocates what the step before it freed; getting those pages anew was measured to cost
    more than the arithmetic on them. Threads share the one arena that keeps them: arenas of their own
    hold no large pieces, and on a thread beside its measurements a pass of `cifar5k-cnn` (1000 images)
    took 0.48 s for 0.23. That holds for threads that allocate for the first time after this. Small pieces
    aren't set aside in lists that each large one freed goes through: oneDNN makes dozens of them for a
    matrix product, which took a tenth longer (10.4 µs for 9.4, of 8 × 8 by 8). Elsewhere than with glibc
    nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MXFAST, 0)
