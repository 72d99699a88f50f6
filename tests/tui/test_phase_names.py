"""The words beside the band of phases: whole ones, of the present phase where there is room for one."""

from __future__ import annotations

import pytest

from eostui.runs.analysis.phases import CATAPULT, EDGE, FLATTENING, LOWERED, PHASES, SHARPENING
from eostui.tui.widgets.phases import names


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (60, "S sharpening  E edge  K catapult"),
        (32, "S sharpening  E edge  K catapult"),
        (31, "K catapult  E edge"),
        (17, "E edge"),
        (5, "edge"),
        (3, "E"),
    ],
)
def test_what_has_no_room_is_left_out(room: int, text: str) -> None:
    """The phase that ended first goes first: the catapult came last, but the edge is the present one."""
    assert names([SHARPENING, EDGE, CATAPULT], room, "SSEEKEE") == text


def test_beside_the_charts_of_a_small_terminal() -> None:
    """At 80 × 24 there are 12 cells: every phase has a word there."""
    assert names([SHARPENING, FLATTENING], 12, "SF") == "F flattening"
    assert names([LOWERED], 12, "L") == "lowered edge"
    assert all(len(names([phase], 12, phase.letter)) > 1 for phase in PHASES)
    assert names([], 12, "") == ""
