"""RunConfig: everything that decides what a run computes, validated, and its TOML form."""

from __future__ import annotations

import codecs
import math
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from eostui import locations
from eostui.errors import InputError, did_you_mean
from eostui.schedule import ControlChange, check_schedule
from eostui.toys import TOYS

Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]

#: Eigenvalues that are followed at most.
MOST_EIGENVALUES = 24

#: Settings that act on problem = "network" alone.
_OF_NETWORKS = {
    "data", "data_file", "layout", "samples", "test_samples", "selection", "standardize", "mean",
    "deviation", "network", "depth", "width", "channels", "kernel", "activation", "bias", "loss",
    "decay_biases",
}  # fmt: skip
#: Settings that act on your own "file.py:function" alone.
_OF_OWN_PROBLEMS = {"trust_gradients"}


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
    standardize: Literal["constants", "channels", "global", "none"] = Field(
        "global", description="by the `mean` and `deviation` given, or by those of the data"
    )
    mean: tuple[FiniteFloat, ...] = Field((), description="a constant for each channel")
    deviation: tuple[Positive, ...] = Field((), description="a constant for each channel")

    network: Literal["mlp", "cnn"] = Field("mlp", description="architecture")
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
        description='"gradient-descent", "heavy-ball", or your own "file.py:Class"',
    )
    eta: Positive = Field(0.15, description="learning rate η at the start")
    weight_decay: NotNegative = Field(0.0, description="weight decay λ at the start")
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.9, description="momentum μ at the start, of dynamics that have one"
    )
    controls: tuple[ControlChange, ...] = Field(
        (), description="changes of η and λ, each a `step` with `eta`, `weight_decay` or both"
    )
    decay_biases: bool = Field(True, description="whether weight decay also acts on biases")
    steps: PositiveInt = Field(12_000, description="gradient-descent steps")
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
    tolerance: Annotated[FiniteFloat, Field(gt=0, lt=1)] = Field(
        1e-5,
        description="error of every eigenvalue told, as a share of S, at which the eigensolver stops",
    )
    vector_tolerance: Annotated[FiniteFloat, Field(gt=0, lt=1)] = Field(
        0.02, description="error of u, as a sine, at which it stops; β, βα, g are as good as u"
    )
    test_cadence: PositiveInt = Field(250, description="steps between test evaluations")
    probes: tuple[str, ...] = Field(
        (), description='your own measurements, each a "file.py:Class", beside those of the program'
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
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    dtype: Literal["float32", "float64"] = Field("float32", description="precision")
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto", description="CPU threads of the engine"
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

    @field_validator("problem")
    @classmethod
    def _problem_is_known(cls, value: str) -> str:
        if value != "network" and value not in TOYS and ":" not in value:
            raise ValueError(
                f'`problem` is "{value}", but must be "network", one of {", ".join(TOYS)}, '
                f'or your own "file.py:function"{did_you_mean(value, ["network", *TOYS])}'
            )
        return value

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
            sentence = _sentence(error.errors(), keys)
            raise ValueError(
                f"`problem_arguments`: {sentence} ({toy} takes {', '.join(keys)})"
            ) from None

    @model_validator(mode="after")
    def _keys_agree(self) -> RunConfig:
        if self.eta * self.weight_decay >= 1:
            raise ValueError(
                f"`eta` × `weight_decay` is {self.eta * self.weight_decay:g}, but must be below 1, "
                "or decay alone would flip the sign of the weights"
            )
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
        if isinstance(self.calibrate_at, int) and self.calibrate_at >= self.steps:
            raise ValueError(
                f"`calibrate_at` is {self.calibrate_at}, but must be below `steps`, {self.steps}"
            )
        if self.kernel % 2 == 0:
            raise ValueError(f"`kernel` is {self.kernel}, but must be odd")
        return self

    @model_validator(mode="after")
    def _schedule_fits(self) -> RunConfig:
        check_schedule(self.controls, self.eta, self.weight_decay)
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
            raise InputError(f"{where}: {_sentence(error.errors(), cls.keys())}") from None

    @classmethod
    def from_toml(cls, text: str, where: str) -> RunConfig:
        """Parse and validate TOML. Raises InputError."""
        return cls.build(parse_toml(text, where), where)

    def changed(self, values: Mapping[str, Any], where: str = "command line") -> RunConfig:
        """Return a copy with some settings replaced, validated anew. Raises InputError."""
        return self.build({**self.model_dump(), **values}, where) if values else self

    def acting(self, *, mode: Literal["python", "json"] = "python") -> dict[str, Any]:
        """Return the settings that act: for a problem that isn't a network, not those of networks."""
        unused = set() if self.problem == "network" else _OF_NETWORKS
        if ":" not in self.problem:
            unused = unused | _OF_OWN_PROBLEMS
        return self.model_dump(mode=mode, exclude=unused)

    def to_toml(self) -> str:
        """Return the whole config as TOML, every setting stated that acts."""
        return tomli_w.dumps(self.acting())


def read_text(path: Path, where: str) -> str:
    """Return the text of a file, in UTF-8 or with the mark of UTF-16, whatever its line ends are.

    Raises:
        InputError: if it can't be read, or is no such text; `where` names it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{where}: can't be read: {error}") from None
    # what Windows writes: a byte order mark, and UTF-16 where a shell's output was sent to a file
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in content and not wide:
        raise InputError(
            f"{where}: can't be read: no text in UTF-8, but with zero bytes, as UTF-16"
        )
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{where}: can't be read: no text in UTF-8 (line {line}: {error.reason})"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Parse TOML. Raises InputError with the place of a syntax error, and what stands there."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not valid TOML: {error}{_stranger(text, str(error))}") from None


def _stranger(text: str, complaint: str) -> str:
    """Return which character stands where TOML can't be parsed, if it is one that looks like another."""
    place = re.search(r"at line (\d+), column (\d+)", complaint)
    if place is None:
        return ""
    line, column = (int(number) - 1 for number in place.groups())
    character = text.split("\n")[line][column : column + 1]
    if not character or character.isascii():
        return ""
    name = unicodedata.name(character, f"U+{ord(character):04X}").lower()
    return f": the character there is {name}"


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


def parse_number(text: str) -> float:
    """Parse a number as people type it: `0.02`, `1e-3`, `2/100`.

    Raises:
        InputError: if it isn't one, or not finite.
    """
    numerator, slash, denominator = text.strip().partition("/")
    try:
        value = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"`{text.strip()}` isn't a number; type one like 0.02, 1e-3 or 2/100")
    return value


def absolute_files(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return `values` with the file names in it made absolute, as meant relative to `folder`."""
    resolved = dict(values)
    data_file = values.get("data_file")
    if isinstance(data_file, str) and data_file:
        resolved["data_file"] = str(
            locations.absolute(folder) / locations.expanded(Path(data_file))
        )
    problem = values.get("problem")
    if isinstance(problem, str) and ":" in problem:
        file, _, function = problem.rpartition(":")
        resolved["problem"] = (
            f"{locations.absolute(folder) / locations.expanded(Path(file))}:{function}"
        )
    return resolved


#: Words of pydantic's messages, and those of the file that a person wrote.
_WORDS = {
    "a valid integer": "a whole number",
    "a valid tuple": "a list",
    "a valid list": "a list",
    "a valid dictionary": "a table, {key = value}",
    "'": '"',
}


def _sentence(errors: list[ErrorDetails], keys: tuple[str, ...]) -> str:
    """Turn the first of pydantic's errors into a sentence: key, value, what would be right."""
    error = errors[0]
    if not error["loc"] or error["msg"].startswith("Value error"):
        return str(error["ctx"]["error"]) if "ctx" in error else error["msg"]
    key, *place = (str(part) for part in error["loc"])
    if key == "controls" and len(place) > 1:  # the number of the change, then its own key
        same = [e for e in errors if e["loc"][:2] == error["loc"][:2]]
        inner = [cast("ErrorDetails", {**e, "loc": e["loc"][2:]}) for e in same]
        told = _sentence(inner, tuple(ControlChange.model_fields))
        return f"change {int(place[0]) + 1} of `controls`: {told}"
    if error["type"] == "missing":
        return f"`{key}` is missing"
    if error["type"] == "extra_forbidden":
        return f"unknown key `{key}`{did_you_mean(key, keys)}"
    value = error["input"]
    shown = f'"{value}"' if isinstance(value, str) else value
    # a union reports one error for each of its branches, under the same key
    wanted = [_requirement(e) for e in errors if e["loc"][:1] == error["loc"][:1]]
    sentence = f"`{key}` is {shown}, but must be {' or '.join(dict.fromkeys(wanted))}"
    expected = error.get("ctx", {}).get("expected")
    if isinstance(value, str) and isinstance(expected, str):
        sentence += did_you_mean(value, expected.replace("'", "").replace(" or ", ", ").split(", "))
    return sentence


def _requirement(error: ErrorDetails) -> str:
    message = error["msg"]
    for opening in ("Input should be ", "Input should "):
        message = message.removeprefix(opening)
    message = re.sub(r", unable to parse.*", "", message)
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return message
