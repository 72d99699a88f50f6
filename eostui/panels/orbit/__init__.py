"""The panels of an orbit of the reduced map, each a file of its own and a line of a table."""

from eostui.panels.orbit.bounce import BOUNCE
from eostui.panels.orbit.drives import DRIVES
from eostui.panels.orbit.envelope import ENVELOPE
from eostui.panels.orbit.panel import OrbitPanel
from eostui.panels.orbit.portrait import PORTRAIT
from eostui.panels.orbit.regimes import REGIMES
from eostui.panels.orbit.sharpness import SHARPNESS

#: Of the oscillator screen, in the order of their keys.
PANELS: list[OrbitPanel] = [
    SHARPNESS,
    BOUNCE,
    PORTRAIT,
    REGIMES,
]
#: Of the still picture of an orbit: charts against the step.
STILLS: list[OrbitPanel] = [
    SHARPNESS,
    BOUNCE,
    ENVELOPE,
    DRIVES,
]
