"""What copies and standbys have loaded: nothing of PyTorch is left for a run to load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_TESTS = Path(__file__).parents[1]

_PROGRAM = """
import json, sys
from pathlib import Path
from eostui.engine.preload import load
load()
loaded = set(sys.modules)
sys.path.insert(0, sys.argv[2])
from engines import here, small
here(small(steps=60, cadence=10), Path(sys.argv[1]))
print(json.dumps(sorted(name for name in set(sys.modules) - loaded if name.split(".")[0] == "torch")))
"""


def test_a_run_loads_no_more_of_pytorch(tmp_path):
    """Each copy of a sweep's template would load it again, half a second a member."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path), str(_TESTS)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
