"""What events must tell: of the shape that readers count on, whatever JSON can hold."""

from __future__ import annotations

import json

import pytest

from eostui.runs.store.payloads import check_payload

CALIBRATED = {
    "number": 1, "step": 3, "eta": 0.1, "weight_decay": 0, "alpha": 1e-3, "beta": 25.0,
    "beta_alpha": -1.5, "g": 0.0, "g_x": 2, "gradient_u": 0.0, "sharpness": 19.5,
}  # fmt: skip
RESEATED = {"step": 5, "x": 0.1, "q": -2}
NO_NUMBERS = [None, "1", True, [1], {}, json.loads("1" + 400 * "0"), float("inf"), float("nan")]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("calibrated", CALIBRATED), ("calibrated", CALIBRATED | {"quartic": 1.5, "more": "text"}),
        ("reseated", RESEATED), ("refused", {"reason": "no", "command": "x"}),
        ("unmapped", {"reason": "no"}), ("phase", {"to": "edge"}), ("control", {}),
        ("control", {"eta": [1, 0.5], "weight_decay": [0, 0.1]}), ("control", {"momentum": [0, 0.9]}),
        ("started", {}), ("of another version", {"whatever": None}),
    ],
)  # fmt: skip
def test_what_readers_count_on_is_accepted(kind, payload):
    check_payload(kind, payload)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [("calibrated", CALIBRATED), ("reseated", RESEATED), ("refused", {"reason": "no"}),
     ("unmapped", {"reason": "no"}), ("phase", {"to": "edge"})],
)  # fmt: skip
def test_every_entry_must_be_there_and_of_its_type(kind, payload):
    """The sentence names it; no value of a stranger's record is in the sentence."""
    for name, right in payload.items():
        wrong = [3, None, ["x"]] if isinstance(right, str) else NO_NUMBERS
        for value in wrong:
            with pytest.raises(ValueError, match=f"`{name}`"):
                check_payload(kind, payload | {name: value})
        with pytest.raises(ValueError, match=f"`{name}`"):
            check_payload(kind, {key: value for key, value in payload.items() if key != name})


@pytest.mark.parametrize(
    ("kind", "payload", "name"),
    [
        ("calibrated", CALIBRATED | {"eta": 0}, "eta"),
        ("calibrated", CALIBRATED | {"step": 3.0}, "step"),
        ("calibrated", CALIBRATED | {"quartic": None}, "quartic"),
        ("control", {"eta": 0.1}, "eta"), ("control", {"eta": [0.1]}, "eta"),
        ("control", {"eta": [1, 2, 3]}, "eta"), ("control", {"weight_decay": [0, "1"]}, "weight_decay"),
        ("control", {"eta": {"0": 1, "1": 2}}, "eta"),
    ],
)  # fmt: skip
def test_what_no_reader_could_use_is_refused(kind, payload, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        check_payload(kind, payload)
