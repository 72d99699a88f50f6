"""Probes of the program that measure where a run asks for them by name; their classes: eostui/probes."""

from __future__ import annotations

#: What each measures, by its name, in the order in which they measure: one may use those before it.
OPTIONAL_PROBES: dict[str, str] = {
    "rotations": "how far the leading eigenvectors have turned, and where they point",
}
