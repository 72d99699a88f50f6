"""A user's own problem is measured rightly, or refused with a sentence, before its run."""

from __future__ import annotations

from pathlib import Path

import pytest
from own import CPU, build, refusal
from shrunk import on_noise

from eostui import locations, presets
from eostui.network_stages import STAGES
from eostui.problems import build_problem
from eostui.problems.examination import examine

pytestmark = pytest.mark.usefixtures("one_thread")

# --- what autograd gets wrong ---------------------------------------------------------------------

WRONG_GRADIENTS = {
    "checkpoint": (
        "f = lambda device, dtype: made(Net(lambda n, x: n.second(checkpoint(\n"
        "    lambda x: torch.tanh(n.first(x)), x, use_reentrant=False))), dtype)",
        ["torch.utils.checkpoint", "right at θ₀ alone"],
    ),
    "checkpoint, a whole block": (
        """
        def f(device, dtype):
            block = nn.Sequential(nn.Linear(5, 5), nn.GELU(), nn.Linear(5, 5))
            body = lambda n, x: n.second(torch.tanh(n.first(
                x + checkpoint(n.layer, x, use_reentrant=False))))
            return made(Net(body, block), dtype)
        """,
        ["torch.utils.checkpoint", "`layer."],
    ),
    "reentrant checkpoint": (
        "f = lambda device, dtype: made(Net(lambda n, x: n.second(torch.tanh(checkpoint(\n"
        "    n.first, x.requires_grad_(), use_reentrant=True)))), dtype)",
        ["torch.utils.checkpoint"],
    ),
    "detached factor": (
        "f = lambda device, dtype: made(Net(lambda n, x: n.second(\n"
        "    (lambda z: z * torch.sigmoid(z).detach())(n.first(x)))), dtype)",
        ["detached factor", "`first.weight`"],
    ),
    "stopped gradient in the loss": (
        "f = lambda device, dtype: made(mlp(), dtype,\n"
        "    lambda o, y: ((o - y).square() / (1 + (o - y).square()).detach()).mean())",
        ["detached factor"],
    ),
    "straight-through rounding": (
        "f = lambda device, dtype: made(Net(lambda n, x: n.second(\n"
        "    (lambda z: z + (torch.round(4 * z) / 4 - z).detach())(n.first(x)))), dtype)",
        ["straight-through"],
    ),
    "straight-through sign, custom": (
        """
        class Sign(Function):
            @staticmethod
            def forward(ctx, z):
                return z.sign()

            @staticmethod
            def backward(ctx, g):
                return g

        f = lambda device, dtype: made(Net(lambda n, x: n.second(Sign.apply(n.first(x)))), dtype)
        """,
        ["custom function `Sign`"],
    ),
    "straight-through beyond a clamp": (
        """
        class Clamp(Function):
            @staticmethod
            def forward(ctx, z):
                return z.clamp(-0.3, 0.3)

            @staticmethod
            def backward(ctx, g):
                return g.clone()

        f = lambda device, dtype: made(Net(lambda n, x: n.second(Clamp.apply(n.first(x)))), dtype)
        """,
        ["custom function `Clamp`"],
    ),
    "scaled by frequency": (
        """
        class Bag(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed = nn.Embedding(9, 5, scale_grad_by_freq=True)
                self.head = nn.Linear(5, 2)

            def forward(self, tokens):
                return self.head(torch.tanh(self.embed(tokens).sum(1)))

        f = lambda device, dtype: made(Bag(), dtype, x=T)
        """,
        ["scale_grad_by_freq of `embed`", "wrong for `embed.weight`"],
    ),
    "gradient reversal by a hook": (
        """
        def reverse(z):
            z.register_hook(lambda g: -g)
            return z

        f = lambda device, dtype: made(Net(lambda n, x: n.second(reverse(
            torch.tanh(n.first(x)) * 1))), dtype)
        """,
        ["isn't that of its loss"],
    ),
    "no_grad": (
        """
        def body(n, x):
            with torch.no_grad():
                scale = 1 / (1 + n.first.weight.norm())
            return n.second(torch.tanh(n.first(x))) * scale

        f = lambda device, dtype: made(Net(body), dtype)
        """,
        ["`first.weight`"],
    ),
    "of θ alone": (
        "f = lambda device, dtype: Problem(torch.linspace(-1, 2, 6, dtype=dtype),\n"
        "    lambda t: (t * t.tanh().detach()).sum() + (t ** 4).sum(), 'c')",
        ["detached factor"],
    ),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", WRONG_GRADIENTS)
def test_a_gradient_that_is_not_the_loss_s_is_refused(tmp_path, case, dtype):
    """The sentence names what it is and, where a module is known, the parameters it is wrong for."""
    code, parts = WRONG_GRADIENTS[case]
    sentence = refusal(tmp_path, code, dtype=dtype)
    for part in parts:
        assert part in sentence


def test_the_numbers_in_the_sentence_are_those_of_the_loss(tmp_path):
    """½(2θ)²θ̄ with one factor detached: autograd's ⟨∇L, v⟩ is ⅔ of the slope for a cube."""
    sentence = refusal(
        tmp_path,
        "f = lambda device, dtype: Problem(torch.ones(1, dtype=dtype),\n"
        "    lambda t: (t * t * t.detach()).sum(), 'c')",
    )
    told, found = (float(n) for n in __import__("re").findall(r"(-?[\d.]+) by", sentence))
    assert told / found == pytest.approx(2 / 3, rel=2e-3)


WRONG_HIGHER = {
    "once_differentiable": (
        """
        class Cube(Function):
            @staticmethod
            def forward(ctx, z):
                ctx.save_for_backward(z)
                return z ** 3

            @staticmethod
            @once_differentiable
            def backward(ctx, g):
                return 3 * ctx.saved_tensors[0] ** 2 * g

        f = lambda device, dtype: made(Net(lambda n, x: n.second(Cube.apply(n.first(x)))), dtype)
        """,
        ["custom function `Cube`", "its Hessian isn't that of its loss"],
    ),
    "a backward pass on detached values": (
        """
        class Square(Function):
            @staticmethod
            def forward(ctx, z):
                ctx.z = z.detach()
                return z * z

            @staticmethod
            def backward(ctx, g):
                return 2 * ctx.z * g

        f = lambda device, dtype: made(Net(lambda n, x: n.second(Square.apply(n.first(x)))), dtype)
        """,
        ["custom function `Square`", "its Hessian isn't that of its loss", "Hv is"],
    ),
    "a wrong third derivative": (
        """
        class Slope(Function):
            @staticmethod
            def forward(ctx, z, g):
                ctx.save_for_backward(z, g)
                return 4 * z ** 3 * g

            @staticmethod
            def backward(ctx, h):
                z, g = ctx.saved_tensors
                return 12 * z.detach() ** 2 * g * h, 4 * z ** 3 * h

        class Quartic(Function):
            @staticmethod
            def forward(ctx, z):
                ctx.save_for_backward(z)
                return z ** 4

            @staticmethod
            def backward(ctx, g):
                return Slope.apply(ctx.saved_tensors[0], g)

        f = lambda device, dtype: Problem(torch.linspace(1, 2, 4, dtype=dtype),
                                          lambda t: Quartic.apply(t).sum(), 'c')
        """,
        ["∇S would be wrong", "D³L"],
    ),
}


@pytest.mark.parametrize("case", WRONG_HIGHER)
def test_wrong_higher_derivatives_are_refused(tmp_path, case):
    """∇L is right, but Hv or D³L[v, v, ·] isn't."""
    code, parts = WRONG_HIGHER[case]
    sentence = refusal(tmp_path, code)
    for part in parts:
        assert part in sentence


# --- not a function of θ alone --------------------------------------------------------------------

UNSTEADY = {
    "a generator of its own": (
        """
        GEN = torch.Generator().manual_seed(0)
        f = lambda device, dtype: made(Net(lambda n, x: n.second(torch.tanh(n.first(
            x + 0.01 * torch.randn(x.shape, generator=GEN, dtype=x.dtype))))), dtype)
        """,
        ["at one and the same θ"],
    ),
    "numpy": (
        "f = lambda device, dtype: made(Net(lambda n, x: n.second(n.first(x)).cos() *\n"
        "    float(np.random.rand())), dtype)",
        ["numpy's random numbers"],
    ),
    "python": (
        "f = lambda device, dtype: Problem(torch.ones(3, dtype=dtype),\n"
        "    lambda t: (t ** 2).sum() * random.random(), 'c')",
        ["Python's random numbers"],
    ),
    "minibatches": (
        """
        RNG = np.random.default_rng(0)

        def f(device, dtype):
            x, y = X.to(dtype), Y[:, 0].to(dtype)

            def loss(t):
                rows = torch.from_numpy(RNG.permutation(12)[:4])
                return (x[rows] @ t - y[rows]).square().mean()

            return Problem(torch.ones(5, dtype=dtype), loss, "c")
        """,
        ["at one and the same θ"],
    ),
    "a counter": (
        """
        def body(n, x):
            n.calls = getattr(n, "calls", 0) + 1
            return n.second(torch.tanh(n.first(x))) * (1 + 1e-3 * n.calls)

        f = lambda device, dtype: made(Net(body), dtype)
        """,
        ["keeps state"],
    ),
    "what it saw first": (
        """
        def body(n, x):
            z = n.first(x)
            n.top = max(getattr(n, "top", 0.0), float(z.detach().abs().max()))
            return n.second(z / n.top)

        f = lambda device, dtype: made(Net(body), dtype)
        """,
        ["after an evaluation elsewhere"],
    ),
    "a random gradient": (
        """
        class Noisy(Function):
            @staticmethod
            def forward(ctx, z):
                return z.clone()

            @staticmethod
            def backward(ctx, g):
                return g * (1 + 0.01 * np.random.randn())

        f = lambda device, dtype: made(Net(lambda n, x: n.second(Noisy.apply(n.first(x)))), dtype)
        """,
        ["‖∇L‖ at one and the same θ", "numpy"],
    ),
    "inputs": (
        "f = lambda device, dtype: made(Net(lambda n, x: n.second(n.first(x.mul_(0.9)))), dtype)",
        ["its inputs in place"],
    ),
    "inputs, by a layer": (
        "f = lambda device, dtype: made(nn.Sequential(nn.ReLU(inplace=True), mlp()), dtype)",
        ["its inputs in place"],
    ),
    "inputs, unseen so far": (
        "f = lambda device, dtype: made(Net(lambda n, x: n.second(n.first(x.clamp_(-99, 99)))), dtype)",
        ["its inputs in place"],
    ),
    "inputs, behind torch's back": (
        """
        def body(n, x):
            x.detach().numpy()[...] *= 0.9
            return n.second(n.first(x))

        f = lambda device, dtype: made(Net(body), dtype)
        """,
        ["its inputs in place"],
    ),
    "targets": (
        "f = lambda device, dtype: made(mlp(), dtype, lambda o, y: mse(o, y.add_(0.01)))",
        ["its targets in place"],
    ),
    "a buffer": (
        "f = lambda device, dtype: made(nn.Sequential(nn.Linear(5, 2), nn.BatchNorm1d(2)), dtype)",
        ["buffer `1."],
    ),
    "an embedding's weights": (
        """
        class Bag(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed = nn.Embedding(9, 5, max_norm=0.5)
                self.head = nn.Linear(5, 2)

            def forward(self, tokens):
                return self.head(torch.tanh(self.embed(tokens).sum(1)))

        f = lambda device, dtype: made(Bag(), dtype, x=T)
        """,
        ["θ itself in place", "max_norm"],
    ),
    "a frozen embedding's weights": (
        """
        class Bag(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed = nn.Embedding(9, 5, max_norm=0.5).requires_grad_(False)
                self.head = nn.Linear(5, 2)

            def forward(self, tokens):
                return self.head(torch.tanh(self.embed(tokens).sum(1)))

        f = lambda device, dtype: made(Bag(), dtype, x=T)
        """,
        ["parameter `embed.weight` in place"],
    ),
    "dropout": (
        "f = lambda device, dtype: made(nn.Sequential(mlp(), nn.Dropout(0.5)), dtype)",
        ["draws random numbers"],
    ),
    "a penalty over module.parameters()": (
        """
        def f(device, dtype):
            net = mlp().to(dtype)
            return made(net, dtype, lambda o, y: mse(o, y) + 0.01 * sum(
                p.square().sum() for p in net.parameters()))
        """,
        ["the module's own `0.weight`, `0.bias`, `2.weight` and 1 more"],
    ),
    "a penalty over one layer": (
        """
        def f(device, dtype):
            net = mlp().to(dtype)
            return made(net, dtype, lambda o, y: mse(o, y) + net[2].weight.norm())
        """,
        ["the module's own `2.weight`"],
    ),
    "a parameter from elsewhere": (
        """
        SCALE = nn.Parameter(torch.ones(3, dtype=torch.float64))
        f = lambda device, dtype: Problem(torch.ones(3, dtype=dtype),
                                          lambda t: (t * SCALE).square().sum(), 'c')
        """,
        ["aren't part of θ", "(3,)"],
    ),
}


@pytest.mark.parametrize("case", UNSTEADY)
def test_what_is_not_a_function_of_theta_alone_is_refused(tmp_path, case):
    """Randomness, state, changed data and other leaves: each in its own words."""
    code, parts = UNSTEADY[case]
    sentence = refusal(tmp_path, code)
    for part in parts:
        assert part in sentence


# --- no false alarms ------------------------------------------------------------------------------

RIGHT = {
    "LSTM": "body(lambda n, x: n.second(n.layer(x[:, None])[0][:, -1]), nn.LSTM(5, 7, 2,"
    " batch_first=True))",
    "GRU": "body(lambda n, x: n.second(n.layer(x.view(-1, 5, 1))[0][:, -1]), nn.GRU(1, 7,"
    " batch_first=True))",
    "attention": (
        "body(lambda n, x: n.second(n.first(n.layer(*3 * [x.view(-1, 5, 1) * torch.ones(5).to(x)],"
        " need_weights=True)[0].mean(1))), nn.MultiheadAttention(5, 1, batch_first=True))"
    ),
    "GroupNorm": "body(lambda n, x: n.second(n.layer(torch.relu(n.first(x)))), nn.GroupNorm(1, 7))",
    "RMSNorm": "body(lambda n, x: n.second(n.layer(torch.relu(n.first(x)))), nn.RMSNorm(7))",
    "BatchNorm": "body(lambda n, x: n.second(n.layer(torch.relu(n.first(x)))), ElementaryBatchNorm(7))",
    "tied weights": "body(lambda n, x: n.second(torch.tanh(functional.linear(torch.tanh(n.first(x)),"
    " n.first.weight.T)) @ n.first.weight.T))",
    "a shared layer": "body(lambda n, x: n.second(n.first(n.layer(n.layer(x).relu()))), nn.Linear(5, 5))",
    "max-pooling": (
        "nn.Sequential(nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(),"
        " nn.MaxPool1d(2), nn.Flatten(), nn.Linear(8, 2))"
    ),
    "max-pooling of zeros": (
        "nn.Sequential(nn.Unflatten(1, (1, 5)), nn.ReLU(), nn.MaxPool1d(2, padding=1),"
        " nn.Conv1d(1, 4, 3, padding=1, bias=False), nn.MaxPool1d(3), nn.Flatten(), nn.Linear(4, 2))"
    ),
    "Hardtanh": "through(nn.Hardtanh())",
    "Hardswish": "through(nn.Hardswish())",
    "ReLU6": "through(nn.ReLU6())",
    "LeakyReLU": "through(nn.LeakyReLU())",
    "PReLU": "through(nn.PReLU())",
    "Hardshrink": "through(nn.Hardshrink())",
    "Softshrink": "through(nn.Softshrink())",
    "Threshold": "through(nn.Threshold(0.1, 0.0))",
    "GELU by tanh": "through(nn.GELU('tanh'))",
    "inplace ReLU": "through(nn.ReLU(inplace=True))",
    "deep ReLU": "nn.Sequential(nn.Linear(5, 64), nn.ReLU(), *[m for _ in range(6) for m in"
    " (nn.Linear(64, 64), nn.ReLU())], nn.Linear(64, 2))",
    "dead ReLU": "body(lambda n, x: n.second(torch.relu(n.first(x) - 99) + n.first(x).sigmoid()))",
    "zeros": "zeroed(nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2)))",
    "sorted": "body(lambda n, x: n.second(n.first(x).sort(1).values))",
    "topk and abs": "body(lambda n, x: n.second(n.first(x).abs().topk(7, 1).values))",
    "amax, detached where it cancels": (
        "body(lambda n, x: (lambda z: z - (z - z.amax(1, keepdim=True).detach()).exp()"
        ".sum(1, keepdim=True).log() - z.amax(1, keepdim=True).detach())(n.second(n.first(x))))"
    ),
    "dropout in eval": "nn.Sequential(mlp(), nn.Dropout(0.5)).eval()",
    "BatchNorm in eval": "nn.Sequential(mlp(), nn.BatchNorm1d(2)).eval()",
    "computed in float32": "body(lambda n, x: n.second(n.first(x).float().tanh().to(x.dtype)))",
    "where": "body(lambda n, x: n.second((lambda z: torch.where(z > 0, z, z.square()))(n.first(x))))",
    "bilinear": "body(lambda n, x: n.second(functional.interpolate(n.first(x)[:, None], 14,"
    " mode='linear')[:, 0, ::2]))",
    "singular values": "body(lambda n, x: n.second(n.first(x))"
    " + torch.linalg.svdvals(n.first.weight)[:2])",
    "spectral log": "body(lambda n, x: n.second(n.first(x)) + torch.logdet("
    "n.first.weight.T @ n.first.weight + torch.eye(5).to(x)))",
    "one weight": "nn.Sequential(nn.Linear(5, 2, bias=False).requires_grad_(True))",
    "convolution of images": "nn.Sequential(nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 3, (1, 3)),"
    " nn.ELU(), nn.ConvTranspose2d(3, 2, (1, 3)), nn.AdaptiveAvgPool2d(1), nn.Flatten())",
}

MAKERS = """
from eostui.problems import ElementaryBatchNorm


def body(forward, layer=None):
    return Net(forward, layer)


def through(layer):
    return nn.Sequential(nn.Linear(5, 7), layer, nn.Linear(7, 7), layer, nn.Linear(7, 2))


def zeroed(module):
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


"""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", RIGHT)
def test_what_autograd_gets_right_raises_no_alarm(tmp_path, case, dtype):
    """Kinks, ties, shared weights, zeros: all pass, and the comparison was conclusive."""
    code = f"{MAKERS}def f(device, dtype):\n    return made({RIGHT[case]}, dtype)\n"
    problem = build(tmp_path, code, dtype=dtype)
    if case == "computed in float32":
        assert problem.facts["examined"].startswith("∇L alone agree")
    else:
        assert problem.facts["examined"].startswith("∇L, Hv and D³L agree")
        assert "float64" in problem.facts["examined"]
    assert "trusted" not in problem.facts


LOSSES_OF_THETA = {
    "linear": "lambda t: t.sum()",
    "flat valley": "lambda t: (t[0] - t[1]) ** 2",
    "at its minimum": "lambda t: ((t - 1) ** 4).sum() + ((t - 1) ** 2).sum()",
    "on a large offset": "lambda t: 1e6 + t.cosh().sum()",
    "far from zero": "lambda t: ((t * 1e6).sin() * 1e-3).sum() + (t * t).sum()",
    "small": "lambda t: 1e-12 * (t ** 4).sum()",
    "absolute values": "lambda t: t.abs().sum() + (t[0] * t[1]).abs()",
    "Huber": "lambda t: functional.huber_loss(t * t, torch.zeros_like(t))",
    "its own matrix": "lambda t: ((MATRIX.to(t) @ t) ** 4).sum()",
    "its own derivative": (
        "lambda t: (lambda x: torch.autograd.grad((t[0] * x + t[1]).tanh().sum(), x,"
        " create_graph=True)[0].square().sum())(torch.linspace(-1, 1, 5).to(t).requires_grad_())"
    ),
    "logarithms": "lambda t: (t - 0.99).log().square().sum()",
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", LOSSES_OF_THETA)
def test_losses_of_theta_alone_raise_no_alarm(tmp_path, case, dtype):
    """Any scale, offsets, minima, domains, derivatives within the loss."""
    code = (
        "MATRIX = torch.eye(3)\n"
        f"f = lambda device, dtype: Problem(torch.ones(3, dtype=dtype), {LOSSES_OF_THETA[case]}, 'c')"
    )
    assert "agree" in build(tmp_path, code, dtype=dtype).facts["examined"]


def test_a_loss_with_tensors_in_float32_is_made_anew_in_float64(tmp_path):
    """Its matrix takes no θ in float64, so the function is called once more, and its seed kept."""
    code = """
    def f(device, dtype):
        print("at work")
        matrix = torch.randn(6, 3, dtype=dtype)
        return Problem(torch.ones(3, dtype=dtype), lambda t: (matrix @ t).relu().pow(2).sum(), "c")
    """
    told = []
    problem = build(tmp_path, code, told, dtype="float32")
    assert problem.facts["examined"] == "∇L, Hv and D³L agree with finite differences (float64)"
    assert told == ["at work"]
    wrong = code.replace(".pow(2)", ".mul((matrix @ t).detach())")
    assert "isn't that of its loss" in refusal(tmp_path, wrong, dtype="float32")


def test_a_loss_that_knows_float32_alone_is_compared_in_float32(tmp_path):
    """∇L alone: what secants of ∇L meet at steps that float32 allows is the kinks' curvature too."""
    code = """
    MATRIX = torch.randn(60, 3, generator=torch.Generator().manual_seed(4))
    f = lambda device, dtype: Problem(
        torch.linspace(-1, 1, 3, dtype=dtype), lambda t: {}.sum(), "c")
    """
    right = "(MATRIX @ t).relu().pow(2)"
    assert (
        "∇L alone agree" in build(tmp_path, code.format(right), dtype="float32").facts["examined"]
    )
    wrong = "((MATRIX @ t).relu() * (MATRIX @ t).relu().detach())"
    assert "isn't that of its loss" in refusal(tmp_path, code.format(wrong), dtype="float32")


#: But those of the papers' deep networks, each of which tests/problems/test_paper_networks.py examines.
SHIPPED = sorted(
    file.stem
    for file in locations.shipped("presets").glob("*.toml")
    if presets.load(str(file)).config.network not in STAGES
)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_presets_pass(name, tmp_path):
    """None raises an alarm; CIFAR presets take the images if they are here, others noise."""
    config = presets.load(str(locations.shipped("presets") / f"{name}.toml")).config
    images = Path(__file__).parents[3] / "shared" / "data" / "cifar5k.npz"
    if config.data == "cifar10" and config.problem == "network" and images.is_file():
        config = config.changed({"data": "npz", "data_file": str(images)})
    else:
        config = on_noise(config, tmp_path)
    problem = build_problem(config.changed({"device": "cpu"}), CPU, Path(), lambda _: None)
    outcome = examine(problem)
    assert not outcome.estimated
    assert outcome.compared.startswith("∇L, Hv and D³L agree with finite differences (float64")
