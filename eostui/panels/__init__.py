"""The panels of a run, each a file of its own and a line of this table."""

from eostui.panels.alignment import ALIGNMENT
from eostui.panels.centre import CENTRE
from eostui.panels.collapse import COLLAPSE
from eostui.panels.cosine import COSINE
from eostui.panels.density import DENSITY
from eostui.panels.drives import DRIVES
from eostui.panels.eigenvalues import EIGENVALUES
from eostui.panels.flow import FLOW
from eostui.panels.gram import GRAM, RESIDUAL
from eostui.panels.loss import LOSS
from eostui.panels.loss_step import LOSS_STEP
from eostui.panels.noise import NOISE
from eostui.panels.norm import NORM
from eostui.panels.ntk import NTK
from eostui.panels.orientation import ORIENTATION
from eostui.panels.oscillator import OSCILLATOR
from eostui.panels.panel import Panel
from eostui.panels.probes import PROBES
from eostui.panels.rotation_map import ROTATION_MAP
from eostui.panels.rotations import ROTATIONS
from eostui.panels.sharpness import SHARPNESS
from eostui.panels.trace import TRACE
from eostui.panels.weyl import WEYL

#: In the order of their keys.
PANELS: list[Panel] = [
    SHARPNESS,
    DRIVES,
    LOSS,
    NORM,
    OSCILLATOR,
    PROBES,
    LOSS_STEP,
    COSINE,
    COLLAPSE,
    EIGENVALUES,
    CENTRE,
    FLOW,
    NTK,
    ALIGNMENT,
    WEYL,
    DENSITY,
    TRACE,
    ROTATIONS,
    ROTATION_MAP,
    GRAM,
    RESIDUAL,
    ORIENTATION,
    NOISE,
]
