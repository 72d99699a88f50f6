"""Fixtures shared by all tests: private folders, devices, small problems in float64, the CIFAR file."""

from __future__ import annotations

import os
import signal

# A job in the background has SIGINT ignored, and hands that on to the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# OpenBLAS ends its threads before a fork, and may wait for one of them for ever: tests that open
# terminals fork. So it has none here; it is asked before numpy is loaded.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest

from eostui.config import RunConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from eostui.problems import Problem

hypothesis.configuration.set_hypothesis_home_dir(os.devnull)  # leave nothing in the checkout
hypothesis.settings.register_profile("shared-machine", database=None, deadline=None)
hypothesis.settings.load_profile("shared-machine")

CIFAR = Path(__file__).parents[1].parent / "shared" / "data" / "cifar5k.npz"

ACTIVATIONS = ("relu", "tanh", "gelu", "elu", "softplus")
LOSSES = ("mse", "cross-entropy")
NETWORKS = ("mlp", "cnn")


@pytest.fixture(autouse=True, scope="session")
def _private_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep runs, data and settings of the tests away from those of whoever runs them.

    Presets say `device = "auto"`; here that is the CPU on every machine. A test that is about another
    device names it, by the fixture `device`. And no view keeps an engine ready that its test doesn't
    ask for: each loads PyTorch.
    """
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("EOSTUI_RUNS", "EOSTUI_DATA", "EOSTUI_SETTINGS", "EOSTUI_CACHE"):
            patch.setenv(variable, str(tmp_path_factory.mktemp(variable)))
        patch.setenv("EOSTUI_DEVICE", "cpu")
        patch.setenv("EOSTUI_NO_STANDBY", "1")
        patch.delenv("EOSTUI_THEME", raising=False)
        yield


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Give each device in turn to a test that must hold on all; CUDA is skipped where there is none."""
    if request.param == "cuda":
        request.getfixturevalue("cuda")
    return request.param


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what a GPU's libraries warn of be told beside the results: here it is no error of ours."""
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.filterwarnings("default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tell",
        action="store_true",
        help="tell of each test at once how it went, and why it failed",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--tell") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Teller(), "tell")


class _Teller:
    """Prints a line as each test ends, and of one that failed its traceback: no summary may come."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            print(f"\n{report.outcome:7} {report.duration:6.1f} s  {report.nodeid}", flush=True)
        if report.failed:
            print(report.longreprtext[-6000:], flush=True)


@pytest.fixture
def cuda() -> torch.device:
    """Give the first CUDA GPU to a test that is about nothing else, and skip it where there is none."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    return torch.device("cuda:0")


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Compute on one thread: on tiny tensors several only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Case:
    """A small problem as the package builds it, with the data it should have been built from.

    Attributes:
        config: its configuration.
        problem: what build_problem made of it.
        inputs: the standardised samples, computed by the test with numpy.
        targets: the one-hot classes.
    """

    config: RunConfig
    problem: Problem
    inputs: Tensor
    targets: Tensor

    @property
    def theta(self) -> Tensor:
        """θ₀, in float64."""
        return self.problem.initial


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Real .npz files of random samples in three classes: vectors for the MLP, images for the CNN."""
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(1)
    arrays = {"mlp": rng.normal(size=(7, 5)), "cnn": rng.normal(size=(6, 4, 4))}
    for network, x in arrays.items():
        np.savez(folder / f"{network}.npz", x=x, y=np.arange(len(x)) % 3)
    return {network: folder / f"{network}.npz" for network in arrays}


@pytest.fixture(scope="session")
def small_case(
    small_files: dict[str, Path],
    one_thread: None,  # noqa: ARG001
) -> Callable[..., Case]:
    """Build a small float64 problem by the ordinary way: RunConfig.build, then build_problem."""
    import torch

    from eostui.problems import build_problem

    def build(network: str = "mlp", **values: Any) -> Case:
        defaults = {
            "data": "npz",
            "data_file": str(small_files[network]),
            "network": network,
            "depth": 2,
            "width": 4,
            "channels": (2,),
            "dtype": "float64",
            "seed": 3,
        }
        config = RunConfig.build({**defaults, **values}, "test")
        cpu = torch.device("cpu")
        problem = build_problem(config, cpu, Path(os.devnull), lambda _: None)
        with np.load(small_files[network]) as file:
            x, y = file["x"], file["y"]
        x = (x - x.mean()) / x.std()
        inputs = torch.from_numpy(x if network == "mlp" else x[:, None])
        return Case(config, problem, inputs, torch.from_numpy(np.eye(3)[y]))

    return build


@pytest.fixture(scope="session")
def cifar_file() -> Path:
    """The first 5000 CIFAR-10 images, which lie beside the checkout on some machines only."""
    if not CIFAR.is_file():
        pytest.skip("cifar5k.npz isn't beside this checkout")
    return CIFAR
