"""Values of a setting as people type them: lists and ranges, and a sentence for what is none."""

from __future__ import annotations

import contextlib
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eostui.errors import InputError
from eostui.sweeps.values import MOST_VALUES, parse_values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1,0.15,2/100", [0.1, 0.15, 0.02]),
        ("0.1", [0.1]),
        (" relu , tanh ", ["relu", "tanh"]),
        ("[16,16],[32,32]", [[16, 16], [32, 32]]),
        ("[{step=10, eta=0.1}],[]", [[{"step": 10, "eta": 0.1}], []]),
        ('"a,b",c', ["a,b", "c"]),
        ("true,false", [True, False]),
        ("0..5", [0, 1, 2, 3, 4, 5]),
        ("-1..1", [-1, 0, 1]),
        ("3..3", [3]),
        ("0:1:5", [0, 0.25, 0.5, 0.75, 1]),
        ("50:200:4", [50, 100, 150, 200]),
        ("2/100:4/100:3", [0.02, 0.03, 0.04]),
        ("0..1:5", [0, 0.25, 0.5, 0.75, 1]),
        ("1e-3:1e-1:3log", [1e-3, 1e-2, 1e-1]),
        ("1e-3..1e-1:3log", [1e-3, 1e-2, 1e-1]),
        ("1e-3:1e-1:3:log", [1e-3, 1e-2, 1e-1]),
        ("0,1e-3..1e-1:3log", [0, 1e-3, 1e-2, 1e-1]),
        ("7,0..2", [7, 0, 1, 2]),
        ("0.1:0.1:1", [0.1]),
        ("auto,4", ["auto", 4]),
        ("cpu,cuda:1", ["cpu", "cuda:1"]),
        ("own.py:Name,../other.py:Name", ["own.py:Name", "../other.py:Name"]),
    ],
)
def test_lists_and_ranges(text: str, values: list[object]) -> None:
    assert parse_values(text, "--x") == values


def test_the_values_of_a_range_are_those_of_its_kind() -> None:
    decays = parse_values("0:0.03:20", "--x")
    assert len(decays) == 20
    assert decays[0] == 0
    assert decays[-1] == 0.03
    steps = [b - a for a, b in pairwise(decays)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-9)
    ratios = parse_values("1e-5..1e-2:9log", "--x")
    assert [math.log10(each) for each in ratios] == pytest.approx(
        [-5 + 3 * n / 8 for n in range(9)]
    )
    assert all(isinstance(each, int) for each in parse_values("50:200:4", "--x"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no value is given"),
        ("a,,b", "has an empty item"),
        ("1,", "has an empty item"),
        ("1:0:3", "is reversed"),
        ("5..0", "is reversed"),
        ("1e-2..1e-5:9log", "is reversed"),
        ("0:1:0", "is empty"),
        ("0:1:-1", "is empty"),
        ("0:1:1", "is empty: 1 value from 0 to 1"),
        ("1:1:5", "is empty: 5 values from 1 to 1"),
        ("0:1", "has no count: write 0:1:COUNT"),
        ("0..0.5", "has no count"),
        ("0:1:x", "is no range"),
        ("10..", "is no range"),
        ("0:1:2.5", "its count must be a whole number"),
        ("0:1:", "its count must be a whole number"),
        ("0..1:9log", "is logarithmic and must begin above 0"),
        ("-1:1:3log", "is logarithmic and must begin above 0"),
        ("0.1,0.1", "0.1 is given twice"),
        ("0,0.0", "0 is given twice"),
        ("relu,relu", "relu is given twice"),
        ("0..5,3", "3 is given twice"),
        ("[1,2", "`]` is missing"),
        ("'a", "is missing at the end"),
        ("0.1/0", "isn't a number"),
        ("1/0:2:3", "isn't a number"),
        ("0..1000000", f"must have at most {MOST_VALUES}"),
        ("0:1:1000000", f"must have at most {MOST_VALUES}"),
        ("0..9999,10000..19999", f"more than {MOST_VALUES} values"),
    ],
)
def test_what_is_none_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError, match=r"^--x: ") as caught:
        parse_values(text, "--x")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="0123456789.:,-+elog[]{}'\" =ax/", max_size=20))
def test_any_text_gives_values_or_a_sentence(text: str) -> None:
    with contextlib.suppress(InputError):
        assert parse_values(text, "--x")
