"""Options that several commands share, each declared once with its type, default and help.

A command is a frozen dataclass: each field made by :func:`option` is an option of the command line
and a key of its YAML file.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self, TypeAlias, TypeVar, get_type_hints

from hauberk.errors import InputError

T = TypeVar("T")

Bounds: TypeAlias = tuple[float | str, float | str]
"""Two bounds of a box, as :meth:`hauberk.threats.Box.of` reads them."""


def option(default: T, help: str, *, positional: bool = False, numbers: bool = False) -> T:
    """A field of a command that is an option: ``limit: int | None = option(None, "...")``.

    Args:
        default: its value when it is not given. Its type decides how it is written: a ``bool`` is a
            flag, a ``list[str]`` an option that may be repeated, a pair takes two values.
        help: what it is for, in one line.
        positional: whether it is an argument without a name.
        numbers: whether its text may be several numbers: ``0.5,0.4,0.3``, ``0.5 0.4 0.3``, or a
            list in YAML.
    """
    metadata = {"help": help, "positional": positional, "numbers": numbers}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)  # type: ignore[return-value]
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Declared:
    """An option as the parser is to declare it."""

    name: str
    type: Any
    default: object
    help: str
    positional: bool = False
    numbers: bool = False


@dataclass(frozen=True, kw_only=True)
class Command(ABC):
    """One command of the console: its options are its fields.

    Attributes:
        argv: the words after ``hauberk``, for the record and for processes started in turn.
    """

    argv: tuple[str, ...] = ()
    strict: bool = option(
        False, "a warning is an error: exit code 2, before any attack where it is known then"
    )

    @abstractmethod
    def run(self) -> int:
        """Do it; returns the exit code.

        Raises:
            InputError: for options, models or data that cannot work, in one line (exit code 2).
        """

    @classmethod
    def declared(cls) -> Iterable[Declared]:
        """The options of the command, in the order in which its help shows them."""
        hints = get_type_hints(cls)
        for f in sorted(fields(cls), key=lambda f: f.name == "strict"):  # the last one
            if "help" in f.metadata:
                default = f.default_factory() if callable(f.default_factory) else f.default
                about = f.metadata["help"]
                # An option may have the name of a method: `run_` is --run.
                name = f.name.removesuffix("_")
                how = {key: f.metadata[key] for key in ("positional", "numbers")}
                yield Declared(name, hints[f.name], default, about, **how)

    @classmethod
    def of(cls, values: Mapping[str, Any], argv: tuple[str, ...]) -> Self:
        """The command with these values of its options."""
        own = {f.name for f in fields(cls)}
        given = {name if name in own else f"{name}_": value for name, value in values.items()}
        return cls(argv=argv, **given)


@dataclass(frozen=True, kw_only=True)
class LoadingOptions(Command):
    """How models are loaded; subclasses say whether there is one or several."""

    model: Any = option(None, "a model")
    weights: Any = option(None, "its weights")
    ignore_keys: list[str] = option(
        [], "names in the weights that the model does not need, e.g. 'head.*'; repeat"
    )
    dtype: str | None = option(
        None, "float32, float64, float16 or bfloat16 to compute in; the model's own if left out"
    )
    download: bool = option(False, "weights of timm:, hf:, ... may come from the network")
    mean: Any = option(None, "of the inputs")
    std: Any = option(None, "of the inputs")


MEAN = (
    "the model takes (x - mean) / std: numbers, imagenet, cifar10, ..., a config.json, or none; "
    "what the model's own configuration says if left out"
)
STD = "numbers; left out, what belongs to --mean"
MODEL = "package.module:name, file.py:name, RUN/model.yaml, timm:NAME, hf:DIR, torchvision:NAME"


@dataclass(frozen=True, kw_only=True)
class ModelOptions(LoadingOptions):
    """One model."""

    model: str | None = option(None, MODEL)
    weights: str | None = option(None, "FILE, or FILE:KEY, of weights to load")
    mean: str | None = option(None, MEAN, numbers=True)
    std: str | None = option(None, STD, numbers=True)


@dataclass(frozen=True, kw_only=True)
class ModelsOptions(LoadingOptions):
    """One model or several."""

    model: list[str] = option([], f"{MODEL}; repeat")
    weights: list[str] = option([], "FILE, or FILE:KEY, of weights of each, or 'none'; repeat")
    mean: list[str] = option([], f"{MEAN}; once, or for every model", numbers=True)
    std: list[str] = option([], f"{STD}; once, or for every model", numbers=True)
    name: list[str] = option([], "names of the models, in order; repeat")


@dataclass(frozen=True, kw_only=True)
class DataOptions(Command):
    """Examples."""

    data: str | None = option(None, "e.g. mnist:test, npz:FILE")
    data_dir: str | None = option(None, "folder of the data files")
    limit: int | None = option(None, "use so many examples")
    offset: int = option(0, "skip so many examples first")
    sample: int | None = option(None, "use so many, drawn at random from those")
    sample_seed: int = option(0, "seed of that draw")
    balanced: bool = option(False, "draw as many of each class")
    resize: str | None = option(
        None, "shorter side of images: 256, or 224x256, or 256,bicubic; or config.json of the model"
    )
    crop: str | None = option(None, "then the middle of them: 224 or 224x256")
    rgb: bool = option(False, "make images RGB: grey thrice, no transparency")
    grey: bool = option(False, "make images grey")
    layout: str | None = option(None, "of arrays: nchw, nhwc, or of flat examples: 1x28x28")
    classes: str | None = option(
        None,
        "the model's classes in order: a text, JSON or YAML file, or names with commas between; "
        "or what folders are: number, order, string",
    )


@dataclass(frozen=True, kw_only=True)
class DeviceOptions(Command):
    """Where to compute."""

    device: str | None = option("auto", "auto (a GPU if there is one), cpu, cuda, cuda:1, ...")
    batch_size: int | None = option(None, "examples per pass; chosen if left out")
    threads: int | None = option(
        None, "threads of the CPU; OMP_NUM_THREADS, or found by timing a pass"
    )


@dataclass(frozen=True, kw_only=True)
class ProcessOptions(Command):
    """Several processes, machines or jobs for one run."""

    devices: int = option(1, "processes here, each with a GPU or its share of the cores")
    nodes: int = option(1, "machines; start the command on each of them with torchrun")
    shard: str | None = option(None, "2/4: do the second quarter; 'hauberk merge' joins them")
    block: int | None = option(None, "examples that are done, dealt and written together")


@dataclass(frozen=True, kw_only=True)
class OutOptions(Command):
    """Where results go, and what they depend on beside models and data."""

    out: str | None = option(None, "folder for all that the command writes")
    seed: int = option(0, "seed of all random numbers")


@dataclass(frozen=True, kw_only=True)
class BoxOption(Command):
    """The valid range of inputs."""

    box: Bounds = option(
        (0.0, 1.0), "valid range of the inputs: LO HI; one a channel or feature is 0,-1,-1 1,1,1"
    )


@dataclass(frozen=True, kw_only=True)
class DryRunOption(Command):
    """The cost instead of the work."""

    dry_run: bool = option(False, "print what it can cost at most, and stop")


@dataclass(frozen=True, kw_only=True)
class GoalOption(Command):
    """What counts as success."""

    goal: str | None = option(
        None,
        "what counts as broken, if not every wrong class: target=3, target=FILE (a class for each "
        "example) or confident:0.9 (a wrong class of that probability)",
    )


FORMATS = ("png", "svg")


@dataclass(frozen=True, kw_only=True)
class FormatOption(Command):
    """The format of pictures that go into a folder."""

    format: str = option("png", "png or svg")

    def require_format(self) -> None:
        """Refuse another format.

        Raises:
            InputError: for one.
        """
        if self.format not in FORMATS:
            raise InputError(f"--format is {self.format}: give png or svg")


@dataclass(frozen=True, kw_only=True)
class BatchDependentOption(Command):
    """What becomes of models whose output depends on the rest of the batch."""

    batch_dependent: str = option(
        "refuse",
        "a model whose output depends on the rest of the batch: refuse, or alone (each example "
        "is shown to it by itself)",
    )


@dataclass(frozen=True, kw_only=True)
class LedgerOptions(BatchDependentOption, DryRunOption, OutOptions, BoxOption):
    """A run whose ledger may lie on disk."""

    resume: bool = option(False, "continue the run in --out")
