"""The phases by name and letter, and every constant by which they are classified (MATH §4).

Each constant stands in the text that help and docs show: `Phase.meaning`, `HOW_CLASSIFIED`.
"""

from __future__ import annotations

from typing import NamedTuple

from eostui import phase_names
from eostui.runs.analysis.curvature_summary import BLOCK
from eostui.runs.analysis.divergence import BOUND, DIVERGED_FACTOR
from eostui.runs.store.columns import AT_EDGE

#: Blocks in a row that a new phase must hold in.
CONFIRM = 4
#: The first steps are over when L_λ falls in so many steps in a row.
STEADY_STEPS = 10
#: The threshold moved by more than this share from one step to the next: what was before doesn't count.
JUMP = 0.02
#: Steps over which readings of S and the drives give their level.
LEVEL_STEPS = 100
#: A reading older than this, and than twice the cadence, says nothing of now.
STALE_STEPS = 200
#: S has turned when it is away by more than this share from where it stood highest, or lowest.
TURN = 0.02
#: A run bounces from this median step cosine down, and no more above the other.
BOUNCES, BOUNCES_NO_MORE = -0.5, -0.4
#: Bouncing, S is well below the threshold under the first share of it, and no more above the second.
LOWERED_BELOW, LOWERED_ABOVE = AT_EDGE, 0.95
#: Steps that carry on those before (by μ or β₁) needn't turn back at the edge: what moves slowly along
#: the flat directions is most of them. S is held there, within the first share of the threshold, once it
#: has turned, and no more beyond the second.
HELD, HELD_NO_MORE = 0.08, 0.12
#: |βα − λg| against |βα| + |λg|: the drives balance below the first, and no more above the second.
BALANCED, UNBALANCED = 0.15, 0.3
#: Collapsed is at rest: S, if it falls at all, does so by less than the first share in 100 steps at
#: first; if it last rose, it changes by less than the second.
RESTS, RISES_NO_MORE = 0.025, 0.002
#: A catapult raises L_λ above where it last turned by this share of it, with κ somewhere beyond so many
#: times the threshold. It ends where L_λ is back there, or has been below that height for a block,
CATAPULT_RISE, CATAPULT_CURVATURE = 0.5, 1.05
#: or so many steps after its top, or where the edge begins; there it takes a change of the controls no
#: more steps ago to begin one.
CATAPULT_STEPS = 200
#: Converged: ‖∇L_λ‖ is below the first share of what it was over the first block, and no more above the
#: second.
CONVERGED, CONVERGED_NO_MORE = 1e-3, 3e-3
#: Stuck: L is that of chance within this share of it, though the steps of a block promise, to first
#: order, to lower it by the other share.
STUCK_NEAR, STUCK_STEPS = 0.1, 0.5


class Phase(NamedTuple):
    """A phase: its name, the letter it has in the band, and a sentence for the help."""

    name: str
    letter: str
    meaning: str


TRANSIENT = Phase(
    phase_names.TRANSIENT,
    "T",
    f"the first steps, until Lλ falls in {STEADY_STEPS} steps in a row and S is seen to rise or fall; "
    f"{LEVEL_STEPS} steps after that the drives alone may decide",
)
SHARPENING = Phase(
    phase_names.SHARPENING,
    "S",
    f"not bouncing, S rises: {TURN:.0%} above its last low; before S shows it, βα > λg",
)
FLATTENING = Phase(
    phase_names.FLATTENING,
    "F",
    f"not bouncing, S falls: {TURN:.0%} below its last high; before S shows it, βα < λg",
)
EDGE = Phase(
    phase_names.EDGE,
    "E",
    f"bouncing, the median step cosine below {BOUNCES:g} (until above {BOUNCES_NO_MORE:g}), with S near "
    f"2/η − λ or above; of steps with momentum or β₁ also S within {HELD:.0%} of it once it has turned "
    f"(until {HELD_NO_MORE:.0%} away)",
)
LOWERED = Phase(
    phase_names.LOWERED,
    "L",
    f"bouncing, with S below {LOWERED_BELOW:g} of 2/η − λ (until above {LOWERED_ABOVE:g})",
)
COLLAPSED = Phase(
    phase_names.COLLAPSED,
    "C",
    f"not bouncing, S below {LOWERED_BELOW:g} of 2/η − λ, not rising and at rest: the drives balance, "
    f"|βα − λg|/(|βα| + |λg|) below {BALANCED:g} (until above {UNBALANCED:g}), and S begins by falling "
    f"less than {RESTS:.1%} in 100 steps, or where it last rose by changing less than "
    f"{RISES_NO_MORE:.1%}",
)
CATAPULT = Phase(
    phase_names.CATAPULT,
    "K",
    f"κ beyond {CATAPULT_CURVATURE:g} times 2/η − λ throws Lλ up by {CATAPULT_RISE:.0%} and more, until "
    f"it is back, or has been below that height for {BLOCK} steps, or {CATAPULT_STEPS} steps after its "
    f"top, or at the edge; from an edge, or converged, only within {CATAPULT_STEPS} steps of a change of "
    "η or λ",
)
CONVERGED_PHASE = Phase(
    phase_names.CONVERGED,
    "V",
    f"‖∇Lλ‖, as the steps have it (‖Δθ‖/η without momentum), is below {CONVERGED:g} of what it was over "
    f"the first {BLOCK} (until above {CONVERGED_NO_MORE:g})",
)
STUCK = Phase(
    phase_names.STUCK,
    "X",
    f"L stays within {STUCK_NEAR:.0%} of that of chance, the best constant prediction's, though Σ‖Δθ‖²/η "
    f"of {BLOCK} steps is more than {STUCK_STEPS:g} of it",
)
DIVERGED = Phase(
    phase_names.DIVERGED,
    "D",
    f"the loss or θ isn't finite or beyond {BOUND:g}, or the loss is {DIVERGED_FACTOR:,.0f} times its "
    "start",
)

PHASES = (
    TRANSIENT, SHARPENING, FLATTENING, EDGE, LOWERED, COLLAPSED, CATAPULT, CONVERGED_PHASE, STUCK,
    DIVERGED,
)  # fmt: skip
#: How a run's phase is classified, for the help: the windows that are meant above.
HOW_CLASSIFIED = (
    f"classified from medians over {BLOCK} steps of the step cosine and ‖Δθ‖, from S and the drives "
    f"measured in the last {LEVEL_STEPS} steps (else from the newest reading, unless it is older than "
    f"{STALE_STEPS} steps and than twice the cadence), and from Lλ; never from λ alone. A phase changes "
    f"once another held in {CONFIRM * BLOCK} steps, and is dated to the first of them. {BLOCK} steps in "
    f"which 2/η − λ moves by more than {JUMP:.0%} from one to the next aren't judged, and what led to "
    "another phase before them doesn't count. 2/η − λ stands for the threshold of the run's dynamics"
)
BY_NAME = {phase.name: phase for phase in PHASES}
