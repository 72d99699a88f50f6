"""Memory that was freed is there for the next step, on every thread."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

#: Counts pages that are got anew while a thread fills and frees what a step might, once it did so often.
FILLS = """
import resource, threading, torch
from eostui.engine.freed_memory import keep_freed_memory

{keep}

def fill():
    parts = [torch.empty(20_000_000, dtype=torch.float32).fill_(1.0) for _ in range(3)]

def fill_often():
    for _ in range(10):
        fill()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        fill()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

if {beside}:
    thread = threading.Thread(target=fill_often)
    thread.start()
    thread.join()
else:
    fill_often()
"""


def pages_anew(keep, *, beside):
    text = FILLS.format(keep="keep_freed_memory()" if keep else "", beside=beside)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="that is about glibc")
@pytest.mark.parametrize("beside", [False, True], ids=["main", "beside"])
def test_pages_are_kept(beside):
    """Of 5 × 240 MB, 300,000 pages of 4 KiB or 600 large ones."""
    assert pages_anew(True, beside=beside) < 100
    assert pages_anew(False, beside=beside) > 500


#: Tells how many small pieces are set aside, with and without, after what oneDNN makes many of.
SET_ASIDE = """
import ctypes, torch
from eostui.engine.freed_memory import keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split())]

{keep}
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
layer, x = torch.nn.Linear(8, 8), torch.ones(4, 8)
for _ in range(20):
    layer(x).sum().backward()
print(libc.mallinfo2().smblks)
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="that is about glibc, from 2.33 on"
)
def test_no_small_pieces_are_set_aside():
    """Those that each large piece that is freed would go through."""
    counts = [
        int(subprocess.run(
            [sys.executable, "-c", SET_ASIDE.format(keep=keep)],
            capture_output=True, text=True, check=True,
        ).stdout)
        for keep in ("keep_freed_memory()", "")
    ]  # fmt: skip
    assert counts[0] == 0
    assert counts[1] > 0
