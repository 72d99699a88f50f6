"""leading_eigenpairs against numpy and SciPy on dense matrices, and its promises as properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from oracles import mlp_module
from scipy.sparse.linalg import eigsh

from eostui.curvature import eigenpairs
from eostui.curvature.basis import Basis
from eostui.curvature.eigenpairs import PER_PAIR, Target, leading_eigenpairs
from eostui.curvature.gram_basis import GramBasis
from eostui.curvature.hessian_memory import HessianMemory
from eostui.curvature.point import Point

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=["read", "gram"], autouse=True)
def basis(request):
    """Search as on a CPU, and as on a GPU, where readings are spared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eigenpairs, "waits", lambda _: request.param == "gram")
        yield


class Operator:
    """A dense matrix that counts its products."""

    def __init__(self, matrix, dtype=torch.float64):
        self.matrix = torch.as_tensor(np.asarray(matrix), dtype=dtype)
        self.products = 0

    def __call__(self, vector):
        self.products += 1
        return self.matrix @ vector


def random_start(size, seed=0, dtype=torch.float64, count=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator, dtype=torch.float64).to(dtype)


def within(residual, **options):
    """A target at which residuals are below `residual`·S, where the gaps are no larger than S."""
    return Target(value_tolerance=residual**2, **options)


def wishart(size, samples, seed=0):
    data = np.random.default_rng(seed).normal(size=(samples, size))
    return data.T @ data / samples


def with_spectrum(eigenvalues, seed=0):
    """A dense symmetric matrix with these eigenvalues, and its eigenvectors as columns."""
    size = len(eigenvalues)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return (rotation * np.asarray(eigenvalues)) @ rotation.T, rotation


def check_honest(pairs, operator, atol):
    """What is reported must be true: residuals, unit and orthogonal vectors, products, order."""
    vectors = pairs.vectors.double()
    matrix = operator.matrix.double()
    for value, vector, residual in zip(pairs.values, vectors, pairs.residuals, strict=True):
        true = float((matrix @ vector - value * vector).norm())
        assert residual == pytest.approx(true, abs=atol)
    gram = vectors @ vectors.T
    torch.testing.assert_close(gram, torch.eye(len(gram)).double(), rtol=0, atol=max(atol, 1e-9))
    assert pairs.products == operator.products
    assert pairs.values == sorted(pairs.values, reverse=True)


def test_wishart_matrix_agrees_with_scipy():
    """The two leading values of a 300×300 Wishart matrix equal those of eigsh."""
    operator = Operator(wishart(300, 200))
    pairs = leading_eigenpairs(operator, random_start(300), within(1e-8, max_products=400))
    wanted, vectors = eigsh(operator.matrix.numpy(), k=2, which="LA", tol=1e-13)
    assert pairs.converged
    np.testing.assert_allclose(pairs.values, wanted[::-1], rtol=1e-12)
    overlaps = np.abs(pairs.vectors.numpy() @ vectors[:, ::-1])
    np.testing.assert_allclose(overlaps, np.eye(2), atol=1e-6)
    check_honest(pairs, operator, 1e-12)


def test_those_of_a_network_agree_with_scipys_on_curvlinops_products(small_case):
    from curvlinops import HessianLinearOperator

    case = small_case("mlp", activation="gelu")
    module = mlp_module(case.theta, [5, 4, 4, 3], "gelu")
    theirs = HessianLinearOperator(
        module, torch.nn.MSELoss(), list(module.parameters()), [(case.inputs, case.targets)]
    ).to_scipy()
    wanted, vectors = eigsh(theirs, k=3, which="LA", tol=1e-13)
    point = Point(case.problem.loss, case.theta)
    pairs = leading_eigenpairs(
        point.hessian_product, random_start(len(case.theta)), within(1e-9, wanted=3)
    )
    np.testing.assert_allclose(pairs.values, 1.5 * wanted[::-1], rtol=1e-12)  # C/2 of three outputs
    overlaps = np.abs(np.sum(pairs.vectors.numpy() * vectors.T[::-1], axis=1))
    np.testing.assert_allclose(overlaps, 1, rtol=1e-10)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-5])
def test_value_is_as_good_as_its_residual_says(tolerance):
    """|μ − λ₁| ≤ residual²/gap: the quadratic error bound, with the true gap of the matrix."""
    operator = Operator(wishart(200, 300, seed=4))
    exact = np.linalg.eigvalsh(operator.matrix.numpy())[::-1]
    pairs = leading_eigenpairs(operator, random_start(200), within(tolerance, max_products=400))
    assert pairs.converged
    assert pairs.residuals[0] <= tolerance * pairs.values[0]
    assert pairs.residuals[1] <= 10 * tolerance * pairs.values[0]
    assert abs(pairs.values[0] - exact[0]) <= pairs.residuals[0] ** 2 / (exact[0] - exact[1]) * 1.5


def test_single_precision_reaches_the_tolerance_of_training():
    """In float32 the default tolerance is met and the value is right to 1e-5."""
    matrix = wishart(400, 300, seed=2)
    operator = Operator(matrix, torch.float32)
    pairs = leading_eigenpairs(operator, random_start(400, dtype=torch.float32))
    assert pairs.converged
    assert pairs.vectors.dtype == torch.float32
    assert pairs.values[0] == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-5)
    check_honest(pairs, operator, 1e-5 * pairs.values[0])


@pytest.mark.parametrize("seed", range(4))
def test_noise_in_products_is_no_eigenvalue(seed):
    """A tolerance that noisy products can't give leaves values as good as the noise, of unit vectors that
    are orthogonal: also from where a search before ended, with what it remembers of H."""
    rng = np.random.default_rng(seed)
    size, noise = int(rng.choice([30, 61, 120])), float(10 ** rng.uniform(-5.5, -4.5))
    matrix, _ = with_spectrum([39.6, 20, 8, 3, *rng.normal(size=size - 4, scale=0.3)], seed)
    exact = np.linalg.eigvalsh(matrix)[::-1]
    operator = Operator(matrix, torch.float32)
    generator = torch.Generator().manual_seed(seed)

    def product(vector):
        disturbed = torch.randn(size, generator=generator) * noise * 39.6 / size**0.5
        return (operator(vector.float()) + disturbed).to(vector.dtype)

    memory, start = HessianMemory(), random_start(size, seed, torch.float32)
    for search in range(2):
        pairs = leading_eigenpairs(
            product, start, Target(wanted=4, value_tolerance=1e-12, vector_tolerance=1e-8),
            memory=memory, fresh=lambda number: random_start(size, 50 + number, torch.float32)[0],
            known=search and len(start), independent=True,
        )  # fmt: skip
        np.testing.assert_allclose(pairs.values, exact[:4], atol=100 * noise * exact[0])
        gram = pairs.vectors.double() @ pairs.vectors.double().T
        torch.testing.assert_close(gram, torch.eye(4).double(), rtol=0, atol=1e-5)
        start = torch.cat([pairs.vectors, pairs.guard_vectors]).float()


def test_first_vector_is_accurate_beside_a_close_second_value():
    """With a gap of 2 % the search goes on until the vector, too, is within its tolerance."""
    matrix, vectors = with_spectrum([1.0, 0.98, *np.linspace(0.5, 0, 98)])
    operator = Operator(matrix)
    pairs = leading_eigenpairs(operator, random_start(100), Target(vector_tolerance=0.02))
    assert pairs.converged
    sine = np.sqrt(max(0.0, 1 - float(pairs.vectors[0].numpy() @ vectors[:, 0]) ** 2))
    assert sine <= 0.02 * 1.1


def test_largest_algebraic_value_is_wanted_not_the_largest_magnitude():
    """λ_min = −50 beside λ_max = 3: the answer is 3."""
    operator = Operator(with_spectrum([3.0, 2.0, *np.linspace(1, -1, 60), -50.0])[0])
    pairs = leading_eigenpairs(operator, random_start(63), within(1e-6, max_products=400))
    np.testing.assert_allclose(pairs.values, [3.0, 2.0], rtol=1e-8)
    check_honest(pairs, operator, 1e-11)


def test_tolerance_is_relative_to_the_value_also_beside_large_negative_ones():
    """Converged means ‖Hu − Su‖ ≤ tolerance·S, as the config says, whatever the other values are."""
    operator = Operator(with_spectrum([0.05, 0.02, *np.linspace(0.01, -1, 60), -50.0])[0])
    pairs = leading_eigenpairs(operator, random_start(63), within(1e-3, max_products=2000))
    assert pairs.converged
    assert pairs.residuals[0] <= 1e-3 * abs(pairs.values[0])


def test_all_negative_spectrum():
    """The largest of negative values is the one nearest to zero."""
    operator = Operator(with_spectrum([-1.0, -2.0, *np.linspace(-5, -9, 20)])[0])
    pairs = leading_eigenpairs(operator, random_start(22), within(1e-8))
    np.testing.assert_allclose(pairs.values, [-1.0, -2.0], rtol=1e-10)


def test_identity():
    """Every direction is an eigenvector: both values 1, and it ends at once rather than searching."""
    operator = Operator(np.eye(500))
    pairs = leading_eigenpairs(operator, random_start(500))
    np.testing.assert_allclose(pairs.values, [1.0, 1.0], rtol=1e-14)
    assert pairs.converged
    assert pairs.products <= 10
    check_honest(pairs, operator, 1e-13)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_rank_deficient_matrix(rank):
    """A 200×200 matrix of low rank: its values are found, and 0 where there are no more."""
    data = np.random.default_rng(3).normal(size=(rank, 200))
    operator = Operator(data.T @ data)
    exact = np.linalg.eigvalsh(operator.matrix.numpy())[::-1]
    pairs = leading_eigenpairs(operator, random_start(200), within(1e-8))
    np.testing.assert_allclose(pairs.values, exact[:2], rtol=1e-12, atol=1e-9)
    assert pairs.converged
    check_honest(pairs, operator, 1e-9)


def test_degenerate_top_value():
    """With λ₁ twice, S is right and u is some vector of its eigenspace."""
    matrix, vectors = with_spectrum([5.0, 5.0, *np.linspace(1, 0, 98)])
    operator = Operator(matrix)
    pairs = leading_eigenpairs(operator, random_start(100), within(1e-6))
    assert pairs.values[0] == pytest.approx(5.0, rel=1e-10)
    share = np.linalg.norm(vectors[:, :2].T @ pairs.vectors[0].numpy())
    assert share == pytest.approx(1.0, abs=1e-8)
    assert pairs.products <= 120
    check_honest(pairs, operator, 1e-11)


def test_degenerate_top_value_from_two_starts_is_found_twice():
    """A block of two directions, as a warm start gives, sees both copies."""
    matrix, vectors = with_spectrum([5.0, 5.0, *np.linspace(1, 0, 98)])
    near = torch.from_numpy(vectors[:, :2].T.copy()) + 0.05 * random_start(100, count=2)
    pairs = leading_eigenpairs(Operator(matrix), near, within(1e-6))
    np.testing.assert_allclose(pairs.values, [5.0, 5.0], rtol=1e-8)


def test_one_parameter():
    """P = 1: one product, one pair, exact."""
    operator = Operator([[-7.5]])
    pairs = leading_eigenpairs(operator, torch.tensor([[2.0]]).double())
    assert pairs.values == [-7.5]
    assert pairs.vectors.tolist() == [[1.0]]
    assert pairs.residuals == [0.0]
    assert pairs.products == operator.products == 1
    assert pairs.converged


@pytest.mark.parametrize("size", [2, 3, 10, 24, 25])
def test_small_matrices_are_solved_to_rounding(size):
    """A basis that spans the whole space leaves nothing to converge."""
    matrix = np.random.default_rng(size).normal(size=(size, size))
    operator = Operator(matrix + matrix.T)
    exact = np.linalg.eigvalsh(operator.matrix.numpy())[::-1]
    pairs = leading_eigenpairs(operator, random_start(size), within(1e-13, max_products=size))
    if size <= 24:  # the size of the basis
        assert pairs.converged
        np.testing.assert_allclose(pairs.values, exact[:2], rtol=1e-11)
    check_honest(pairs, operator, 1e-10)


def test_zero_matrix():
    """No curvature at all: S = 0, a unit vector, no residual, and hardly a product."""
    operator = Operator(np.zeros((50, 50)))
    pairs = leading_eigenpairs(operator, random_start(50))
    assert set(pairs.values) == {0.0}
    assert pairs.converged
    assert pairs.products <= 5
    check_honest(pairs, operator, 0.0)


def test_start_in_the_null_space_is_not_taken_for_the_answer():
    """H u = 0 at the start says nothing about the rest of the space."""
    matrix = np.diag([9.0, 4.0, *np.zeros(30)])
    start = torch.zeros(1, 32).double()
    start[0, 10] = 1.0
    pairs = leading_eigenpairs(Operator(matrix), start, within(1e-6))
    assert not pairs.converged or pairs.values[0] == pytest.approx(9.0)


def test_start_at_a_single_lower_eigenvector_still_finds_the_top():
    """An invariant search space is left in a fresh direction."""
    matrix, vectors = with_spectrum(np.linspace(10, 1, 60))
    start = torch.from_numpy(vectors[:, 30].copy())[None]
    pairs = leading_eigenpairs(Operator(matrix), start, within(1e-6, max_products=400))
    np.testing.assert_allclose(pairs.values, np.linspace(10, 1, 60)[:2], rtol=1e-8)


def test_warm_start_from_the_true_vectors_costs_only_the_check():
    """Started at the eigenvectors and two guards it spends one product on each, far fewer than cold."""
    matrix = wishart(300, 200)
    exact, vectors = np.linalg.eigh(matrix)
    cold = leading_eigenpairs(Operator(matrix), random_start(300))
    start = torch.from_numpy(vectors[:, :-5:-1].T.copy())
    warm = leading_eigenpairs(Operator(matrix), start)
    assert warm.products == 4
    assert warm.products < cold.products
    np.testing.assert_allclose(warm.values, exact[:-3:-1], rtol=1e-12)


def test_warm_start_at_a_moved_matrix_spends_fewer_products_at_equal_residual():
    """As between measurements: H has moved a little, the old vectors are nearly right."""
    matrix = wishart(300, 200)
    move = wishart(300, 200, seed=9)
    _, vectors = np.linalg.eigh(matrix)
    start = torch.from_numpy(vectors[:, :-3:-1].T.copy())
    moved = matrix + 0.01 * move
    warm = leading_eigenpairs(Operator(moved), start)
    cold = leading_eigenpairs(Operator(moved), random_start(300))
    assert warm.converged
    assert cold.converged
    assert warm.products < cold.products
    assert warm.values[0] == pytest.approx(np.linalg.eigvalsh(moved)[-1], rel=1e-4)


def test_products_are_limited_and_what_was_not_reached_is_admitted():
    """Out of products: not converged, with the true residual of what there is."""
    operator = Operator(with_spectrum(np.linspace(1, 0.9, 400))[0])
    pairs = leading_eigenpairs(operator, random_start(400), within(1e-9, max_products=30))
    assert pairs.products <= 30 + 2 * PER_PAIR  # two are looked for, and what comes after
    assert not pairs.converged
    assert pairs.residuals[0] > 1e-9
    check_honest(pairs, operator, 1e-13)


def test_a_search_knows_what_it_began_with_after_a_restart():
    """Its first direction, as far as that lies in what is kept."""
    matrix = torch.from_numpy(wishart(30, 60))
    kind = GramBasis if eigenpairs.waits(matrix) else Basis
    begun = kind(matrix.mv, 8, matrix[0], HessianMemory())
    starts = random_start(30, count=5)
    begun.begin(starts, independent=False)
    for kept in (5, 3, 2):
        coefficients = np.linalg.eigh(begun.projected)[1].T[::-1][:kept]
        begun.restart(coefficients)
        kept_part = begun.vectors @ (starts[0] / starts[0].norm())
        np.testing.assert_allclose(begun.first, kept_part, atol=1e-12)
    assert begun.add(starts[0].flip(0))
    np.testing.assert_allclose(begun.first, [*kept_part, 0.0], atol=1e-12)


def test_restarts_lose_nothing():
    """A basis of 12 vectors reaches by restarts what a large one reaches."""
    matrix = wishart(300, 400, seed=6)
    pairs = leading_eigenpairs(
        Operator(matrix), random_start(300), within(1e-9, max_products=2000), basis_size=12
    )
    assert pairs.converged
    assert pairs.products > 12
    np.testing.assert_allclose(pairs.values, np.linalg.eigvalsh(matrix)[:-3:-1], rtol=1e-12)


def test_more_pairs_when_more_are_wanted():
    """`wanted` pairs come back, or P of them when there are no more."""
    matrix = wishart(60, 100)
    for wanted in (1, 5):
        pairs = leading_eigenpairs(
            Operator(matrix), random_start(60), within(1e-7, wanted=wanted, max_products=500)
        )
        exact = np.linalg.eigvalsh(matrix)[::-1][:wanted]
        np.testing.assert_allclose(pairs.values, exact, rtol=1e-8)
    pairs = leading_eigenpairs(Operator(np.diag([2.0, 1.0])), random_start(2), Target(wanted=5))
    np.testing.assert_allclose(pairs.values, [2.0, 1.0], rtol=1e-12)


def test_dependent_start_directions_are_dropped():
    """The same direction twice, and a zero, count once."""
    matrix = wishart(40, 60)
    one = random_start(40)
    start = torch.cat([one, one, torch.zeros(1, 40).double()])
    pairs = leading_eigenpairs(Operator(matrix), start, within(1e-8))
    np.testing.assert_allclose(pairs.values, np.linalg.eigvalsh(matrix)[:-3:-1], rtol=1e-10)


def test_zero_start_is_refused():
    """Nothing to start from is an error of the caller."""
    with pytest.raises(ValueError, match="zero"):
        leading_eigenpairs(Operator(np.eye(3)), torch.zeros(1, 3).double())


# nothing so small that its square is lost
values = st.floats(-100, 100).map(lambda value: value if abs(value) > 1e-100 else 0.0)
spectra = st.lists(values, min_size=1, max_size=40)
seeds = st.integers(0, 2**31)


def check_reported(pairs, operator, spectrum):
    """True residuals, orthonormal vectors, an eigenvalue within each residual, none above the largest."""
    scale = max(map(abs, spectrum)) + 1e-300
    check_honest(pairs, operator, 1e-10 * scale)
    exact = np.asarray(spectrum)
    for value, residual in zip(pairs.values, pairs.residuals, strict=True):
        assert np.abs(exact - value).min() <= residual + 1e-10 * scale
    assert pairs.values[0] <= exact.max() + 1e-10 * scale


#: Of the eigenvector of 51 the start of this seed has a part of 4e-4: what one vector alone can't see.
UNSEEN = ([0.0] * 6 + [51.0] + [0.0] * 5 + [50.0, 2.0], 1048577)


@given(spectra, seeds)
@example(*UNSEEN)
def test_property_what_is_reported_is_true(spectrum, seed):
    """For any spectrum, as a measurement starts: what is reported is so, and the first is the first."""
    operator = Operator(with_spectrum(spectrum, seed % 1000)[0])
    pairs = leading_eigenpairs(
        operator,
        random_start(len(spectrum), seed),
        fresh=lambda number: random_start(len(spectrum), seed + 1 + number)[0],
    )
    check_reported(pairs, operator, spectrum)
    if pairs.converged:
        first = sorted(spectrum, reverse=True)[: len(pairs.values)]
        allowed = 1e-5 * max(map(abs, spectrum)) + 1e-300
        np.testing.assert_allclose(pairs.values, first, rtol=0, atol=allowed)


@given(spectra, seeds)
@example(*UNSEEN)
def test_property_what_one_vector_finds_is_true(spectrum, seed):
    """Without a fresh direction a value is within its residual of an eigenvalue (Weyl), as any Ritz value
    is; that it is the largest, or that no neighbour is mixed in that the start has no part of, isn't
    promised."""
    operator = Operator(with_spectrum(spectrum, seed % 1000)[0])
    pairs = leading_eigenpairs(operator, random_start(len(spectrum), seed))
    check_reported(pairs, operator, spectrum)
    if pairs.converged:
        allowed = pairs.residuals[0] + 1e-12 * max(map(abs, spectrum)) + 1e-300
        assert np.abs(np.asarray(spectrum) - pairs.values[0]).min() <= allowed


@given(spectra, seeds, st.floats(0, 50))
def test_property_decay_shifts_the_spectrum(spectrum, seed, shift):
    """Adding λI, as weight decay does to the Hessian, adds λ to the values and keeps the vectors."""
    matrix, _ = with_spectrum(spectrum, seed % 1000)
    start = random_start(len(spectrum), seed)
    target = within(1e-9, max_products=400)
    plain = leading_eigenpairs(Operator(matrix), start, target)
    shifted = leading_eigenpairs(Operator(matrix + shift * np.eye(len(matrix))), start, target)
    scale = max(map(abs, spectrum)) + shift
    assert shifted.values[0] == pytest.approx(plain.values[0] + shift, abs=1e-6 * scale + 1e-300)


@given(seeds)
def test_property_same_start_same_answer(seed):
    """The solver draws nothing at random that isn't keyed: two calls agree bit for bit."""
    matrix = wishart(30, 20, seed=seed % 1000)
    first = leading_eigenpairs(Operator(matrix), random_start(30, seed))
    second = leading_eigenpairs(Operator(matrix), random_start(30, seed))
    assert first.values == second.values
    assert torch.equal(first.vectors, second.vectors)
