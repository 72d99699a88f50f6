"""PyTorch's own `torchrun`, which starts one command as several processes, as those see it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def processes() -> int:
    """Return how many processes torchrun started, all machines together; 1 where it didn't."""
    # other launchers and clusters set WORLD_SIZE too
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def become_worker(data_dir: Path) -> None:
    """Go on as a worker of the run that the first process starts; that one just goes on.

    Args:
        data_dir: where the data sets are on this machine.
    """
    if processes() > 1 and int(os.environ["RANK"]) > 0:
        worker = "eostui.engine.worker"
        os.execv(sys.executable, [sys.executable, "-P", "-m", worker, str(data_dir)])
