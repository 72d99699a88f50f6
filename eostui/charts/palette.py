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

#: A setting's values from the least to the greatest: from blue over grey to yellow, ever lighter, so
#: that neither the colour-blind nor a print in grey mistakes one for another.
RAMP = (
    "#3f6fd1", "#4f78c9", "#5c80c1", "#6988b9", "#7590b1", "#8198aa", "#8ca0a3", "#97a79c",
    "#a2af94", "#adb68b", "#b9bd81", "#c5c575", "#d1cc68", "#ddd459", "#e9db47", "#f5e32f",
)  # fmt: skip
COLOURS |= {f"ramp {index}": colour for index, colour in enumerate(RAMP)}
#: Bands of deviations, of the same values.
COLOURS |= {
    f"ramp {index} band": "#" + "".join(f"{int(c[n : n + 2], 16) * 9 // 20:02x}" for n in (1, 3, 5))
    for index, c in enumerate(RAMP)
}
#: The run that others are compared with.
COLOURS |= {"baseline": "#ffffff", "baseline band": "#6f6f6f"}

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
