"""Which optional probes a run can't have by what its config says: a viewer asks before it offers one.

The probes themselves refuse by these sentences. What the problem alone tells, such as how many samples
a user's own has, each refuses when it is made.
"""

from __future__ import annotations

from collections.abc import Callable

from eostui.config import RunConfig
from eostui.stability import STABILITY
from eostui.toys import OF_SAMPLES, TOYS

#: The dynamics that theory is derived for.
_DERIVED_FOR = "gradient-descent"
#: Why a problem without samples has no neural tangent kernel.
NO_OUTPUTS = (
    "the problem is a function of θ alone: it has neither samples nor outputs, and so no NTK"
)
#: Why Weyl's inequality says nothing of a run with another loss.
NOT_HALF_SQUARED = (
    "the loss isn't half the squared error, mean over samples: for any other the Hessian's Gauss–Newton "
    "part hasn't the eigenvalues of the NTK, and Weyl bounds nothing between S and λ₁(K); the probe "
    '"ntk" measures the kernel of some samples'
)


def refusal(probe: str, config: RunConfig) -> str:
    """Return why a run of this config can't have an optional probe; "" where nothing there says so."""
    why = _REFUSALS.get(probe)
    return "" if why is None else why(probe, config)


def no_samples(probe: str) -> str:
    """Return why a probe of samples' gradients isn't for a function of θ alone."""
    return (
        f'the probe "{probe}" is of samples\' gradients, and this problem is a function of θ alone: it '
        "has no samples"
    )


def _of_hessian(probe: str, config: RunConfig) -> str:
    stability = STABILITY.get(config.dynamics)
    if stability is None or not stability.operator:
        return ""
    return (
        f'the probe "{probe}" compares S with curvatures of the Hessian, and with the dynamics '
        f"{config.dynamics} S is that of {stability.operator}: leave it out"
    )


def _of_descent(said: str) -> Callable[[str, RunConfig], str]:
    def why(_: str, config: RunConfig) -> str:
        if config.dynamics == _DERIVED_FOR:
            return ""
        return f"it is {said} {_DERIVED_FOR}, and the run's dynamics is {config.dynamics}"

    return why


def _of_batches(probe: str, config: RunConfig) -> str:
    stability = STABILITY.get(config.dynamics)
    if stability is not None and stability.batches:
        return ""
    return (
        f'the probe "{probe}" is of batches, and the dynamics {config.dynamics} has none: '
        'set dynamics = "sgd"'
    )


def _of_outputs(_: str, config: RunConfig) -> str:
    if config.problem not in TOYS or config.problem in OF_SAMPLES:
        return ""
    return NO_OUTPUTS


def _of_samples(probe: str, config: RunConfig) -> str:
    return no_samples(probe) if _of_outputs(probe, config) else ""


def _of_two_layer_linear(_: str, config: RunConfig) -> str:
    return (
        ""
        if config.problem == "two-layer-linear"
        else 'it is of the problem "two-layer-linear" alone'
    )


def _of_diagonal_net(_: str, config: RunConfig) -> str:
    if config.problem == "diagonal-net" and len(config.problem_arguments["start"]) > 1:
        return ""
    return 'it is of the problem "diagonal-net" alone, with two parameters or more'


def _of_weyl(probe: str, config: RunConfig) -> str:
    if found := _of_hessian(probe, config) or _of_outputs(probe, config):
        return found
    return NOT_HALF_SQUARED if config.problem == "network" and config.loss != "mse" else ""


_REFUSALS: dict[str, Callable[[str, RunConfig], str]] = {
    "radius": _of_hessian,
    "radii": _of_hessian,
    "centre": _of_descent("derived for"),
    "flow": _of_descent("the flow of"),
    "ntk": _of_outputs,
    "weyl": _of_weyl,
    "batch_sharpness": _of_batches,
    "noise": _of_samples,
    "two_layer_linear": _of_two_layer_linear,
    "diagonal_net": _of_diagonal_net,
}
