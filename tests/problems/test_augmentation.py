"""Static augmentation, and standardisation of each pixel and by constants of the papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from eostui.config import RunConfig
from eostui.engine.fingerprint import fingerprints
from eostui.errors import InputError
from eostui.problems import Problem, build_problem
from eostui.problems.batch import supervised_parts
from eostui.problems.datasets import load_dataset

CPU = torch.device("cpu")
RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (6, 8, 10, 3), dtype=np.uint8)
TEST = RNG.integers(0, 256, (4, 8, 10, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 2, 1, 0])


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "images.npz"
    np.savez(file, x=IMAGES, y=LABELS, xt=TEST, yt=LABELS[:4])
    return {"data": "npz", "data_file": str(file), "dtype": "float64", "loss": "cross-entropy",
            "standardize": "channels", "samples": 5, "width": 3}  # fmt: skip


def config_of(**values: Any) -> RunConfig:
    return RunConfig.build(values, "test")


def built(**values: Any) -> Problem:
    return build_problem(config_of(**values), CPU, Path(), lambda _: None)


def cropped(image: np.ndarray, down: int, right: int, flipped: int) -> np.ndarray:
    """One view of one image (height, width, channels), by numpy, before it is standardised."""
    padded = np.pad(image / 255, ((4, 4), (4, 4), (0, 0)))
    view = padded[down : down + image.shape[0], right : right + image.shape[1]]
    return view[:, ::-1] if flipped else view


@pytest.mark.parametrize("standardize", ["channels", "pixels"])
def test_training_samples_are_fixed_views_of_images(images, standardize):
    """Against crops and flips by numpy; black beside the image is black before it is standardised."""
    problem = built(**{**images, "standardize": standardize}, static_augmentation=10)
    part = supervised_parts(problem.loss)[0]
    assert part.inputs.shape == (50, 4)
    axes = (0, 1, 2) if standardize == "channels" else 0
    shares = IMAGES / 255  # moments are those of all images, without crops
    mean, deviation = shares.mean(axes), shares.std(axes)
    views = np.stack([cropped(IMAGES[image], *place) for image, *place in part.inputs.tolist()])
    expected = ((views - mean) / deviation).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(part.module[0](part.inputs).numpy(), expected, atol=1e-12)
    assert torch.equal(part.targets.argmax(1), torch.from_numpy(LABELS[:5]).repeat(10))
    places = part.inputs[:, 1:]
    assert {int(v) for v in places[:, 0]} <= set(range(9))
    assert len({tuple(place) for place in places.tolist()}) > 25
    assert 10 < int(places[:, 2].sum()) < 40


def test_the_seed_draws_the_views(images):
    first, again, other = (
        built(**images, static_augmentation=4, seed=seed).arrays["inputs"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_test_images_are_as_they_are(images):
    """The test says what it says without augmentation, at the same θ."""
    plain, augmented = built(**images), built(**images, static_augmentation=3)
    assert torch.equal(plain.initial, augmented.initial)
    theta = plain.initial
    assert plain.test is not None
    assert augmented.test is not None
    assert augmented.test(theta).loss == pytest.approx(plain.test(theta).loss, rel=1e-12)
    loss = augmented.loss(theta)
    part = supervised_parts(augmented.loss)[0]
    network = part.module[1]
    nn.utils.vector_to_parameters(theta, network.parameters())
    expected = part.loss(network(part.module[0](part.inputs)), part.targets)
    torch.testing.assert_close(loss, expected, rtol=1e-13, atol=0)


def test_memory_does_not_grow_with_the_views(images):
    """What a problem holds beside θ: a thousand copies are a thousand times 32 bytes an image more."""

    def held(copies: int) -> int:
        arrays = built(**images, static_augmentation=copies, chunk_size=5).arrays
        return sum(a.numel() * a.element_size() for n, a in arrays.items() if n != "targets")

    assert held(1000) - held(1) == 999 * 5 * 4 * 8
    assert built(**images, static_augmentation=3, chunk_size=5).arrays["images"].shape[0] == 9


def test_a_run_knows_its_images(images, tmp_path):
    """Other images under the same views are another problem."""
    config = config_of(**images, static_augmentation=2)
    before = fingerprints(config, built(**images, static_augmentation=2))
    np.savez(tmp_path / "images.npz", x=255 - IMAGES, y=LABELS, xt=TEST, yt=LABELS[:4])
    after = fingerprints(config, built(**images, static_augmentation=2))
    assert {key for key in before if before[key] != after[key]} == {"fingerprint.images"}


def test_groups_of_normalisation_are_chunks_of_views(images):
    """A normalised network on augmented images, in chunks of whole groups: 15 = 2·6 + 3."""
    settings = {**images, "network": "vgg10", "stages": [[2, 1]], "batch_norm_group": 6}
    whole, chunked = (built(**settings, static_augmentation=3, chunk_size=size) for size in (0, 6))
    theta = whole.initial
    torch.testing.assert_close(whole.loss(theta), chunked.loss(theta), rtol=1e-13, atol=0)
    assert whole.test is not None
    assert chunked.test is not None
    assert whole.test(theta).loss == pytest.approx(chunked.test(theta).loss, rel=1e-12)


def test_vectors_are_not_augmented(tmp_path):
    file = tmp_path / "vectors.npz"
    np.savez(file, x=RNG.normal(size=(9, 5)), y=np.arange(9) % 3)
    with pytest.raises(InputError, match="`static_augmentation` crops and flips images"):
        built(data="npz", data_file=str(file), static_augmentation=2)


# --- standardisation ------------------------------------------------------------------------------


def loaded(values: dict[str, Any], **more: Any) -> tuple[Any, list[str]]:
    told: list[str] = []
    return load_dataset(config_of(**{**values, **more}), Path(), told.append), told


def test_each_pixel_by_its_moments_over_all_training_samples(images):
    """Before the selection, and the test samples by the same."""
    data, told = loaded(images, standardize="pixels")
    share, test = (each.transpose(0, 3, 1, 2) / 255 for each in (IMAGES, TEST))
    mean, deviation = share.mean(0), share.std(0)
    np.testing.assert_allclose(data.x.numpy(), (share[:5] - mean) / deviation, rtol=1e-12)
    np.testing.assert_allclose(data.test_x.numpy(), (test - mean) / deviation, rtol=1e-12)
    assert "240 means" in data.facts["standardized"]
    assert not [text for text in told if "same in all" in text]


def test_pixels_that_never_change_become_0():
    """Corners of the digits, for instance; it is told how many."""
    data, told = loaded({"data": "digits"}, standardize="pixels")
    constant = data.x.std(0) == 0
    assert 0 < int(constant.sum()) < 10
    assert not data.x[:, constant].any()
    torch.testing.assert_close(data.x.std(0, correction=0)[~constant], torch.ones(64 - 3).double())
    assert f"{int(constant.sum())} of the 64 pixels are the same in all training samples" in told[0]


def test_samples_that_are_all_the_same_are_refused(tmp_path):
    file = tmp_path / "same.npz"
    np.savez(file, x=np.full((5, 4), 0.25), y=np.arange(5) % 2)
    with pytest.raises(InputError, match="all samples are the same"):
        loaded({"data": "npz", "data_file": str(file)}, standardize="pixels")


def test_constants_of_the_papers_by_their_names(images):
    """The one after the other for WHY's VGG."""
    share = torch.from_numpy(IMAGES[:5].transpose(0, 3, 1, 2) / 255)

    def by(mean: list[float], deviation: list[float], x: torch.Tensor = share) -> torch.Tensor:
        first, second = (
            torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (mean, deviation)
        )
        return (x - first) / second

    customary = by([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])
    why = by(
        [125.307 / 255, 122.961 / 255, 113.8575 / 255], [51.5865 / 255, 50.847 / 255, 51.255 / 255]
    )
    twice = by([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], why)
    for name, expected in (
        ("cifar10", customary),
        ("cifar10-why", why),
        ("cifar10-why-vgg", twice),
    ):
        data, _ = loaded(images, standardize=name)
        torch.testing.assert_close(data.x, expected, rtol=1e-10, atol=1e-12)
        assert data.facts["standardized"].startswith(f"{name}: mean [")


def test_constants_of_colours_on_grey_images_are_a_sentence():
    with pytest.raises(InputError, match=r'`standardize` is "cifar10-why".* 3 channels.*digits'):
        loaded({"data": "digits"}, standardize="cifar10-why")
