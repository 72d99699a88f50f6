"""Progress on stderr: one bar for all that takes longer than a moment."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


class ProgressBar:
    """A bar while it is entered: what is done, how much of it, how fast, and how long still.

    It is called with how much of how much is done. In a pipe there is none.
    """

    def __init__(self, label: str, unit: str = "", console: Console | None = None) -> None:
        """Make one.

        Args:
            label: what is done.
            unit: of what is counted; if left out, the share is shown.
            console: of stderr, if there is one already.
        """
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = console or Console(stderr=True, highlight=False)
        self._unit = unit
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}", markup=False),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task(label, total=None, count="", note="")

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(
        self, done: int, total: int | None, *, label: str | None = None, note: str = ""
    ) -> None:
        """Show how much of how much is done.

        Args:
            done: so much of it.
            total: None where that isn't known.
            label: what is done now; as before if left out.
            note: what else there is to say.
        """
        self._progress.update(
            self._task, completed=done, total=total, description=label,
            count=self._count(done, total), note=note,
        )  # fmt: skip

    def _count(self, done: int, total: int | None) -> str:
        if not total:
            return ""
        if not self._unit:
            return f"{100 * done / total:3.0f}%"
        speed = self._progress.tasks[0].speed
        rate = f"  {speed:.0f}/s" if speed else ""
        return f"{done}/{total} {self._unit}{rate}"
