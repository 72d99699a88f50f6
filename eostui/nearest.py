"""Names that aren't there, and the one that was meant: by what the field calls it, or by its spelling."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: What other programs, papers and people call a setting. Spelt without case, - and _.
_SYNONYMS = {
    "weight_decay": "lamda lambda λ lam wd l2 decay reg regularization regularisation",
    "eta": "η lr learningrate rate stepsize",
    "momentum": "μ mu mom",
    "beta1": "β1 β₁ betas",
    "beta2": "β2 β₂ rho smoothing",
    "epsilon": "ε eps",
    "ema_decay": "ema emadecay averaging",
    "batch_size": "batch batchsize minibatch bs",
    "steps": "epoch epochs iteration iterations iters niter nsteps maxsteps numsteps t",
    "width": "hidden units hiddenunits hiddensize hiddendim neurons",
    "depth": "layers nlayers numlayers hiddenlayers",
    "channels": "filters",
    "kernel": "kernelsize filtersize",
    "activation": "act nonlinearity",
    "network": "model arch architecture",
    "bias": "biases",
    "loss": "criterion lossfunction",
    "data": "dataset",
    "data_file": "file npz",
    "samples": "n nsamples numsamples trainsamples trainsize",
    "test_samples": "ntest testsize",
    "standardize": "normalize normalise standardise normalization",
    "deviation": "std stds sigma",
    "dynamics": "optimizer optimiser opt algorithm method",
    "controls": "schedule scheduler",
    "problem": "task toy",
    "problem_arguments": "arguments args",
    "seed": "randomseed rng",
    "device": "gpu",
    "dtype": "precision",
    "threads": "nthreads numthreads cpus",
    "processes": "nproc nprocpernode worldsize ranks workers ngpus gpus",
    "cadence": "every interval measureevery",
    "test_cadence": "evalevery evalinterval testevery",
    "checkpoint_every": "saveevery",
    "eigenvalues": "k neigs numeigs eigs",
    "chunk_size": "chunk chunks",
    "convolutions": "conv memoryformat",
    "probes": "measurement measurements",
    "start": "init initial x0",
}
_MEANT = {each: name for name, synonyms in _SYNONYMS.items() for each in synonyms.split()}


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name that was meant: by a slip, by what the field calls so, or one spelt alike."""
    spelt = {_spelling(each): each for each in valid}

    def alike(cutoff: float) -> str | None:
        near = difflib.get_close_matches(_spelling(name), spelt, n=1, cutoff=cutoff)
        return spelt[near[0]] if near else None

    meant = _MEANT.get(_spelling(name).replace("_", ""))
    return alike(0.9) or (meant if meant in spelt.values() else alike(0.5))


def _spelling(name: str) -> str:
    return name.casefold().replace("-", "_")
