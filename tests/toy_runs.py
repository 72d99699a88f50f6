"""Toy problems, built and trained by the engine's own loop in this process."""

from __future__ import annotations

from pathlib import Path

import torch

from eostui.config import RunConfig
from eostui.engine.device import prepare_machine
from eostui.engine.driver import Driver
from eostui.engine.facts import initial_facts
from eostui.problems import build_problem
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter

EXACT = {"dtype": "float64", "device": "cpu", "threads": 1, "tolerance": 1e-12}


def toy_config(name, arguments=None, **values):
    values = {**EXACT, "problem": name, "problem_arguments": arguments or {}, **values}
    return RunConfig.build(values, "test")


def build(config):
    return build_problem(config, torch.device("cpu"), Path(), lambda _: None)


def train(folder, config, problem=None):
    """Train by the engine's own loop, in this process; return the run and how it ended."""
    machine = prepare_machine(config)
    problem = problem or build(config)
    writer = RunWriter(folder / "r", initial_facts(config, machine, problem, "r", ""))
    status, _ = Driver(config, problem).run(writer)
    writer.fact("status", status)
    writer.close()
    return Run(folder / "r"), status
