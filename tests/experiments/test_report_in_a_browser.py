"""The report as a browser shows it: figures seen, nothing fetched, on a telephone, on paper."""

from __future__ import annotations

import re

import pytest
import summarised
from browser import PROGRAM, Browser

from eostui.experiments.drawings import Drawing
from eostui.experiments.experiment import load
from eostui.experiments.html_report import page
from eostui.experiments.report import Entry
from eostui.experiments.results import judge, rows_of
from eostui.figures.experiment import drawings_of
from eostui.sweeps.sweep import Sweep

pytestmark = pytest.mark.skipif(not PROGRAM, reason="no chromium here, which this drives")

#: What a stranger's files might try: of a claim, and of a figure.
_HOSTILE_CLAIM = '<script>document.title = "run"</script><img src="http://127.0.0.1:9/claim">'
_HOSTILE_FIGURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'viewBox="0 0 10 10" width="10" height="10"><script>top.document.title = "run"</script>'
    '<image xlink:href="http://127.0.0.1:9/figure" width="10" height="10"/></svg>'
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of a judged experiment with its figures, of a hostile one, and of some never run."""
    folder = tmp_path_factory.mktemp("report")
    experiment = load("wd-fig4-mlp")
    sweep = Sweep.create(folder, experiment.plan(), "", "made")
    for member in sweep.members:
        summarised.make(member.path, member.config.weight_decay, member.config.seed, group=sweep.id)
    rows = rows_of(sweep, experiment)
    result = judge(experiment, sweep, rows)
    drawings = drawings_of(experiment, sweep, rows)
    assert len(drawings) == 4
    definition = experiment.definition.model_copy(update={"claim": _HOSTILE_CLAIM})
    object.__setattr__(hostile := load("wd-fig4-mlp"), "definition", definition)
    object.__setattr__(hostile, "name", "hostile")
    entries = [
        Entry.of(experiment, result=result, drawings=drawings),
        Entry.of(hostile, result=result, drawings=[Drawing("of a stranger", _HOSTILE_FIGURE)]),
        *(Entry.of(load(name)) for name in ("wd-a4", "kinks")),
    ]
    file = folder / "report.html"
    file.write_text(page(entries), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def browser():
    opened = Browser()
    yield opened
    opened.close()


_SEEN = """[...document.images].map(image => {
    const box = image.getBoundingClientRect();
    return image.complete && image.naturalWidth > 0 && box.width > 100 && box.height > 60
        && box.right <= document.documentElement.clientWidth;
})"""


@pytest.mark.parametrize("width", [360, 1200])
def test_every_figure_is_seen_and_the_page_is_not_scrolled_sideways(report, browser, width):
    browser.open(report, width)
    seen = browser.ask(_SEEN)
    assert seen == [True] * 5
    assert browser.ask("document.documentElement.scrollWidth") <= width
    # a wide table does scroll, in its own box
    boxes = browser.ask(
        "[...document.querySelectorAll('.wide')].map(b => b.scrollWidth > b.clientWidth)"
    )
    assert any(boxes) == (width == 360)


def test_nothing_is_fetched_and_nothing_of_a_strangers_is_run(report, browser):
    browser.open(report, 1200)
    browser.ask("new Promise(done => setTimeout(done, 200))")
    assert browser.requests == [report.as_uri()]
    assert browser.ask("document.title") == "Experiments of the papers"
    assert browser.ask("document.scripts.length") == 0


def test_a_request_would_have_been_seen(tmp_path, browser):
    """The check above can fail: a page that asks for a picture is noticed."""
    asking = tmp_path / "asking.html"
    asking.write_text('<img src="absent.png">')
    browser.open(asking, 1200)
    assert browser.requests == [asking.as_uri(), (tmp_path / "absent.png").as_uri()]


def test_it_is_light_or_dark_as_the_reader_has_it(report, browser):
    def lightness(what: str) -> float:
        colour = browser.ask(f"getComputedStyle(document.body).{what}")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / (3 * 255)

    for scheme, dark in (("light", False), ("dark", True)):
        browser.open(report, 1200, prefers_color_scheme=scheme)
        paper = lightness("backgroundColor")
        ink = lightness("color")
        assert (paper < ink) == dark
        assert abs(paper - ink) > 0.6
        turned = browser.ask("getComputedStyle(document.images[0]).filter")
        assert (turned != "none") == dark


def test_it_prints_and_no_figure_is_cut(report, browser):
    browser.open(report, 1200, prefers_color_scheme="dark")
    pdf = browser.printed()
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 2
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.ask(
        "[...document.querySelectorAll('figure')]"
        ".every(f => getComputedStyle(f).breakInside === 'avoid')"
    )
    paper = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    browser.call("Emulation.setEmulatedMedia", media="")


def test_verdicts_are_told_by_more_than_colour_and_figures_in_words(report, browser):
    browser.open(report, 1200)
    verdicts = browser.ask("[...document.querySelectorAll('.verdict')].map(v => v.textContent)")
    assert {"✓ agrees", "? undecided"} <= set(verdicts)
    told = browser.ask("[...document.images].map(image => image.alt)")
    assert told[0] == "sharpness S against steps of λ 0, 0.0003, 0.001, 0.003, 0.01"
    assert all(told)
    heads = browser.ask("[...document.querySelectorAll('th')].every(h => h.scope)")
    assert heads
