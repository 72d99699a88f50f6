"""Code of a user that a setting names as "file.py:Name"."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

from eostui.errors import InputError, did_you_mean


def load_class(reference: str, setting: str, base: type, seed: int) -> type:
    """Execute a user's file and return the class that the reference names."""
    file, _, name = reference.rpartition(":")
    path = Path(file)
    spec = importlib.util.spec_from_file_location(f"eostui_own_{setting}_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(f'`{setting}` is "{reference}", but there is no Python file {path}')
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    torch.manual_seed(seed)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not isinstance(found, type) or not issubclass(found, base):
        public = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise InputError(f"`{setting}`: {path} has no class `{name}`{did_you_mean(name, public)}")
    return found
