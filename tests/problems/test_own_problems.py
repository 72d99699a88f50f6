"""A user's own problem: what is frozen, trusted, said, imported and returned."""

from __future__ import annotations

import random
import sys
import textwrap

import numpy as np
import pytest
import torch
from engines import Engine
from oracles import dense_hessian, dense_third, unit
from own import build, refusal, write
from terminal import Terminal

from eostui.cli.static_plot import render
from eostui.curvature.point import Point
from eostui.panels import PANELS
from eostui.panels.view import RunView
from eostui.problems.examination import examine
from eostui.runs.analysis.remarks import remark
from eostui.runs.export.table import RunTable
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = {"steps": 4, "device": "cpu", "threads": 1}
#: What isn't a function of θ, trusted or not.
NO_ESTIMATORS = {
    "dropout": (
        "f = lambda device, dtype: made(nn.Sequential(mlp(), nn.Dropout(0.5)), dtype)",
        "draws random numbers",
    ),
    "targets": (
        "f = lambda device, dtype: made(mlp(), dtype, lambda o, y: mse(o, y.add_(0.01)))",
        "its targets in place",
    ),
    "a penalty": (
        """
        def f(device, dtype):
            net = mlp().to(dtype)
            return made(net, dtype, lambda o, y: mse(o, y) + net[2].weight.norm())
        """,
        "the module's own `2.weight`",
    ),
    "minibatches": (
        "f = lambda device, dtype: Problem(torch.ones(3, dtype=dtype),\n"
        "    lambda t: (t ** 2).sum() * random.random(), 'c')",
        "Python's random numbers",
    ),
}

# --- frozen parameters, estimators that are meant ------------------------------------------------


@pytest.mark.parametrize("frozen", ["0.weight", "0.bias", "2.weight"])
def test_frozen_parameters_stay_and_the_rest_is_measured_rightly(tmp_path, frozen):
    """θ lacks them; L, ∇L, Hv and D³L are the dense ones of the loss of the others alone."""
    code = f"""
    def f(device, dtype):
        net = mlp()
        net.get_parameter("{frozen}").requires_grad_(False)
        return made(net, dtype, half_squared_error, decay_biases=False)
    """
    code = "from eostui.problems.losses import half_squared_error\n" + textwrap.dedent(code)
    problem = build(tmp_path, code)
    whole = build(tmp_path, code.replace("requires_grad_(False)", "requires_grad_(True)"))
    sizes = {"0.weight": 35, "0.bias": 7, "2.weight": 14, "2.bias": 2}
    assert len(problem.initial) == 58 - sizes[frozen]
    assert problem.facts["frozen_parameters"] == f"{sizes[frozen]} of 58: {frozen}"
    kept = torch.cat([torch.full((n,), key != frozen) for key, n in sizes.items()])
    torch.testing.assert_close(whole.initial[kept], problem.initial, rtol=0, atol=0)
    torch.testing.assert_close(whole.decayed[kept], problem.decayed, rtol=0, atol=0)
    point, theta = Point(problem.loss, problem.initial), whole.initial
    torch.testing.assert_close(point.loss, whole.loss(theta))
    hessian = dense_hessian(whole.loss, theta)[kept][:, kept]
    torch.testing.assert_close(point.gradient, torch.func.grad(whole.loss)(theta)[kept])
    v = unit(len(problem.initial), 1)
    product, third = point.curvature_gradient(v)
    torch.testing.assert_close(product, hessian @ v)
    spread = torch.zeros_like(theta)
    spread[kept] = v
    torch.testing.assert_close(third, dense_third(whole.loss, theta, spread)[kept])


def test_frozen_and_tied_or_all_frozen(tmp_path):
    """A shared parameter is frozen once; with none left there is nothing to train."""
    tied = """
    def f(device, dtype):
        net = Net(lambda n, x: n.second(n.layer(n.layer(x)).tanh() @ n.first.weight.T), nn.Linear(5, 5))
        net.layer.bias.requires_grad_(False)
        net.first.bias.requires_grad_(False)
        return made(net, dtype)
    """
    problem = build(tmp_path, tied)
    assert problem.facts["frozen_parameters"] == "12 of 88: first.bias, layer.bias"
    everything = "f = lambda device, dtype: made(mlp().requires_grad_(False), dtype)"
    assert "no parameters that require gradients" in refusal(tmp_path, everything)


ESTIMATOR = (
    "f = lambda device, dtype, **more: made(Net(lambda n, x: n.second(\n"
    "    (lambda z: z + (torch.round(4 * z) / 4 - z).detach())(n.first(x)))), dtype, **more)"
)


def test_an_estimator_that_is_meant_passes_and_is_marked_wherever_s_is_shown(tmp_path):
    """By the setting or by the problem's own word: a fact, an event, titles, the export's columns."""
    assert "trust_gradients = true" in refusal(tmp_path, ESTIMATOR)
    by_itself = build(tmp_path, ESTIMATOR.replace("**more)", "**more, trust_gradients=True)", 2)
                      .replace("lambda device, dtype, **more, trust_gradients=True",
                               "lambda device, dtype, **more"))  # fmt: skip
    assert "isn't that of its loss" in by_itself.facts["trusted"]
    config = write(tmp_path, ESTIMATOR, trust_gradients=True, **SHORT)
    engine = Engine(config, tmp_path / "runs")
    assert engine.ended() == 0
    with Run(engine.path) as run:
        (event,) = [event for event in run.events if event.kind == "trusted"]
        assert remark(event).startswith("S is that of a trusted gradient: its gradient isn't")
        view = RunView(run, "finished")
        assert PANELS[0].title(view) == ("sharpness S of a trusted gradient", "path curvature κ")
        assert "sharpness S of a trusted gradient" in render(run, width=100, height=30, color=False)
        columns = RunTable(run).describe()["columns"]
        assert "of a trusted gradient" in columns["sharpness"]["description"]
        assert "trust_gradients = true" in run.facts["config"]


def test_the_live_view_says_whose_s_it_is_and_what_the_code_said(tmp_path):
    """In the chart's title for as long as it is shown, and once in words."""
    write(tmp_path, ESTIMATOR + "\nprint('hello from here')\n")
    (tmp_path / "mine.toml").write_text(
        'problem = "own.py:f"\ntrust_gradients = true\nsteps = 300\ndevice = "cpu"\nthreads = 1\n'
    )
    runs = tmp_path / "runs"
    terminal = Terminal("run", "mine.toml", cwd=tmp_path, EOSTUI_RUNS=str(runs))
    terminal.wait_for("sharpness S of a trusted gradient", "hello from here", timeout=90)
    terminal.wait_for("FINISHED")
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_what_is_right_is_not_marked_though_it_is_trusted(tmp_path):
    """The mark follows from what was found, not from the setting."""
    problem = build(tmp_path, "f = lambda device, dtype: made(mlp(), dtype)", trust_gradients=True)
    assert "trusted" not in problem.facts


@pytest.mark.parametrize("case", NO_ESTIMATORS)
def test_trust_excuses_estimators_alone(tmp_path, case):
    """What isn't a function of θ is refused all the same."""
    code, words = NO_ESTIMATORS[case]
    assert words in refusal(tmp_path, code, trust_gradients=True)


# --- what the user's code says, imports and returns ----------------------------------------------


def test_what_the_code_says_reaches_the_user_the_record_and_the_log(tmp_path):
    """Prints, warnings and native output before the run begins, of the function and of the loss."""
    code = """
    import os

    def f(device, dtype):
        print("made by hand")
        warnings.warn("mind the gap")
        os.write(2, b"native words\\n")
        return made(mlp(), dtype)
    """
    engine = Engine(write(tmp_path, code, **SHORT), tmp_path / "runs")
    assert engine.ended() == 0
    begun = engine.told.index("made by hand")
    assert "UserWarning: mind the gap" in engine.told[begun + 1]
    log = (engine.path / "engine.log").read_text()
    for words in ("made by hand", "mind the gap", "native words"):
        assert words in log
    with Run(engine.path) as run:
        (event,) = [event for event in run.events if event.kind == "said"]
        assert "made by hand · " in remark(event)
    loud = (
        "f = lambda device, dtype: made(\n"
        "    Net(lambda n, x: [print('again'), n.second(n.first(x))][1]), dtype)"
    )
    told = []
    build(tmp_path, loud, told)
    assert told == ["again"] * 20


def test_modules_beside_the_file_are_imported(tmp_path):
    """Those of its own folder, of the newest problem, after the standard library; nothing leaks."""
    before = list(sys.path)
    for folder, size in (("one", 3), ("two", 5)):
        (tmp_path / folder / "parts").mkdir(parents=True)
        (tmp_path / folder / "helper.py").write_text(f"SIZE = {size}\n")
        (tmp_path / folder / "parts" / "__init__.py").write_text("from helper import SIZE\n")
        (tmp_path / folder / "statistics.py").write_text("raise RuntimeError('not this one')\n")
        code = (
            "import statistics\nimport parts\n"
            "f = lambda device, dtype: Problem(torch.ones(parts.SIZE, dtype=dtype),\n"
            "    lambda t: statistics.mean([1, 3]) * (t * t).sum(), 'c')\n"
        )
        told = []
        assert len(build(tmp_path / folder, code, told).initial) == size
        assert "`import statistics` finds" in told[0]
        assert str(tmp_path / folder) in sys.path
    assert [entry for entry in sys.path if entry not in before] == [str(tmp_path / "two")]
    build(tmp_path, "f = lambda device, dtype: made(mlp(), dtype)")
    assert "helper" not in sys.modules
    sentence = refusal(tmp_path, "import helper\nf = None")
    assert "No module named 'helper'" in sentence


FORMS = {
    "a fact that is a number": (
        "Problem(torch.ones(3, dtype=dtype), lambda t: (t * t).sum(), 'c', facts={'n': 12})",
        ["`facts`: 'n' is 12 (int)", "text"],
    ),
    "a fact that is a tensor": (
        "Problem(torch.ones(3, dtype=dtype), lambda t: (t * t).sum(), 'c', facts={'x': X})",
        ["`facts`: 'x' is a tensor of shape (12, 5)"],
    ),
    "a fact without a name": (
        "Problem(torch.ones(3, dtype=dtype), lambda t: (t * t).sum(), 'c', facts={3: 'three'})",
        ["`facts`: 3 is"],
    ),
    "a convention that is none": (
        "Problem(torch.ones(3, dtype=dtype), lambda t: (t * t).sum(), None)",
        ["`convention` is None"],
    ),
    "θ₀ that isn't finite": (
        "Problem(torch.ones(3, dtype=dtype) / 0, lambda t: (t * t).sum(), 'c')",
        ["θ₀ isn't finite"],
    ),
    "a mask of another shape": (
        "Problem(torch.ones(3, dtype=dtype), lambda t: (t * t).sum(), 'c', decayed=torch.ones(2))",
        ["`decayed` has shape (2,)"],
    ),
    "a test that returns a number": (
        "Problem(torch.ones(3, dtype=dtype), lambda t: (t * t).sum(), 'c', test=lambda t: 0.5)",
        ["`test` returned 0.5 (float)", "Evaluation"],
    ),
    "a test that fails": (
        "Problem(torch.ones(3, dtype=dtype), lambda t: (t * t).sum(), 'c', test=lambda t: X @ t)",
        ["its test set can't be evaluated: RuntimeError"],
    ),
    "a test that is NaN": (
        "Problem(torch.ones(3, dtype=dtype), lambda t: (t * t).sum(), 'c',"
        " test=lambda t: Evaluation(float('nan'), None))",
        ["its test loss at θ₀ is nan"],
    ),
    "outputs that are a tuple, with a test": (
        "made(Net(lambda n, x: (n.second(n.first(x)), x)), dtype, lambda o, y: mse(o[0], y),"
        " test=(X.to(dtype), Y.to(dtype)))",
        ["outputs are of type tuple"],
    ),
    "outputs that are a dict, in chunks": (
        "made(Net(lambda n, x: {'logits': n.second(n.first(x))}), dtype,"
        " lambda o, y: mse(o['logits'], y), chunk_size=5)",
        ["outputs are of type dict"],
    ),
    "test inputs of another width": (
        "made(mlp(), dtype, test=(X[:, :4].to(dtype), Y.to(dtype)))",
        ["its test set can't be evaluated", "5x7"],
    ),
    "test inputs without samples": (
        "made(mlp(), dtype, test=(X[:0].to(dtype), Y[:0].to(dtype)))",
        ["`test` has 0 inputs"],
    ),
    "test targets of another shape": (
        "made(mlp(), dtype, test=(X.to(dtype), Y[:, 0].to(dtype)))",
        ["`test` has targets of shape (12,)", "(12, 2)"],
    ),
    "fewer test targets": (
        "made(mlp(), dtype, test=(X.to(dtype), Y[:7].to(dtype)))",
        ["`test` has 12 inputs and 7 targets"],
    ),
    "inputs that are NaN": (
        "made(mlp(), dtype, x=torch.cat([X, X * float('nan')])[6:18])",
        ["its inputs aren't finite"],
    ),
    "a loss that is infinite": (
        "made(mlp(), dtype, lambda o, y: mse(o, y) + (o - o).sum().log())",
        ["its loss at θ₀ is -inf"],
    ),
    "test inputs that are NaN": (
        "made(mlp(), dtype, test=(X.to(dtype) / 0 * 0, Y.to(dtype)))",
        ["its test inputs aren't finite"],
    ),
    "test inputs of another precision": (
        "made(mlp(), dtype, test=(X.float(), Y.float()))",
        ["its test set can't be evaluated", "dtype"],
    ),
    "targets (N,) for outputs (N, 1)": (
        "Problem.from_module(nn.Linear(5, 1).to(dtype), lambda o, y: (o - y).square().mean(),"
        " X.to(dtype), Y[:, 0].to(dtype), convention='c')",
        ["outputs of shape (N, 1) and targets of shape (N,)", "broadcast"],
    ),
    "targets (N, 1) for outputs (N,)": (
        "Problem.from_module(Net(lambda n, x: n.second(n.first(x))[:, 0]).to(dtype),"
        " lambda o, y: (o - y).abs().mean(), X.to(dtype), Y[:, :1].to(dtype), convention='c')",
        ["outputs of shape (N,) and targets of shape (N, 1)", "broadcast"],
    ),
    "fewer targets": (
        "made(mlp(), dtype, x=X[:9])",
        ["9 inputs and 12 targets"],
    ),
}


@pytest.mark.parametrize("case", FORMS)
def test_what_does_not_fit_is_told_before_the_run(tmp_path, case):
    """Facts, masks, outputs and test sets: what, and what would be right."""
    code, parts = FORMS[case]
    sentence = refusal(tmp_path, f"f = lambda device, dtype: {code}")
    for part in parts:
        assert part in sentence


def test_a_module_for_one_size_of_batch_is_examined_on_all_samples(tmp_path):
    """It fails on two samples, as it is made for twelve."""
    code = (
        "f = lambda device, dtype: made(Net(lambda n, x: n.second(n.first(x)"
        " * torch.linspace(0, 1, 12).to(x)[:, None])), dtype)"
    )
    assert "all 12 samples" in build(tmp_path, code).facts["examined"]


def test_an_examination_leaves_all_random_numbers_as_they_were(tmp_path):
    """torch's, numpy's and Python's go on as if there had been none."""
    problem = build(tmp_path, "f = lambda device, dtype: made(mlp(), dtype)")
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    wanted = torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    examine(problem)
    assert (torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()) == wanted


def test_a_module_that_comes_twice_is_left_as_it_was(tmp_path):
    """A call with θ puts every parameter back, shared ones too, and the two places get the same θ."""
    problem = build(
        tmp_path,
        """
        def f(*, device, dtype):
            layer = nn.Linear(5, 5)
            net = nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, 2))
            net[4].weight = layer.weight
            return made(net, dtype)
        """,
    )
    module = problem.loss.supervised.module
    theta = torch.randn_like(problem.initial).requires_grad_()
    value = problem.loss(theta)
    places = [p for part in module.modules() for p in part._parameters.values()]
    assert all(isinstance(place, torch.nn.Parameter) and place.is_leaf for place in places)
    assert torch.equal(torch.nn.utils.parameters_to_vector(module.parameters()), problem.initial)
    copy = problem.module(theta)
    assert copy[0] is copy[2]
    assert copy[4].weight is copy[0].weight
    by_hand = problem.loss.supervised
    wanted = by_hand.loss(copy(by_hand.inputs), by_hand.targets)
    torch.testing.assert_close(value, wanted, rtol=1e-13, atol=0)
    gradient = torch.cat([
        g.reshape(-1) for g in torch.autograd.grad(wanted, list(copy.parameters()))
    ])  # fmt: skip
    (found,) = torch.autograd.grad(value, theta)
    torch.testing.assert_close(found, gradient, rtol=1e-12, atol=1e-14)
