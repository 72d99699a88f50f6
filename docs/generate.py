"""Write docs/reference from the code, docs/results.md from its data: `python docs/generate.py`.

Tests hold them in step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from eostui.cli.app import app
from eostui.experiments.experiment import load
from eostui.experiments.kept import kept
from eostui.experiments.report import counted, markdown
from eostui.probes import OPTIONAL, PROBES, described
from eostui.runs.analysis.outcome import COLUMNS
from eostui.runs.store import columns
from eostui.runs.store.own_columns import OF_BATCHES
from eostui.settings import settings, shown
from eostui.toys import TOYS
from eostui.tui.screens.table import keys_by_group

_DOCS = Path(__file__).parent
FOLDER = _DOCS / "reference"
#: The page of results, and the data that it is made from.
RESULTS, DATA = _DOCS / "results.md", _DOCS / "results"
_NOTICE = "<!-- Written by docs/generate.py from {source}: change that, then run it. -->\n"


def pages() -> dict[str, str]:
    """Return the text of each page, by its file's name."""
    return {
        "settings.md": _settings(),
        "columns.md": _columns(),
        "summary.md": _summary(),
        "keys.md": _keys(),
        "commands.md": _commands(),
    }


def results() -> str:
    """Return the text of the page of results: of all experiments that are shipped."""
    files = sorted((_DOCS.parent / "presets" / "experiments").glob("*.toml"))
    entries = kept(DATA, [load(str(file)) for file in files])
    head = [
        "# Results",
        _NOTICE.format(source="docs/results and presets/experiments"),
        f"{counted(entries)}. What came out of the papers' claims: each was "
        "[run, read and judged](reproduce.md) by the program, by criteria that stood in its file before. "
        "A twin is the same experiment small enough for two cores, and a verdict on it is one on the "
        "twin; rows at a paper's size say the card that they were made on, or that they need a GPU. "
        "The numbers are in `docs/results/`; the members' records aren't kept.",
    ]
    return markdown(entries, _page(head).rstrip(), DATA.name)


def _settings() -> str:
    parts = [
        "# Settings",
        _NOTICE.format(source="eostui/config.py and eostui/toys.py"),
        "Every setting of a run: a line of a preset, or `--set key=value`. A preset may leave any of "
        "them out. What a run computes is decided by these, its device and its control changes alone. "
        "`eostui presets settings NAME` tells of one.",
        _settings_of(""),
        "## Toys",
        "The names that `problem` takes beside `network`, and what `problem_arguments` may hold for "
        "each, as in `--set 'problem_arguments={a=9, start=[0.3, 0.1]}'`.",
    ]
    for name, toy in TOYS.items():
        parts += [f"### `{name}`", str(toy.__doc__), _settings_of(name)]
    return _page(parts)


def _settings_of(toy: str) -> str:
    """Return the table of a toy's arguments, or of the settings of a run."""
    rows = (
        (f"`{each.name}`", f"`{shown(each.default)}`", each.type, each.description)
        for each in settings()
        if each.toy == toy
    )
    return _table(("argument" if toy else "setting", "default", "may be", "is"), rows)


def _columns() -> str:
    named = columns.exported(columns.stored_columns(2, accuracy=True), calibrated=True)
    few = (*columns.COORDINATES, columns.TRAIN_ACCURACY)
    every = {column.name for column in (*columns.EVERY_STEP, *few)}
    calibrated = {column.name for column in columns.CALIBRATED}
    probes = {f"Of the probe `{probe.name}`": probe.columns for probe in described(PROBES)}
    optional = {
        f"Of the optional probe `{probe.name}`": probe.columns
        for probe in described(tuple(OPTIONAL.values()))
    }
    probed = {column.name for group in probes.values() for column in group}
    parts = [
        "# Columns",
        _NOTICE.format(source="eostui/runs/store/columns.py and eostui/probes"),
        "What an export has; see [theory](../theory.md) for the definitions in full. Row t "
        "holds θ_t and the controls that move it to θ_{t+1}; a quantity of the step stands in "
        "row t. Units are in terms of the loss [L], the parameters [θ] and steps. A cell is "
        "empty where nothing was measured; columns marked * are left out where all of a run's "
        "cells are empty. Probes of your own add theirs, an array `c` as `c_1`, `c_2` and so "
        "on; dynamics other than gradient descent add their other controls and the threshold "
        "without decay. Optional probes measure in runs that name them: `--probe NAME`.",
        "What a probe measures is taken at θ_t, in runs whose `reading` is midpoint at "
        "(θ_{t−1} + 2θ_t + θ_{t+1})/4.",
    ]
    groups = {
        "At every step": [c for c in named if c.name in every],
        **probes,
        "From what the probes measured": [
            c for c in named if c.name not in every | calibrated | probed
        ],
        "From the first calibration on": columns.CALIBRATED,
        "Of interventions": columns.INTERVENED,
        "Of dynamics that see batches": OF_BATCHES,
        **optional,
    }
    for title, group in groups.items():
        rows = ((f"`{c.name}`{'*' if c.optional else ''}", c.unit, c.description) for c in group)
        parts += [f"## {title}", _table(("column", "unit", "is"), rows)]
    return _page(parts)


def _summary() -> str:
    parts = [
        "# Columns of a summary",
        _NOTICE.format(source="eostui/runs/analysis/outcome.py"),
        "A row a run, of `summary.csv` and `summary.json` in a sweep's folder and of `eostui runs "
        "summary`; how each is found stands in [sweeps](../sweeps.md#what-each-member-came-to). The "
        "settings that differ stand after `name`, each as a column. A cell is empty where nothing is "
        "known.",
        _table(("column", "unit", "is"), ((f"`{c.name}`", c.unit, c.description) for c in COLUMNS)),
    ]
    return _page(parts)


def _keys() -> str:
    parts = [
        "# Keys",
        _NOTICE.format(source="eostui/tui/keys.py and eostui/tui/screens"),
        "All of them, as `?` and the palette (`ctrl+p`) show them too; under the name of a screen what "
        "keys do there alone. “Live” keys act on a run that trains or waits, “ended” ones where a run "
        "can go on.",
    ]
    for group, keys in keys_by_group().items():
        rows = (
            (" ".join(f"`{each}`" for each in key.shown.split()), key.text, key.needs)
            for key in keys
        )
        parts += [f"## {group.capitalize()}", _table(("key", "does", "needs"), rows)]
    return _page(parts)


def _commands() -> str:
    parts = [
        "# Commands",
        _NOTICE.format(source="eostui/cli"),
        "As `--help` of each has it. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 diverged, 130 "
        "interrupted. stdout is data, stderr narration.",
    ]
    _describe(typer.main.get_command(app), ("eostui",), parts)
    return _page(parts)


def _describe(command: Any, path: Sequence[str], parts: list[str]) -> None:
    """Add a command and those below it to a page's parts."""
    name = " ".join(path)
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join((name, *command.collect_usage_pieces(context)))
    parts += [f"## `{name}`", f"    {usage}"]
    if command.help:
        parts.append(_reflowed(command.help))
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:  # an argument: click itself tells of options alone
            record = (parameter.human_readable_name, getattr(parameter, "help", "") or "")
        if parameter.param_type_name == "argument":  # some versions of typer add its type
            record = (record[0].partition(" ")[0], record[1])
        if parameter.name not in (
            "help",
            "install_completion",
            "show_completion",
        ):  # of all commands
            rows.append((f"`{record[0]}`", record[1]))
    if rows:
        parts.append(_table(("argument or option", "is"), rows))
    for each, below in getattr(command, "commands", {}).items():
        _describe(below, (*path, each), parts)


def _reflowed(text: str) -> str:
    """Return paragraphs in one line each; indented ones, the examples, as they are."""
    paragraphs = []
    for paragraph in text.replace("\b", "").split("\n\n"):
        if paragraph.startswith(" "):
            paragraphs.append(f"    {paragraph.strip()}")
        else:
            paragraphs.append(" ".join(paragraph.split()))
    return "\n\n".join(paragraphs)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
        for line in lines
    )


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    RESULTS.write_text(results(), encoding="utf-8")
