"""The settings of a training that decide its numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from hauberk.errors import InputError
from hauberk.train.loop.arguments import require_number
from hauberk.train.loop.augment import Augmentation
from hauberk.train.loop.optimisers import NAMES
from hauberk.train.loop.schedule import Rates, Schedule

SELECT = ("union", "clean", "margin", "last")
PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Checked settings of :func:`hauberk.train.fit`, which tells what each means."""

    epochs: int
    minibatch: int = 128
    optimiser: str | Callable[..., Any] = "adam"
    learning_rate: float = 1e-3
    schedule: Schedule = None
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    clip: float | None = None
    ema: float | None = None
    natural: float | None = None
    augment: Sequence[str] = ()
    select: str = "union"
    validate_steps: int = 20
    patience: int | None = None
    seed: int = 0
    attack_mode: str = "eval"
    precision: str = "32-true"

    def __post_init__(self) -> None:
        optional = ("clip", "ema", "natural")
        for name in ("learning_rate", "momentum", "weight_decay", "seed", *optional):
            if getattr(self, name) is not None or name not in optional:
                require_number(name, getattr(self, name), whole=name == "seed")
        for name in ("epochs", "minibatch", "validate_steps", "patience"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise InputError(f"{name} is {value!r}: give a whole number of 1 or more")
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
        _choose("select", self.select, SELECT)
        _choose("attack_mode", self.attack_mode, ("eval", "train"))
        _choose("precision", self.precision, PRECISIONS)
        _ = self.rates, self.augmentation  # refuse now what is wrong with them

    @property
    def rates(self) -> Rates:
        """The learning rates of the steps."""
        return Rates.of(self.schedule, self.learning_rate)

    @property
    def augmentation(self) -> Augmentation:
        """How the training examples are varied."""
        return Augmentation.of(self.augment)

    def describe(self) -> dict[str, Any]:
        """All of them, as a run's configuration records them."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        if callable(self.optimiser):
            named = getattr(self.optimiser, "__qualname__", type(self.optimiser).__qualname__)
            told["optimiser"] = f"{getattr(self.optimiser, '__module__', '')}:{named}"
        rates = self.rates
        told["schedule"] = None if self.schedule is None else [rates.kind, rates.points]
        return told


def _choose(name: str, value: str, among: Sequence[str]) -> None:
    if value not in among:
        raise InputError(f"unknown {name} {value!r}: choose {', '.join(among)}")
