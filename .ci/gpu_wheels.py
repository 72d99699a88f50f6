"""Print, as pinned requirements, what this project needs besides what a machine with PyTorch has.

Run in an environment with `.[dev]` installed: the versions are those that the tests passed with here.
Further names on the command line are left out too.
"""

import sys
from importlib.metadata import PackageNotFoundError, distribution

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: PyTorch and what comes with it, and what a compiler tool of this project alone needs.
THERE = {
    "torch",
    "torchvision",
    "triton",
    "setuptools",
    "numpy",
    "sympy",
    "networkx",
    "ruff",
    "mypy",
}


def wanted(name: str, extra: str, found: dict[tuple[str, str], str], left_out: set[str]) -> None:
    """Add to `found`, by name and extra, what `name` with `extra` requires, and what that requires."""
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        key = canonicalize_name(requirement.name)
        asked = {**default_environment(), "extra": extra}
        if requirement.marker and not requirement.marker.evaluate(asked):
            continue
        if key in left_out or key.startswith(("nvidia-", "cuda-")):
            continue
        for more in {"", *requirement.extras} - {part for at, part in found if at == key}:
            try:
                found[key, more] = distribution(key).version
            except PackageNotFoundError:
                continue
            wanted(key, more, found, left_out)


pinned: dict[tuple[str, str], str] = {}
for part in ("", "dev"):
    wanted("eostui", part, pinned, THERE | set(map(canonicalize_name, sys.argv[1:])))
print(*sorted({f"{name}=={version}" for (name, _), version in pinned.items()}), sep="\n")
