"""What is minimised: data sets, networks and losses, made into one `Problem`."""

from eostui.problems.build import build_problem
from eostui.problems.problem import Evaluation, Problem

__all__ = ["Evaluation", "Problem", "build_problem"]
