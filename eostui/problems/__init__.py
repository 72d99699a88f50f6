"""What is minimised: data sets, networks and losses, made into one `Problem`."""

from eostui.problems.batch import Chunk, SummedLoss
from eostui.problems.build import build_problem
from eostui.problems.norms import ElementaryBatchNorm, ElementaryLayerNorm, GhostBatchNorm
from eostui.problems.problem import Evaluation, Problem

__all__ = [
    "Chunk",
    "ElementaryBatchNorm",
    "ElementaryLayerNorm",
    "Evaluation",
    "GhostBatchNorm",
    "Problem",
    "SummedLoss",
    "build_problem",
]
