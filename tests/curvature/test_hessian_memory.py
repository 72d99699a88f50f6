"""The memory of the Hessian, and the eigensolver that uses it, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eostui.curvature import eigenpairs
from eostui.curvature.eigenpairs import NotFiniteError, Target, leading_eigenpairs
from eostui.curvature.hessian_memory import CLEARANCE, KEPT, NOTHING, HessianMemory, Recall

pytestmark = pytest.mark.usefixtures("one_thread")

seeds = st.integers(0, 2**31)
few = settings(max_examples=15)

DEFAULT = Target()


def tensor(matrix, dtype=torch.float64):
    return torch.as_tensor(np.ascontiguousarray(matrix), dtype=dtype)


def start_of(size, seed, dtype=torch.float64):
    return tensor(np.random.default_rng(seed).normal(size=(1, size)), dtype)


def rotation(size, rng):
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def symmetric(size, rng):
    """A random symmetric matrix of spectral norm about 1."""
    square = rng.normal(size=(size, size))
    return (square + square.T) / np.sqrt(8 * size)


def slow_path(seed, *, size, outliers, ratio, step, length):
    """Matrices H + t·E as networks have them: outliers above a bulk, moving by `step` of the largest.

    The direction E turns from step to step too.
    """
    rng = np.random.default_rng(seed)
    largest = 2 * ratio ** np.arange(outliers)[::-1]
    values = np.concatenate([largest, rng.uniform(-0.5, 1, size - outliers)])
    q = rotation(size, rng)
    matrix, drift = (q * values) @ q.T, symmetric(size, rng)
    for _ in range(length):
        yield matrix
        drift = 0.8 * drift + 0.6 * symmetric(size, rng)
        matrix = matrix + step * values.max() * drift


class Follower:
    """Measures one matrix after another, each from where the last one ended."""

    def __init__(self, target=DEFAULT, dtype=torch.float64):
        self.target, self.dtype = target, dtype
        self.memory, self.vectors = HessianMemory(), None

    def measure(self, matrix, seed=0):
        operator = tensor(matrix, self.dtype)
        start = start_of(len(matrix), seed, self.dtype) if self.vectors is None else self.vectors
        pairs = leading_eigenpairs(operator.mv, start, self.target, memory=self.memory)
        self.vectors = torch.cat([pairs.vectors, pairs.guard_vectors])
        return pairs


def cold(matrix, target=DEFAULT, seed=0):
    return leading_eigenpairs(tensor(matrix).mv, start_of(len(matrix), seed), target)


def recalled(memory, vectors, images):
    """The memory in a search whose basis holds `vectors`, with their products `images`."""
    recall = Recall(memory, len(vectors))
    pairs = torch.stack([vectors, images], dim=1)
    recall.note(len(pairs), [found.double().numpy() for found in recall.overlaps(pairs)])
    return recall


def learn(memory, vectors, images, projected):
    """What the end of a search makes of its products."""
    recalled(memory, vectors, images).learn(vectors, projected)


def correction(memory, matrix, u, mu):
    """The direction for (μ, u) where u is all that is searched through, without its part in u."""
    image = matrix @ u
    recall = recalled(memory, tensor(u)[None], tensor(image)[None])
    inner = recall.correction(np.ones(1), mu)
    found = image - mu * u + inner @ memory.vectors.numpy()
    return found - u * (u @ found)


def picture(memory):
    """QᵀΘQ as a dense matrix."""
    vectors = memory.vectors.double().numpy()
    return (vectors.T * memory.values) @ vectors


# --- the search with a memory ----------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True], ids=["cpu", "as on a gpu"])
def test_a_guard_is_nearer_to_its_eigenvector_than_it_was_found(monkeypatch, waits):
    """What the memory adds when a search ends, where it knows of all that is large, halves its error."""
    monkeypatch.setattr(eigenpairs, "waits", lambda _: waits)
    shares = []
    for seed in range(4):
        follower = Follower(Target(wanted=1))
        path = slow_path(seed, size=100, outliers=3, ratio=1.1, step=5e-3, length=6)
        for number, matrix in enumerate(path):
            pairs = follower.measure(matrix, seed)
            if not number:
                continue
            (guard,), (told,) = pairs.guard_vectors.numpy(), pairs.guard_residuals
            image = matrix @ guard
            assert np.linalg.norm(guard) == pytest.approx(1.0, rel=1e-9)
            shares.append(np.linalg.norm(image - (guard @ image) * guard) / told)
    assert len(shares) == 20
    assert max(shares) < 0.5


def test_a_guard_that_is_next_to_0_stays_as_it_was_found():
    """Nothing tells it from what isn't remembered: of H with one eigenvalue the next is rounding."""
    rng = np.random.default_rng(3)
    follower = Follower(Target(wanted=1))
    for _ in range(4):
        u = rng.normal(size=60)
        pairs = follower.measure(np.outer(u, u))
        guards = pairs.guard_vectors.numpy()
        np.testing.assert_allclose(guards @ guards.T, np.eye(len(guards)), atol=1e-9)
        np.testing.assert_allclose(guards @ pairs.vectors.numpy().T, 0.0, atol=1e-7)


@few
@given(
    seeds,
    st.sampled_from([1, 3, 10, 20]),
    st.sampled_from([1.02, 1.1, 1.5]),
    st.sampled_from([1e-4, 1e-3, 5e-3, 1e-2]),
)
def test_warm_with_memory_never_needs_more_products_than_cold(seed, outliers, ratio, step):
    """On slowly changing matrices each measurement costs at most the cold one's, together far less."""
    follower = Follower()
    warm_products, cold_products = [], []
    path = slow_path(seed, size=100, outliers=outliers, ratio=ratio, step=step, length=8)
    for number, matrix in enumerate(path):
        pairs, apart = follower.measure(matrix, seed), cold(matrix, seed=seed + number)
        assert pairs.converged
        assert apart.converged
        warm_products.append(pairs.products)
        cold_products.append(apart.products)
    assert all(w <= c for w, c in zip(warm_products[1:], cold_products[1:], strict=True))
    assert sum(warm_products[1:]) < 0.7 * sum(cold_products[1:])


@few
@given(
    seeds,
    st.sampled_from([1.03, 1.2]),
    st.sampled_from([1e-3, 1e-2, 5e-2]),
    st.sampled_from([(1e-4, 0.05), (1e-5, 0.02), (1e-8, 1e-3)]),
)
def test_value_and_vector_are_as_good_as_their_tolerances_say(seed, ratio, step, tolerances):
    """|μ − λ₁| ≤ tolerance·λ₁ and sin∠(u, u₁) ≤ vector_tolerance, true gaps and all, within 1.5."""
    target = Target(value_tolerance=tolerances[0], vector_tolerance=tolerances[1], max_products=400)
    follower = Follower(target)
    for matrix in slow_path(seed, size=80, outliers=6, ratio=ratio, step=step, length=6):
        pairs = follower.measure(matrix, seed)
        values, vectors = np.linalg.eigh(matrix)
        assert pairs.converged
        assert abs(pairs.values[0] - values[-1]) <= 1.5 * tolerances[0] * values[-1]
        u = pairs.vectors[0].numpy()
        sine = np.linalg.norm(u - vectors[:, -1] * (vectors[:, -1] @ u))
        assert sine <= 1.5 * tolerances[1]
        # of the second its residual is bounded: some eigenvalue lies that near
        assert pairs.values[1] <= values[-2] + 1e-9
        assert np.abs(pairs.values[1] - values).min() <= 0.01 * values[-1]
        gram = pairs.vectors @ pairs.vectors.T
        torch.testing.assert_close(gram, torch.eye(len(gram)).double(), rtol=0, atol=1e-9)


def test_memory_spends_fewer_products_than_the_last_vectors_alone():
    """What Lanczos would have to look for again is remembered: fewer products at equal tolerances."""
    with_memory, without = 0, 0
    for seed in range(3):
        follower, vectors = Follower(), None
        path = slow_path(seed, size=100, outliers=10, ratio=1.02, step=0.01, length=10)
        for number, matrix in enumerate(path):
            found = follower.measure(matrix)
            start = start_of(100, 0) if vectors is None else vectors
            plain = leading_eigenpairs(tensor(matrix).mv, start, DEFAULT)
            vectors = plain.vectors
            if number:
                with_memory += found.products
                without += plain.products
    assert with_memory < 0.85 * without


def test_single_precision_follows_too():
    """In float32, as networks are trained: converged at each step, S right to 1e-5 and more."""
    follower = Follower(dtype=torch.float32)
    for matrix in slow_path(5, size=150, outliers=8, ratio=1.2, step=5e-3, length=20):
        pairs = follower.measure(matrix)
        assert pairs.converged
        assert pairs.vectors.dtype == torch.float32
        assert pairs.values[0] == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=2e-5)


# --- swaps -----------------------------------------------------------------------------------------


def crossing(size, coupling, seed=1):
    """λ_a falls from 6 to 4 while λ_b rises from 4 to 6, above a bulk; coupled by `coupling`."""
    rng = np.random.default_rng(seed)
    q = rotation(size, rng)
    bulk = rng.uniform(-0.5, 3, size - 2)
    for share in np.linspace(0, 1, 41):
        core = np.diag([6 - 2 * share, 4 + 2 * share, *bulk])
        core[0, 1] = core[1, 0] = coupling
        yield (q @ core) @ q.T


@pytest.mark.parametrize("coupling", [0.0, 1e-3, 0.05])
def test_a_leading_vector_that_changes_places_with_the_second_is_followed(coupling):
    """Two pairs are followed: whichever is the larger comes first, at every step of the crossing."""
    follower = Follower(Target(max_products=400))
    for matrix in crossing(60, coupling):
        pairs = follower.measure(matrix)
        exact = np.linalg.eigvalsh(matrix)[:-3:-1]
        assert pairs.values[0] == pytest.approx(exact[0], rel=2e-5)
        assert pairs.values[1] == pytest.approx(exact[1], rel=1e-2)


def test_a_rising_vector_the_memory_does_not_know_is_found_through_its_coupling():
    """A direction from the bulk that rises to the top is seen by the residuals, and lags no step."""
    rng = np.random.default_rng(2)
    q = rotation(60, rng)
    mixed = symmetric(60, rng)
    follower = Follower(Target(max_products=400))
    for share in np.linspace(0, 1, 41):
        core = np.diag([6.0, 5.0, 4.5, *np.linspace(3, -1, 56), 10 * share])
        matrix = (q @ (core + mixed)) @ q.T
        pairs = follower.measure(matrix)
        assert pairs.values[0] == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=2e-5)


def outliers_above_a_bulk(seed):
    values = [2.2, 1.7, 1.25, 1.13, 0.78, 0.45, *np.linspace(0.4, -0.1, 45)]
    q = rotation(51, np.random.default_rng(seed))
    return (q * np.array(values)) @ q.T, values


@pytest.mark.parametrize("remembered", [False, True], ids=["vectors", "memory"])
@pytest.mark.parametrize("seed", range(6))
def test_pairs_that_are_asked_for_later_are_the_following_ones(seed, remembered):
    """Two pairs are known, then five are wanted, or all above 0.95: none may be passed over."""
    matrix, values = outliers_above_a_bulk(seed)
    for target in (Target(wanted=5), Target(wanted=1, above=0.95)):
        memory = HessianMemory() if remembered else None
        operator = tensor(matrix)
        first = leading_eigenpairs(operator.mv, start_of(51, seed), Target(), memory=memory)
        pairs = leading_eigenpairs(operator.mv, first.vectors, target, memory=memory)
        assert pairs.converged
        np.testing.assert_allclose(pairs.values, values[:5], atol=0.01 * values[0])


@pytest.mark.parametrize("on_a_gpu", [False, True], ids=["looked", "gram"])
def test_what_is_remembered_and_coupled_with_nothing_searched_through_is_not_left_out(
    on_a_gpu, monkeypatch
):
    """Eigenvectors show in no residual: the third is looked at because it is remembered."""
    monkeypatch.setattr(eigenpairs, "waits", lambda _: on_a_gpu)
    values = np.array([5.0, 4, 3, 1, 0.5, 0.25, 0.1, 0])
    operator, rows = tensor(np.diag(values)), torch.eye(8).double()
    memory = HessianMemory()
    learn(memory, rows[:5], rows[:5] * tensor(values), np.diag(values[:5]))
    start = rows[[0, 1, 3, 4]]
    target = Target(wanted=3, vector_tolerance=None)
    pairs = leading_eigenpairs(operator.mv, start, target, memory=memory, known=4)
    np.testing.assert_allclose(pairs.values, [5, 4, 3], atol=1e-12)
    assert pairs.guard_values == pytest.approx([1])
    assert pairs.products == 5
    # and it isn't looked at where it is no longer so large: once, and no more
    less = np.where(values == 3, 0.2, values)
    pairs = leading_eigenpairs(tensor(np.diag(less)).mv, start, target, memory=memory, known=4)
    np.testing.assert_allclose(pairs.values, [5, 4, 1], atol=1e-12)
    assert pairs.products == 5


def diagonal_memory(values, known):
    """A memory of some eigenvalues of a diagonal matrix."""
    order = sorted(known, key=lambda index: -values[index])
    memory = HessianMemory()
    memory.values = values[order]
    memory.vectors = torch.eye(len(values), dtype=torch.float64)[order]
    return memory


@pytest.mark.parametrize("remembered", [0.985, 0.998, 0.9995])
@pytest.mark.parametrize("tilt", [0.003, 0.01, 0.03])
def test_residuals_are_not_weighed_by_what_is_remembered_above_the_guard(remembered, tilt):
    """The guard isn't what comes next then: S and u are as good as told all the same."""
    values = np.array([1.0, 0.955, remembered, *np.linspace(0.02, 0, 57)])
    away = np.random.default_rng(0).normal(size=57) * tilt / np.sqrt(57)
    start = tensor(np.stack([[1, 0, 0, *away], np.eye(60)[1]]))
    start[0] /= start[0].norm()
    memory = diagonal_memory(values, range(12))
    pairs = leading_eigenpairs(
        tensor(np.diag(values)).mv, start, Target(wanted=1), memory=memory, known=2
    )
    assert pairs.converged
    assert 1 - pairs.values[0] <= 1e-5
    sine = float((1 - pairs.vectors[0][0] ** 2).clamp(min=0).sqrt())
    assert sine <= pairs.first_vector_error


def test_a_remembered_eigenvalue_larger_than_the_last_one_told_is_told():
    """Though it is within the tolerance of the guard."""
    values = np.array([1.0, 0.8, 0.72, 0.705, 0.75, *np.linspace(0.3, 0, 55)])
    before = np.array([1.0, 0.8, 0.77, 0.76, 0.755, *values[5:]])
    start = torch.eye(60, dtype=torch.float64)[:4]
    target = Target(wanted=3, vector_tolerance=None)
    memory = diagonal_memory(before, range(12))
    pairs = leading_eigenpairs(tensor(np.diag(values)).mv, start, target, memory=memory, known=4)
    np.testing.assert_allclose(pairs.values, [1, 0.8, 0.75], atol=1e-9)


# --- what learn() keeps ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "allowed"),
    [(torch.float32, 1e-4), (torch.float64, 1e-10)],
    ids=["float32", "float64"],
)
def test_vectors_stay_orthonormal_over_hundreds_of_updates(dtype, allowed):
    """300 updates by one, two or three products, near what is known and away from it."""
    rng = np.random.default_rng(3)
    size = 200
    memory, matrix = HessianMemory(), 5 * symmetric(size, rng)
    for number in range(300):
        matrix = matrix + 0.05 * symmetric(size, rng)
        directions = rng.normal(size=(1 + (number + 1) % 3, size))
        if memory.vectors is not None and number % 2:  # nearly within the span, as warm starts are
            directions *= 10.0 ** -rng.integers(1, 7) / np.sqrt(size)
            known = memory.vectors[: len(directions)].double().numpy()
            directions[: len(known)] += known
        vectors = np.linalg.qr(directions.T)[0].T
        rows = tensor(vectors, dtype)
        images = tensor(vectors @ matrix, dtype)
        learn(memory, rows, images, vectors @ matrix @ vectors.T)
        gram = memory.vectors.double() @ memory.vectors.double().T
        defect = float((gram - torch.eye(len(gram)).double()).abs().max())
        assert defect <= allowed, number
        assert np.isfinite(memory.values).all()
        assert (np.diff(memory.values) <= 0).all()
        assert len(memory.values) == len(memory.vectors) <= KEPT


def dense_update(before, vectors, matrix):
    """The picture after exact products on `vectors`: theirs where they reach, the old one elsewhere."""
    onto = vectors.T @ vectors
    apart = np.eye(len(matrix)) - onto
    return (
        onto @ matrix @ onto
        + onto @ matrix @ apart
        + apart @ matrix @ onto
        + apart @ before @ apart
    )


@few
@given(seeds, st.integers(2, 9), st.integers(1, 9), st.booleans())
def test_new_products_replace_what_was_remembered_of_their_span(seed, old, new, overlapping):
    """QᵀΘQ is the best picture of both: exact on the newest V, cross terms too, old on the rest."""
    rng = np.random.default_rng(seed)
    size = 30
    earlier, matrix = symmetric(size, rng), symmetric(size, rng)
    first = np.linalg.qr(rng.normal(size=(size, old)))[0].T
    memory = HessianMemory()
    learn(memory, tensor(first), tensor(first @ earlier), first @ earlier @ first.T)
    np.testing.assert_allclose(
        picture(memory), first.T @ (first @ earlier @ first.T) @ first, atol=1e-12
    )

    directions = rng.normal(size=(size, new))
    if overlapping:  # some of V within what is known
        directions[:, : min(old, new)] = first.T[:, : min(old, new)]
    vectors = np.linalg.qr(directions)[0].T
    before = picture(memory)
    learn(memory, tensor(vectors), tensor(vectors @ matrix), vectors @ matrix @ vectors.T)

    span = np.linalg.svd(np.concatenate([first, vectors]))
    basis = span[2][: int((span[1] > 1e-8).sum())]
    wanted = basis @ dense_update(before, vectors, matrix) @ basis.T
    values, mix = np.linalg.eigh(wanted)
    values, mix = values[::-1][:KEPT], mix[:, ::-1][:, :KEPT]
    np.testing.assert_allclose(memory.values, values, atol=1e-10)
    kept = basis.T @ mix
    np.testing.assert_allclose(picture(memory), (kept * values) @ kept.T, atol=1e-9)
    if len(basis) <= KEPT:  # nothing was left out: the secant property holds exactly
        found = vectors @ picture(memory) @ vectors.T
        np.testing.assert_allclose(found, vectors @ matrix @ vectors.T, atol=1e-11)


# --- what lies outside a basis ---------------------------------------------------------------------


def remembered(matrix, rng, directions):
    """A memory of a matrix as the largest of its eigenpairs have it, and a search of three vectors."""
    values, vectors = np.linalg.eigh(matrix)
    memory = HessianMemory()
    memory.values, memory.vectors = (
        values[::-1][:directions].copy(),
        tensor(vectors.T[::-1][:directions]),
    )
    basis = np.linalg.qr(vectors[:, -3:] + 0.1 * rng.normal(size=(len(matrix), 3)))[0].T
    recall = recalled(memory, tensor(basis), tensor(basis @ matrix))
    return recall, basis, np.linalg.eigh(basis @ matrix @ basis.T)


@few
@given(seeds, st.integers(4, 20))
def test_a_residual_is_as_long_as_where_it_lies_lets_it_count(seed, size):
    """What all of H outside does to a Ritz value is what a residual of that length at `place` does."""
    rng = np.random.default_rng(seed)
    values = np.sort(rng.uniform(0.5, 2, size))
    values[-3:] += 2
    q = rotation(size, rng)
    matrix = (q * values) @ q.T
    recall, basis, (ritz, mix) = remembered(matrix, rng, size)
    across = np.linalg.svd(basis)[2][3:]
    left, turned = np.linalg.eigh(across @ matrix @ across.T)
    assert recall.next_value() == pytest.approx(left[-1], rel=1e-9)
    coefficients, found = mix.T[::-1], ritz[::-1]
    defects = coefficients @ basis @ matrix - found[:, None] * (coefficients @ basis)
    lengths = np.linalg.norm(defects, axis=1)
    place = (left[-1] + min(found.min(), 4)) / 2
    assume((found > place + 1e-3).all())
    parts = (defects @ across.T @ turned) ** 2
    shift = (parts / np.maximum(found[:, None] - left, found[:, None] - place)).sum(axis=1)
    at = recall.lengths_at(place, coefficients, found, lengths)
    np.testing.assert_allclose(at**2 / (found - place), shift, rtol=1e-6)
    # none is longer than it is, and one whose value isn't above the place is as long as it is
    assert (at <= lengths).all()
    np.testing.assert_array_equal(
        recall.lengths_at(found.max() + 1, coefficients, found, lengths), lengths
    )


@few
@given(seeds)
def test_what_nothing_remembered_is_near_counts_as_the_least_of_it(seed):
    """With six of twenty directions remembered, it counts for nine tenths of what it does at least."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.uniform(-0.5, 0.5, 14), rng.uniform(0.8, 1.2, 3), [3, 3.5, 4]])
    q = rotation(20, rng)
    matrix = (q * values) @ q.T
    recall, basis, (ritz, mix) = remembered(matrix, rng, 6)
    coefficients, found = mix.T[::-1], ritz[::-1]
    defects = coefficients @ basis @ matrix - found[:, None] * (coefficients @ basis)
    lengths = np.linalg.norm(defects, axis=1)
    across = np.linalg.svd(basis)[2][3:]
    left, turned = np.linalg.eigh(across @ matrix @ across.T)
    place = recall.next_value()
    assume(found.min() > place + 0.1)
    parts = (defects @ across.T @ turned) ** 2
    shift = (parts / (found[:, None] - np.minimum(left, place))).sum(axis=1)
    at = recall.lengths_at(place, coefficients, found, lengths)
    assert (at**2 / (found - place) > 0.9 * shift).all()


def test_a_memory_of_nothing_above_zero_leaves_residuals_as_they_are():
    """Of a concave loss: nothing is remembered that could count, and nothing is divided by zero."""
    rng = np.random.default_rng(1)
    matrix = -np.diag(np.arange(1.0, 9.0))
    recall, _, (ritz, mix) = remembered(matrix, rng, 5)
    lengths = np.ones(3)
    assert recall.next_value() == -np.inf
    at = recall.lengths_at(-20.0, mix.T[::-1], ritz[::-1], lengths)
    assert (at <= lengths).all()
    assert np.isfinite(at).all()


@pytest.mark.parametrize("size", [1, 5])
def test_a_memory_may_begin_with_a_single_product(size):
    """V of one row, as where P = 1: then Θ is vᵀHv and Q is v."""
    matrix = np.diag(np.arange(2.0, 2.0 + size))
    vector = np.full((1, size), size**-0.5)
    memory = HessianMemory()
    learn(memory, tensor(vector), tensor(vector @ matrix), vector @ matrix @ vector.T)
    assert memory.values == pytest.approx([float(np.mean(np.diag(matrix)))])
    np.testing.assert_allclose(np.abs(memory.vectors.numpy()), vector)


def test_products_that_are_not_finite_are_not_learned():
    """One overflow must not spoil what is known."""
    rng = np.random.default_rng(4)
    memory, vectors = HessianMemory(), np.linalg.qr(rng.normal(size=(20, 3)))[0].T
    learn(memory, tensor(vectors), tensor(vectors), np.eye(3))
    before = picture(memory)
    bad = np.full((3, 20), np.nan)
    learn(memory, tensor(vectors), tensor(bad), np.full((3, 3), np.nan))
    np.testing.assert_array_equal(picture(memory), before)
    fresh = HessianMemory()
    learn(fresh, tensor(vectors), tensor(bad), np.full((3, 3), np.inf))
    assert fresh.vectors is None


# --- what is asked of it ---------------------------------------------------------------------------


def test_an_empty_memory_knows_nothing():
    """Before the first product: no correction, and no value below the first."""
    recall = recalled(HessianMemory(), torch.ones(1, 3), torch.ones(1, 3))
    assert recall.correction(np.ones(1), 1.0) is None
    assert recall.next_value() == float("-inf")


@few
@given(seeds, st.integers(2, KEPT))
def test_correction_solves_the_projected_equation_where_all_is_remembered(seed, size):
    """(I − uuᵀ)(H − μ)(I − uuᵀ)t = −r, t ⟂ u, with P ≤ KEPT and μ clear of every eigenvalue."""
    rng = np.random.default_rng(seed)
    matrix = symmetric(size, rng) + np.diag(rng.normal(size=size))
    memory, eye = HessianMemory(), np.eye(size)
    learn(memory, tensor(eye), tensor(matrix), matrix)
    u = rng.normal(size=size)
    u /= np.linalg.norm(u)
    mu = u @ matrix @ u
    distances = np.abs(mu - np.linalg.eigvalsh(matrix))
    assume(distances.min() > 1.5 * CLEARANCE * abs(mu))
    # the equation has one solution only where the projected matrix is regular
    across = np.linalg.svd(np.eye(size) - np.outer(u, u))[0][:, : size - 1]
    assume(np.abs(np.linalg.eigvalsh(across.T @ matrix @ across) - mu).min() > 1e-3)
    residual = matrix @ u - mu * u
    found = correction(memory, matrix, u, float(mu)) / mu
    inner = across.T @ (matrix - mu * np.eye(size)) @ across
    wanted = across @ np.linalg.solve(inner, -across.T @ residual)
    np.testing.assert_allclose(found, wanted, atol=1e-7 * np.linalg.norm(wanted))


@few
@given(seeds, st.integers(2, KEPT), st.sampled_from([1.0, -1.0]))
def test_correction_solves_the_equation_of_a_partial_picture(seed, known, sign):
    """With part of the space remembered, and μ beside a remembered value: H there, 0 elsewhere."""
    rng = np.random.default_rng(seed)
    matrix = symmetric(40, rng) + sign * np.eye(40)
    _, vectors = np.linalg.eigh(matrix)
    rows = vectors[:, -known:].T
    memory = HessianMemory()
    learn(memory, tensor(rows), tensor(rows @ matrix), rows @ matrix @ rows.T)
    u = vectors[:, -1] + 0.01 * rng.normal(size=40)
    u /= np.linalg.norm(u)
    mu = float(u @ matrix @ u)
    found = correction(memory, matrix, u, mu) / mu
    values = memory.values.copy()
    near = np.abs(mu - values) < CLEARANCE * abs(mu)
    values[near] = mu - CLEARANCE * abs(mu)
    basis = memory.vectors.numpy()
    remembered = (basis.T * values) @ basis
    across = np.linalg.svd(np.eye(40) - np.outer(u, u))[0][:, :39]
    residual = matrix @ u - mu * u
    inner = across.T @ (remembered - mu * np.eye(40)) @ across
    wanted = across @ np.linalg.solve(inner, -across.T @ residual)
    np.testing.assert_allclose(found, wanted, atol=1e-8 * np.linalg.norm(wanted))


@few
@given(seeds, st.integers(2, KEPT), st.sampled_from([0.0, 3.0, -3.0]), st.booleans())
def test_next_value_is_the_largest_remembered_across_the_vector(seed, known, shift, inside):
    """Against what is above 0 in the picture, across v, by dense projection; −∞ where nothing is."""
    rng = np.random.default_rng(seed)
    matrix = symmetric(30, rng) + shift * np.eye(30)
    rows = np.linalg.qr(rng.normal(size=(30, known)))[0].T
    memory = HessianMemory()
    learn(memory, tensor(rows), tensor(rows @ matrix), rows @ matrix @ rows.T)
    vector = rng.normal(size=30) if not inside else rng.normal(size=known) @ rows
    vector /= np.linalg.norm(vector)
    values, vectors = np.linalg.eigh(rows.T @ rows @ matrix @ rows.T @ rows)
    above = (vectors * np.maximum(values, 0)) @ vectors.T
    across = np.eye(30) - np.outer(vector, vector)
    wanted = np.linalg.eigvalsh(across @ above @ across)[-1]
    recall = recalled(memory, tensor(vector)[None], tensor(vector @ matrix)[None])
    rounding = NOTHING * max(memory.values[0], 0)
    assume(not 0.5 * rounding < wanted < 2 * rounding)
    expected = wanted if wanted > max(rounding, 1e-12) else -np.inf
    assert recall.next_value() == pytest.approx(expected, abs=1e-10)


# --- matrices at the edge of what there is ---------------------------------------------------------


def measured_thrice(matrix, **target):
    """Three measurements in a row of the same matrix; returns the last."""
    follower = Follower(Target(**target))
    return [follower.measure(matrix) for _ in range(3)]


@pytest.mark.parametrize("size", [1, 2, 3, 15, 16, 17, 40])
def test_any_number_of_parameters(size):
    """P = 1, fewer than are kept, and more: the dense values, three times."""
    rng = np.random.default_rng(size)
    matrix = symmetric(size, rng)
    exact = np.linalg.eigvalsh(matrix)[::-1][:2]
    for pairs in measured_thrice(matrix, value_tolerance=1e-10, max_products=400):
        assert pairs.converged
        assert pairs.values[0] == pytest.approx(exact[0], abs=1e-9)
        np.testing.assert_allclose(pairs.values, exact, atol=2e-2 * max(abs(exact[0]), 0.1))


@pytest.mark.parametrize("value", [1.0, -1.0, 0.0, 1e-12, 1e12])
def test_multiples_of_the_identity(value):
    """Every direction is an eigenvector: found at once each time, nothing searched for."""
    for pairs in measured_thrice(value * np.eye(200)):
        assert pairs.converged
        assert pairs.products <= 10
        np.testing.assert_allclose(pairs.values, value, rtol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_low_rank(rank):
    """Beside few directions all is flat."""
    rows = np.random.default_rng(rank).normal(size=(rank, 100))
    matrix = rows.T @ rows
    exact = np.linalg.eigvalsh(matrix)[:-3:-1]
    for pairs in measured_thrice(matrix, value_tolerance=1e-9):
        assert pairs.converged
        assert pairs.values[0] == pytest.approx(exact[0], rel=1e-9)
        assert pairs.values[1] == pytest.approx(exact[1], abs=0.01 * exact[0])


def test_negative_definite():
    """The largest is the one nearest to 0, and warm costs no more than cold."""
    rng = np.random.default_rng(6)
    q = rotation(60, rng)
    matrix = (q * np.array([-1.0, -2.0, *np.linspace(-4, -9, 58)])) @ q.T
    apart = cold(matrix)
    assert apart.converged
    for pairs in measured_thrice(matrix):
        assert pairs.converged
        assert pairs.values[0] == pytest.approx(-1.0, rel=2e-5)
        assert pairs.products <= apart.products


@pytest.mark.parametrize("fails_at", [1, 2, 5, 9])
@pytest.mark.parametrize("remembered", [False, True], ids=["cold", "warm"])
def test_products_that_turn_into_nan_end_the_search(fails_at, remembered):
    """The first that isn't finite is the last, and the memory stays finite."""
    matrix = next(slow_path(7, size=60, outliers=5, ratio=1.1, step=0, length=1))
    follower = Follower()
    if remembered:
        follower.measure(matrix)
        matrix = matrix + 0.3 * symmetric(60, np.random.default_rng(8))
        follower.target = Target(value_tolerance=1e-14, vector_tolerance=1e-9)
    operator, count = tensor(matrix), 0

    def product(vector):
        nonlocal count
        count += 1
        return operator @ vector * (float("nan") if count >= fails_at else 1.0)

    start = start_of(60, 9) if follower.vectors is None else follower.vectors
    with pytest.raises(NotFiniteError, match="isn't finite"):
        leading_eigenpairs(product, start, follower.target, memory=follower.memory)
    assert count == fails_at
    if follower.memory.vectors is not None:
        assert follower.memory.vectors.isfinite().all()
        assert np.isfinite(follower.memory.values).all()


def test_many_that_change_places_while_more_are_told_are_all_followed():
    # more start vectors than a full basis keeps, one far down in the way: it is kept, not lost
    rng, size = np.random.default_rng(5), 300
    ended, runs = 0, 4
    for _ in range(runs):
        spectrum = np.append(1 + 0.3 * rng.random(18), rng.uniform(-0.3, 0.9, size - 18))
        basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
        hessian, memory = (basis * spectrum) @ basis.T, HessianMemory()
        start = torch.from_numpy(rng.normal(size=(1, size))).float()
        for step in range(4):
            matrix = torch.from_numpy(hessian).float()
            found = leading_eigenpairs(
                lambda v, matrix=matrix: matrix @ v,
                start,
                Target(wanted=1, above=0.95),
                memory=memory,
                fresh=lambda k: torch.randn(size, generator=torch.Generator().manual_seed(k)),
                known=len(start) if step else 0,
                independent=True,
            )
            if found.converged:
                ended += 1
                exact = np.linalg.eigvalsh(hessian)[-1]
                assert abs(found.values[0] - exact) <= 2e-5 * exact
            start = torch.cat([found.vectors, found.guard_vectors])
            change = rng.normal(size=(size, size))
            hessian = hessian + (change + change.T) * 0.5 / np.sqrt(size) / 2
    assert ended >= runs * 2
