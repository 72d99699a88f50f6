"""What the keys of the runs screen do to the runs of the shelf."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from textual.app import App

from eostui.errors import EostuiError, InputError, printable
from eostui.runs import edit, prune, shelf
from eostui.runs.selection import Selection
from eostui.runs.shelf import Entry
from eostui.runs.shelf_index import is_run
from eostui.sweeps.lookup import find_sweep
from eostui.sweeps.names import rename
from eostui.sweeps.sweep import Sweep
from eostui.tui import files
from eostui.tui.engines import Engines
from eostui.tui.forks import Forks
from eostui.tui.questions import Questions
from eostui.tui.screens.dialogs import AskDialog, ChoiceDialog
from eostui.tui.screens.runs import RunsScreen
from eostui.tui.session import Session

Thing = TypeVar("Thing")

#: A line break of a note, where it is typed in one line.
_BREAK = " ⏎ "
#: Names that a question tells before it counts the others.
_NAMED = 5


class Shelving:
    """Opens, forks, exports, names and deletes runs of the shelf; asks before it destroys."""

    def __init__(
        self,
        app: App[str],
        session: Session,
        questions: Questions,
        engines: Engines,
        forks: Forks,
        show_run: Callable[[], None],
        compare: Callable[[Selection], None],
        show_sweep: Callable[[Sweep], None],
    ) -> None:
        """`show_run` shows the run's charts, `compare` runs side by side, `show_sweep` a sweep."""
        self._app, self._session, self._questions = app, session, questions
        self._engines, self._forks, self._show_run = engines, forks, show_run
        self._compare, self._show_sweep = compare, show_sweep

    def obey(self, asked: RunsScreen.Asked) -> None:
        """Do what a key asks for; `asked.what` is a method of this class."""
        self._app.clear_notifications()
        getattr(self, asked.what)(asked)

    # --- what is done to the run under the cursor -----------------------------------------------------

    def open(self, asked: RunsScreen.Asked) -> None:
        """Show a run; the one that is shown trains on."""
        entry = self._readable(asked)
        if entry is not None and self._engines.change_to(entry.path):
            self._show_run()

    def sweep(self, asked: RunsScreen.Asked) -> None:
        """Show the sweep that a run is a member of."""
        entry = self._readable(asked)
        if entry is None:
            return
        path = find_sweep(entry.path.parent, entry.group) if entry.group else None
        if path is None:
            self._refuse(f"{entry.id} is a member of no sweep")
            return
        try:
            self._show_sweep(Sweep(path))
        except InputError as error:
            self._refuse(str(error))

    def fork(self, asked: RunsScreen.Asked) -> None:
        """Ask how a run is forked."""
        entry = self._readable(asked)
        if entry is not None:
            self.fork_at(entry)

    def fork_at(self, entry: Entry, step: int | None = None) -> None:
        """Ask how a run is forked at a step, at its newest if left out."""
        if self._can_begin():
            self._forks.ask_fork_of(entry, step)

    def resume(self, asked: RunsScreen.Asked) -> None:
        """Go on with a run that ended."""
        entry = self._readable(asked)
        if entry is not None and self._can_begin():
            self._forks.ask_resume_of(entry)

    def note(self, asked: RunsScreen.Asked) -> None:
        """Ask for a run's note, its lines in one."""
        entry = self._readable(asked)
        if entry is None:
            return

        def parse(text: str) -> str:
            note = "\n".join(part.strip() for part in text.split(_BREAK.strip())).strip()
            if refusal := edit.refuse_note(note):
                raise InputError(refusal)
            return note

        def noted(text: str | None) -> None:
            if text is not None and text != entry.note:
                told = f"{entry.id}: {'noted' if text else 'has no note'}"
                self._edit(entry, partial(edit.note, entry, text), told, asked.done)

        question = f"note on {printable(entry.name or entry.id)} ({_BREAK.strip()} is a new line)"
        present = entry.note.replace("\n", _BREAK)
        self._questions.ask(AskDialog(question, present, parse), noted)

    def rename(self, asked: RunsScreen.Asked) -> None:
        """Ask for a run's name."""
        entry = self._readable(asked)
        if entry is None:
            return

        def parse(text: str) -> str:
            name = text.strip()
            if refusal := edit.refuse_name(name):
                raise InputError(refusal)
            return name

        def named(name: str | None) -> None:
            if name is not None and name != entry.name:
                told = f"{entry.id}: {f'named {name}' if name else 'has no name'}"
                work = partial(rename, entry, name, entry.path.parent)
                self._edit(entry, work, told, asked.done)

        question = f"name of {printable(entry.id)}; empty takes it away"
        self._questions.ask(AskDialog(question, entry.name, parse), named)

    def _edit(
        self, entry: Entry, work: Callable[[], None], told: str, done: Callable[[], None]
    ) -> None:
        def change() -> str:
            if not is_run(entry.path):
                raise InputError(f"{entry.id} is gone: it was deleted meanwhile")
            work()
            return told

        self._in_background(change, done)

    # --- what is done to several ----------------------------------------------------------------------

    def compare(self, asked: RunsScreen.Asked) -> None:
        """Show runs side by side, the oldest first."""
        if not asked.entries:
            self._refuse("there is no readable run to compare")
            return
        unread = tuple((path, "it can't be read") for path in asked.unread)
        oldest_first = sorted(asked.entries, key=lambda entry: entry.created)
        self._compare(Selection(tuple(oldest_first), unread))

    def export(self, asked: RunsScreen.Asked) -> None:
        """Write runs as one CSV into the present folder; ask before a file is replaced."""
        if asked.unread:
            self._refuse(f"{asked.unread[0].name} can't be read, so it can't be exported")
            return
        paths = [entry.path for entry in asked.entries]
        try:
            target = files.csv_target(paths)
        except InputError as error:
            self._refuse(str(error))
            return
        write = partial(files.write_table, paths, target)

        def answered(answer: str | None) -> None:
            if answer == "y":
                self._in_background(write, asked.done)

        if target.exists():
            question = f"{target} is there already. Replace it?"
            self._questions.ask(ChoiceDialog(question, {"y": "replace it"}), answered)
        else:
            self._in_background(write, asked.done)

    def delete(self, asked: RunsScreen.Asked) -> None:
        """Delete runs for good, after a question; live ones stay."""
        live = [entry for entry in asked.entries if entry.live]
        paths = [entry.path for entry in asked.entries if not entry.live] + [*asked.unread]
        if not paths:
            self._refuse(shelf.refuse_delete(live[0].path) or f"{live[0].id} has just ended")
            return
        question = f"Delete {_told([path.name for path in paths])} for good?"
        if self._session.path in paths:
            question += (
                " It is the run that is shown." if len(paths) == 1 else " The shown run too."
            )
        if live:
            question += f" {_told([entry.id for entry in live])} still trains, and stays."

        def answered(answer: str | None) -> None:
            if answer == "y":
                self._delete(paths, asked.done)

        self._questions.ask(ChoiceDialog(question, {"y": "delete"}), answered)

    def prune(self, asked: RunsScreen.Asked) -> None:
        """Delete all ended runs that are marked or that pass the filter, or their checkpoints."""
        ended = [entry for entry in asked.entries if not entry.live]
        if not asked.entries:
            by = self._session.key("list.filter")
            self._refuse(
                f"say which runs: mark them, or filter, such as {by} age>30d state:finished"
            )
            return
        if not ended:
            self._refuse("all of these still train")
            return
        scene = self._questions.scene()

        async def ask() -> None:
            total, files = await asyncio.to_thread(_sizes, ended)
            live = len(asked.entries) - len(ended)
            question = f"{len(ended)} runs that ended, {prune.shown_size(total)}"
            question += f"; {live} live ones stay." if live else "."
            choices = {"d": "delete them for good"}
            if files:
                choices["c"] = (
                    f"delete their checkpoints alone, {prune.shown_size(files)}: to resume or fork one, "
                    "all of its own steps are then repeated"
                )

            def answered(answer: str | None) -> None:
                if answer == "d":
                    self._delete([entry.path for entry in ended], asked.done)
                elif answer == "c":
                    self._in_background(partial(_delete_checkpoints, ended), asked.done)

            self._questions.ask(ChoiceDialog(question, choices), answered, scene)

        self._app.run_worker(ask(), group="shelving", exit_on_error=False)

    def _delete(self, paths: Sequence[Path], done: Callable[[], None]) -> None:
        """Delete runs in the background; the run that is shown isn't any more."""
        session = self._session
        if session.beside is not None and session.beside.run.path in paths:
            session.lay_over(None)
        if session.engine is None and session.path in paths:
            session.let_go()
            shelf, start = session.key("screen.runs"), session.key("preset.next")
            session.show_message(
                f"the run that was shown is deleted: {shelf} lists the others, {start} starts one"
            )
        self._in_background(partial(_delete, paths), done)

    # --- how ------------------------------------------------------------------------------------------

    def _readable(self, asked: RunsScreen.Asked) -> Entry | None:
        """Return the run that something is done to; say so if it can't be read."""
        if asked.unread:
            name = asked.unread[0].name
            self._refuse(f"{name} can't be read: `eostui runs repair {name}` copies what can be")
            return None
        return asked.entries[0] if asked.entries else None

    def _can_begin(self) -> bool:
        """Return whether an engine can be started from here; say so if not."""
        if self._session.watch is not None:
            self._refuse("this is a playback, which starts nothing: `eostui attach` does")
        return self._session.watch is None

    def _refuse(self, sentence: str) -> None:
        self._app.notify(sentence, severity="warning")

    def _in_background(self, work: Callable[[], str], done: Callable[[], None]) -> None:
        """Do something in another thread, say what came of it, and have the shelf looked at."""

        async def task() -> None:
            try:
                self._app.notify(await asyncio.to_thread(work))
            except EostuiError as error:
                self._app.notify(str(error), severity="error", timeout=10)
            done()

        self._app.run_worker(task(), group="shelving", exit_on_error=False)


def _told(names: Sequence[str]) -> str:
    """Return names as a question tells them."""
    told = [printable(name) for name in names[:_NAMED]]
    more = len(names) - len(told)
    return f"{', '.join(told)} and {more} more" if more else ", ".join(told)


def _sizes(entries: Sequence[Entry]) -> tuple[int, int]:
    """Return the bytes of runs, and of their checkpoints that can go."""
    files = [file for entry in entries for file in prune.checkpoint_files(entry)]
    return sum(prune.size(entry.path) for entry in entries), sum(map(_size, files))


def _size(file: Path) -> int:
    with contextlib.suppress(OSError):  # gone meanwhile
        return file.lstat().st_size
    return 0


def _delete(paths: Sequence[Path]) -> str:
    """Delete runs; return what to say of it. Raises EostuiError where one isn't, after the others."""
    return _each(paths, shelf.delete, lambda path: path.name, "deleted")


def _delete_checkpoints(entries: Sequence[Entry]) -> str:
    freed = 0

    def delete(entry: Entry) -> None:
        nonlocal freed
        freed += prune.delete_checkpoints(entry)

    told = _each(entries, delete, lambda entry: entry.id, "deleted the checkpoints of")
    return f"{told}: {prune.shown_size(freed)} freed"


def _each(
    things: Sequence[Thing], do: Callable[[Thing], object], name: Callable[[Thing], str], done: str
) -> str:
    """Do something to each; return what to say of it.

    Raises:
        EostuiError: where it fails for some, once it was done to the others.
    """
    failed: list[EostuiError] = []
    for thing in things:
        try:
            do(thing)
        except EostuiError as error:
            failed.append(error)
    count = len(things) - len(failed)
    if failed:
        raise EostuiError(f"{done} {count} runs, but not {len(failed)}: {failed[0]}")
    return f"{done} {name(things[0])}" if len(things) == 1 else f"{done} {count} runs"
