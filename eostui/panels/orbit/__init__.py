"""The panels of an orbit of the reduced map: what each is for, and the scales of its toggle."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OrbitPanel:
    """A panel's identity.

    Attributes:
        name: for the tabs.
        kinds: what `y` goes through.
        meaning: two sentences for the help.
    """

    name: str
    kinds: tuple[str, ...]
    meaning: str


PANELS = (
    OrbitPanel(
        "sharpness", ("S", "y"),
        "y⁺ = (1 − ηλ)y + ηβ(α − ½x²) − ηλg moves the sharpness S = 2/η + y; y on the keyboard shows the "
        "one or the other. Dashed are 2/η and the cycle's 2/η − λ of leading order, dotted the collapsed "
        "level 2/η + βα/λ − g and, where it can be told from them, the exact level of the map.",
    ),
    OrbitPanel(
        "x", ("linear", "symlog"),
        "x⁺ = −(1 + ηλ + ηy)x − ηλg_x bounces from side to side: even steps are a line, odd ones are "
        "stippled. Dotted is ±A of the envelope equations, dA/dt = η(λ + y)A, about the centre −½ηλg_x; "
        "the cycle rests at A² = 2(α + (λ² − λg)/β).",
    ),
    OrbitPanel(
        "portrait", ("",),
        "Every state (x, y): dots are even steps, × odd ones, so that the period-2 motion is two "
        "strands. ● is the last state, ○ the exact states with F(F(z)) = z that it belongs to, the "
        "dashed line y = −λ, where the envelope neither grows nor shrinks.",
    ),
    OrbitPanel(
        "regimes", ("",),
        "What attracts at each (λ, g), by the exact solutions' eigenvalues, with α, β, η and g_x as they "
        "are: o the 2-cycle, . the collapsed point, % both, ~ neither; ● is here. The line is the "
        "paper's crossing βα = λ(g − λ): above it no cycle exists to leading order.",
    ),
)  # fmt: skip
