"""What there is to say beside a run's numbers, in words: of its problem, and of its measuring.

The events are those of `engine/session.py` and of the probes.
"""

from __future__ import annotations

from collections.abc import Mapping

from eostui.runs.store.rows import Event

#: What a user's problem, dynamics and probes printed as they were loaded and tried, and why a gradient is
#: trusted: facts of the problem, with an event of the same name at the beginning of the record.
SAID, TRUSTED = "said", "trusted"
#: How far the loss is from scale-invariant, where it is put onto a sphere: as these two.
NOT_INVARIANT = "not_invariant"
#: What a user's own probe says, and that one is measured no more.
NOTED, TURNED_OFF = "noted", "turned_off"
#: That the source of a user's own probes is another from a step on.
PROBES_CHANGED = "probes_changed"
#: Why a GPU's steps aren't captured as graphs, where they could be.
UNCAPTURED = "uncaptured"
#: That the prediction of centre and bounce has lost the run.
CENTRE_LOST = "centre_lost"
#: That the small-step flow beside the run is none any more, by the size of its steps.
FLOW_COARSE = "flow_coarse"
#: That θ stands still: a step is to be along eigenvectors alone, and none is above the bound.
STANDS = "stands"
#: Whose S it is, where a gradient that isn't the loss's own was trusted.
OF_TRUSTED = "of a trusted gradient"


def trusted_gradient(facts: Mapping[str, str]) -> str:
    """Return why S isn't that of the loss, though trusted; "" if it is."""
    return facts.get(f"problem.{TRUSTED}", "")


def remark(event: Event) -> str:
    """Return what an event says of the problem, or of a measurement that went wrong; else ""."""
    step, told = event.step, event.payload
    if event.kind == SAID:
        return f"code of the run's own said: {told.get('text', '')}"
    if event.kind == TRUSTED:
        return f"S is that {OF_TRUSTED}: {told.get('text', '')}"
    if event.kind == NOT_INVARIANT:
        return f"the network isn't scale-invariant: {told.get('text', '')}"
    if event.kind == "unmeasured":
        return f"not measured at step {step}: {told.get('reason', '')}"
    if event.kind == UNCAPTURED:
        return f"the GPU waits for the host at every step: {told.get('reason', '')}"
    if event.kind == TURNED_OFF:
        probe, why = told.get("probe", ""), told.get("reason", "")
        return f"the probe {probe} is turned off from step {step} on: {why}"
    if event.kind == PROBES_CHANGED:
        what = told.get("what", "")
        return f"what the run's own probes measure from step {step} on may be another: {what}"
    if event.kind == NOTED:
        more = "".join(f", {key} {value}" for key, value in told["told"].items())
        return (
            f"at step {step} the probe {told.get('probe', '')} says: {told.get('kind', '')}{more}"
        )
    if event.kind == CENTRE_LOST and told.get("escaped"):
        return f"the prediction of centre and bounce escaped by step {step}: there is no more of it"
    if event.kind == CENTRE_LOST:
        return (
            f"the prediction of centre and bounce has lost the run by step {step}: its centre is off by "
            f"{told.get('distance', 0):.2g}, of a way of {told.get('way', 0):.2g}"
        )
    if event.kind == FLOW_COARSE and told.get("escaped"):
        return f"the small-step flow escaped by step {step}: there is no more of it"
    if event.kind == FLOW_COARSE:
        return (
            f"the small-step flow is none from step {step} on: its S, {told.get('sharpness', 0):.4g}, "
            f"is at {told.get('limit', 0):.4g}, up to which its own steps are stable: take more "
            "`flow_substeps`"
        )
    if event.kind == STANDS:
        return (
            f"θ stands still from step {step} on: it is to move along eigenvectors above the bound only "
            "(η_⊥/η 0), and none is"
        )
    if event.kind == "audit":
        which = "S" if told.get("eigenvalue", 1) == 1 else f"eigenvalue {told['eigenvalue']}"
        return (
            f"a cold search at step {step} found a larger {which} than had been followed: "
            "from here on the larger one is"
        )
    if event.kind == "unconverged":
        where = "eig_min_residual" if told.get("smallest") else "sharpness_residual"
        return (
            f"the search for eigenvalues at step {step} ended after {told.get('products')} products "
            f"before it was good enough: see {where}"
        )
    if event.kind == "degenerate":
        after = told.get("next")
        least = "" if after is None else f": after S {told['sharpness']:.6g} comes {after:.6g}"
        return (
            f"at step {step} u is one direction among several{least}. "
            "u, β, βα, g and x are those of one of them: see u_error"
        )
    return ""
