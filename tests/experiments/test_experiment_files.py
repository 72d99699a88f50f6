"""Files of experiments: those shipped are sound, and what is wrong in one is told in a sentence."""

from __future__ import annotations

import itertools

import pytest

from eostui.errors import InputError
from eostui.experiments.experiment import available, by_paper, load, wanted

FILE = """
paper = "mine"
figure = "1"
claim = "It falls."
twin = "digits-wd-a7"

[columns.late]
of = "eig_2"
take = "late mean"

[[criteria]]
says = "it falls"
reading = "greatest_ratio"
arguments = { column = "tail_sharpness", to = "two_over_eta" }
must_be = "below"
value = 1.0
"""
READING = """reading = "greatest_ratio"
arguments = { column = "tail_sharpness", to = "two_over_eta" }"""
KNEE = """reading = "knee"
arguments = {{ column = "{}", over = "{}" }}"""


def test_shipped_experiments_load_with_their_presets():
    """Each has its members, at both sizes where it has both."""
    assert len(available()) > 10
    for name in available():
        found = load(name)
        assert found.summary
        assert found.plan().count
        if found.definition.paper_scale:
            assert found.plan(paper_scale=True).count


def test_names_mean_experiments_papers_or_all():
    every = wanted(["all"]).experiments
    assert {each.name for each in every} == set(available())
    assert [e.definition.paper for e in every] == [e.definition.paper for e in by_paper(every)]
    assert {each.definition.paper for each in wanted(["wd"]).experiments} == {"WD"}
    named = wanted(["wd-a7", "wd", "wd-a7"]).experiments
    assert named[0].name == "wd-a7"
    assert len(named) == len({each.name for each in named})


@pytest.mark.parametrize(
    ("name", "told"),
    [("wd-fig4-mpl", "no experiment and no paper `wd-fig4-mpl`; did you mean `wd-fig4-mlp`?"),
     ("isnt", "did you mean `inst`?"), ("nowhere.toml", "nowhere.toml: there is no such file")],
)  # fmt: skip
def test_an_unknown_name_is_answered_with_the_nearest(name, told):
    with pytest.raises(InputError) as raised:
        wanted([name])
    assert told in str(raised.value)


def test_own_files_are_found_by_name_and_by_path(tmp_path, monkeypatch):
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path))
    folder = tmp_path / "presets" / "experiments"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(FILE)
    assert wanted(["mine"]).experiments[0].name == load("mine").name == "mine"
    assert load(str(folder / "mine.toml")).plan().count == 6
    (tmp_path / "small.toml").write_text('preset = "toy-two-layer"\n\n[axes]\nseed = [1, 2]\n')
    (folder / "mine.toml").write_text(FILE.replace('"digits-wd-a7"', '"../../small.toml"'))
    assert load("mine").plan().count == 2
    with pytest.raises(InputError, match="mine has no runs at a paper's size"):
        load("mine").plan(paper_scale=True)
    (folder / "wrong.toml").write_text("paper = 3")
    every = wanted(["all"])
    assert {each.name for each in every.experiments} == {*available()} - {"wrong"}
    assert len(every.left_out) == 1
    assert every.left_out[0].startswith("experiment wrong: ")
    with pytest.raises(InputError, match="experiment wrong: "):
        wanted(["wrong"])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('paper = "mine"', "", "`paper` is missing"),
        ('figure = "1"', 'figre = "1"', "`figure` is missing"),
        ('figure = "1"', 'figure = "1"\nfigur = 2', "unknown key `figur`; did you mean `figure`?"),
        ('"digits-wd-a7"', '"digits-wd-a8"',
         "there is no preset and no sweep preset `digits-wd-a8`; did you mean `digits-wd-a7`?"),
        ('"greatest_ratio"', '"greatest_rati"', "there is no reading `greatest_rati`; did you mean"),
        ("column =", "colum =", "reading `greatest_ratio`: unknown argument `colum`; did you mean"),
        ('"tail_sharpness"', '"tail_sharpnes"',
         "criterion 1 of `criteria`: there is no column `tail_sharpnes`; did you mean"),
        (READING, KNEE.format("late", "weight_decay"),
         "a knee is of a column of every summary, not of `late`"),
        (READING, KNEE.format("tail_sharpness", "late"),
         "a knee is over a setting, and `late` is a column"),
        ('must_be = "below"', 'must_be = "belo"',
         'criterion 1 of `criteria`: `must_be` is "belo", but must be'),
        ('must_be = "below"', 'must_be = "near"', "`near` needs a `margin` above 0"),
        ("value = 1.0", 'value = "low"', 'criterion 1 of `criteria`: `value` is "low", but must be'),
        ("value = 1.0", "value = nan", "criterion 1 of `criteria`: `value` is nan, but must be"),
        ("value = 1.0", "", "criterion 1 of `criteria`: `value` is missing"),
        ("value = 1.0", "value = 1.0\nmargn = 2",
         "criterion 1 of `criteria`: unknown key `margn`; did you mean `margin`?"),
        ("value = 1.0", "value = 1.0\nwhere = { sed = 2 }",
         "criterion 1 of `criteria`: `where`: unknown key `sed`; did you mean `seed`?"),
        ('take = "late mean"', 'take = "newest"', 'column `late` of `columns`: `take` is "newest", but'),
        ("[columns.late]", "[columns.onset]", "`onset` is a column of every summary already"),
        ("[columns.late]", "[columns.depth]",
         "`columns`: `depth` is a setting: call the column otherwise"),
        ("[[criteria]]", "[[criterias]]", "`criteria` is missing"),
        ("value = 1.0", "value = ", "not valid TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_told_in_a_sentence(tmp_path, old, new, told):
    assert old in FILE
    file = tmp_path / "mine.toml"
    file.write_text(FILE.replace(old, new))
    with pytest.raises(InputError) as raised:
        load(str(file))
    assert told in str(raised.value)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_digest_changes_with_what_decides_alone(tmp_path):
    def digest(text):
        (tmp_path / "mine.toml").write_text(text)
        return load(str(tmp_path / "mine.toml")).definition.digest()

    before = digest(FILE)
    assert digest(FILE.replace("It falls.", "It sinks.")) == before
    assert digest(FILE.replace("value = 1.0", "value = 1.1")) != before
    assert digest(FILE.replace("late mean", "first")) != before


#: Settings that say how often a column is measured.
CADENCES = {
    "test_accuracy": "test_cadence", "sharpness": "cadence", "hessian_trace": "trace_cadence",
    "ntk_full": "ntk_cadence", "ntk_summed": "ntk_cadence", "ntk_traced": "ntk_cadence",
    "theta_norm": "", "bounce_norm": "", "noise_hessian_cosine": "noise_cadence",
    "noise_gauss_newton_cosine": "noise_cadence", "noise_turned_cosine": "noise_cadence",
}  # fmt: skip


def test_what_is_read_last_is_measured_at_the_end():
    """Within 50 steps of it where a run may end at any step, else just there."""
    for name in available():
        found = load(name)
        plans = [
            found.plan(),
            *([found.plan(paper_scale=True)] if found.definition.paper_scale else []),
        ]
        last = {c.of for c in found.definition.columns.values() if c.take == "last"}
        for plan, column in itertools.product(plans, sorted(last)):
            for config in plan.configs():
                if cadence := CADENCES[column] and getattr(config, CADENCES[column]):
                    told = f"{name}, {column}: {config.steps} steps, every {cadence}"
                    assert cadence <= 50 if config.stop_at else config.steps % cadence == 0, told
