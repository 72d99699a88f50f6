"""`replay`: a run is repeated and compared with its record, or its record played back."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eostui.cli.options import AsciiOnly, AsJson, DataDir, Fps, RunName, RunsDir, Theme, Trust
from eostui.cli.output import print_json
from eostui.cli.progress import ProgressBar
from eostui.cli.start import show
from eostui.errors import EXIT_FAILED, InputError, printable

if TYPE_CHECKING:
    from pathlib import Path

    from eostui.engine.replay import Replay
    from eostui.runs.shelf import Entry


def replay(
    run: RunName = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Play the record back in the live view instead.")
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option(help="With --watch: steps a second; the whole run in a minute if left out."),
    ] = None,
    trust: Trust = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    fps: Fps = None,
    theme: Theme = None,
    _ascii: AsciiOnly = False,
    as_json: AsJson = False,
) -> None:
    """Take all steps of a run once more and compare them with its record; or play the record back.

    On the same machine and a CPU they are the same to the bit; else the first step that differs is told,
    and by how much. The exit code is 0 when they are the same, 1 when not. Nothing is written.

    Where another version of eostui made the record, what every step has must be the same to the bit,
    and what was measured as good as both versions say: S within twice `tolerance`, what depends on its
    eigenvector u within twice `vector_tolerance` of its largest possible size (β, βα, g, ⟨θ, u⟩ …; twice
    the error that a row itself states, if that is larger), further eigenvalues within 2 % of S. Phases,
    audits and columns that only one version has aren't compared.

    With --watch nothing is computed: the record is shown as it came, and keys hold and scrub it.

    Examples:

      eostui replay k3f9

      eostui replay k3f9 --watch --speed 200
    """
    from eostui import locations, torchrun
    from eostui.runs import shelf
    from eostui.runs.trust import refuse_foreign_code

    torchrun.become_worker(locations.data_dir(data_dir))
    if watch and as_json:
        raise InputError("--json is for the comparison: with --watch nothing is printed")
    if speed is not None and not watch:
        raise InputError("--speed is for --watch: what is computed anew goes as fast as it can")
    entry = shelf.find(locations.runs_dir(runs_dir), run)
    if entry.last_step < 0:
        raise InputError(f"{entry.id} has no steps yet")
    if watch:
        from eostui.tui.session import Watch

        show(Watch(entry.path, speed), runs_dir, data_dir, fps=fps, theme=theme)
    refuse_foreign_code(entry.config, entry.path, trusted=trust)
    found = _repeat(entry, locations.data_dir(data_dir))
    if as_json:
        print_json(_told(entry, found))
    else:
        print(printable(_sentence(entry, found)))
    raise typer.Exit(EXIT_FAILED if found.differences else 0)


def _repeat(entry: Entry, data_dir: Path) -> Replay:
    """Repeat a run with a progress bar on stderr."""
    from eostui import locations

    locations.present_folder()
    with ProgressBar("repeating", "steps") as bar:

        def say(text: str) -> None:
            bar.console.print(text, style="dim", markup=False)

        say("loading PyTorch")
        from eostui.engine.replay import replay
        from eostui.engine.session import EngineSession

        with closing(EngineSession(entry.config, data_dir, say, like=entry.path)) as session:
            return replay(
                session,
                entry.path,
                lambda step, first, last: bar(step - first, last - first),
            )


def _told(entry: Entry, found: Replay) -> dict[str, Any]:
    from eostui.version import __version__

    return {
        "id": entry.id,
        "identical": found.exact and not found.differences,
        "first_step": found.record.first,
        "last_step": found.record.next_step - 1,
        "measurements": found.measurements,
        "recorded_by": found.record.version,
        "repeated_by": __version__,
        "probes_changed": found.probes,
        "differences": [vars(difference) for difference in found.differences],
    }


def _sentence(entry: Entry, found: Replay) -> str:
    from eostui.version import __version__

    record, differences = found.record, found.differences
    span, measured = f"steps {record.first} to {record.next_step - 1}", found.measurements
    versions = f"recorded by eostui {record.version}, repeated by {__version__}"
    if differences:
        others = [difference.what for difference in differences[1:]]
        more = f"; so do {', '.join(others)}" if others else ""
        sentence = f"{entry.id}: differs from its record at {differences[0]}{more}"
        if found.probes:
            sentence += f"; {found.probes}"
        if not found.across_versions:
            return sentence
        if all(difference.what not in record.names for difference in differences):
            sentence += f"; the {span} themselves are the same, bit for bit"
        return f"{sentence} ({versions})"
    if found.exact:
        sentence = f"{entry.id}: {span} with {measured} measurements are the same, bit for bit"
    else:
        sentence = (
            f"{entry.id}: {span} are the same, bit for bit, and their {measured} measurements agree "
            "within their tolerance"
        )
    if found.across_versions:
        sentence += f" ({versions})"
    if record.first:
        before = "run it was forked from" if entry.parent_step == record.first else "data before"
        sentence += f"; the steps before {record.first} are those of the {before}"
    return sentence
