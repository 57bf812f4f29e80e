"""The settings of a training besides model, data and strategy: each once, as a field.

The keywords of :func:`hauberk.train.fit`, the options of ``hauberk train``, the keys of its YAML
files and what ``config.json`` records follow from these fields. A new setting is one more field
here, and the place that uses it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from math import isfinite
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from hauberk.data.dataset import Dataset
from hauberk.errors import InputError
from hauberk.evaluation.core.progress import Progress
from hauberk.threats.base import Box
from hauberk.train.loop.arguments import (
    require_among,
    require_callable,
    require_number,
    require_path,
    require_whole,
)
from hauberk.train.loop.augment import Augmentation
from hauberk.train.loop.optimisers import NAMES
from hauberk.train.loop.schedule import Rates, Schedule
from hauberk.victims.threads import require_threads

SELECT = ("union", "clean", "margin", "last")
PRECISIONS = ("32-true", "bf16-mixed")
ATTACK_MODES = ("eval", "train")


def about(
    text: str,
    *,
    typed: Any = None,
    command_line: bool = True,
    recorded: bool = True,
    python: str = "",
) -> Mapping[str, Any]:
    """Metadata of a field.

    Args:
        text: What it is for, in one or two sentences: the help of the option and the documentation
            of the keyword.
        typed: Type of the option on a command line and in YAML; that of the field by default.
        command_line: Whether it is an option of ``hauberk train``; False for Python objects.
        recorded: Whether :meth:`Settings.describe` records it.
        python: The documentation of the keyword, where it is written otherwise than the option.

    Example:
        >>> about("passes over the training data")["help"]
        'passes over the training data'
    """
    return {
        "help": text, "typed": typed, "command_line": command_line, "recorded": recorded,
        "python": python or text,
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that decide the numbers of a training; each field's metadata holds its ``help``.

    Raises:
        InputError: for a value that cannot work, alone or beside the others.

    Example:
        >>> settings = Settings(epochs=15, schedule=[(0, 0.0), (6, 1e-3), (15, 0.0)])
        >>> round(settings.rates.at(step=5, steps_per_epoch=10), 6)
        0.0001
    """

    epochs: int = field(metadata=about("passes over the training data"))
    minibatch: int = field(
        default=128,
        metadata=about(
            "examples per step, over all processes; the last minibatch of an epoch may be smaller, "
            "or hold one more: a single example left over joins it, for batch normalisation"
        ),
    )
    optimiser: str | Callable[..., Any] = field(
        default="adam",
        metadata=about(
            "adam, sgd, or file.py:name of a function of the list of parameters that returns an "
            "optimiser",
            typed=str,
            python="adam, sgd, or a function of the list of parameters that returns an optimiser",
        ),
    )
    learning_rate: float = field(
        default=1e-3, metadata=about("learning rate where no schedule says otherwise")
    )
    schedule: Schedule = field(
        default=None,
        metadata=about(
            "learning rates: EPOCH:RATE pairs with straight lines between them, such as "
            "0:0,6:1e-3,15:0; or factors from steps or epochs on, such as "
            "'steps 20000:0.3,30000:0.1'; constant if left out",
            typed=str | list[Any],
            python="learning rates: (epoch, rate) pairs with straight lines between them; or "
            'factors from steps or epochs on, such as ("steps", [(20_000, 0.3), ...]); constant '
            "if left out",
        ),
    )
    momentum: float = field(default=0.9, metadata=about("momentum of sgd"))
    nesterov: bool = field(default=False, metadata=about("Nesterov's momentum"))
    weight_decay: float = field(default=0.0, metadata=about("weight decay of adam and sgd"))
    clip: float | None = field(default=None, metadata=about("largest norm of the gradient"))
    ema: float | None = field(
        default=None,
        metadata=about(
            "decay of an exponential moving average of the weights, such as 0.999; the average is "
            "what is validated and kept"
        ),
    )
    natural: float | None = field(
        default=None,
        metadata=about(
            "share of natural training, such as 0.5: its steps on the clean minibatches are "
            "projected on those of the strategy after each epoch (Jiang & Singh 2024); one forward "
            "and one backward pass more per example, and not with ema"
        ),
    )
    augment: Sequence[str] = field(
        default=(),
        metadata=about('"pad-crop:4" and "flip", for images (N, C, H, W)', typed=list[str]),
    )
    validation: "int | Dataset | tuple[Tensor, Tensor]" = field(
        default=0,
        metadata=about(
            "number of examples to hold out (the first ones; of examples grouped by class, as many "
            "from all over); with --validation-data, how many of those to use",
            typed=int, recorded=False,
            python="number of examples to hold out (the first ones; of examples grouped by class, "
            "as many from all over), or a data set, or (images, labels)",
        ),
    )  # fmt: skip
    select: str = field(
        default="union",
        metadata=about(
            "weights to keep: those of the best epoch by accuracy on the union of the strategy's "
            "threats or on clean examples (so too without threats), by mean margin in its lp balls "
            "(the least over the threats, in units of their radii), or the last, as without "
            "validation"
        ),
    )
    validate_steps: int = field(
        default=20, metadata=about("steps of the attacks on the held-out examples")
    )
    patience: int | None = field(
        default=None, metadata=about("stop after so many epochs without a better one")
    )
    seed: int = field(
        default=0,
        metadata=about(
            "seed of all random numbers, those of new weights too",
            python="seed of all random numbers",
        ),
    )
    box: "Box | Sequence[Any]" = field(
        default=(0.0, 1.0),
        metadata=about("valid range of the inputs: LO HI", typed=tuple[float | str, float | str]),
    )
    attack_mode: str = field(
        default="eval",
        metadata=about(
            "eval, or train to attack the model in train mode; its running statistics are kept"
        ),
    )
    precision: str = field(
        default="32-true",
        metadata=about("32-true or bf16-mixed, of the attacks too; float64 models stay in float64"),
    )

    def __post_init__(self) -> None:
        for name in ("learning_rate", "momentum", "weight_decay", "seed"):
            require_number(name, getattr(self, name), whole=name == "seed")
        if abs(self.seed) >= 2**63:
            raise InputError(f"seed is {self.seed}: give a number below 2 to the 63rd")
        if isinstance(self.validation, int) and self.validation < 0:
            raise InputError(f"validation is {self.validation}: give 0 or more examples")
        for name in ("clip", "ema", "natural"):
            if getattr(self, name) is not None:
                require_number(name, getattr(self, name))
        for name in ("epochs", "minibatch", "validate_steps", "patience"):
            require_whole(name, getattr(self, name))
        for name in ("momentum", "weight_decay"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value}: give a number of 0 or more")
        if self.clip is not None and not (isfinite(self.clip) and self.clip > 0):
            raise InputError(f"clip is {self.clip}: give a norm above 0, or leave it out")
        if self.ema is not None and not 0 < self.ema < 1:
            raise InputError(f"ema is {self.ema}: give a decay between 0 and 1, e.g. 0.999")
        if self.natural is not None and not 0 < self.natural <= 1:
            raise InputError(f"natural is {self.natural}: give a share in (0, 1], e.g. 0.5")
        if self.natural is not None and self.ema is not None:
            raise InputError("ema would miss what natural mixes after an epoch: choose one of them")
        if self.nesterov and not self.momentum:
            raise InputError("nesterov needs momentum: give one above 0")
        if isinstance(self.optimiser, str) and self.optimiser not in NAMES:
            raise InputError(
                f"unknown optimiser {self.optimiser!r}: choose {' or '.join(NAMES)}, "
                "or give a function of the parameters"
            )
        require_among("select", self.select, SELECT)
        require_among("attack_mode", self.attack_mode, ATTACK_MODES)
        require_among("precision", self.precision, PRECISIONS)
        _ = self.rates, self.augmentation, self.bounds  # refuse now what is wrong with them

    @property
    def rates(self) -> Rates:
        """The learning rates of the steps."""
        return Rates.of(self.schedule, self.learning_rate)

    @property
    def augmentation(self) -> Augmentation:
        """How the training examples are varied."""
        return Augmentation.of(self.augment)

    @property
    def bounds(self) -> Box:
        """The valid range of the inputs."""
        return Box.of(self.box)

    def describe(self) -> dict[str, Any]:
        """The settings as ``config.json`` records them, but for the held-out examples."""
        names = [f.name for f in fields(Settings) if f.metadata["recorded"]]
        described = {name: getattr(self, name) for name in names}
        if callable(self.optimiser):
            named = getattr(self.optimiser, "__qualname__", type(self.optimiser).__qualname__)
            described["optimiser"] = f"{getattr(self.optimiser, '__module__', '')}:{named}"
        rates = self.rates
        described["schedule"] = None if self.schedule is None else [rates.kind, rates.points]
        described["box"] = str(self.bounds)
        return described


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Options that change how and where a training runs, not its result (but for rounding).

    Each field's ``metadata["help"]`` describes it.

    Raises:
        InputError: for a value that cannot work.

    Example:
        >>> Execution(out="runs/net", resume=True).every_minutes
        5.0
    """

    out: "str | PathLike[str] | None" = field(
        default=None,
        metadata=about("folder for weights, checkpoints, history and TensorBoard files", typed=str),
    )
    resume: bool = field(
        default=False, metadata=about("continue the training in out, or begin it there")
    )
    every_minutes: float = field(
        default=5.0,
        metadata=about("minutes between checkpoints; one is written after each epoch too"),
    )
    gap: bool = field(
        default=False,
        metadata=about(
            "also measure the generalisation gap at the end: the accuracies on as many training "
            "examples as validation ones, under the same attacks, less theirs"
        ),
    )
    device: str | torch.device | None = field(
        default=None,
        metadata=about(
            "auto (a GPU if there is one), cpu, cuda, cuda:1 or mps; if left out, auto for "
            "hauberk train, and otherwise where the model is",
            typed=str,
        ),
    )
    devices: int = field(
        default=1,
        metadata=about(
            "processes on each machine, one for each GPU, begun with torchrun (hauberk train "
            "starts them itself); each takes its share of every minibatch, for batch normalisation "
            "and dropout too"
        ),
    )
    nodes: int = field(default=1, metadata=about("machines, each begun with torchrun"))
    threads: int | None = field(
        default=None,
        metadata=about(
            "threads of the CPU; if left out, OMP_NUM_THREADS or MKL_NUM_THREADS if one is set, "
            "else found by timing a pass of a minibatch at 1, 2, 4, ... threads; a resumed "
            "training keeps its number"
        ),
    )
    compile: bool = field(default=False, metadata=about("compile the model (torch.compile)"))
    channels_last: bool = field(
        default=False, metadata=about("memory layout that some GPUs compute faster in")
    )
    progress: Callable[[Progress], None] | None = field(
        default=None,
        metadata=about(
            "called after each step, in the first process, with a Progress: share done, passes",
            command_line=False,
        ),
    )
    on_epoch: Callable[[dict[str, Any]], None] | None = field(
        default=None,
        metadata=about(
            "called after each epoch with its record, in the first process", command_line=False
        ),
    )
    model_spec: str | None = field(
        default=None,
        metadata=about(
            "import path of the model, for model.yaml; its class by default", command_line=False
        ),
    )

    def __post_init__(self) -> None:
        require_callable("progress", self.progress)
        require_callable("on_epoch", self.on_epoch)
        require_path("out", self.out)
        require_number("every_minutes", self.every_minutes)
        for name in ("devices", "nodes"):
            require_number(name, getattr(self, name), whole=True)
            require_whole(name, getattr(self, name))
        require_threads(self.threads)
        if self.resume and self.out is None:
            raise InputError("resume needs the folder of the run: give out=")
        if not self.every_minutes > 0:
            raise InputError(f"every_minutes is {self.every_minutes}: give more than 0")


@dataclass(frozen=True, kw_only=True)
class Options(Execution, Settings):
    """All keywords of :func:`hauberk.train.fit`: those of :class:`Settings` and :class:`Execution`.

    Example:
        >>> options = Options(epochs=2, device="cpu")
        >>> options.minibatch, options.resume
        (128, False)
    """

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        Execution.__post_init__(self)


def command_line_fields() -> "dict[str, Field[Any]]":
    """The fields of :class:`Options` that are options of ``hauberk train``, by name.

    Example:
        >>> "minibatch" in command_line_fields(), "on_epoch" in command_line_fields()
        (True, False)
    """
    return {f.name: f for f in fields(Options) if f.metadata["command_line"]}


def described(entry: "Field[Any]", python: bool = False) -> str:
    """What a field is for, with its default value if it has one.

    Args:
        python: as a keyword of :func:`hauberk.train.fit`, not as an option.

    Example:
        >>> described(command_line_fields()["momentum"])
        'momentum of sgd; 0.9'
    """
    text: str = entry.metadata["python" if python else "help"]
    plain = entry.default is not MISSING and entry.default not in (None, False, (), "")
    return f"{text}; {entry.default}" if plain else text
