"""Which device a config means: on machines with and without GPUs, imitated and as this one is."""

from __future__ import annotations

import pytest
import torch
from engines import small
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.engine import device
from eostui.engine.device import automatic_device, devices_meant, prepare_machine
from eostui.errors import InputError


@pytest.mark.parametrize(
    ("there", "chosen", "meant"),
    [
        (["cpu"], None, "cpu"),
        (["cpu", "cuda:0", "cuda:1"], None, "cuda:0"),
        (["cpu", "mps"], None, "mps"),
        (["cpu", "cuda:0"], "", "cuda:0"),
        (["cpu", "cuda:0"], "auto", "cuda:0"),
        (["cpu", "cuda:0"], "cpu", "cpu"),
        (["cpu", "cuda:0", "cuda:1"], "cuda:1", "cuda:1"),
        (["cpu", "cuda:0"], "cuda", "cuda:0"),
    ],
)
def test_what_auto_is(monkeypatch, there, chosen, meant):
    """The first GPU, unless EOSTUI_DEVICE says otherwise; a config that names a device has that one."""
    monkeypatch.setattr(device, "available_devices", lambda: there)
    if chosen is None:
        monkeypatch.delenv("EOSTUI_DEVICE")
    else:
        monkeypatch.setenv("EOSTUI_DEVICE", chosen)
    assert automatic_device() == torch.device(meant)
    assert prepare_machine(small(device="auto")).device == torch.device(meant)
    assert prepare_machine(small(device="cpu")).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("wanted", "chosen", "meant"),
    [
        ("auto", "", {"cuda:0": 100, "cuda:1": 200}),
        ("auto", "cuda:1", {"cuda:1": 200}),
        ("auto", "cpu", {"cpu": None}),
        ("cuda", "cpu", {"cuda:0": 100}),
        ("cuda:1", "cuda:77", {"cuda:1": 200}),
        ("cuda:2", "", {}),
        ("cpu", "", {"cpu": None}),
    ],
)
def test_what_several_runs_share(monkeypatch, wanted, chosen, meant):
    """With the bytes free on each GPU; EOSTUI_DEVICE says what auto is, and nothing of others."""
    monkeypatch.setattr(device, "available_devices", lambda: ["cpu", "cuda:0", "cuda:1"])
    free = {torch.device("cuda:0"): (100, 1000), torch.device("cuda:1"): (200, 1000)}
    monkeypatch.setattr(torch.cuda, "mem_get_info", free.__getitem__)
    monkeypatch.setenv("EOSTUI_DEVICE", chosen)
    assert devices_meant(wanted) == meant


def test_auto_on_this_machine(monkeypatch):
    """CUDA where there is a GPU, else the CPU (or Apple's)."""
    monkeypatch.delenv("EOSTUI_DEVICE")
    elsewhere = "mps" if torch.backends.mps.is_available() else "cpu"
    wanted = "cuda" if torch.cuda.is_available() else elsewhere
    assert automatic_device().type == wanted


@pytest.mark.parametrize("wanted", ["gpu", "cuda:99", "CPU"])
def test_a_device_that_is_not_there(monkeypatch, wanted):
    """What was asked for, where, and what there is."""
    monkeypatch.setattr(device, "available_devices", lambda: ["cpu", "cuda:0"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    there = f'is "{wanted}", but this machine has only cpu, cuda:0 '
    with pytest.raises(InputError, match=f"^`device` {there}"):
        prepare_machine(small(device=wanted))
    monkeypatch.setenv("EOSTUI_DEVICE", wanted)
    with pytest.raises(InputError, match=f"^EOSTUI_DEVICE {there}"):
        prepare_machine(small(device="auto"))
    done = CliRunner().invoke(app, ["doctor"])
    assert f'BAD  devices     EOSTUI_DEVICE is "{wanted}", but this machine has only' in done.output
    assert done.exit_code == 1


def test_doctor_names_devices_and_what_auto_is(monkeypatch):
    """Cards by their names; in the tests `auto` is the CPU everywhere."""
    found = CliRunner().invoke(app, ["doctor"]).output
    (line,) = [line for line in found.splitlines() if line.startswith("ok   devices")]
    assert "; auto is cpu; " in line
    for index in range(torch.cuda.device_count()):
        assert f"cuda:{index} ({torch.cuda.get_device_name(index)})" in line
    monkeypatch.setattr(device, "available_devices", lambda: ["cpu", "cuda:0"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    monkeypatch.setenv("EOSTUI_DEVICE", "auto")
    found = CliRunner().invoke(app, ["doctor"]).output
    assert "devices     cpu, cuda:0 (NVIDIA H100 80GB HBM3); auto is cuda:0; " in found
