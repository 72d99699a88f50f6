"""Kernels in Triton on a CPU, by its interpreter."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest


@contextlib.contextmanager
def interpreted(name: str) -> Iterator[ModuleType]:
    """Give a copy of a module whose kernels are interpreted: that is decided where they are defined."""
    pytest.importorskip("triton")
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        patch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        yield module
