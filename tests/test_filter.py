"""What is typed to find runs and presets."""

from __future__ import annotations

import math

import pytest

from eostui.errors import InputError
from eostui.filter import parse_filter

KEYS = ("weight_decay", "eta", "width", "state", "preset", "probes", "bias", "late_sharpness")
WORDS = {"live": ("running", "paused")}
NAMES = ("digits-mlp-8aj3", "lam-0", "control for Fig. 4")
FIELDS = {
    "weight_decay": 3e-4, "eta": 0.15, "width": 100, "state": "running", "preset": "digits-mlp",
    "probes": ["trace.py:Trace", "own.py:Own"], "bias": True, "late_sharpness": math.nan,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ("   ", True),
        ("LAM digits", True),
        ("8aj3 fig", True),
        ("'fig. 4'", True),
        ("lam tanh", False),
        ("-tanh", True),
        ("-lam", False),
        ("weight_decay>1e-4", True),
        ("weight_decay>3/10000", False),
        ("λ>=3e-4", True),
        ("λ<3e-4", False),
        ("η=0.15 λ!=0", True),
        ("η:0.15,0.2", True),
        ("η!=0.15,0.2", False),
        ("width=100.0", True),
        ("width:1*", False),  # a number isn't compared letter by letter
        ("state:live", True),
        ("state:finished,live", True),
        ("-state:live", False),
        ("state!=live", False),
        ("preset:digits*", True),
        ("preset:Digits-MLP", True),
        ("preset:digits", False),
        ("probes:*Own", True),
        ("probes:none", False),
        ("bias:true", True),
        ("bias>0", False),
        ("late_sharpness>0", False),  # not measured: neither above nor below
        ("late_sharpness<=0", False),
        ("-late_sharpness>0", True),
    ],
)
def test_what_passes(text: str, passes: bool) -> None:
    assert parse_filter(text, KEYS, WORDS).matches(NAMES, FIELDS) is passes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lamda>0", "filter lamda>0: unknown key `lamda`; did you mean `weight_decay`?"),
        ("eta>big", "filter eta>big: `big` isn't a number; type one like 0.02, 1e-3 or 2/100"),
        ("eta<nan", "`nan` isn't a number"),
        ("eta=", "what `eta` is compared with is missing"),
        ("'fig", "a quote isn't closed"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_filter(text, KEYS, WORDS)
    assert said in str(refused.value)


def test_units() -> None:
    """A key's numbers are read by its own unit; what isn't one is told as the unit does."""

    def hours(text: str) -> float:
        if not text.endswith("h"):
            raise InputError("must be like 12h")
        return 3600 * float(text[:-1])

    found = parse_filter("age<2h", ("age",), units={"age": hours})
    assert found.matches((), {"age": 7199.0})
    assert not found.matches((), {"age": 7201.0})
    assert not found.matches((), {"age": None})
    with pytest.raises(InputError, match="like 12h"):
        parse_filter("age<2", ("age",), units={"age": hours})
