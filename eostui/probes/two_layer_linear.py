"""The two-layer linear network in closed form: what REV §5 and WD's Lemma 5.1 follow of it (MATH §5)."""

from __future__ import annotations

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.curvature.two_layer_linear import TwoLayerLinear as Network
from eostui.curvature.two_layer_linear import most_aligned
from eostui.probes.probe import Moment, Probe, Reading, refuse_impossible
from eostui.probes.sharpness import sharpness_of
from eostui.problems import Problem
from eostui.problems.batch import supervised_parts
from eostui.problems.two_layer_linear import TwoLayerLinearNetwork
from eostui.runs.store.columns import Column

_M = "M = (‖A‖²Σ + XᵀWᵀWX)/(mn) = JJᵀ/n"


class TwoLayerLinear(Probe):
    """Computes M exactly and follows ‖A‖² and ⟨F, D⟩ where S is measured, for the toy of that name."""

    name = "two_layer_linear"
    columns = (
        Column("kernel_largest", "f²/θ²", f"λ₁ of {_M}"),
        Column("kernel_v1", "f²/θ²", "v₁ᵀMv₁, with v₁ the leading eigenvector of Σ = XᵀX"),
        Column("kernel_output_part", "f²/θ²", "‖A‖²λ₁(Σ)/(mn), the part of v₁ᵀMv₁ that ‖A‖² drives"),
        Column("kernel_spread", "f²/θ²", "‖XᵀWᵀWX − h²(m/d)Σ‖₂/(mn), h the `hidden_scale`: λ₁ and "
               "v₁ᵀMv₁ are apart by twice this at most"),
        Column("output_norm_squared", "θ²", "‖A‖² of the output layer"),
        Column("output_residual", "f²", "⟨F, D⟩ of outputs F and residual D = F − Y"),
        Column("lemma_4_error", "1", "how far D after the step is from Lemma 4, as a share of ‖Y‖"),
        Column("lemma_5_error", "1", "how far M after the step is from Lemma 5, as a share of ‖M‖"),
        Column("ntk_ratio", "x²", "κ = m‖F‖²/‖A‖⁴ of M ∝ Σ + κ ŷŷᵀ, the form of a network of rank one"),
        Column("rank_one_defect", "1", "‖XᵀWᵀWX − (m/‖A‖²)FFᵀ‖/‖XᵀWᵀWX‖, 0 for a network of rank one"),
        Column("aligned_index", "1", "which eigenvector of M has most of the target, 1 for the first"),
        Column("aligned_share", "1", "that share, (uᵀY)²/‖Y‖²"),
        Column("aligned_index_rank_one", "1", "the same of Σ + κ yyᵀ/‖Y‖² with κ the `ntk_ratio`"),
    )  # fmt: skip
    cost = "pass"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        refuse_impossible(config, self.name)
        module = supervised_parts(problem.loss)[0].module
        assert isinstance(module, TwoLayerLinearNetwork)
        self._width = len(module.output)
        self._inputs = problem.arrays["inputs"].T.double()
        self._targets = problem.arrays["targets"].flatten().double()
        self._hidden_scale = float(config.problem_arguments["hidden_scale"])
        self._leading = torch.linalg.eigh(self._inputs.T @ self._inputs).eigenvectors[:, -1]

    def due(self, moment: Moment) -> bool:
        """Whether S is measured."""
        return sharpness_of(moment).due(moment)

    def measure(self, point: Point, moment: Moment) -> Reading:
        """Compute everything in float64; the lemmas of the step that is taken from θ_t."""
        here = self._at(point.theta)
        kernel, data, activations = here.kernel, here.data, here.activations
        scale = self._width * here.samples
        expected = self._hidden_scale**2 * self._width / len(self._inputs)
        spread = torch.linalg.matrix_norm(activations - expected * data, ord=2)
        index, share = most_aligned(kernel, self._targets)
        towards = torch.outer(self._targets, self._targets) / here.samples  # ‖Y‖² = n
        of_rank_one, _ = most_aligned(data + here.ratio * towards, self._targets)
        v = self._leading
        values: dict[str, float | Tensor] = {
            "kernel_largest": torch.linalg.eigvalsh(kernel)[-1],
            "kernel_v1": v @ kernel @ v,
            "kernel_output_part": here.output_norm * (v @ data @ v) / scale,
            "kernel_spread": spread / scale,
            "output_norm_squared": here.output_norm,
            "output_residual": here.outputs @ here.residual,
            "ntk_ratio": here.ratio,
            "rank_one_defect": here.rank_one_defect,
            "aligned_index": index,
            "aligned_share": share,
            "aligned_index_rank_one": of_rank_one,
            **self._lemmas(moment),
        }
        return Reading({name: float(value) for name, value in values.items()})

    def _lemmas(self, moment: Moment) -> dict[str, Tensor]:
        """Return how far both are from what the step comes to; nothing where that isn't known."""
        if moment.theta is None or moment.displacement is None:
            return {}
        before, after = self._at(moment.theta), self._at(moment.theta + moment.displacement)
        eta, decay = moment.controls["eta"], moment.controls["weight_decay"]
        residual = after.residual - before.residual_after(eta, decay)
        kernel = after.kernel - before.kernel_after(eta, decay)
        return {
            "lemma_4_error": residual.norm() / self._targets.norm(),
            "lemma_5_error": kernel.norm() / after.kernel.norm(),
        }

    def _at(self, theta: Tensor) -> Network:
        hidden, output = torch.split(theta.double(), [self._width * len(self._inputs), self._width])
        return Network(hidden.view(self._width, -1), output, self._inputs, self._targets)
