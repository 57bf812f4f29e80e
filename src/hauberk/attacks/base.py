"""What every attack is: hyper-parameters, and a state machine that the engine drives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.engine.loop import attack as drive
from hauberk.engine.outcome import Outcome
from hauberk.engine.state import Response, State
from hauberk.errors import InputError
from hauberk.objectives.base import Objective
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Box, Threat
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """Search for the point of largest loss inside a threat (problem 1).

    Args:
        loss: ``ce``, ``margin``, ``soft_margin``, ``cw`` or ``dlr``; with targets ``ce``,
            ``margin`` or ``dlr``; or a function of logits and labels (and targets); or an
            :class:`~hauberk.objectives.base.Objective`.
        steps: one attempt costs ``steps + 1`` forwards and ``steps`` backwards.
        restarts: independent attempts per example (and target).
        targets: 0 for an untargeted attack; else the number of wrong classes to aim at, one
            attempt each, the largest clean logits first.
        soften: width of the sigmoids that stand in for kinks and steps in the backward pass, in
            standard deviations of a layer's units; 0 for the model's own gradients
            (:class:`hauberk.victims.softening.Softened`).
    """

    kind: ClassVar[str] = "gradient"
    """What it goes by: ``gradient``, ``free`` of gradients, or ``transfer`` from other models."""

    loss: Any = "margin"
    steps: int = 100
    restarts: int = 1
    targets: int = 0
    soften: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "restarts"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")
        if not self.soften >= 0:
            raise InputError(f"soften is {self.soften}: give 0 (off) or a positive width")
        if self.targets < 0:
            raise InputError(f"targets is {self.targets}: give 0 (untargeted) or more")
        _ = self.objective  # refuses an unknown loss now, not when the attack runs

    @abstractmethod
    def start(self, problem: Problem) -> State:
        """The first ask for new slots."""

    @abstractmethod
    def step(self, problem: Problem, state: State, response: Response) -> State:
        """The next ask, from what the engine found at the last one. May reuse the state."""

    def choose(self, problem: Problem, state: State, response: Response) -> State:
        """Set ``u`` from what the engine found at ``spread``; by default to its largest loss."""
        assert state.spread is not None
        state.u = pick(state.spread, response.loss.nan_to_num(nan=torch.inf).argmax(1))
        return state

    def report(self, state: State) -> dict[str, Tensor]:
        """What to tell of each slot that leaves, ``(S,)`` floats under each name."""
        return {}

    def over(self, state: State) -> np.ndarray | None:
        """Which slots have no further ask, ``(S,)`` bool on the host; None for nobody."""
        return state.t.count > self.steps if state.t.most > self.steps else None

    def wants_gradient(self, state: State) -> bool:
        """Whether the next ask needs a gradient; the last of ``steps + 1`` does not."""
        return state.t.least < self.steps

    @property
    def rows(self) -> int:
        """Most points of a spread; 0 for an attack that asks one point at a time."""
        return 0

    @property
    def passes(self) -> int:
        """Most passes per example that one attempt spends, forwards and backwards together."""
        return 2 * self.steps + 1

    def attempts(self, classes: int) -> int:
        """Attempts per example when there are so many classes."""
        return self.restarts * (min(self.targets, classes - 1) if self.targets else 1)

    @property
    def objective(self) -> Objective:
        """What is maximised."""
        targeted = self.targets > 0
        if isinstance(self.loss, Objective):
            soften = self.soften or self.loss.soften
            return replace(self.loss, targeted=targeted, soften=soften)
        return Objective(self.loss, targeted=targeted, soften=self.soften)

    def __call__(
        self,
        model: nn.Module | Victim,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        box: Box | Sequence[Any] = (0.0, 1.0),
        seed: int = 0,
        ids: Tensor | None = None,
        stop: bool = True,
        batch_size: int | None = None,
        warm: Tensor | None = None,
        has_warm: Tensor | None = None,
    ) -> Outcome:
        """Attack the examples ``x`` (B, ...) with labels ``y`` (B,).

        Args:
            ids: example ids ``(B,)`` that the random numbers hang on; 0..B-1 by default.
            stop: leave an example as soon as the model is fooled; otherwise search on for the
                largest loss (adversarial training wants that).
            warm: inputs ``(B, W, ...)`` that restarts 0 to W - 1 start from, projected into the
                threat; ``has_warm`` (B, W) bool says which of them count, all by default.

        Raises:
            InputError: for inputs outside the box, labels out of range and the like.
        """
        return self.run(
            Victim.of(model, batch_size), threat, x, y,
            box=Box.of(box), seed=seed, ids=ids, stop=stop, warm=warm, has_warm=has_warm,
        )  # fmt: skip

    def run(self, victim: Victim, threat: Threat, x: Tensor, y: Tensor, **options: Any) -> Outcome:
        """What the evaluator calls: the engine's loop, but for attacks that bring their own."""
        return drive(self, victim, threat, x, y, **options)

    def describe(self) -> dict[str, Any]:
        """Name and hyper-parameters, as the manifest records them."""
        return {
            "attack": type(self).__name__,
            "kind": self.kind,
            **{f.name: getattr(self, f.name) for f in fields(self)},
        }


def pick(spread: Tensor, index: Tensor) -> Tensor:
    """Row ``index`` (S,) of each slot's points ``(S, K, ...)``: ``(S, ...)``."""
    where = index.view(-1, *[1] * (spread.dim() - 1)).expand(-1, 1, *spread.shape[2:])
    return spread.gather(1, where).squeeze(1)
