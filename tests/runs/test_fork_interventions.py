"""Forks of a run whose dynamics has no interventions."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import facts, rows

from eostui.errors import InputError
from eostui.runs.fork import forked_config, parent_controls
from eostui.runs.shelf import find
from eostui.runs.store.writer import RunWriter
from eostui.stability import FACT, INTERVENTIONS, STABILITY, Description


@pytest.mark.parametrize("name", sorted(STABILITY))
def test_interventions_are_offered_where_S_is_that_of_the_hessian(
    tmp_path: Path, name: str
) -> None:
    stability = STABILITY[name]
    stated = {FACT: Description.of(name, stability).to_json()}
    writer = RunWriter(tmp_path / "made-aaaa", facts(60, **stated))
    writer.steps(0, rows(0, 60))
    writer.close()
    parent = find(tmp_path, "made-aaaa")
    offered = set(parent_controls(parent)) - {control.name for control in stability.controls}
    assert offered == (set() if stability.operator else {each.name for each in INTERVENTIONS})
    if stability.operator:
        for each in INTERVENTIONS:
            with pytest.raises(InputError, match="has no interventions"):
                forked_config(parent, 30, {each.name: 0.5})
