"""The lines of text around the charts: title, tabs, monitors, keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import App
from textual.geometry import Region
from textual.keys import key_to_character
from textual.widget import Widget

from eostui.charts.palette import COLOURS
from eostui.runs.analysis.monitors import Monitor
from eostui.tui.keys import Hints, Key

#: What a piece of text notes in its style for the mouse: a key that a click on it presses, an action.
KEY, ACTION = "key", "action"


class Clickable(Widget):
    """Text of which pieces act when they are clicked, as a key would."""

    async def on_click(self, event: events.Click) -> None:
        """Press the key that is written there, or do what is noted there."""
        noted = event.style.meta
        if KEY in noted:
            event.stop()
            press(self.app, noted[KEY])
        elif ACTION in noted:
            event.stop()
            await self.run_action(noted[ACTION])


def press(app: App[Any], key: str) -> None:
    """Press a key, by Textual's name or its character: it is obeyed in its turn, as a typed one."""
    character = key if len(key) == 1 else key_to_character(key)
    app.post_message(events.Key(key, character))


class TextBar(Clickable):
    """Lines of text that are repainted only when they change."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._text = Text()

    def show(self, text: Text) -> None:
        """Show a text in place of the last one, repainting the lines that differ."""
        if text == self._text and text.spans == self._text.spans:
            return
        before, now = self._text.split(allow_blank=True), text.split(allow_blank=True)
        self._text = text
        if len(before) != len(now):
            self.refresh()
            return
        for row, (old, new) in enumerate(zip(before, now, strict=True)):
            if old != new or old.spans != new.spans:
                self.refresh(Region(0, row, self.size.width, 1))

    def render(self) -> Text:
        """Return the text as last shown."""
        return self._text


def fields_line(fields: Sequence[tuple[int, str, str]], width: int) -> Text:
    """Join fields with gaps, leaving out the least important ones that don't fit.

    Args:
        fields: (importance, text, colour) in order of appearance; 0 is the most important.
        width: cells.
    """
    kept = [field for field in fields if field[1]]
    while kept and sum(len(text) + 2 for _, text, _ in kept) > width:
        least = max(kept, key=lambda field: field[0])
        if least[0] == 0:
            break
        kept.remove(least)
    line = Text(no_wrap=True, overflow="ellipsis")
    for _, text, colour in kept:
        line.append(f" {text} ", colour)
    return line


def tabs_line(tabs: Sequence[tuple[int, str, str]], active: int, width: int) -> Text:
    """Return the tabs of the one-chart view, each whole or not at all.

    Where there is no room for all, the first are left out up to where the active one is seen, and what
    then doesn't fit; … stands for those.

    Args:
        tabs: of each the number by which it is chosen, its key, "" without one, and its name.
        active: the number of one of them.
        width: cells.
    """
    texts = [f" {key} {name} " if key else f" {name} " for _, key, name in tabs]
    place = next((at for at, (number, *_) in enumerate(tabs) if number == active), 0)

    def fits(first: int, end: int) -> bool:
        left_out = (first > 0) + (end < len(texts))
        return cell_len("".join(texts[first:end])) + left_out <= width

    first, end = 0, place + 1
    while first < place and not fits(first, end):
        first += 1
    while end < len(texts) and fits(first, end + 1):
        end += 1
    line = Text("…" if first else "", COLOURS["axis"], no_wrap=True, overflow="ellipsis")
    for (number, *_), text in zip(tabs[first:end], texts[first:end], strict=True):
        style = Style.parse(f"reverse {COLOURS['title']}" if number == active else COLOURS["axis"])
        chosen = Style(meta={ACTION: f"screen.panel({number})"})
        line.append(text, style + chosen)
    if end < len(texts):
        following = Style(meta={ACTION: f"screen.panel({tabs[end][0]})"})
        line.append("…", Style.parse(COLOURS["axis"]) + following)
    return line


def monitor_lines(found: Sequence[Monitor], rest: Sequence[str], head: str) -> Text:
    """Return one line for each assumption of the theory, below a head, and the rest below them."""
    text = Text(f"{head}:\n", COLOURS["axis"], no_wrap=True)
    for monitor in found:
        text.append_text(_monitor(monitor))
        text.append(f"  {monitor.name:<16}{monitor.reading}\n", _monitor_style(monitor))
    text.append("  ".join(rest), COLOURS["test"])
    return text


def monitor_line(
    found: Sequence[Monitor], rest: Sequence[str], width: int, head: str = "holds"
) -> Text:
    """Return the assumptions in one line, for small terminals, those that fail first, and the rest.

    Each text is whole or left out. The names of what fails come before all others, then the last of the
    rest, why something fails, what is before the last, and what holds.
    """
    line = Text(f" {head}", COLOURS["axis"], no_wrap=True, overflow="ellipsis")
    pieces: list[tuple[int, Text]] = []
    for place, monitor in enumerate(sorted(found, key=lambda each: each.holds is not False)):
        style, fails = _monitor_style(monitor), monitor.holds is False
        name = (
            Text("  " if pieces else " ")
            .append_text(_monitor(monitor))
            .append(f" {monitor.name}", style)
        )
        pieces.append(((1 if fails else 40) + place, name))
        if fails:
            pieces.append((20 + place, Text(f" fails: {monitor.reading}", style)))
    for place, text in enumerate(reversed(rest)):
        pieces.insert(len(pieces) - place, (10 + 20 * place, Text(f"  {text}", COLOURS["test"])))
    room, chosen = width - line.cell_len, set()
    for place in sorted(range(len(pieces)), key=lambda place: pieces[place][0]):
        length = pieces[place][1].cell_len
        if length <= room:
            room -= length
            chosen.add(place)
    for place in sorted(chosen):
        line.append_text(pieces[place][1])
    return line


def key_line(width: int, shown: Hints, keys: Mapping[str, Key] = MappingProxyType({})) -> Text:
    """Return the key bar, as much of it as fits; help and quit are seen on every width.

    A click on a key presses it, and so does one on its word where it isn't that of two keys.

    Args:
        width: cells.
        shown: keys as the table has them, and a word for them.
        keys: those of the screen as the user has them, by what the table shows for them.
    """
    named = [([_named(token, keys) for token in tokens.split()], word) for tokens, word in shown]
    named = [([pair for pair in pairs if pair[0]], word) for pairs, word in named]
    hints = [
        (" ".join(text for text, _ in pairs), word, pairs)
        for pairs, word in sorted(named, key=lambda hint: hint[1] in ("help", "quit"))
        if pairs
    ]
    must = sum(len(text) + len(word) + 3 for text, word, _ in hints[-2:])
    line = Text(no_wrap=True, overflow="ellipsis")
    for index, (text, word, pairs) in enumerate(hints):
        last = index >= len(hints) - 2
        if not last and len(line) + len(text) + len(word) + 3 > width - must:
            continue
        for shown_key, name in pairs:
            style = Style(bold=True, color=COLOURS["mark"], meta={KEY: name} if name else None)
            line.append(" ")
            line.append(shown_key, style)
        one = pairs[0][1] if len(pairs) == 1 else ""
        line.append(f" {word} ", Style(color=COLOURS["title"], meta={KEY: one} if one else None))
    return line


def _named(token: str, keys: Mapping[str, Key]) -> tuple[str, str]:
    """Return how the user has a key that a hint shows, and Textual's name of it; "" for no such key."""
    if token not in keys:  # a screen's
        return token, token if len(token) == 1 else ""
    key = keys[token]
    names = key.keys.split(",")
    if token in key.shown.split():  # as it was
        return token, names[min(key.shown.split().index(token), len(names) - 1)]
    return (key.shown.split()[0], names[0]) if key.keys else ("", "")


def _monitor_style(monitor: Monitor) -> str:
    """A failing assumption turns visible: bold and warm."""
    return f"bold {COLOURS['warm']}" if monitor.holds is False else COLOURS["title"]


def _monitor(monitor: Monitor) -> Text:
    if monitor.holds is None:
        return Text("·", COLOURS["axis"])
    return Text("✓", COLOURS["path"]) if monitor.holds else Text("✗", COLOURS["warm"])
