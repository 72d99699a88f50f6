"""A report of results, in Markdown: verdicts by paper, numbers, and what they were made with."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from eostui.errors import printable
from eostui.version import __version__


def markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the report of results as `judge` keeps them, in their order."""
    counts = Counter(str(each["verdict"]) for each in results)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "nothing"
    parts = [
        "# Experiments of the papers",
        f"Made by eostui {__version__}, {time.strftime('%Y-%m-%d', time.gmtime())}: {told}. "
        "A criterion stands in its experiment's file before that is run; see `docs/reproduce.md`.",
        _table(
            ("experiment", "where", "size", "verdict"),
            [
                (f"`{r['experiment']}`", f"{r['paper']}, {r['figure']}", r["scale"], r["verdict"])
                for r in results
            ],
        ),
    ]
    for each in results:
        parts += _section(each)
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(result: Mapping[str, Any]) -> list[str]:
    rows = []
    for each in result["criteria"]:
        criterion = each["criterion"]
        verdict = f"{each['verdict']}: {each['why']}" if each["why"] else each["verdict"]
        rows.append((criterion["says"], read(each), bound(each), verdict))
    left_out = dict.fromkeys(line for each in result["criteria"] for line in each["left_out"])
    members = ", ".join(f"{count} {state}" for state, count in result["members"].items())
    made = ", ".join(f"{key} {value}" for key, value in result["made_with"].items())
    seeds = ", ".join(map(str, result["seeds"]))
    scale = " --paper-scale" if result["scale"] == "paper" else ""
    notes = [
        f"- {title}: {'; '.join(result[key])}"
        for key, title in (("inferred", "inferred"), ("lost", "not in the text we have"))
        if result[key]
    ]
    lines = [
        *notes,
        f"- members: {members}; seeds {seeds}; {result['seconds']:.0f} s of training",
        *(f"- left out: {_safe(line)}" for line in left_out),
        f"- made with: {_safe(made)}",
        f"- again: `eostui reproduce {result['experiment']}{scale}`; alone: `{_command(result)}`",
    ]
    return [
        f"## {result['paper']}, {result['figure']}: {result['verdict']}",
        _safe(str(result["claim"])),
        _table(("criterion", "read", "must be", "verdict"), rows),
        "\n".join(lines),
    ]


def read(judgement: Mapping[str, Any]) -> str:
    """Return what was read, with its error, as `-0.651 ± 0.02`; "—" for nothing."""
    value, error = judgement["value"], judgement["error"]
    if value is None or math.isnan(value):
        return "—"
    known = error is not None and not math.isnan(error)
    return f"{value:.3g} ± {error:.2g}" if known else f"{value:.3g}"


def bound(judgement: Mapping[str, Any]) -> str:
    """Return what it must be, as `below -0.1, margin 0.02`."""
    criterion, wanted = judgement["criterion"], judgement["wanted"]
    told = "—" if wanted is None or math.isnan(wanted) else f"{wanted:.3g}"
    margin = f", margin {criterion['margin']:.3g}" if criterion["margin"] else ""
    return f"{criterion['must_be']} {told}{margin}"


def _command(result: Mapping[str, Any]) -> str:
    verb = "sweep" if result["varied"] else "run"
    return f"eostui {verb} {result['preset']}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(
        "| " + " | ".join(_safe(str(c)).replace("|", "\\|") for c in r) + " |" for r in lines
    )


def _safe(text: str) -> str:
    """Return a text without control characters, and without HTML: a file may come from a stranger."""
    return printable(text).replace("<", "&lt;")
