"""Numbers as people read them at a glance."""

from __future__ import annotations

import math


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


def percent(share: float) -> str:
    """Return a share in percent, or – when it isn't known."""
    return "–" if math.isnan(share) else f"{100 * share:.0f} %"
