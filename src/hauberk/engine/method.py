"""What can be run: a method, and the job that it is given."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from hauberk.engine.inputs import check, units
from hauberk.engine.outcome import Outcome
from hauberk.errors import warn
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Victim


class Kind(StrEnum):
    """What a method uses of the model that it attacks."""

    GRADIENT = "gradient"
    """Its gradients."""
    FREE = "free"
    """Its outputs alone."""
    TRANSFER = "transfer"
    """Points that were made on other models."""
    FOREIGN = "foreign"
    """Whatever another library takes."""
    SANITY = "sanity"
    """Nothing is attacked: a check of the attacks."""


@dataclass(frozen=True)
class WarmStart:
    """Inputs to begin at, instead of the method's own starting points.

    Args:
        points: ``(B, W, ...)``, in the box; they may lie outside the threat. Restart ``w`` of a
            method begins at point ``w``, projected into the threat.
        given: which of them count, ``(B, W)`` bool; None for all.
    """

    points: Tensor
    given: Tensor | None = None

    def take(self, rows: Tensor) -> "WarmStart":
        """The warm starts of the examples ``rows`` (N,) int64."""
        return WarmStart(_rows(self.points, rows), _rows(self.given, rows))

    @property
    def mask(self) -> Tensor:
        """Which points count, ``(B, W)`` bool."""
        if self.given is not None:
            return self.given
        return torch.ones(self.points.shape[:2], dtype=torch.bool)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a method is asked to do: examples, the threat around them, and how to search.

    Args:
        threat: what an adversary may do to an input; for solvers of least distance, the metric.
        x: clean inputs ``(B, ...)`` in the box (of groups: ``(G, M, ...)``).
        y: labels ``(B,)`` int64 (of groups: ``(G, M)``).
        ids: example ids ``(B,)`` that the random numbers are made from; None for 0 to B - 1.
        box: the valid input range.
        seed: of all random numbers; ``stream`` tells several runs with one seed apart.
        stop: leave an example as soon as the model is fooled; else search on for the largest loss.
        enough: for solvers of least distance, the distance at which a point that fools is near
            enough to leave its example, with ``stop``; None to search on for the nearest.
        warm: inputs to begin at.
        targets: target classes of each example, ``(B, T)`` int64, for targeted methods; None for
            the classes of the largest clean logits.
        clean_logits: logits of the clean inputs ``(B, C)``, if they are at hand.
        progress: called with attempts done and attempts in all.

    Example:
        >>> import torch
        >>> from hauberk.threats import Linf
        >>> x, y = torch.full((3, 2), 0.5), torch.tensor([0, 1, 0])
        >>> job = Job(threat=Linf(0.1), x=x, y=y, seed=1)
        >>> job.take(torch.tensor([2])).example_ids
        tensor([2])
    """

    threat: Threat
    x: Tensor = field(repr=False)
    y: Tensor = field(repr=False)
    ids: Tensor | None = field(default=None, repr=False)
    box: Box = Box()  # noqa: RUF009
    seed: int = 0
    stream: int = 0
    stop: bool = True
    enough: float | None = None
    warm: WarmStart | None = field(default=None, repr=False)
    targets: Tensor | None = field(default=None, repr=False)
    clean_logits: Tensor | None = field(default=None, repr=False)
    progress: Callable[[int, int], None] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def example_ids(self) -> Tensor:
        """The ids of the examples, ``(B,)``."""
        return torch.arange(len(self.x)) if self.ids is None else self.ids

    def take(self, rows: Tensor) -> "Job":
        """The same job for some of the examples, ``rows`` (N,) int64."""
        return replace(
            self,
            threat=self.threat.take(rows),
            x=self.x[rows.to(self.x.device)],
            y=self.y[rows.to(self.y.device)],
            ids=_rows(self.example_ids, rows),
            warm=None if self.warm is None else self.warm.take(rows),
            targets=_rows(self.targets, rows),
            clean_logits=_rows(self.clean_logits, rows),
        )

    def on(self, device: torch.device) -> "Job":
        """The same job with inputs and labels on a device."""
        return replace(self, x=self.x.detach().to(device), y=self.y.to(device))


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Anything that can be run on examples to look for points that fool a model.

    Subclasses say what one run costs at most (``passes``, ``attempts``), run it, and describe
    themselves for the manifest. They are frozen dataclasses: their fields are their settings.
    """

    kind: ClassVar[Kind] = Kind.GRADIENT
    """What it uses of the model."""

    @property
    @abstractmethod
    def passes(self) -> int:
        """Most passes per example that one attempt spends, forwards and backwards together."""

    def passes_on(self, threat: Threat) -> int:
        """The same on one threat, for methods whose cost depends on it."""
        return self.passes

    def attempts(self, classes: int) -> int:
        """Attempts per example on a model of so many classes."""
        return 1

    def aiming(self, classes: int) -> int:
        """Most passes per example that putting target classes in order takes, once."""
        return 0

    @abstractmethod
    def run(self, victim: Victim, job: Job) -> Outcome:
        """Do the job on a victim; what suites, solvers and trainers call.

        Raises:
            InputError: for a job that the method cannot do.
        """

    def beginning_at(self, many: int) -> Self:
        """The same method with at least ``many`` restarts, one for each warm start, if it has any.

        A method without restarts begins at the first warm start alone, or goes its own way.
        """
        own = getattr(self, "restarts", None)
        more: dict[str, Any] = {} if own is None else {"restarts": max(own, many)}
        return replace(self, **more) if more else self

    def check(self, job: Job) -> None:
        """Refuse a job before any work, without a pass through a model.

        Raises:
            InputError: if the threat is none that the method can work on.
        """
        return

    def __call__(
        self,
        model: nn.Module | Victim,
        images: Tensor,
        labels: Tensor,
        threat: Threat | str,
        *,
        box: Box | Sequence[Any] = (0.0, 1.0),
        seed: int = 0,
        ids: Tensor | None = None,
        stop: bool = True,
        batch_size: int | None = None,
        warm: Tensor | None = None,
        has_warm: Tensor | None = None,
    ) -> Outcome:
        """Attack images ``(B, ...)`` with labels ``(B,)``.

        Args:
            model: a classifier that returns logits, or a victim.
            images: floats in the box; labels: integer class ids.
            threat: what may be done to an image, or its notation, ``linf:8/255``.
            box: the valid input range, ``(lo, hi)``.
            seed: of all random numbers.
            ids: example ids ``(B,)`` that the random numbers are made from; 0 to B - 1 if left out.
            stop: leave an example as soon as the model is fooled; otherwise search on for the
                largest loss (as adversarial training does).
            batch_size: most rows in one forward pass; found by trying if left out.
            warm: inputs ``(B, W, ...)`` that restarts 0 to W - 1 start from, projected into the
                threat.
            has_warm: which of them count, ``(B, W)`` bool; all if left out.

        Raises:
            InputError: for inputs outside the box, labels out of range and the like.
        """
        threat, bounds = Threat.of(threat), Box.of(box)
        x, y = check(images, labels, bounds, threat.grouped)
        if message := units(x.flatten(0, 1) if threat.grouped else x, bounds):
            warn(message)
        job = Job(
            threat=threat, x=x, y=y, ids=ids, box=bounds, seed=seed, stop=stop,
            warm=None if warm is None else WarmStart(warm, has_warm),
        )  # fmt: skip
        return self.run(Victim.of(model, batch_size), job)

    def describe(self) -> dict[str, Any]:
        """Name and settings, as the manifest records them."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"attack": type(self).__name__, "kind": str(self.kind), **settings}


def _rows(values: Tensor | None, rows: Tensor) -> Any:
    return None if values is None else values[rows.to(values.device)]
