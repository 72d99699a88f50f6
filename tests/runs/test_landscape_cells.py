"""Maps as rows of the store: what was written comes back; what no map can be is refused."""

from __future__ import annotations

import numpy as np
import pytest

from eostui.runs.store.landscape import Landscape
from eostui.runs.store.rows import RowError, checksum, read_landscape


def row(region, shape):
    """A row of `landscapes` with a sound checksum."""
    maps = np.ones((2, *shape), dtype="<f4").tobytes()
    cells = (*region, *shape)
    return (*cells, maps, checksum(cells, maps))


def test_a_map_comes_back():
    loss = np.arange(6, dtype=np.float32).reshape(2, 3)
    *cells, maps = Landscape((-1.0, 2.5, 0.0, 1e-9), loss, -loss).to_cells()
    back = read_landscape((*cells, maps, checksum(cells, maps)), sealed=True)
    assert back.region == (-1.0, 2.5, 0.0, 1e-9)
    assert (back.loss == loss).all()
    assert (back.sharpness == -loss).all()


@pytest.mark.parametrize(
    ("region", "shape"),
    [
        ((0.0, 1.0, 0.0, 1.0), (1, 5)), ((0.0, 1.0, 0.0, 1.0), (5, 1)),
        ((1.0, 1.0, 0.0, 1.0), (5, 5)), ((0.0, 1.0, 2.0, 1.0), (5, 5)),
        ((0.0, 1.0, -1e308, 1e308), (5, 5)), ((0.0, float("nan"), 0.0, 1.0), (5, 5)),
        ((None, 1.0, 0.0, 1.0), (5, 5)), (("x", 1.0, 0.0, 1.0), (5, 5)),
    ],
)  # fmt: skip
def test_a_map_that_cant_be_drawn_is_damage(region, shape):
    """A checksum anybody can make: a map of one row, or of no width, ended the viewer that drew it."""
    with pytest.raises(RowError, match="its map is damaged"):
        read_landscape(row(region, shape), sealed=True)
