"""RunConfig: everything that decides what a run computes, validated, and its TOML form."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from eostui import locations
from eostui.errors import InputError, did_you_mean
from eostui.fork_schedule import ForkSchedule
from eostui.network_stages import STAGES, WITHOUT_BATCH_NORM
from eostui.optional_probes import OPTIONAL_PROBES
from eostui.schedule import ControlChange, check_schedule
from eostui.stability import CONTROLS, INTERVENTIONS, STABILITY
from eostui.stop_condition import StopCondition, parse
from eostui.text import parse_number, parse_toml
from eostui.toys import TOYS
from eostui.validation import sentence

Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]

#: Eigenvalues that are followed at most.
MOST_EIGENVALUES = 24

#: Settings that act on problem = "network" alone.
_OF_NETWORKS = {
    "data", "data_file", "layout", "samples", "test_samples", "selection", "standardize", "mean",
    "deviation", "static_augmentation", "network", "stages", "batch_norm_group", "depth", "width",
    "channels", "kernel", "activation", "bias", "loss", "decay_biases", "convolutions",
}  # fmt: skip
#: Settings that act on your own "file.py:function" alone.
_OF_OWN_PROBLEMS = {"trust_gradients"}
#: Settings of an intervention in the steps.
_INTERVENTIONS = {control.name for control in INTERVENTIONS}
#: Settings that act on some of the program's dynamics alone; a control acts on those that have it.
_BATCHES = {name for name, stability in STABILITY.items() if stability.batches}
_OF_DYNAMICS = {
    "beta2": {"adamw", "rmsprop"}, "epsilon": {"adamw", "rmsprop"}, "batch_size": _BATCHES,
    "replacement": _BATCHES, "batch_ends": _BATCHES,
    "project_every": {"sphere-sgd"},
}  # fmt: skip
#: Settings that act where an optional probe measures, by its name.
_OF_PROBES = {
    "rotations": {"pin_at", "eigenvectors_budget"},
    "flow": {"flow_at", "flow_substeps"},
    "ema": {"ema_decay"},
    "batch_sharpness": {"batch_sharpness_cadence", "batch_sharpness_draws"},
    "noise": {"noise_cadence", "noise_draws"},
}


class RunConfig(BaseModel):
    """What a run is: the problem, the dynamics, what is measured, and where it computes.

    Two runs with equal configs, the same device and the same control changes are the same run. Keys
    are flat, so that `--set key=value` and a preset's line say the same thing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    preset: str = Field("unnamed", description="name of the preset this came from")

    problem: str = Field(
        "network", description='"network", a toy\'s name, or your own "file.py:function"'
    )
    problem_arguments: dict[str, Any] = Field(
        default_factory=dict, description="arguments of the toy, or of your own problem's function"
    )

    trust_gradients: bool = Field(
        False,
        description="whether gradients that aren't your loss's own are meant, as of a straight-through "
        "estimator: S is then marked as that of a trusted gradient",
    )

    data: Literal["digits", "cifar10", "cifar100", "fashion-mnist", "npz"] = Field(
        "digits", description="data set"
    )
    data_file: str = Field("", description="the .npz file when data is npz: x, y, optional xt, yt")
    layout: Literal["auto", "channels-last", "channels-first"] = Field(
        "auto",
        description="of images (N, a, b, c) in an .npz file: where their channels are; auto: at the one "
        "of a and c that is 1 to 4, and refused where that doesn't tell",
    )
    samples: PositiveInt | Literal["all"] = Field("all", description="training samples used")
    test_samples: PositiveInt | Literal["all"] = Field("all", description="test samples used")
    selection: Literal["first", "balanced", "random"] = Field(
        "first", description="which samples: the first, equally many a class, or drawn by the seed"
    )
    standardize: Literal[
        "constants",
        "channels",
        "global",
        "pixels",
        "cifar10",
        "cifar10-why",
        "cifar10-why-vgg",
        "none",
    ] = Field(
        "global",
        description="by the `mean` and `deviation` given; by those of the data: of channels, of all, or "
        "of each pixel; or by customary constants: cifar10 (deviations .2470 .2435 .2616), cifar10-why "
        "(.2023 .1994 .2010), cifar10-why-vgg (those, then ImageNet's)",
    )
    mean: tuple[FiniteFloat, ...] = Field((), description="a constant for each channel")
    deviation: tuple[Positive, ...] = Field((), description="a constant for each channel")

    static_augmentation: NonNegativeInt = Field(
        0,
        description="copies of each training image that are the training samples, each cropped from 4 "
        "black pixels around it and flipped or not, as the seed draws it once; 0: the images themselves",
    )

    network: Literal[
        "mlp",
        "cnn",
        "vgg10",
        "vgg16",
        "vgg19",
        "resnet20",
        "preact-resnet18",
        "preact-resnet34",
        "scale-invariant-resnet18",
    ] = Field(
        "mlp", description="architecture: an MLP, a CNN, or a network of the papers by its name"
    )
    stages: tuple[tuple[PositiveInt, PositiveInt], ...] = Field(
        (),
        description="of a network of the papers, to make a smaller one: for each stage its channels, and "
        "its convolutions (VGG) or blocks (ResNet); left out: as the paper has it",
    )
    batch_norm_group: NonNegativeInt = Field(
        0,
        description="samples that batch normalisation takes its statistics over, in the order of the "
        "data, the last group of what is left (ghost batch normalisation); 0: all of them",
    )
    depth: Annotated[int, Field(ge=0)] = Field(2, description="hidden layers of the MLP")
    width: PositiveInt = Field(100, description="units in each hidden layer of the MLP")
    channels: tuple[PositiveInt, ...] = Field(
        (32, 32), description="output channels of each convolution of the CNN"
    )
    kernel: PositiveInt = Field(3, description="kernel size of the CNN's convolutions, odd")
    activation: Literal["relu", "tanh", "gelu", "elu", "softplus"] = Field(
        "relu", description="activation"
    )
    bias: bool = Field(True, description="whether layers have biases")
    loss: Literal["mse", "cross-entropy"] = Field(
        "mse", description="mse: half the sum over outputs, mean over samples"
    )

    dynamics: str = Field(
        "gradient-descent",
        description='"' + '", "'.join(STABILITY) + '", or your own "file.py:Class"',
    )
    eta: Positive = Field(0.15, description="learning rate η at the start")
    weight_decay: NotNegative = Field(0.0, description="weight decay λ at the start")
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.9, description="momentum μ at the start, of dynamics that have one"
    )
    sharp_step: NotNegative = Field(
        1.0,
        description="step along the sharpest eigenvectors of the Hessian, those last measured whose "
        "eigenvalue is above `sharp_above`, as a share of what it would be: 0, or a smaller η along "
        "them; 1 for no intervention",
    )
    other_step: NotNegative = Field(
        1.0,
        description="step in all other directions, as a share: 0 to move along the sharpest only",
    )
    sharp_above: NotNegative = Field(
        1.0,
        description="which eigenvectors these are: their eigenvalue is above this times 2/η − λ",
    )
    beta1: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.9, description="β₁ of adamw at the start: the share of the mean gradient kept a step"
    )
    beta2: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.999,
        description="β₂ of adamw and rmsprop: the share of the mean squared gradient kept a step",
    )
    epsilon: Positive = Field(1e-8, description="ε of adamw and rmsprop, added to the root of that")
    batch_size: PositiveInt = Field(
        128, description="samples in each batch of sgd; all of them: gradient descent"
    )
    replacement: bool = Field(
        False,
        description="whether each batch of sgd is drawn by itself, and a sample may come twice; else an "
        "epoch is a permutation drawn by the seed, and what doesn't fill a batch is left out",
    )
    project_every: PositiveInt | Literal["epoch"] = Field(
        1, description="steps of sphere-sgd between projections onto the unit sphere; or an epoch"
    )
    batch_ends: bool = Field(
        True,
        description="whether each batch is seen at the end of its step too, for batch_loss_step and "
        "batch_path_curvature: a step is then two passes",
    )
    controls: tuple[ControlChange, ...] = Field(
        (),
        description="changes of η, λ, μ, β₁ and interventions: each a `step`, an `epoch` (here a step) "
        "or `at_accuracy`, the share of training samples, with `eta` or `eta_factor`, a factor of η, "
        "`weight_decay`, `momentum`, `beta1`, `sharp_step`, `other_step`, `sharp_above` or several; with "
        "`warm_up` they get there in so many even steps, from where they are or from `warm_up_from`",
    )
    warm_up: Annotated[int, Field(ge=0)] = Field(
        0,
        description="steps at the start in which η rises evenly to `eta`: the first has eta/warm_up",
    )
    forks: tuple[ForkSchedule, ...] = Field(
        (),
        description="forks that `eostui fork RUN --scheduled` makes of it: one `every` so many steps, "
        "`from` and `until` a step, of a `length` in steps, with settings of their own such as `eta`",
    )
    decay_biases: bool = Field(True, description="whether weight decay also acts on biases")
    steps: PositiveInt = Field(12_000, description="steps that it takes at most")
    stop_at: tuple[str, ...] = Field(
        (),
        description="what ends it before: the first that holds of a step, a loss (`loss 1e-3`), a phase "
        "(`edge`), a `crossing` of S, `accuracy 95 %` of test samples, `train accuracy 99.99 %`, `rest`; "
        "all but a step may have steps after it, as `rest +2000`",
    )
    rest_window: PositiveInt = Field(
        1000,
        description="steps over which `rest` is judged: with 8 readings of S or more, in phases of rest "
        "alone, with no change of a control",
    )
    rest_drift: Annotated[FiniteFloat, Field(gt=0, lt=1)] = Field(
        0.02,
        description="at rest the mean of S over the window has a standard error below this share of it, "
        "and those of its quarters differ by less, or by less than three errors of that",
    )
    pause_at: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="steps before which a run that is watched pauses; a headless one goes on"
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(10, description="of all random choices")

    cadence: PositiveInt = Field(25, description="steps between curvature measurements")
    reading: Literal["raw", "midpoint"] = Field(
        "raw", description="measure at θ_t, or at (θ_{t−1} + 2θ_t + θ_{t+1})/4, off the bounce"
    )
    far_cadence: Annotated[int, Field(ge=0)] = Field(
        0,
        description="steps between measurements while S is below 0.75·(2/η − λ), a multiple of cadence; "
        "they stay dense near it and after a change of η or λ; 0 for the same everywhere",
    )
    measure: Literal["drives", "spectrum"] = Field(
        "drives", description="spectrum: eigenvalues alone, without ∇S, β, βα, g"
    )
    eigenvalues: Annotated[int, Field(ge=1, le=MOST_EIGENVALUES)] | Literal["edge"] = Field(
        2,
        description='how many of the largest eigenvalues are followed; "edge": all above 0.75·2/η '
        f"and one more, {MOST_EIGENVALUES} at most",
    )
    smallest_eigenvalue: bool = Field(False, description="whether eig_min is measured too")
    spectrum_cadence: NonNegativeInt = Field(
        0,
        description="steps between measurements of the eigenvalues after S, where `eigenvalues` asks for "
        "any: they come with an S whose step is a multiple of this; 0: with every S",
    )
    tolerance: Annotated[FiniteFloat, Field(gt=0, lt=1)] = Field(
        1e-5,
        description="error of every eigenvalue told, as a share of S, at which the eigensolver stops",
    )
    vector_tolerance: Annotated[FiniteFloat, Field(gt=0, lt=1)] = Field(
        0.02, description="error of u, as a sine, at which it stops; β, βα, g are as good as u"
    )
    test_cadence: PositiveInt = Field(250, description="steps between test evaluations")
    probes: tuple[str, ...] = Field(
        (),
        description="what is measured beside what every run measures: names of the program's optional "
        'probes, and measurements of your own, each a "file.py:Class"',
    )

    ntk_cadence: PositiveInt = Field(
        500, description="steps between measurements of the probes `ntk` and `weyl`"
    )
    ntk_samples: PositiveInt = Field(
        100,
        description="samples on which the probe `ntk` computes its kernel: the first of a permutation "
        "that is the same in every run",
    )
    ntk_split: Literal["train", "test"] = Field(
        "train", description="whether these are training or test samples"
    )
    density_cadence: NonNegativeInt = Field(
        1000,
        description="steps between densities, of the probe spectral_density; 0: at `density_at` alone",
    )
    density_at: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="further steps at which that probe measures"
    )
    trace_cadence: PositiveInt = Field(
        250, description="steps between estimates of tr H, of the probe hessian_trace"
    )
    trace_draws: Annotated[int, Field(ge=2)] = Field(
        32, description="random directions, and Hessian products, that an estimate of tr H takes"
    )
    trace_samples: NonNegativeInt = Field(
        0,
        description="training samples, at even distances in their order, that tr H is of; 0 for all",
    )
    batch_sharpness_cadence: PositiveInt = Field(
        250, description="steps between readings of the probe batch_sharpness"
    )
    batch_sharpness_draws: Annotated[int, Field(ge=2)] = Field(
        32, description="batches that a reading of it takes, drawn as the run draws its own"
    )
    noise_cadence: PositiveInt = Field(250, description="steps between readings of the probe noise")
    noise_draws: Annotated[int, Field(ge=2)] = Field(
        20, description="random directions v of which a reading of it takes cos(Hv, Σv)"
    )
    ema_decay: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.999,
        description="β of the probe ema: the share of the average of the iterates kept a step",
    )
    pin_at: Literal["edge"] | Annotated[int, Field(ge=0)] = Field(
        "edge",
        description="the step with whose eigenvectors the probe `rotations` compares later ones: edge, "
        "the first reading of S at or above 2/η − λ; or a step",
    )
    eigenvectors_budget: Positive = Field(
        100.0,
        description="megabytes of the device that the probe `rotations` may take for past eigenvectors; "
        "a checkpoint has them too",
    )

    flow_at: Literal["edge"] | Annotated[int, Field(ge=0)] = Field(
        "edge",
        description="where the probe `flow` begins its small-step flow: edge, the first reading of S at "
        "or above 2/η − λ; or a step",
    )
    flow_substeps: PositiveInt = Field(
        10, description="steps of η/flow_substeps that it takes for each step of the run"
    )

    calibrate_at: Literal["never", "auto"] | Annotated[int, Field(ge=0)] = Field(
        "never",
        description="when theory's prediction is laid over the run: auto, where S first crosses 2/η − λ; "
        "or at a step",
    )

    checkpoint_every: NotNegative = Field(
        30.0,
        description="seconds of training between checkpoints; 0: only at a pause, a calibration, the end",
    )
    checkpoint_budget: Positive = Field(
        1000.0, description="megabytes of checkpoints kept: the newest, and others evenly before it"
    )

    chunk_size: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto",
        description="samples in memory at a time; 0: all; auto: all, or what a GPU has room for",
    )
    convolutions: Literal["auto", "native", "channels-last", "unfolded"] = Field(
        "auto",
        description="how the CNN's are computed: by the device's kernels on images in either layout, or "
        "as matrix products; auto: on a GPU what is fastest there, timed once and kept with the run",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    dtype: Literal["float32", "float64"] = Field("float32", description="precision")
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto", description="CPU threads of the engine, and of each further process"
    )
    processes: Annotated[int, Field(ge=1, le=1024)] = Field(
        1,
        description="processes among which the training samples are shared out, each with its threads "
        "or its own GPU",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        if (
            isinstance(value, bool)
            and cls.model_fields[str(info.field_name)].annotation is not bool
        ):
            raise ValueError(f"`{info.field_name}` is {str(value).lower()}, but isn't a switch")
        return value

    @field_validator("stop_at", mode="before")
    @classmethod
    def _ends_are_known(cls, value: Any) -> Any:
        """Take one text too, and bring all to one form."""
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
            return value
        try:
            conditions = [condition for each in given for condition in parse(each)]
        except InputError as error:
            raise ValueError(f"`stop_at`: {error}") from None
        return tuple(dict.fromkeys(condition.typed for condition in conditions))

    @field_validator("problem")
    @classmethod
    def _problem_is_known(cls, value: str) -> str:
        if value != "network" and value not in TOYS and ":" not in value:
            raise ValueError(
                f'`problem` is "{value}", but must be "network", one of {", ".join(TOYS)}, '
                f'or your own "file.py:function"{did_you_mean(value, ["network", *TOYS])}'
            )
        return value

    @field_validator("dynamics")
    @classmethod
    def _dynamics_is_known(cls, value: str) -> str:
        if value not in STABILITY and ":" not in value:
            raise ValueError(
                f'`dynamics` is "{value}", but must be one of {", ".join(STABILITY)}, '
                f'or your own "file.py:Class"{did_you_mean(value, STABILITY)}'
            )
        return value

    @field_validator("probes")
    @classmethod
    def _probes_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Put the program's first, in their order; to ask twice for one is to ask for it."""
        own = tuple(probe for probe in value if ":" in probe)
        for probe in value:
            if probe not in OPTIONAL_PROBES and probe not in own:
                raise ValueError(
                    f'`probes` has "{probe}", but each must be one of {", ".join(OPTIONAL_PROBES)}, '
                    f'or your own "file.py:Class"{did_you_mean(probe, OPTIONAL_PROBES)}'
                )
        return (*(name for name in OPTIONAL_PROBES if name in value), *own)

    @field_validator("problem_arguments")
    @classmethod
    def _toy_takes_them(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Check the arguments of a toy and state all of them: defaults may change."""
        toy = info.data.get("problem", "")
        if toy not in TOYS:
            return value
        try:
            return TOYS[toy].model_validate(value).model_dump()
        except ValidationError as error:
            keys = tuple(TOYS[toy].model_fields)
            told = sentence(error.errors(), keys)
            raise ValueError(
                f"`problem_arguments`: {told} ({toy} takes {', '.join(keys)})"
            ) from None

    @model_validator(mode="after")
    def _keys_agree(self) -> RunConfig:
        if not self.preset.isprintable():
            raise ValueError("`preset` has control characters in it")
        if self.data == "npz" and not self.data_file:
            raise ValueError('`data_file` is missing: with data = "npz" it names the .npz file')
        if self.standardize == "constants" and not self.mean:
            raise ValueError(
                '`mean` is missing: standardize = "constants" needs mean and deviation'
            )
        if len(self.mean) != len(self.deviation):
            raise ValueError(
                f"`mean` has {len(self.mean)} values and `deviation` {len(self.deviation)}: "
                "they must have one for each channel"
            )
        if self.far_cadence % self.cadence:
            raise ValueError(
                f"`far_cadence` is {self.far_cadence}, but must be a multiple of `cadence`, "
                f"{self.cadence}, or 0"
            )
        for key in ("pin_at", "flow_at", "calibrate_at"):
            at = getattr(self, key)
            if isinstance(at, int) and at >= self.steps:
                raise ValueError(f"`{key}` is {at}, but must be below `steps`, {self.steps}")
        if self.stages and self.network not in STAGES:
            raise ValueError(
                f'`stages` is for networks of the papers, but `network` is "{self.network}": its sizes '
                "are `depth` and `width` (mlp), or `channels` (cnn)"
            )
        normalised = self.network in STAGES and self.network not in WITHOUT_BATCH_NORM
        if self.batch_norm_group and not normalised:
            raise ValueError(
                f"`batch_norm_group` is {self.batch_norm_group}, but network "
                f'"{self.network}" has no batch normalisation'
            )
        if self.kernel % 2 == 0:
            raise ValueError(f"`kernel` is {self.kernel}, but must be odd")
        return self

    @model_validator(mode="after")
    def _schedule_fits(self) -> RunConfig:
        if self.dynamics in _BATCHES and self.processes > 1:
            raise ValueError(
                f"`processes` is {self.processes}, but must be 1 with the dynamics {self.dynamics}: a "
                "batch is computed by one process"
            )
        for change in self.controls if self.dynamics in _BATCHES else ():
            if change.epoch is not None:
                raise ValueError(
                    f"{change.where}: with the dynamics {self.dynamics} an epoch is many steps: "
                    "give `step`"
                )
        if self.dynamics in STABILITY and STABILITY[self.dynamics].operator:
            for each in INTERVENTIONS:
                if getattr(self, each.name) != each.initial:
                    raise ValueError(
                        f"`{each.name}` is {getattr(self, each.name):g}, but the dynamics "
                        f"{self.dynamics} has no interventions: its eigenvectors aren't the Hessian's"
                    )
        check_schedule(self.controls_at_start(), self.controls, complete=self.dynamics in STABILITY)
        return self

    @property
    def stop_conditions(self) -> tuple[StopCondition, ...]:
        """What ends the run before its steps are done, in the order of `stop_at`."""
        return parse(", ".join(self.stop_at))

    @model_validator(mode="after")
    def _forks_have_settings(self) -> RunConfig:
        for schedule in self.forks if self.dynamics in STABILITY else ():
            for key in schedule.changes:
                if key not in (*type(self).model_fields, "eta_factor"):
                    near = did_you_mean(
                        key, [*ForkSchedule.model_fields, "eta_factor", *type(self).model_fields]
                    )
                    raise ValueError(f"`forks`: unknown key `{key}`{near}")
        return self

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Return the names of all settings, in the order of the file."""
        return tuple(cls.model_fields)

    @classmethod
    def build(cls, values: Mapping[str, Any], where: str) -> RunConfig:
        """Validate `values`; `where` names their source in the error.

        Raises:
            InputError: with one sentence that names the key, the value and what would be right.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            told = sentence(error.errors(), cls.keys(), ControlChange.model_fields)
            raise InputError(f"{where}: {told}") from None

    @classmethod
    def from_toml(cls, text: str, where: str) -> RunConfig:
        """Parse and validate TOML. Raises InputError."""
        return cls.build(parse_toml(text, where), where)

    def changed(self, values: Mapping[str, Any], where: str = "command line") -> RunConfig:
        """Return a copy with some settings replaced, validated anew. Raises InputError."""
        return self.build({**self.model_dump(), **values}, where) if values else self

    def controls_at_start(self) -> dict[str, float]:
        """Return the controls of the dynamics as they are at step 0, by name.

        Which of them dynamics of your own have, their file alone says: of those it is all.
        """
        if stability := STABILITY.get(self.dynamics):
            return stability.at_start(self)
        return {name: getattr(self, name) for name in CONTROLS}

    def own_code(self) -> tuple[str, ...]:
        """Return the settings that name code of your own, each a "file.py:Name"."""
        return tuple(name for name in (self.problem, self.dynamics, *self.probes) if ":" in name)

    def acting(self, *, mode: Literal["python", "json"] = "python") -> dict[str, Any]:
        """Return the settings that act: of a problem that isn't a network, not those of networks;
        of dynamics without momentum, not that, and so on; of an optional probe that isn't asked for,
        which may be turned on later, those that aren't the default's."""
        unused = set() if self.problem == "network" else _OF_NETWORKS
        if ":" not in self.problem:
            unused = unused | _OF_OWN_PROBLEMS
        for probe, settings in _OF_PROBES.items():
            if probe not in self.probes:
                unused = unused | {
                    name for name in settings
                    if getattr(self, name) == type(self).model_fields[name].default
                }  # fmt: skip
        unused = unused | (CONTROLS.keys() - self.controls_at_start().keys())
        if not any(name in change.changed for change in self.controls for name in _INTERVENTIONS):
            plain = all(getattr(self, each.name) == each.initial for each in INTERVENTIONS)
            unused = unused | (_INTERVENTIONS if plain else set())
        if self.dynamics in STABILITY:  # one of your own may read any
            unused = unused | {
                key for key, having in _OF_DYNAMICS.items() if self.dynamics not in having
            }
        return self.model_dump(mode=mode, exclude=unused)

    def to_toml(self) -> str:
        """Return the whole config as TOML, every setting stated that acts."""
        return tomli_w.dumps(self.acting())


def parse_setting(text: str) -> tuple[str, Any]:
    """Parse one `key=value` of `--set`: the value as TOML, or as a bare word.

    Raises:
        InputError: if there is no `=` or the key is unknown.
    """
    key, separator, raw = (part.strip() for part in text.partition("="))
    if not separator or not key:
        raise InputError(f"--set {text}: must be key=value, such as width=200")
    if key not in RunConfig.model_fields:
        raise InputError(f"--set {text}: unknown key `{key}`{did_you_mean(key, RunConfig.keys())}")
    try:
        return key, tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        numeric = RunConfig.model_fields[key].annotation is float
        return key, parse_number(raw) if numeric else raw


def absolute_files(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return `values` with the file names in it made absolute, as meant relative to `folder`."""

    def absolute(file: str) -> str:
        return str(locations.absolute(folder) / locations.expanded(Path(file)))

    def of_own_code(name: Any) -> Any:
        if not isinstance(name, str) or ":" not in name:
            return name
        file, _, function = name.rpartition(":")
        return f"{absolute(file)}:{function}"

    resolved = dict(values)
    data_file, probes = values.get("data_file"), values.get("probes")
    if isinstance(data_file, str) and data_file:
        resolved["data_file"] = absolute(data_file)
    resolved |= {key: of_own_code(values[key]) for key in ("problem", "dynamics") if key in values}
    if isinstance(probes, list | tuple):
        resolved["probes"] = [of_own_code(probe) for probe in probes]
    return resolved
