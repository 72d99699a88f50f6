"""Still pictures: the dots, axes and labels of the terminal application, set by plotext."""

from __future__ import annotations

import re

import numpy as np
import pytest

from eostui.charts.chart import Chart, Curve, Mark, Spot
from eostui.charts.palette import COLOURS
from eostui.charts.picture import draw
from eostui.charts.scales import Scale, StickyRange
from eostui.panels.still import Still, draw_stills

STEPS = np.arange(1000.0)


def still_of(chart: Chart, width: int = 80, height: int = 24, *, color: bool = False) -> str:
    return draw_stills(
        [Still(("a title",), chart)], (0.0, 999.0), width=width, height=height, color=color
    )


CURVES = [
    Curve(STEPS, np.full(1000, 3.0), "theory", "dashed", "2/η", extended=True),
    Curve(STEPS, 2 + np.sin(STEPS / 90), "path spread", "stippled"),
    Curve(STEPS, 2.2 + np.sin(STEPS / 90), "path", label="κ"),
    Curve(STEPS, np.where(STEPS % 2, 0.5, 1.5), "loss", "dotted", "L"),
]


@pytest.mark.parametrize("kind", ["linear", "log", "symlog"])
@pytest.mark.parametrize("size", [(80, 24), (44, 9), (100, 40)])
def test_every_cell_is_that_of_the_application(kind: str, size: tuple[int, int]) -> None:
    """The same dots in the same cells, the same ticks in the same rows; only, where curves meet, the
    dots of both are seen."""
    width, height = size
    for curves in ([curve] for curve in CURVES):
        chart = Chart(curves, Scale(kind, 0.1))
        still = still_of(chart, width, height).splitlines()
        cells = draw(chart, width, height - 2, (0.0, 999.0), StickyRange()).text().splitlines()
        assert still[0].startswith("a title")
        for above, below in zip(still[1 : height - 3], cells[: height - 4], strict=True):
            assert above.ljust(width)[: width - 12] == below[: width - 12]
        assert still[height - 2].split() == cells[height - 3].split()  # what the ticks say


def test_where_curves_meet_the_dots_of_both_are_seen() -> None:
    flat = Curve(STEPS, np.full(1000, 2.0), "theory", "dashed")
    steep = Curve(STEPS, np.linspace(1.0, 3.0, 1000), "path")
    ends = Curve(STEPS[[0, 1]], np.array([1.0, 3.0]), "path", "dotted")  # the same y axis for each

    def bits(*curves: Curve) -> np.ndarray:
        lines = still_of(Chart([ends, *curves])).splitlines()[1:-3]
        codes = np.array([[ord(sign) for sign in line.ljust(80)[6:68]] for line in lines])
        return np.where(codes >= 0x2800, codes - 0x2800, 0)

    both = bits(flat, steep)
    assert (both == bits(flat) | bits(steep)).all()
    assert ((bits(flat) & ~bits() > 0) & (bits(steep) & ~bits() > 0)).any()


def test_one_value_a_label_at_the_height_where_its_curve_ends() -> None:
    lines = still_of(Chart(CURVES)).splitlines()
    (row,) = (i for i, line in enumerate(lines) if line.endswith(" 2/η 3.000"))
    assert lines[row].count("⣀⣀⣀") + lines[row].count("⠉⠉⠉") + lines[row].count("⠒⠒⠒") > 5
    assert any(re.search(r" κ 1\.\d{3}$", line) for line in lines)


def test_marks_spots_and_points_have_signs() -> None:
    curve = Curve(STEPS[::100], STEPS[::100], "sharpness", label="S", sign="•")
    chart = Chart([curve], marks=[Mark(500.0, "λ→0.001")], spots=[Spot(250.0, 800.0, "mark")])
    text = still_of(chart)
    lines = text.splitlines()
    assert sum(line.count("•") for line in lines) == 10 + 1  # points, and the label's
    assert any(line.endswith("•S 900.0") for line in lines)
    assert text.count("✕") == 1
    column = 6 + int(500 / 999 * 62)
    assert all(line.ljust(80)[column] in "┊•" for line in lines[1:-3])
    assert "λ→0.001" in lines[-2]


def test_colours_are_the_palettes_nearest_of_256() -> None:
    """Grey stays grey: the codes are within the cube and the ramp, and differ where colours do."""
    plain, coloured = still_of(Chart(CURVES)), still_of(Chart(CURVES), color=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == plain.split()
    codes = set(re.findall(r"\x1b\[38;5;(\d+)m", coloured))
    assert len(codes) >= 3
    assert all(16 <= int(code) <= 255 for code in codes)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in COLOURS.values())


def test_outliers_dont_flatten_a_picture() -> None:
    values = 10 + np.sin(STEPS / 50)
    values[-3:] = 1e3, 1e30, np.inf
    text = still_of(Chart([Curve(STEPS, values, "loss", label="L")]))
    title = text.splitlines()[0]
    assert "(axis cut)" in title
    assert "L, then not finite" in title
    drawn = [line for line in text.splitlines()[1:-3] if re.search(r"[⠁-⣿]", line[6:60])]
    assert len(drawn) >= 3


def test_a_third_row_has_a_lone_chart() -> None:
    stills = [Still((f"chart {n}",), Chart(CURVES)) for n in range(5)]
    text = draw_stills(stills, (0.0, 999.0), width=120, height=40, color=False)
    lines = text.splitlines()
    assert len(lines) == 40
    assert max(map(len, lines)) <= 120
    assert all(f"chart {n}" in text for n in range(5))
