"""Numbers as people read them at a glance."""

from __future__ import annotations

import math

#: A tick's text is rounded by no more than this share of its value.
_ROUNDED = 1e-3


def compact(value: float, digits: int = 3) -> str:
    """Return a number in few characters: 13.3, 0.150, 8.9e-4, –."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-3 or size >= 10 ** (digits + 3):
        mantissa, exponent = f"{value:.{max(digits - 2, 0)}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    places = max(digits - 1 - math.floor(math.log10(size)), 0)
    return f"{value:.{places}f}"


def control(value: float) -> str:
    """Return η or λ: trailing zeros away, four digits where they are the whole of it, else three."""
    whole = f"{value:.4g}"
    return whole if float(whole) == value else f"{value:.3g}"


def steered(first: float, now: float) -> str:
    """Return η or λ as a run began with it and as it is now, where these differ: 0→.001."""
    if first == now:
        return control(now)
    return "→".join(control(value).replace("0.", ".", 1) for value in (first, now))


def grouped(step: int) -> str:
    """Return a step count with thin groups: 8 412."""
    return f"{step:,}".replace(",", " ")


def age(seconds: float) -> str:
    """Return how long ago something was, as people say it."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def percent(share: float) -> str:
    """Return a share in percent, or – when it isn't known."""
    return "–" if math.isnan(share) else f"{100 * share:.0f} %"


def tick_texts(values: list[float], room: int = 12) -> list[str]:
    """Return a short text for each of several ticks: 0, 2k, 12.5, 1e-3; -.025 in a narrow room.

    Each has the digits that its value has, or as many as there is room for, four about; "" for one that
    has then the text of another, and where less would fit.
    """
    texts: list[str] = []
    for value in values:
        text = _tick_text(value, room)
        texts.append("" if text in texts else text)
    return texts


def _tick_text(value: float, room: int) -> str:
    if abs(value) < 1e-300:
        return "0"
    for digits in range(10, 0, -1):
        rounded = float(f"{value:.{digits}g}")
        text = _with_digits(rounded, digits)
        if len(text) > room:
            text = text.replace("0.", ".", 1)
        if len(text) <= room:
            return text if abs(rounded - value) <= _ROUNDED * abs(value) else ""
    return ""


def _with_digits(rounded: float, digits: int) -> str:
    size = abs(rounded)
    if size >= 1e6 or size < 1e-2:
        mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
        if "." in mantissa:
            mantissa = mantissa.rstrip("0").rstrip(".")
        return f"{mantissa}e{int(exponent)}"
    if size >= 1e3:
        return f"{rounded / 1e3:.12g}k"
    return f"{rounded:.12g}"
