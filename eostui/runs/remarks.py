"""What measuring has to say beside its numbers, in words (the events of `curvature/sharpness.py`)."""

from __future__ import annotations

from eostui.runs.rows import Event


def remark(event: Event) -> str:
    """Return what an event says of a measurement that went wrong; "" for any other event."""
    step, told = event.step, event.payload
    if event.kind == "unmeasured":
        return f"not measured at step {step}: {told.get('reason', '')}"
    if event.kind == "audit":
        which = "S" if told.get("eigenvalue", 1) == 1 else f"eigenvalue {told['eigenvalue']}"
        return (
            f"a cold search at step {step} found a larger {which} than had been followed: "
            "from here on the larger one is"
        )
    if event.kind == "unconverged":
        return (
            f"the search for eigenvalues at step {step} ended after {told.get('products')} products "
            "before it was good enough: see sharpness_residual"
        )
    if event.kind == "degenerate":
        after = told.get("next")
        least = "" if after is None else f": after S {told['sharpness']:.6g} comes {after:.6g}"
        return (
            f"at step {step} u is one direction among several{least}. "
            "u, β, βα, g and x are those of one of them: see u_error"
        )
    return ""
