"""The panels of a run, each a file of its own and a line of this table."""

from eostui.panels.drives import DRIVES
from eostui.panels.loss import LOSS
from eostui.panels.norm import NORM
from eostui.panels.oscillator import OSCILLATOR
from eostui.panels.panel import Panel
from eostui.panels.probes import PROBES
from eostui.panels.sharpness import SHARPNESS

#: In the order of their keys.
PANELS: list[Panel] = [
    SHARPNESS,
    DRIVES,
    LOSS,
    NORM,
    OSCILLATOR,
    PROBES,
]
