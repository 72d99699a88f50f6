"""Rotations of eigenvectors against closed forms, and the history of past ones by what it promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles

from eostui.curvature.rotations import (
    EigenvectorHistory,
    cosines,
    overlaps,
    room_for,
    subspace_similarities,
    vector_errors,
    vector_similarities,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def orthonormal(seed, count=3, size=20):
    matrix = np.random.default_rng(seed).normal(size=(size, count))
    return torch.as_tensor(np.linalg.qr(matrix)[0].T.copy())


def turned(angle, i, j, size=8):
    """Rows e₁, e₂, e₃, turned by an angle in the plane of two axes."""
    rotation = np.eye(size)
    rotation[[i, j], [i, j]] = np.cos(angle)
    rotation[j, i], rotation[i, j] = np.sin(angle), -np.sin(angle)
    return torch.as_tensor((rotation @ np.eye(size)[:, :3]).T.copy())


def similarities(one, *others):
    found = overlaps(one, torch.stack(others))
    return vector_similarities(found), subspace_similarities(found)


def test_a_turn_out_of_the_span_is_recovered_whatever_the_signs():
    still = turned(0, 0, 5)
    angles = [0.0, 0.3, 1.0, np.pi / 2, 2.5]
    others = [turned(angle, 0, 5) * torch.tensor([[-1.0], [1.0], [-1.0]]) for angle in angles]
    each, span = similarities(still, *others)
    np.testing.assert_allclose(each[:, 0], np.abs(np.cos(angles)), atol=1e-12)
    np.testing.assert_allclose(each[:, 1:], 1, atol=1e-12)
    acute = np.arccos(np.abs(np.cos(angles)))
    np.testing.assert_allclose(span, np.cos(acute / np.sqrt(3)), atol=1e-7)


def test_a_turn_within_the_span_is_none_of_it():
    each, span = similarities(turned(0, 0, 1), turned(0.7, 0, 1), turned(np.pi / 2, 0, 1))
    np.testing.assert_allclose(each[0], [np.cos(0.7), np.cos(0.7), 1], atol=1e-12)
    np.testing.assert_allclose(each[1], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(span, 1, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_spans_against_scipy(count):
    one, others = orthonormal(0, count), [orthonormal(seed, count) for seed in range(1, 6)]
    each, span = similarities(one, *others)
    for row, other in enumerate(others):
        angles = subspace_angles(one.numpy().T, other.numpy().T)
        np.testing.assert_allclose(span[row], np.cos(np.sqrt((angles**2).mean())), rtol=1e-12)
    if count == 1:
        np.testing.assert_allclose(span, each[:, 0], rtol=1e-12)


def test_spans_across_and_nothing_to_compare_with():
    _, span = similarities(torch.eye(6)[:3], torch.eye(6)[3:])
    np.testing.assert_allclose(span, 0, atol=1e-12)
    found = overlaps(torch.eye(6)[:3], torch.empty(0, 3, 6))
    assert vector_similarities(found).shape == (0, 3)
    assert subspace_similarities(found).shape == (0,)


def test_cosines_with_directions():
    vectors = torch.eye(4, dtype=torch.float64)[:2]
    found = cosines(vectors, torch.tensor([3.0, -4, 0, 0]).double(), torch.zeros(4).double())
    np.testing.assert_allclose(found[0], [0.6, 0.8], rtol=1e-12)
    assert np.isnan(found[1]).all()


def test_room_in_megabytes():
    assert room_for(1.2, 3, torch.empty(10_000)) == 10
    assert room_for(1.2, 3, torch.empty(10_000, dtype=torch.float64)) == 5
    assert room_for(0.1, 3, torch.empty(10_000)) == 0


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 7), min_size=1, max_size=60),
    room=st.integers(1, 20),
    recent=st.integers(1, 6),
    landmarks=st.integers(0, 9),
    pins=st.sets(st.integers(0, 59), max_size=3),
)
def test_a_history_keeps_what_it_promises(gaps, room, recent, landmarks, pins):
    """Within its room: the pinned step, the newest, and landmarks evenly from the first one to now."""
    history = EigenvectorHistory(room, recent, landmarks)
    steps = np.cumsum(gaps).tolist()
    for number, step in enumerate(steps):
        before = [s for s in steps[:number] if s >= step - history.recent]
        assert all(history.at(s) is not None for s in before)
        vectors = torch.full((2, 3), float(step))
        history.add(step, vectors, landmark=step % 2 == 0, pin=number in pins)
        assert len(history.steps) <= room
        assert history.steps == sorted(history.steps)
        pinned = [steps[each] for each in pins if each <= number]
        assert history.pinned == (max(pinned) if pinned else None)
        assert not pinned or history.at(max(pinned)) is not None
        offered = [s for s in steps[: number + 1] if s % 2 == 0]
        marks = [history.steps[place] for place in history.marks]
        assert marks == (offered[:: history.stride] if history.landmarks else [])
        assert len(marks) <= history.landmarks
        if history.landmarks > 1 and len(offered) > history.landmarks:
            assert len(marks) >= history.landmarks // 2
        if history.vectors is not None:
            assert history.vectors[:, 0, 0].tolist() == history.steps


def test_a_history_goes_on_from_its_state():
    whole, first = EigenvectorHistory(12, 4, 6), EigenvectorHistory(12, 4, 6)
    again = EigenvectorHistory(12, 4, 6)
    for step in range(100):
        for history in (whole, first if step < 53 else again):
            history.add(step, orthonormal(step), landmark=step % 2 == 0, pin=step == 31)
        if step == 52:
            again.restore(first.state())
    assert whole.state() | {"vectors": 0} == again.state() | {"vectors": 0}
    assert whole.vectors is not None
    assert again.vectors is not None
    assert torch.equal(whole.vectors, again.vectors)


@pytest.mark.parametrize("room", [1, 3, 7])
def test_a_history_with_less_room_takes_what_it_has_room_for(room):
    large, small = EigenvectorHistory(40, 4, 20), EigenvectorHistory(room, 4, 20)
    for step in range(50):
        large.add(step, orthonormal(step), landmark=step % 2 == 0, pin=step == 11)
    small.restore(large.state())
    assert len(small.steps) <= room
    for step in range(50, 80):
        small.add(step, orthonormal(step), landmark=step % 2 == 0, pin=False)
        assert len(small.steps) <= room
        assert small.at(11) is not None
    assert small.vectors is not None
    for place, step in enumerate(small.steps):
        assert torch.equal(small.vectors[place], orthonormal(step))


def test_errors_bound_what_a_vector_is_off():
    matrix = np.diag([5.0, 4, 1, 0.5])
    tilted = np.linalg.qr(np.eye(4) + 0.01 * np.random.default_rng(0).normal(size=(4, 4)))[0].T
    values = np.einsum("ki,ij,kj->k", tilted, matrix, tilted)
    residuals = np.linalg.norm(tilted[:2] @ matrix - values[:2, None] * tilted[:2], axis=1)
    sines = np.sqrt(1 - np.diag(tilted)[:2] ** 2)
    found = vector_errors(values, residuals)
    assert (sines <= 1.1 * found).all()
    assert (found < 5 * sines).all()
    np.testing.assert_array_equal(vector_errors(np.array([2.0, 2.0]), np.array([1e-9, 1e-9])), 1)
