"""`runs prune`: ended runs go by age, size or state."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from eostui.charts.numbers import age
from eostui.cli.options import AsJson, RunFilter, RunsDir, Yes
from eostui.cli.output import print_json, print_table, readable
from eostui.errors import EXIT_FAILED, EostuiError, InputError, printable

if TYPE_CHECKING:
    from pathlib import Path

    from eostui.runs.shelf import Entry


def prune(
    older_than: Annotated[str, typer.Option(help="Such as 30d, 12h: that long ago ended.")] = "",
    larger_than: Annotated[str, typer.Option(help="Such as 1GB, 500MB.")] = "",
    state: Annotated[str, typer.Option(help="Such as finished,stopped,interrupted.")] = "",
    keep: Annotated[int, typer.Option(help="Spare so many of the newest that match.")] = 0,
    filter: RunFilter = "",
    checkpoints: Annotated[
        bool,
        typer.Option(
            "--checkpoints",
            help="Delete their checkpoints alone; to resume or fork, their steps are then repeated.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    yes: Yes = False,
    runs_dir: RunsDir = None,
    as_json: AsJson = False,
) -> None:
    """Delete ended runs by age, size or state; those that match all that is given. Asks first.

    Live runs are never touched. A run that others were forked from may go: forks are whole in themselves.
    With --checkpoints all records stay, and the checkpoint at which a fork begins; to resume or fork,
    all steps from there, or from step 0, are then repeated.

    Examples:

      eostui runs prune --older-than 30d --dry-run

      eostui runs prune --state stopped,failed --keep 5

      eostui runs prune --checkpoints --larger-than 1GB -y

      eostui runs prune --filter "group:pilot -name:*" --dry-run
    """
    from eostui import locations
    from eostui.runs.filter_fields import run_filter
    from eostui.runs.prune import shown_size

    if keep < 0:
        raise InputError(f"--keep is {keep}, but must not be below 0")
    if not (older_than or larger_than or state or keep or checkpoints or filter.strip()):
        raise InputError(
            "say which runs: --older-than, --larger-than, --state, --filter or --keep "
            "(`eostui runs prune --help`)"
        )
    passes = run_filter(filter)
    entries = [entry for entry in readable(locations.runs_dir(runs_dir)) if passes(entry)]
    chosen = _chosen(entries, older_than, larger_than, state, keep, checkpoints=checkpoints)
    total = sum(freed for _, freed in chosen)
    what = "the checkpoints of " if checkpoints else ""
    if not chosen or dry_run:
        _report(chosen, 0, as_json=as_json)
        text = "nothing to delete" if not chosen else f"would free {shown_size(total)}"
        print(text, file=sys.stderr)
        return
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("runs are deleted only after a question: add --yes to do without it")
        print_table(_rows(chosen), file=sys.stderr)
        question = f"Delete {what}{len(chosen)} runs, {shown_size(total)}?"
        if checkpoints:
            question += " To resume or fork one, all of its own steps are then repeated."
        if not typer.confirm(question, err=True):
            raise typer.Exit(EXIT_FAILED)
    done, failed = _delete(chosen, checkpoints=checkpoints)
    if not checkpoints:
        failed |= _delete_emptied(locations.runs_dir(runs_dir), [entry for entry, _ in done])
    freed = sum(bytes_freed for _, bytes_freed in done)
    _report(done, freed, as_json=as_json)
    print(f"deleted {what}{len(done)} runs: {shown_size(freed)} freed", file=sys.stderr)
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _chosen(
    entries: list[Entry],
    older_than: str,
    larger_than: str,
    state: str,
    keep: int,
    *,
    checkpoints: bool,
) -> list[tuple[Entry, int]]:
    """Return the runs that are to go, with the bytes that each frees."""
    from eostui.runs import prune as pruning

    criteria = pruning.Criteria(
        pruning.parse_duration(older_than, "--older-than") if older_than else 0.0,
        pruning.parse_size(larger_than, "--larger-than") if larger_than else 0.0,
        pruning.parse_states(state, "--state"),
        keep,
    )
    found = criteria.choose(entries, time.time())
    if not checkpoints:
        return [(entry, pruning.size(entry.path)) for entry in found]
    files = [(entry, pruning.checkpoint_files(entry)) for entry in found]
    return [(entry, sum(file.lstat().st_size for file in of)) for entry, of in files if of]


def _delete(
    chosen: list[tuple[Entry, int]], *, checkpoints: bool
) -> tuple[list[tuple[Entry, int]], bool]:
    """Delete; return what went, and whether something didn't, of which stderr tells."""
    from eostui.runs import shelf
    from eostui.runs.prune import delete_checkpoints

    done, failed = [], False
    for entry, length in chosen:
        try:
            if checkpoints:
                length = delete_checkpoints(entry)
            else:
                shelf.delete(entry.path)
        except EostuiError as error:
            print(f"eostui: {printable(str(error))}", file=sys.stderr)
            failed = True
        else:
            done.append((entry, length))
    return done, failed


def _delete_emptied(folder: Path, gone: list[Entry]) -> bool:
    """Delete sweeps no member of which is left, which stderr tells; return whether one couldn't be."""
    from eostui.runs import shelf
    from eostui.sweeps.removal import emptied

    failed = False
    for path in emptied(folder, gone):
        try:
            shelf.delete(path)
        except EostuiError as error:
            print(f"eostui: {printable(str(error))}", file=sys.stderr)
            failed = True
        else:
            print(f"deleted sweep {printable(path.name)}: no member is left", file=sys.stderr)
    return failed


def _report(chosen: list[tuple[Entry, int]], freed: int, *, as_json: bool) -> None:
    if as_json:
        listed = [
            {"id": e.id, "path": str(e.path), "state": e.state, "bytes": n} for e, n in chosen
        ]
        print_json({"runs": listed, "freed": freed})
    elif chosen:
        print_table(_rows(chosen))


def _rows(chosen: list[tuple[Entry, int]]) -> list[tuple[str, ...]]:
    from eostui.runs.prune import shown_size

    now = time.time()
    rows = [(e.id, e.state, age(now - e.ended), shown_size(n), e.name) for e, n in chosen]
    return [("run", "state", "ended", "size", "name"), *rows]
