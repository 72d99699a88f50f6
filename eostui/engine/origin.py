"""Where a run's own steps begin, and the checkpoint from which a step of it can be come to."""

from __future__ import annotations

from pathlib import Path

from eostui.errors import RunFormatError
from eostui.runs.store import checkpoints, schema
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.reader import facts_of


def origin_of(path: Path) -> int:
    """Return the step at which a run's own steps begin: that of its fork or of a change of data, or 0.

    Raises:
        RunFormatError: if the record is damaged.
    """
    return max(whole_fact(path, key, "0") for key in schema.ORIGIN_FACTS)


def whole_fact(path: Path, key: str, otherwise: str) -> int:
    """Return a fact of a run as a whole number. Raises RunFormatError if it is none."""
    text = facts_of(path).get(key, otherwise)
    try:
        return int(text)
    except ValueError:
        raise RunFormatError(f"{path}: its fact `{key}` is damaged: `{text}`") from None


def began_on_other_data(path: Path, origin: int) -> bool:
    """Return whether a run's own steps begin where its data changed, not where it was forked."""
    return facts_of(path).get("changed_step") == str(origin)


def newest_sound(path: Path, step: int, origin: int) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest sound checkpoint up to a step, None for step 0, and what is unsound after it.

    Raises:
        RunFormatError: if there is none, and the run doesn't begin at step 0.
    """
    unsound: list[str] = []
    for file in reversed(checkpoints.files(path)):
        if origin <= file.step <= step:
            try:
                return checkpoints.read(file.path), unsound
            except RunFormatError as error:
                unsound.append(str(error))
    if origin:
        changed = began_on_other_data(path, origin)
        what, then = ("change of data", "") if changed else ("fork", ": fork its parent again")
        raise RunFormatError(
            f"{path}: the checkpoint of its {what} at step {origin} is missing or damaged, "
            f"and nothing else leads to its own steps{then}"
        )
    return None, unsound
