"""Networks of the papers: their parameters and derivatives, and settings that don't fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.curvature.taylor import chain_of
from eostui.errors import InputError
from eostui.network_stages import STAGES, WITHOUT_BATCH_NORM
from eostui.problems import GhostBatchNorm, Problem, build_problem
from eostui.problems.batch import supervised_parts
from eostui.problems.examination import examine
from eostui.problems.networks import build_network
from eostui.sweeps import cost

CPU, RGB = torch.device("cpu"), (3, 32, 32)
SMALL: dict[str, Any] = {
    "data": "digits", "samples": 23, "test_samples": 5, "dtype": "float64", "loss": "cross-entropy",
    "stages": [[2, 1], [3, 2]],
}  # fmt: skip

#: Trained parameters; frozen ones; all that the state dict holds. The papers' own counts are the first,
#: but INST's VGGs and ResNet20, who count the buffers of batch normalisation too: the last.
COUNTS = {
    "vgg10": (10, 47_482, 0, 47_892),
    "vgg19": (10, 333_786, 0, 335_277),
    "resnet20": (10, 269_722, 0, 271_117),
    "vgg16": (10, 15_245_130, 0, 15_245_130),
    "preact-resnet18": (10, 11_172_176, 0, None),
    "preact-resnet34": (100, 21_326_506, 0, None),
    "scale-invariant-resnet18": (10, 11_164_032, 5_130, None),
}


def config_of(**values: Any) -> RunConfig:
    return RunConfig.build(values, "test")


def built(**values: Any) -> Problem:
    return build_problem(config_of(**{**SMALL, **values}), CPU, Path(), lambda _: None)


def module_of(problem: Problem) -> nn.Module:
    return supervised_parts(problem.loss)[0].module


def test_every_network_has_a_count():
    assert COUNTS.keys() == STAGES.keys()


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_the_papers(name):
    """On 32×32 images in colour; and a sweep's estimate of its memory knows most of them."""
    classes, trained, frozen, held = COUNTS[name]
    config = config_of(network=name, data="cifar100" if classes == 100 else "cifar10")
    with torch.device("meta"):
        module = build_network(config, RGB, classes)
        assert module(torch.empty(2, *RGB)).shape == (2, classes)
    counts = {True: 0, False: 0}
    for parameter in module.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    assert counts == {True: trained, False: frozen}
    if held is not None:
        assert sum(tensor.numel() for tensor in module.state_dict().values()) == held
    assert 0.6 * trained < cost.parameters(config) < 1.1 * trained


@pytest.mark.parametrize(
    ("name", "group"),
    [
        (name, group)
        for name in COUNTS
        for group in (0, 8)
        if not group or name not in WITHOUT_BATCH_NORM
    ],
)
def test_derivatives_are_those_of_finite_differences(name, group):
    """∇L, Hv and D³L[v, v, ·] of a smooth one; groups of 8 leave a remainder of 7."""
    problem = built(network=name, batch_norm_group=group, activation="tanh")
    outcome = examine(problem)
    assert outcome.compared == (
        "∇L, Hv and D³L agree with finite differences (float64, all 23 samples)"
    )
    assert problem.test is not None
    assert np.isfinite(problem.test(problem.initial).loss)


def test_the_network_that_nothing_is_normalised_in_is_a_chain_of_plain_layers():
    assert chain_of(supervised_parts(built(network="vgg16").loss)[0]) is not None


def test_a_scale_invariant_networks_gradient_is_orthogonal_to_its_weights():
    """⟨∇L, w⟩ = 0 and L(2w) = L(w), exactly without what is added to variances; the head is frozen."""
    problem = built(network="scale-invariant-resnet18", batch_norm_group=8)
    cosines = {}
    for eps in (1e-5, 0.0):
        for layer in module_of(problem).modules():
            if isinstance(layer, GhostBatchNorm):
                assert layer.weight is layer.bias is None
                layer.eps = eps
        point = Point(problem.loss, problem.initial)
        length = point.gradient.norm() * point.theta.norm()
        cosines[eps] = abs(float(point.gradient @ point.theta / length))
        assert point.gradient.norm() > 0.01
    assert cosines[0.0] < 1e-13
    assert 1e-13 < cosines[1e-5] < 1e-3
    twice = problem.loss(2 * problem.initial)
    torch.testing.assert_close(twice, problem.loss(problem.initial), rtol=1e-12, atol=0)
    head = 3 * 10 + 10
    assert problem.facts["frozen_parameters"].startswith(f"{head} of {len(problem.initial) + head}")
    other = Point(built(network="preact-resnet18").loss, built(network="preact-resnet18").initial)
    assert abs(float(other.gradient @ other.theta)) > 1e-3 * float(other.gradient.norm())


def test_convolutions_of_the_plain_vgg_begin_as_the_code_of_its_paper_has_them():
    torch.manual_seed(0)
    module = build_network(config_of(network="vgg16", stages=[[64, 2]]), RGB, 10)
    convolution = module[2]
    assert float(convolution.weight.detach().std()) == pytest.approx(
        (2 / (9 * 64)) ** 0.5, rel=0.02
    )
    assert not convolution.bias.any()


def test_a_residual_block_adds_what_came_in():
    """With the last convolution of a block at 0, ResNet20's is the activation of its shortcut."""
    module = build_network(config_of(network="resnet20", stages=[[2, 1], [4, 1]]), (2, 4, 4), 3)
    block = module[4]
    nn.init.zeros_(block.residual[3].weight)
    x = torch.randn(3, 2, 4, 4)
    expected = torch.zeros(3, 4, 2, 2)
    expected[:, 1:3] = x[:, :, ::2, ::2].relu()
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"batch_norm_group": 24},
            "`batch_norm_group` is 24, but there are only 23 training samples",
        ),
        ({"batch_norm_group": 11}, "last group of 23 samples would have one sample alone"),
        ({"batch_norm_group": 1}, "each group has one sample alone"),
        ({"batch_norm_group": 8, "chunk_size": 12}, "`chunk_size` is 12, but groups of 8"),
        ({"network": "mlp", "stages": ()}, 'network "mlp" has no batch normalisation'),
        ({"network": "vgg16"}, 'network "vgg16" has no batch normalisation'),
        ({"network": "cnn", "batch_norm_group": 0}, "`stages` is for networks of the papers"),
        ({"stages": [[2, 1]] * 4}, "4 stages, each of which halves the image, .* 8×8"),
        ({"network": "resnet20", "stages": [[2, 1]] * 5}, "5 stages, each but the first"),
        ({"network": "resnet-20"}, "`network`.*resnet20"),
    ],
)
def test_what_does_not_fit_is_a_sentence(values, sentence):
    with pytest.raises(InputError, match=sentence):
        built(**{"network": "vgg10", "batch_norm_group": 8, **values})


def test_a_network_of_images_on_vectors_is_a_sentence(tmp_path):
    file = tmp_path / "vectors.npz"
    np.savez(file, x=np.random.default_rng(0).normal(size=(9, 5)), y=np.arange(9) % 3)
    with pytest.raises(InputError, match='`network` is "vgg10", but the data has samples of shape'):
        built(network="vgg10", data="npz", data_file=str(file), samples="all")
