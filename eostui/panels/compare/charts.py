"""The four charts of a comparison: a quantity, its readings at rest, the drives, and the losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eostui.charts.chart import Chart, Curve, Spot
from eostui.charts.scales import Scale, linear_part
from eostui.panels.compare.lines import filled
from eostui.panels.compare.member import G_RATIO, Member
from eostui.panels.compare.view import BASELINE, MOST_LABELS, SINCE_ONSET, ComparisonView
from eostui.panels.view import EDGE_SHORT, NO_DECAY_SHORT
from eostui.runs.analysis.resting import Resting
from eostui.runs.family import symbol_of, told
from eostui.stability import THRESHOLD, UNDECAYED

#: What a column is called in a title.
TITLES = {
    "sharpness": "sharpness S", "path_curvature": "path curvature κ", "eig_2": "λ₂",
    "loss": "loss L", "loss_regularized": "regularized loss Lλ", "test_loss": "test loss",
    "test_accuracy": "test accuracy", "beta_alpha": "βα", "lambda_g": "λg", "g": "g",
    "theta_norm": "‖θ‖", "grad_norm": "‖∇L‖", G_RATIO: "g over g_critical",
}  # fmt: skip
#: What the crosshair reads where a chart is in focus that draws something else than is chosen.
QUANTITIES = {"drives": G_RATIO, "losses": "loss"}
#: Columns of curvatures: the thresholds are drawn with them.
_CURVATURES = ("sharpness", "path_curvature", "eig_guard")
_LOGARITHMIC = ("loss", "loss_regularized", "test_loss", "grad_norm", "step_norm", "beta")
_SIGNED = (
    "beta_alpha", "lambda_g", "loss_step", "loss_step_regularized", "beta_alpha_perp", G_RATIO,
)  # fmt: skip
#: Places of a curve at which its sign stands, of few curves and of more.
_SIGNS, _FEWER_SIGNS = 5, 3
#: A decayed threshold nearer to the other than this share of it is the same line.
_APART = 0.01
#: On an axis of a setting each value stands, of more than so many about so many round ones.
_MOST_VALUES, _ROUND_VALUES = 8, 5
#: At rest, κ of the same runs, and not at rest; with the signs that stand for them in ASCII.
_REST_SIGNS = {"rest": ("●", "*"), "path": ("○", "o"), "unrest": ("◌", "?"), "mean": ("◆", "#")}


@dataclass(frozen=True)
class ComparisonPanel:
    """One chart of a comparison.

    Attributes:
        name: of its tab, and of its widget.
        title: in parts, the most important first.
        scales: kinds of its y scale, in the order of the toggle.
        build: returns the chart, with a y scale of a kind, for a stretch of x and columns of dots.
        own_x: its ends of x, of one that isn't drawn against that of the others.
        meaning: what the help says of it.
    """

    name: str
    title: Callable[[ComparisonView], tuple[str, ...]]
    scales: Callable[[ComparisonView], tuple[str, ...]]
    build: Callable[[ComparisonView, str, tuple[float, float], int], Chart]
    own_x: Callable[[ComparisonView], tuple[float, float]] | None = None
    meaning: str = ""


def title_of(name: str) -> str:
    """Return what a column is called in a title."""
    return TITLES.get(name, name)


def scales_of(view: ComparisonView, name: str) -> tuple[str, ...]:
    """Return the kinds of scale of a column, that of differences linear or about 0."""
    return ("linear", "symlog") if view.differing else scales_of_column(name)


def scales_of_column(name: str) -> tuple[str, ...]:
    """Return the kinds of scale of a column, the usual one first."""
    if name in _LOGARITHMIC:
        return ("log", "linear")
    return ("symlog", "linear") if name in _SIGNED else ("linear", "log")


def _whose(view: ComparisonView) -> tuple[str, ...]:
    """Return what the curves are, for a title."""
    keys = view.labelled_by
    parts = [f"by {', '.join(map(symbol_of, keys))}"] if keys else []
    if view.averaged:
        parts.append("mean ± sd over seed")
    if view.differing and view.baseline is not None:
        parts.append(f"less {view.family.short_labels[view.baseline]}")
    return tuple(parts)


# --- curves against x ---------------------------------------------------------------------------------


def _curves(
    view: ComparisonView,
    name: str,
    x_range: tuple[float, float],
    dots: int,
    pattern: str = "solid",
    *,
    labelled: bool = True,
) -> list[Curve]:
    """Return the curves of a column, bands first, the baseline last: it lies on top."""
    lines, looks = view.lines(name), view.looks()
    labels = labelled and len(lines) <= MOST_LABELS
    bands, curves = [], []
    for line, look in zip(lines, looks, strict=True):
        if not len(line.trace):
            continue
        if line.band is not None:
            x, y = filled(*line.band, *x_range, dots)
            bands.append(Curve(x, y, f"{look.colour} band", "stippled"))
        x, y = line.trace.within(*x_range, dots)
        known = np.flatnonzero(np.isfinite(y))
        if not len(known):  # it is nowhere, or the baseline hasn't it
            continue
        if name == G_RATIO or view.differing or line.band is not None:
            x, y = x[: known[-1] + 1], y[: known[-1] + 1]  # it ends there: nothing diverged
        label = f"{look.sign}{look.label}" if labels else ""
        curves.append(Curve(x, y, look.colour, pattern, label))
    return bands + sorted(curves, key=lambda curve: curve.colour == BASELINE)


def _spots(view: ComparisonView, name: str, x_range: tuple[float, float]) -> list[Spot]:
    """Return the signs on the curves of a column, a few on each, no two curves' at one x."""
    lines, looks = view.lines(name), view.looks()
    count = _SIGNS if len(lines) <= MOST_LABELS else _FEWER_SIGNS
    left, right = x_range
    spots = []
    for number, (line, look) in enumerate(zip(lines, looks, strict=True)):
        if not look.sign or not len(line.trace):
            continue
        share = (number + 0.5) / len(lines)
        for index in range(count):
            at = left + (right - left) * (index + share) / count
            if line.trace.left <= at <= line.trace.right:
                x, y = line.trace.within(at, at, 1)
                if len(x):
                    nearest = int(np.argmin(np.abs(x - at)))
                    if math.isfinite(y[nearest]):
                        spots.append(
                            Spot(float(x[nearest]), float(y[nearest]), look.colour, look.sign)
                        )
    return spots


def _thresholds(view: ComparisonView, x_range: tuple[float, float], dots: int) -> list[Curve]:
    """Return the lines 2/η and 2/η − λ, each once where runs share it."""
    found: dict[tuple[object, ...], Curve] = {}
    for place, member in enumerate(view.members):
        if member is None:
            continue
        for name, label in zip((UNDECAYED, THRESHOLD), member.thresholds, strict=True):
            values = member.columns[name].values
            if not len(values) or (name == THRESHOLD and _same(member)):
                continue
            constant = bool((values == values[0]).all())
            key = (name, float(values[0]) if constant else values.tobytes())
            trace = view.trace(place, name)
            if key in found or not len(trace):
                continue
            if constant:
                x, y = np.array([x_range[0], x_range[1]]), np.full(2, float(values[0]))
            else:
                x, y = trace.within(*x_range, dots)
            edge = name == THRESHOLD or _same(member)
            found[key] = Curve(
                x, y, "theory", "dashed", label,
                yields="far", extended=True, short=EDGE_SHORT if edge else NO_DECAY_SHORT,
            )  # fmt: skip
    curves = []
    for name in (UNDECAYED, THRESHOLD):
        same = [curve for key, curve in found.items() if key[0] == name]
        if len(same) > MOST_LABELS:  # the outermost tell as much
            same.sort(key=lambda curve: float(curve.y[-1]))
            same = [same[0], same[-1]]
        curves += same
    several = len(curves) > len({curve.label for curve in curves})
    if several:  # a label for each would hide those of the runs
        return [
            Curve(c.x, c.y, c.colour, c.pattern, "", yields="far", extended=True) for c in curves
        ]
    return curves


def _same(member: Member) -> bool:
    """Whether the threshold with decay is the same line as without, as far as a chart shows."""
    first, second = (member.columns[name].values[-1:] for name in (UNDECAYED, THRESHOLD))
    return bool((np.abs(first - second) <= _APART * np.abs(first)).all())


def is_curvature(name: str) -> bool:
    """Return whether a column is a curvature, to be held against the thresholds."""
    curvature = name in _CURVATURES or name.startswith("eig_")
    return curvature and not name.endswith("_residual")


def _with_thresholds(view: ComparisonView) -> bool:
    return is_curvature(view.quantity) and not view.differing


def _scale(view: ComparisonView, kind: str, name: str) -> Scale:
    if kind != "symlog":
        return Scale(kind)
    parts = [line.trace.within(line.trace.left, line.trace.right, 20)[1] for line in view.lines(name)
             if len(line.trace)]  # fmt: skip
    return Scale(kind, linear_part(*parts) if parts else 1.0)


def _quantity_chart(
    view: ComparisonView, kind: str, x_range: tuple[float, float], dots: int
) -> Chart:
    name = view.quantity
    curves = _curves(view, name, x_range, dots)
    if curves and _with_thresholds(view):
        curves = [*_thresholds(view, x_range, dots), *curves]
    scale = _scale(view, kind, name)
    return Chart(curves, scale, [], _spots(view, name, x_range), waiting(view, name), view.axis)


def _drives_chart(
    view: ComparisonView, kind: str, x_range: tuple[float, float], dots: int
) -> Chart:
    curves = _curves(view, G_RATIO, x_range, dots)
    if curves and not view.differing:
        one = Curve(np.array(x_range), np.ones(2), "theory", "dashed", "1", 0, extended=True)
        curves = [one, *curves]
    scale = _scale(view, kind, G_RATIO)
    return Chart(
        curves, scale, [], _spots(view, G_RATIO, x_range), waiting(view, G_RATIO), view.axis
    )


def _loss_chart(view: ComparisonView, kind: str, x_range: tuple[float, float], dots: int) -> Chart:
    curves = _curves(view, "test_loss", x_range, dots, "dotted", labelled=False)
    curves += _curves(view, "loss", x_range, dots)
    scale = _scale(view, kind, "loss")
    return Chart(curves, scale, [], _spots(view, "loss", x_range), waiting(view, "loss"), view.axis)


def waiting(view: ComparisonView, name: str) -> str:
    """Return why a chart of a column is empty."""
    count = len(view.entries)
    if not count:
        return "no run has begun" if view.varying else "no runs to compare"
    if view.read < count:
        return f"reading the runs: {view.read} of {count}"
    if len(view.troubles) == count:
        return "none of these runs can be read"
    if view.axis == SINCE_ONSET and len(view.without_onset()) + len(view.troubles) == count:
        return "S of none of these runs reached the threshold"
    if view.differing and view.baseline is not None and not len(view.trace(view.baseline, name)):
        return f"the baseline has no value of {name}"
    if name == G_RATIO:
        return "no reading of g with weight decay off the bounce"
    if name not in view.names():
        key = view.write_key("compare.quantity") if view.write_key is not None else ""
        return f"none of these runs has a column {name}" + (key and f": {key} chooses one")
    return f"none of these runs has a value of {name}"


# --- readings at rest ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class RestingPoint:
    """A reading at rest, or of a run that isn't.

    Attributes:
        x: the value of the key.
        reading: with its error; of a group the mean of its runs at rest, and the error of that.
        kind: rest, mean or unrest.
        colour: in the palette.
    """

    x: float
    reading: Resting
    kind: str
    colour: str


def resting_points(view: ComparisonView, name: str) -> list[RestingPoint]:
    """Return a column's readings at rest; runs not at rest each by itself, in no mean."""
    points = []
    for group, look in zip(view.groups, view.looks(), strict=True):
        members = [(place, view.members[place]) for place in group]
        known = [(p, m) for p, m in members if m is not None and name in m.readings]
        x = float(view.value(group[0]))
        resting = [m.readings[name] for _, m in known if m.at_rest]
        resting = [each for each in resting if math.isfinite(each.value)]
        if len(resting) > 1:
            points.append(RestingPoint(x, _mean(resting), "mean", look.colour))
        else:
            points += [RestingPoint(x, each, "rest", look.colour) for each in resting]
        points += [
            RestingPoint(x, Resting(m.readings[name].value), "unrest", look.colour)
            for _, m in known
            if not m.at_rest and math.isfinite(m.readings[name].value)
        ]
    return points


def _mean(readings: Sequence[Resting]) -> Resting:
    """Return the mean of several runs' readings, and its standard error as they scatter."""
    values = np.array([each.value for each in readings])
    return Resting(
        float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))), len(values)
    )


def key_scale(view: ComparisonView) -> Scale:
    """Return how the values of the key lie on the x axis: by their powers if they span more than ten."""
    if view.key is None:
        return Scale()
    return by_powers([float(view.value(group[0])) for group in view.groups])


def by_powers(values: Sequence[float]) -> Scale:
    """Return how values lie on an x axis: by their powers if they span more than ten."""
    found = np.array(values, dtype=np.float64)
    sizes = np.abs(found[found != 0])
    if len(sizes) < 2 or sizes.max() < 10 * sizes.min():
        return Scale()
    if (found > 0).all():
        return Scale("log")
    return Scale("symlog", float(sizes.min()) / 3)


def _rest_x(view: ComparisonView) -> tuple[float, float]:
    values = [float(view.value(group[0])) for group in view.groups] or [0.0]
    places = key_scale(view).forward(np.array([min(values), max(values)]))
    margin = max((places[1] - places[0]) * 0.08, 1e-9 * max(1.0, float(np.abs(places).max())))
    if places[1] == places[0]:
        margin = max(abs(float(places[0])) * 0.1, 0.5)
    return float(places[0] - margin), float(places[1] + margin)


def _rest_chart(view: ComparisonView, kind: str, x_range: tuple[float, float], dots: int) -> Chart:
    del x_range, dots
    along = key_scale(view)

    def place(x: float) -> float:
        return float(along.forward(np.array([x]))[0])

    curves: list[Curve] = []
    spots: list[Spot] = []
    names = [view.quantity]
    if view.quantity == "sharpness":
        names = ["path_curvature", "sharpness"]
    for name in names:
        points = resting_points(view, name)
        points.sort(key=lambda point: point.kind != "unrest")  # what is at rest lies above
        for point in points:
            kinds = "path" if name != view.quantity and point.kind != "unrest" else point.kind
            sign = _REST_SIGNS[kinds][not view.unicode]
            colour = point.colour if name == view.quantity else "path"
            value, error = point.reading.value, point.reading.error
            if name == view.quantity and math.isfinite(error):
                ends = np.array([value - error, value + error])
                curves.append(Curve(np.full(2, place(point.x)), ends, colour))
            spots.append(Spot(place(point.x), value, colour, sign))
        # each a curve of its own as well, for which the axis makes room as it doesn't for spots
        points.sort(key=lambda point: point.x)
        named = {"sharpness": "S", "path_curvature": "κ"}.get(name, "") if len(names) > 1 else ""
        for number, point in enumerate(points, start=1):
            x, y = np.array([place(point.x)]), np.array([point.reading.value])
            curves.append(
                Curve(x, y, "shade", label=named if number == len(points) else "", digits=0)
            )
    if spots and _with_thresholds(view):
        curves += _resting_thresholds(view, place)
    ticks = dict(places_of([view.value(group[0]) for group in view.groups], along))
    if view.key is None:
        ticks = {
            place(float(view.value(g[0]))): look.sign or ""
            for g, look in zip(view.groups, view.looks(), strict=True)
        }
    text = waiting(view, view.quantity)
    counts = symbol_of(view.key) if view.key else "runs"
    return Chart(curves, Scale(kind), [], spots, text, counts, tuple(sorted(ticks.items())))


def places_of(values: Sequence[Any], along: Scale) -> tuple[tuple[float, str], ...]:
    """Return what stands on the x axis of a setting, and where: its values, of many some round ones."""
    if len({*values}) > _MOST_VALUES:
        ends = along.forward(np.array([min(values), max(values)], dtype=np.float64))
        values = along.ticks(float(ends[0]), float(ends[1]), _ROUND_VALUES)
    return tuple(sorted({along.place(float(value)): told(value) for value in values}.items()))


def _resting_thresholds(view: ComparisonView, place: Callable[[float], float]) -> list[Curve]:
    """Return the threshold as the newest step of each run has it, against the key: a line for all runs
    that call it the same."""
    found: dict[str, dict[float, float]] = {}
    for group in view.groups:
        for index in group:
            member = view.members[index]
            if member is None:
                continue
            values = member.columns[THRESHOLD].values[-1:]
            if len(values):
                at = place(float(view.value(index)))
                found.setdefault(member.thresholds[1], {})[at] = float(values[0])
    return [
        Curve(
            np.array(sorted(edges)), np.array([edges[at] for at in sorted(edges)]),
            "theory", "dashed", label, yields="far", short=EDGE_SHORT,
        )
        for label, edges in found.items()
    ]  # fmt: skip


def _rest_title(view: ComparisonView) -> tuple[str, ...]:
    against = symbol_of(view.key) if view.key else "their order"
    at_rest = sum(m is not None and m.at_rest for m in view.members)
    count = len(view.entries)
    rest, path, unrest, mean = (
        _REST_SIGNS[kind][not view.unicode] for kind in ("rest", "path", "unrest", "mean")
    )
    signs = f"{rest} {title_of(view.quantity).rpartition(' ')[2]}"
    if view.averaged:
        signs = f"{mean} mean, {signs}"
    if view.quantity == "sharpness":
        signs += f"  {path} κ"
    parts = [f"at rest, against {against}", signs]
    if at_rest < count:
        parts.append(f"{unrest} not at rest")
    return tuple(parts)


PANELS: tuple[ComparisonPanel, ...] = (
    ComparisonPanel(
        "curves",
        lambda view: (title_of(view.quantity), *_whose(view)),
        lambda view: scales_of(view, view.quantity),
        _quantity_chart,
        meaning="the chosen quantity (‹compare.quantity›), a curve a run, whole: its band is its "
        "oscillation. Dashed are 2/η and, where it lies apart, 2/η − λ.",
    ),
    ComparisonPanel(
        "rest",
        _rest_title,
        lambda view: (
            tuple(reversed(scales_of(view, view.quantity)))
            if view.quantity in _LOGARITHMIC and not view.differing
            else ("linear", "log")
        ),
        _rest_chart,
        _rest_x,
        "that quantity over the last steps (rest_window) of each run at rest, with its standard error, "
        "against the setting by which the runs are laid out (‹compare.key›). A run that isn't at rest is "
        "a broken circle, and in no mean.",
    ),
    ComparisonPanel(
        "drives",
        lambda view: (
            "differences of g over g_critical" if view.differing else "drives: g over g_critical",
            *_whose(view),
        ),
        lambda view: scales_of(view, G_RATIO),
        _drives_chart,
        meaning="g over g_critical = λ + βα/λ, of runs with decay: above 1 decay flattens faster than "
        "training sharpens. On the bounce βα is forced negative and the ratio says nothing: it isn't "
        "drawn there.",
    ),
    ComparisonPanel(
        "losses",
        lambda view: ("loss L", "test loss dotted", *_whose(view)),
        lambda view: scales_of(view, "loss"),
        _loss_chart,
        meaning="the loss, and dotted the test loss where it was measured.",
    ),
)


def chart_of(
    panel: ComparisonPanel,
    view: ComparisonView,
    kind: str,
    x_range: tuple[float, float],
    dots: int,
) -> Chart:
    """Return what a panel shows of a comparison.

    Args:
        panel: which.
        view: the comparison.
        kind: of the y scale.
        x_range: the stretch of x, of panels without one of their own.
        dots: columns of dots on which it is drawn.
    """
    return panel.build(view, kind, x_range, dots)
