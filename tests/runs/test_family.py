"""In what runs differ, and what each is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made import facts, rows

from eostui.config import RunConfig
from eostui.runs import shelf, shelf_index
from eostui.runs.family import Family
from eostui.runs.shelf import Entry
from eostui.runs.store.writer import RunWriter


def run(tag: str, name: str = "", newest: float | None = None, **settings: Any) -> Entry:
    """Return a run of a shelf; `newest` is its λ at its newest step."""
    config = RunConfig.build({"preset": "digits-mlp", **settings}, "test")
    decay = config.weight_decay if newest is None else newest
    return Entry(
        id=f"digits-mlp-{tag}", path=Path(tag), name=name, state="finished", sentence="",
        last_step=100, eta=config.eta, weight_decay=decay, created=0.0, ended=0.0, config=config,
    )  # fmt: skip


def test_runs_are_called_by_what_differs() -> None:
    family = Family.of([run("8aj3", "lam-0"), run("k3f9", weight_decay=1e-3, steps=50)])
    assert family.differing == ("weight_decay",)
    assert family.others == ("steps",)
    assert family.short_labels == ("λ 0", "λ 0.001")
    assert family.labels == ("lam-0 · λ 0", "λ 0.001")
    assert family.ramp == "weight_decay"


def test_runs_that_differ_in_nothing_that_counts_are_called_by_what_there_is() -> None:
    family = Family.of([run("8aj3", chunk_size=250), run("k3f9", chunk_size=500)])
    assert family.short_labels == ("chunk_size 250", "chunk_size 500")
    assert family.others == ()
    named = Family.of([run("8aj3", "one", chunk_size=250), run("k3f9", "two", chunk_size=500)])
    assert named.short_labels == ("one", "two")
    assert named.others == ("chunk_size",)


def test_what_decides_nothing_tells_apart_runs_that_nothing_else_does() -> None:
    """One seed that was run twice, to two lengths, is no two seeds."""
    runs = [run(f"{seed}{steps}", seed=seed, steps=steps) for steps in (50, 60) for seed in (0, 1)]
    family = Family.of(runs)
    assert family.differing == ("seed", "steps")
    assert family.groups() == [[0, 1], [2, 3]]
    others = Family.of([*runs[:2], run("c", seed=2, steps=60, chunk_size=250)])
    assert others.differing == ("seed",)
    assert set(others.others) == {"steps", "chunk_size"}
    assert others.groups() == [[0, 1, 2]]


def test_a_control_counts_as_it_is_at_the_newest_step() -> None:
    family = Family.of([run("a"), run("b", newest=3e-4)])
    assert family.short_labels == ("λ 0", "λ 0.0003")


def test_interventions_tell_runs_apart_also_from_those_without() -> None:
    family = Family.of([run("a"), run("b", sharp_step=0.5), run("c", sharp_step=0.0)])
    assert family.short_labels == ("η_u/η 1", "η_u/η 0.5", "η_u/η 0")
    assert family.ramp == "sharp_step"
    probed = Family.of([run("a"), run("b", probes=("radius",))])
    assert probed.short_labels == ("probes none", "probes radius")
    assert Family.of([run("a"), run("b", weight_decay=1e-3)]).differing == ("weight_decay",)
    adamw = Family.of(
        [run("a", dynamics="adamw"), run("b", sharp_step=0.0)]
    )  # which can't have any
    assert adamw.labels[0].startswith("dynamics adamw")
    assert "η_u/η" not in adamw.labels[0]


def test_what_was_turned_in_a_run_tells_it_apart(tmp_path: Path, monkeypatch) -> None:
    """Interventions and probes since the run began, on record as events; the index has them too."""
    monkeypatch.setenv("EOSTUI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shelf_index, "SETTLED", -1.0)
    for tag, content in (
        ("aaaa", []),
        (
            "bbbb",
            [("control", {"sharp_step": [1.0, 0.5]}), ("control", {"sharp_step": [0.5, 0.0]})],
        ),
        ("cccc", [("control", {"eta": [0.1, 0.2]}), ("probe", {"probe": "radius", "on": True})]),
    ):
        writer = RunWriter(tmp_path / f"made-{tag}", facts(50))
        writer.steps(0, rows(0, 50))
        for step, (kind, payload) in enumerate(content):
            writer.event(step, kind, payload)
        writer.close()
    for _ in range(2):  # the second time from the index
        found = sorted(shelf.entries(tmp_path), key=lambda entry: entry.id)
        assert [dict(entry.further) for entry in found] == [{}, {"sharp_step": 0.0}, {}]
        assert [entry.probes for entry in found] == [None, None, ("radius",)]
        assert Family.of(found).labels == (
            "η_u/η 1, probes none", "η_u/η 0, probes none", "η_u/η 1, probes radius",
        )  # fmt: skip


def test_equal_runs_are_told_apart_by_name_then_by_the_end_of_their_ids() -> None:
    assert Family.of([run("aaaa", "first"), run("bbbb", "second")]).short_labels == (
        "first",
        "second",
    )
    again = Family.of([run("aaaa", "same"), run("bbbb", "same"), run("cccc")])
    assert again.labels == ("same aaaa", "same bbbb", "digits-mlp cccc")
    assert again.differing == ()
    assert again.ramp is None
    assert Family.of([run("aaaa")]).short_labels == ("digits-mlp aaaa",)


def test_settings_that_do_not_act_do_not_differ() -> None:
    """A toy has no width, gradient descent no momentum."""
    toys = [
        run("a", problem="cubic-normal-form", width=5),
        run("b", problem="cubic-normal-form", width=6),
    ]
    assert Family.of(toys).differing == ()
    assert Family.of([run("a", momentum=0.5), run("b")]).differing == ()
    mixed = Family.of([run("a", dynamics="heavy-ball", momentum=0.5), run("b")])
    assert mixed.differing == ("dynamics", "momentum")
    assert mixed.short_labels == ("dynamics heavy-ball, μ 0.5", "dynamics gradient-descent")


def test_a_toy_among_networks_differs_in_its_problem() -> None:
    """Not in all the settings that a network has and a toy lacks, but in those that were chosen."""
    runs = [run("a"), run("b", weight_decay=0.01), run("c", problem="cubic-normal-form")]
    assert Family.of(runs).differing == ("problem", "problem_arguments", "weight_decay")
    wider = [run("a", width=7), run("c", problem="cubic-normal-form")]
    assert Family.of(wider).differing == ("problem", "problem_arguments", "width")


def test_seeds_are_groups_and_no_ramp() -> None:
    runs = [run(f"{d}{s}", weight_decay=d / 100, seed=s) for d in range(2) for s in range(3)]
    family = Family.of(runs)
    assert family.differing == ("weight_decay", "seed")
    assert family.groups() == [[0, 1, 2], [3, 4, 5]]
    assert family.ramp == "weight_decay"
    assert Family.of(runs[:3]).ramp is None
    assert Family.of(runs[:3]).groups() == [[0, 1, 2]]
    assert Family.of([]).groups() == []
    assert Family.of([]).labels == ()


def test_runs_that_differ_in_much_are_called_by_their_names() -> None:
    """A chart would cut off what tells them apart."""
    toy = {"problem": "cubic-normal-form", "eta": 0.05}
    family = Family.of([run("a", "net", width=5, seed=1), run("b", "toy", **toy)])
    assert family.short_labels == ("net", "toy")
    assert "problem network" in family.labels[0]
    unnamed = Family.of([run("a", width=5, seed=1), run("b", "toy", **toy)])
    assert "problem network" in unnamed.short_labels[0]
