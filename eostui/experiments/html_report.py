"""A report of experiments as one HTML file: figures and style within, nothing to fetch, no script."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from eostui.errors import printable
from eostui.experiments.criterion import AGREES, DIFFERS, UNDECIDED
from eostui.experiments.drawings import Drawing
from eostui.experiments.report import (
    NO_FIGURE,
    PAPERS,
    Entry,
    Judged,
    counted,
    facts,
    judgements,
    kept_name,
    made_today,
)

#: A browser is told to fetch nothing, and to run nothing, whatever a file of a stranger's has in it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = Path(__file__).with_name("report.css")
#: Of verdicts, which signs tell them apart without colours, and the classes of their colours.
_SIGNS = {
    AGREES: ("✓", "agrees"), DIFFERS: ("✗", "differs"), UNDECIDED: ("?", "undecided"),
}  # fmt: skip
_TITLE = "Experiments of the papers"


def page(entries: Sequence[Entry]) -> str:
    """Return the report of entries in their order, those of a paper together."""
    done = [entry for entry in entries if entry.result is not None]
    lacking = [entry for entry in entries if entry.result is None]
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{_TITLE}</title>",
        f"<style>\n{_STYLE.read_text(encoding='utf-8')}</style>",
        "</head>",
        "<body>",
        "<header>",
        f"<h1>{_TITLE}</h1>",
        f"<p>{_text(made_today())}: {_text(counted(entries))}. "
        "A criterion stands in its experiment's file before that is run.</p>",
        "</header>",
        "<main>",
        *_overview(done),
    ]
    for paper, group in groupby(done, key=lambda entry: entry.experiment.definition.paper):
        named = f"<p>{_text(PAPERS[paper])}</p>" if paper in PAPERS else ""
        parts += ["<section>", f"<h2>{_text(paper)}</h2>", named]
        for entry in group:
            parts += _article(entry)
        parts.append("</section>")
    parts += [*_without(lacking), "</main>", "</body>", "</html>"]
    return "\n".join(part for part in parts if part) + "\n"


def _overview(entries: Sequence[Entry]) -> Iterator[str]:
    if not entries:
        return
    rows = [
        (
            f'<a href="#{_text(kept_name(entry))}">{_text(entry.name)}</a>',
            _verdict(entry.state),  # next to the name: on a telephone the rest is scrolled to
            _text(entry.where),
            _text(entry.size),
        )
        for entry in entries
    ]
    yield from _table("overview", "Verdicts", ("experiment", "verdict", "where", "size"), rows)


def _article(entry: Entry) -> Iterator[str]:
    """Yield what there is to say of an experiment that has a result."""
    result = entry.result
    if result is None:
        return
    definition = entry.experiment.definition
    size = ", at the paper's size" if entry.paper_scale else ""
    yield f'<article id="{_text(kept_name(entry))}">'
    yield f"<h3>{_text(definition.figure + size)} {_verdict(entry.state)}</h3>"
    yield f'<p class="claim">{_text(definition.claim)}</p>'
    titles = ("criterion", "read", "standard error", "must be", "verdict")
    rows = [
        (_text(e.says), _text(e.value), _text(e.error.removeprefix(" ")) or "—", _text(e.bound),
         _verdict(e.verdict) + _why(e))
        for e in judgements(result)
    ]  # fmt: skip
    yield from _table("criteria", f"Criteria of {entry.name}", titles, rows)
    if entry.drawings:
        yield '<div class="figures">'
        yield from map(_figure, entry.drawings)
        yield "</div>"
    else:
        yield f"<p>{_text(NO_FIGURE)}</p>"
    yield "<dl>"
    for title, text in facts(entry):
        yield f"<div><dt>{_text(title)}</dt><dd>{_text(text)}</dd></div>"
    for title, command in (("again", entry.command), ("members alone", entry.preset_command)):
        yield f"<div><dt>{title}</dt><dd><code>{_text(command)}</code></dd></div>"
    yield "</dl>"
    yield "</article>"


def _without(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the experiments that have no result, and what they would take."""
    if not entries:
        return
    rows = [
        (
            f"<code>{_text(entry.command)}</code>",
            _text(entry.where),
            _text(entry.experiment.definition.claim),
            _text(entry.state),
            _text(entry.takes),
        )
        for entry in entries
    ]
    yield "<section>"
    yield "<h2>Without a result</h2>"
    titles = ("command", "where", "claim", "state", "takes")
    yield from _table("lacking", "Experiments without a result", titles, rows)
    yield "</section>"


def _figure(drawing: Drawing) -> str:
    """Return a figure as an image: in one, unlike in a page, nothing of an SVG is run or fetched."""
    content = base64.b64encode(drawing.svg.encode()).decode()
    image = f"data:image/svg+xml;base64,{content}"
    return f'<figure><img alt="{_text(drawing.alternative)}" src="{image}"></figure>'


def _verdict(state: str) -> str:
    sign, kind = _SIGNS.get(state, ("–", "none"))
    return (
        f'<span class="verdict {kind}"><span aria-hidden="true">{sign}</span> {_text(state)}</span>'
    )


def _why(judged: Judged) -> str:
    return f" {_text(judged.why)}" if judged.why else ""


def _table(
    kind: str, caption: str, titles: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterator[str]:
    """Yield a table in a box of its own, in which it scrolls where it is too wide.

    Args:
        kind: by which its style is told from that of others.
        caption: what it is, for those who don't see it.
        titles: of its columns.
        rows: of HTML.
    """
    yield f'<div class="wide" tabindex="0" role="region" aria-label="{_text(caption)}">'
    yield f'<table class="{kind}">'
    yield f"<caption>{_text(caption)}</caption>"
    heads = "".join(f'<th scope="col">{_text(title)}</th>' for title in titles)
    yield f"<thead><tr>{heads}</tr></thead>"
    yield "<tbody>"
    for first, *others in rows:
        cells = "".join(f"<td>{cell}</td>" for cell in others)
        yield f'<tr><th scope="row">{first}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _text(text: str) -> str:
    """Return a text as HTML, without control characters: a file may come from a stranger."""
    return escape(printable(text))
