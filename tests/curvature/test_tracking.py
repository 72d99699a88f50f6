"""Directions told again from reading to reading, against spectra whose branches are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eostui.curvature.tracking import SAME, Directions

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 40


def basis(seed=0):
    normal = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(seed)).double()
    return torch.linalg.qr(normal)[0].T


def rotated(vectors, first, second, angle):
    """Rows with two of them turned in their plane."""
    turned = vectors.clone()
    cosine, sine = np.cos(angle), np.sin(angle)
    turned[first] = cosine * vectors[first] + sine * vectors[second]
    turned[second] = cosine * vectors[second] - sine * vectors[first]
    return turned


def leading(values, vectors, count):
    """The largest values with their vectors, as a search returns them: with signs at random."""
    order = np.argsort(values)[::-1][:count]
    signs = torch.tensor([(-1.0) ** (place + int(values[0] * 7)) for place in range(count)])
    return np.asarray(values)[order], vectors[order.copy()] * signs[:, None].double()


def test_curves_stay_with_their_directions_through_crossings():
    """Five branches with lines that cross, three of which are seen at a time, in a frame that turns."""
    vectors, directions = basis(), Directions(24, 4)
    curves = {}
    seen = set()
    for step in range(101):
        t = step / 100
        branches = np.array([1 + 4 * t, 4 - 2 * t, 3.5 + t, 3.0 - 0.5 * t, 2 + 2.2 * t])
        vectors = rotated(vectors, step % 5, 5 + step % 3, 0.2)  # each turns about every fifth step
        values, rows = leading(branches, vectors, 3)
        numbers, overlaps = directions.follow(rows)
        assert len(set(numbers)) == 3
        if step:
            assert all(o >= SAME or np.isnan(o) for o in overlaps)
        for number, value in zip(numbers, values, strict=True):
            branch = int(np.abs(branches - value).argmin())
            if np.sort(np.abs(branches - value))[1] > 1e-9:
                assert curves.setdefault(number, branch) == branch
                seen.add(branch)
    assert seen == {0, 1, 2, 3, 4}
    assert len(curves) <= 6  # one that leaves for long may turn too far to be told again


def test_one_that_comes_back_has_its_number():
    vectors, directions = basis(), Directions(24, 2)
    a, b, c = vectors[:3]
    assert directions.follow(torch.stack([a, b]))[0] == [0, 1]
    assert directions.follow(torch.stack([a, c]))[0] == [0, 2]
    assert directions.follow(torch.stack([c, -b]))[0] == [2, 1]
    numbers, overlaps = directions.follow(torch.stack([b, a]))
    assert numbers == [1, 0]
    np.testing.assert_allclose(overlaps, 1)


def test_what_goes_to_and_fro_is_told_from_where_it_returns_to():
    """A period-2 motion by 90° leaves no overlap with one reading ago."""
    vectors, directions = basis(), Directions(24, 2)
    directions.follow(vectors[:2])
    assert directions.follow(rotated(vectors, 0, 7, 1.2)[:2])[0] == [0, 1]  # cos 1.2 = 0.36
    for step in range(6):
        at = rotated(vectors, 0, 7, 0.0 if step % 2 == 0 else 1.5)
        numbers, overlaps = directions.follow(at[:2])
        assert numbers == [0, 1]
        assert overlaps[1] == pytest.approx(1)


@pytest.mark.parametrize("angle", [0.1, 0.7])
def test_two_that_turn_into_each_other_by_less_than_half_a_right_angle(angle):
    vectors, directions = basis(), Directions(24, 2)
    directions.follow(vectors[:2])
    numbers, overlaps = directions.follow(rotated(vectors, 0, 1, angle)[:2].flip(0))
    assert numbers == [1, 0]
    np.testing.assert_allclose(overlaps, np.cos(angle))


def test_numbers_are_given_anew_when_all_are_given():
    vectors, directions = basis(), Directions(4, 2)
    for start in range(0, 36, 2):
        numbers, overlaps = directions.follow(vectors[start : start + 2])
        assert len(set(numbers)) == 2
        assert set(numbers) <= set(range(4))
        assert np.isnan(overlaps).all()
        assert len(directions.numbers) == len(set(directions.numbers)) <= 4
    full = Directions(3, 3)
    for start in (0, 3, 6):
        assert set(full.follow(vectors[start : start + 3])[0]) == {0, 1, 2}


def test_the_number_of_directions_may_change_and_its_state_goes_on_to_the_bit():
    vectors, directions = basis(), Directions(24, 3)
    directions.follow(vectors[:1])
    assert directions.follow(vectors[:4])[0] == [0, 1, 2, 3]
    assert directions.follow(vectors[2:3])[0] == [2]
    other = Directions(24, 3)
    other.restore(directions.state())
    for each in (directions, other):
        each.turned = each.follow(rotated(vectors, 1, 9, 0.5)[[1, 2, 12]])
    assert other.turned[0] == directions.turned[0] == [1, 2, 4]
    np.testing.assert_array_equal(other.turned[1], directions.turned[1])
    directions.forget()
    assert directions.follow(vectors[5:6])[0] == [0]
