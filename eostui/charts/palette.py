"""Colours with one meaning everywhere, safe for the colour-blind (Okabe and Ito's set as a base).

Warm sharpens, cool flattens, grey is theory and thresholds, the accent is the sharpness. Patterns and
labels carry the same meaning, so nothing is lost without colour.
"""

from __future__ import annotations

COLOURS = {
    "axis": "#7d8590",
    "title": "#c9d1d9",
    "mark": "#e3b341",
    "theory": "#9aa4b0",
    "sharpness": "#f0e442",
    "path": "#3fc79a",
    "path spread": "#1f6f57",
    "warm": "#ff9d4d",
    "warm spread": "#8a5a33",
    "cool": "#56b4e9",
    "cool spread": "#2c5571",
    "shade": "#4b535d",
    "loss": "#d7dde5",
    "test": "#cc79a7",
    "norm": "#b7a1f5",
}

#: What is drawn of a run laid under another, and how: never in the colours of the one shown.
DIMMED = {
    "sharpness": "#8c852c",
    "path": "#24785f",
    "warm": "#9c6535",
    "cool": "#38718f",
    "loss": "#7f868e",
    "norm": "#6f6396",
}
COLOURS |= {f"{name} dim": colour for name, colour in DIMMED.items()}

#: The band of phases, by letter: warm on the way up, the path's green at the edge, cool where decay won.
PHASE_COLOURS = {
    "T": COLOURS["axis"],
    "S": COLOURS["warm"],
    "F": COLOURS["cool"],
    "E": COLOURS["path"],
    "L": COLOURS["sharpness"],
    "C": COLOURS["theory"],
    "K": COLOURS["test"],
    "V": COLOURS["norm"],
    "X": COLOURS["mark"],
    "D": COLOURS["mark"],
}
