"""An intervention in a step: other lengths along the sharpest eigenvectors, and across them (MATH §6).

With Δ the step that a dynamics takes, V the eigenvectors whose eigenvalue is above the bound, and the
shares σ along them and ρ across,

    Δ′ = ρ Δ + (σ − ρ) VᵀV Δ,

so that on a quadratic a coordinate above the bound moves as with σ η, and every other one as with ρ η.
With σ = 0 nothing moves along them, with ρ = 0 nothing but along them (INST, App. G and Fig. 10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eostui.stability import OTHER_STEP, SHARP_ABOVE, SHARP_STEP, intervenes


class Intervention:
    """What is done to the steps of a trajectory, by its controls and by the eigenvectors last measured.

    It has no state of its own: both are kept elsewhere. What a step reads are tensors, `carried`, and
    whether there are any and how many are the host's business: a captured step goes on as eigenvectors
    and bound change, and is captured anew where an intervention begins or ends.

    Attributes:
        carried: nothing without an intervention; else V, shape (k, P), σ − ρ of each eigenvector above
            the bound and 0 of each below, shape (k,), and ρ, a scalar, where it isn't 1.
        above: how many eigenvectors are above the bound.
    """

    def __init__(self) -> None:
        self.carried: tuple[Tensor, ...] = ()
        self.above = 0
        self._by: tuple[object, ...] = ()
        self._vectors: Tensor | None = None

    @property
    def stands(self) -> bool:
        """Whether steps have length 0: along eigenvectors above the bound only, and there is none."""
        return bool(self.carried) and not self.above and self._by[1] == 0

    def set(
        self,
        controls: Mapping[str, float],
        threshold: float,
        values: Sequence[float],
        vectors: Tensor | None,
        like: Tensor,
    ) -> None:
        """Let the steps from here on be by these.

        Args:
            controls: of the run, by name.
            threshold: up to which sharpness its dynamics is stable, the unit of the bound.
            values: the eigenvalues last measured.
            vectors: their unit eigenvectors, shape (k, P), orthogonal to each other; None for none.
            like: θ, shape (P,).
        """
        if not intervenes(controls):
            self.carried, self.above, self._by, self._vectors = (), 0, (), None
            return
        along, across = controls[SHARP_STEP.name], controls[OTHER_STEP.name]
        bound = controls[SHARP_ABOVE.name] * threshold
        by = (along, across, bound, *values)
        if by == self._by and vectors is self._vectors:
            return
        self._by, self._vectors = by, vectors
        if vectors is None:
            vectors = like.new_empty((0, like.numel()))
        # what an older version kept has vectors whose values aren't known
        shares = [along - across if value > bound else 0.0 for value in values[: len(vectors)]]
        shares += [0.0] * (len(vectors) - len(shares))
        self.above = sum(value > bound for value in values[: len(vectors)])
        self.carried = (vectors.to(like), like.new_tensor(shares))
        if across != 1:
            self.carried = (*self.carried, like.new_tensor(across))


@torch.no_grad()
def intervened(theta: Tensor, moved: Tensor, carried: Sequence[Tensor]) -> Tensor:
    """Return where a step from θ leads with an intervention, without a look at any value.

    Where no eigenvector is above the bound and ρ = 1 that is `moved` to the bit.

    Args:
        theta: θ, shape (P,).
        moved: where the step itself leads, shape (P,).
        carried: of the intervention; () for none.
    """
    if not carried:
        return moved
    vectors, shares, *across = carried
    step = moved - theta
    along = torch.mv(vectors.T, shares * torch.mv(vectors, step))
    return moved + along if not across else theta + across[0] * step + along
