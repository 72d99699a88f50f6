"""A dynamics of a user's own, with a control of its own: `dynamics = "file.py:LaggedDescent"`."""

from eostui.dynamics import Dynamics
from eostui.stability import ETA, WEIGHT_DECAY, Control, Stability

LAG = Control(
    "lag", "ν", "share of the gradient before", factor=1.1, below=0.25, start=0.01, initial=0.1
)


class LaggedDescent(Dynamics):
    """θ⁺ = θ − η((1 − ν) G_t + ν G_{t−1}) with G = ∇L + λθ.

    On a curvature s, with c = η(s + λ): z² − (1 − (1 − ν)c) z + νc has both roots within the unit circle
    while νc < 1 and (1 − 2ν)c < 2, of which for ν < 1/4 the second comes first.
    """

    name = "lagged-descent"
    stability = Stability(
        (ETA, WEIGHT_DECAY, LAG),
        lambda controls: 2 / ((1 - 2 * controls["lag"]) * controls["eta"]),
        "2/((1−2ν)η)−λ",
        "2/((1−2ν)η)",
    )
    last = None

    def step(self, theta, gradient, controls):
        now = gradient + controls["weight_decay"] * theta
        last, self.last = now if self.last is None else self.last, now
        lag = controls["lag"]
        return theta - controls["eta"] * ((1 - lag) * now + lag * last)

    def state(self):
        return {"last": self.last}

    def restore(self, state):
        self.last = state["last"]


class Halves(LaggedDescent):
    """Sees every other half of the samples."""

    name = "halves"

    def batch(self, step):
        import torch

        count = self.config.samples
        return torch.arange(step % 2, count, 2)


class Nameless(Dynamics):
    """Can't be recorded: it has no name."""

    def step(self, theta, gradient, controls):
        return theta - controls["eta"] * gradient


class Taken(LaggedDescent):
    """Its control has the name of a column."""

    stability = Stability(
        (ETA, WEIGHT_DECAY, Control("sharpness", "S", "what is measured", factor=1.1)),
        lambda controls: 2 / controls["eta"],
        "2/η−λ",
        "2/η",
    )


class Namesake(LaggedDescent):
    """Is called as one of the program is."""

    name = "heavy-ball"


class Forgetful(LaggedDescent):
    """Doesn't keep what its next step needs."""

    def state(self):
        return {}

    def restore(self, state):
        pass


class InPlace(LaggedDescent):
    """Moves θ itself."""

    def step(self, theta, gradient, controls):  # noqa: ARG002
        return theta.sub_(gradient)


class Fails(LaggedDescent):
    """Raises."""

    def step(self, theta, gradient, controls):  # noqa: ARG002
        raise ZeroDivisionError("no step today")


class Preconditioned(LaggedDescent):
    """Its spectrum is that of P⁻¹H with P = ½."""

    name = "preconditioned"

    def operator(self, point):
        return lambda vector: 2 * point.hessian_product(vector)
