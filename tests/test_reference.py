"""The pages of docs are what code and data say, and the documents' links lead somewhere."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest

import eostui

_ROOT = Path(__file__).parent.parent
_GENERATOR = runpy.run_path(str(_ROOT / "docs" / "generate.py"))
_GENERATED = _GENERATOR["pages"]()
_DOCUMENTS = [
    *sorted(_ROOT.glob("*.md")), *sorted((_ROOT / "docs").rglob("*.md"))
]  # fmt: skip


@pytest.mark.parametrize("name", _GENERATED)
def test_reference_is_in_step(name: str) -> None:
    """A page that isn't: `python docs/generate.py`."""
    written = (_ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == _GENERATED[name]


def test_reference_has_no_page_of_its_own() -> None:
    """What lies in docs/reference is generated, all of it."""
    assert {page.name for page in (_ROOT / "docs" / "reference").iterdir()} == set(_GENERATED)


def test_results_are_those_that_are_kept() -> None:
    """The page is made from its data: `eostui reproduce --keep docs/results`, and as above."""
    assert _GENERATOR["RESULTS"].read_text(encoding="utf-8") == _GENERATOR["results"]()


def test_every_kept_result_is_of_an_experiment_and_is_on_the_page() -> None:
    page = _GENERATOR["RESULTS"].read_text(encoding="utf-8")
    for file in _GENERATOR["DATA"].glob("*.json"):
        name, _, scale = file.stem.partition(".")
        command = f"again: `eostui reproduce {name}{' --paper-scale' * (scale == 'paper')}`"
        assert command in page, file.name
    shown = set(re.findall(r"\]\(results/([^)]+\.svg)\)", page))
    assert shown == {file.name for file in _GENERATOR["DATA"].glob("*.svg")}


@pytest.mark.parametrize("page", _DOCUMENTS, ids=lambda page: str(page.relative_to(_ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Links to files of the repository: the file is there, and so is the heading."""
    text = _without_code(page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        file, _, heading = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), f"{page.name}: {target}"
        if heading:
            assert heading in _anchors(there), f"{page.name}: {target}"


@pytest.mark.parametrize("page", _DOCUMENTS, ids=lambda page: str(page.relative_to(_ROOT)))
def test_named_files_are_there(page: Path) -> None:
    """Paths of the repository in a page's text, as `eostui/stability.py`; NAME stands for any."""
    named = re.findall(
        r"`((?:eostui|tests|docs|presets)/[\w./-]*)`", page.read_text(encoding="utf-8")
    )
    missing = [name for name in named if "NAME" not in name and not (_ROOT / name).exists()]
    assert not missing


def test_references_of_the_code_have_their_sections() -> None:
    """Comments cite MATH §n or §n.m: a heading of docs/theory.md has that number."""
    numbers = re.findall(r"^#+ ([\d.]+?)\.? ", _text("docs/theory.md"), flags=re.MULTILINE)
    cited = set()
    for file in [*(_ROOT / "eostui").rglob("*.py"), *(_ROOT / "tests").rglob("*.py")]:
        for place in re.findall(r"MATH((?:,? §\d+(?:\.\d+)?)+)", file.read_text(encoding="utf-8")):
            cited.update(re.findall(r"§(\d+(?:\.\d+)?)", place))
    assert cited
    assert cited <= set(numbers)


def test_readme_is_short() -> None:
    """What doesn't fit belongs into docs/."""
    assert len(_text("README.md").splitlines()) <= 150


def test_versions_agree() -> None:
    """The package, the changelog's newest entry and the citation are of one version."""
    version = tomllib.loads(_text("pyproject.toml"))["project"]["version"]
    assert eostui.__version__ == version
    newest = re.search(r"^## (\S+)", _text("CHANGELOG.md"), flags=re.MULTILINE)
    cited = re.search(r"^version: (\S+)", _text("CITATION.cff"), flags=re.MULTILINE)
    assert newest is not None
    assert cited is not None
    assert newest[1] == cited[1] == version


def _text(name: str) -> str:
    return (_ROOT / name).read_text(encoding="utf-8")


def _without_code(text: str) -> str:
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def _anchors(page: Path) -> set[str]:
    """Return what GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
