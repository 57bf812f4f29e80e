"""What every attack is: hyper-parameters, and a state machine that the engine drives."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.engine.loop import drive
from hauberk.engine.method import Job, Method
from hauberk.engine.outcome import Outcome
from hauberk.engine.state import Response, State
from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.objectives.base import Objective
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Threat
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class Attack(Method):
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

    def spread_size(self, threat: Threat) -> int:
        """Points asked for together on each example of a threat; 0 for one at a time."""
        return self.rows

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

    def run(self, victim: Victim, job: Job) -> Outcome:
        return drive(self, victim, job)

    def check(self, job: Job) -> None:
        target = torch.zeros_like(job.y) if self.targets else None
        region = job.threat.at(job.x.detach(), job.box)
        draws = Draws.of(0, job.example_ids.to(job.x.device), 0, torch.zeros_like(job.y))
        self.start(Problem(region=region, y=job.y, target=target, draws=draws))


def pick(spread: Tensor, index: Tensor) -> Tensor:
    """Row ``index`` (S,) of each slot's points ``(S, K, ...)``: ``(S, ...)``."""
    where = index.view(-1, *[1] * (spread.dim() - 1)).expand(-1, 1, *spread.shape[2:])
    return spread.gather(1, where).squeeze(1)
