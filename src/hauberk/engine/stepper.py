"""What the engine drives: a state machine that says where to look next."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic

import numpy as np
import torch
from torch import Tensor
from typing_extensions import TypeVar

from hauberk.engine.state import Answer, BestSoFar, Clock, Response, State, pick
from hauberk.engine.targets import RANKS, looked_at
from hauberk.errors import InputError
from hauberk.maths.rng import Draws
from hauberk.objectives.base import Objective
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Threat
from hauberk.threats.box import Box
from hauberk.threats.distances import DistanceRegion

S = TypeVar("S", bound=State, default=Any)


@dataclass(frozen=True, kw_only=True)
class Stepper(ABC, Generic[S]):
    """A search that the engine drives: :meth:`init` gives the first query, :meth:`step` the next.

    A query is the ``u`` of the state. The engine evaluates it, with its gradient where
    :meth:`wants_gradient` says so, keeps the best feasible point by :meth:`value`, counts the
    evaluations, and calls :meth:`step` with the response, but not after the last one
    (:meth:`finished`). A stepper never runs the model, counts nothing and keeps no best point.

    Args:
        loss: ``ce``, ``ce_scaled``, ``margin``, ``probability_margin``,
            ``probability_margin_scaled``, ``dlr``, ``soft_margin`` or ``cw``, the last two without
            targets; or a function of logits and labels (and targets); or an
            :class:`~hauberk.objectives.base.Objective`.
        steps: one attempt costs ``steps + 1`` forwards and ``steps`` backwards.
        restarts: independent attempts per example (and target).
        targets: 0 for an untargeted attack; else the number of wrong classes to aim at, one
            attempt each.
        rank: which of them come first: those of the largest clean ``logits``, or those whose
            ``linear`` boundary is nearest in the threat's lp distance, by a Jacobian that costs one
            forward and a backward for each wrong class, 15 at most
            (:func:`~hauberk.engine.targets.linearised`); threats without one rank by logits.
        soften: width of the sigmoids that stand in for kinks and steps in the backward pass, in
            standard deviations of a layer's units; 0 for the model's own gradients
            (:class:`hauberk.victims.softening.Softened`).
    """

    measures: ClassVar[bool] = False
    """Whether every response holds the distance of ``u`` from the clean input."""
    counts_candidates: ClassVar[bool] = False
    """Whether candidates are results themselves; otherwise they only show where to go."""

    loss: Any = "margin"
    steps: int = 100
    restarts: int = 1
    targets: int = 0
    rank: str = "logits"
    soften: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "restarts"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")
        if not self.soften >= 0:
            raise InputError(f"soften is {self.soften}: give 0 (off) or a positive width")
        if self.targets < 0:
            raise InputError(f"targets is {self.targets}: give 0 (untargeted) or more")
        if self.rank not in RANKS:
            raise InputError(f"unknown rank '{self.rank}': choose {' or '.join(RANKS)}")
        _ = self.objective  # refuses an unknown loss now, not when the attack runs

    @abstractmethod
    def init(self, problem: Problem) -> S:
        """The first query, for new slots."""

    @abstractmethod
    def step(self, problem: Problem, state: S, response: Response) -> S:
        """The next query, from the response to the last one. May reuse the state."""

    def select(self, problem: Problem, state: S, response: Response) -> S:
        """Set ``u`` from the response to the candidates; by default to that of largest loss."""
        if state.candidates is not None:
            state.u = pick(state.candidates, response.loss.nan_to_num(nan=torch.inf).argmax(1))
        return state

    def value(self, problem: Problem, state: S, response: Response) -> Tensor | None:
        """How good ``u`` is as a result, ``(S,)``, larger is better; None if it is none at all."""
        return response.loss

    def finished(self, state: S, response: Response) -> np.ndarray | None:
        """Which slots need no further evaluation after this one, ``(S,)`` bool; None for none."""
        clock = response.clock
        return clock.count >= self.steps if clock.most >= self.steps else None

    def wants_gradient(self, clock: Clock) -> bool:
        """Whether this evaluation needs a gradient; the last of ``steps + 1`` does not."""
        return clock.least < self.steps

    def ended_at(self, problem: Problem, state: S) -> Tensor | None:
        """The ``u`` (S, ...) that a search stands at which is over, to measure how far outside.

        By default the last query, if a stepper says which lie in the threat; None for those whose
        every query does.
        """
        inside = state.feasible
        known = inside is None or (isinstance(inside, np.ndarray) and bool(inside.all()))
        return None if known else state.u

    def report(self, state: S) -> dict[str, Tensor]:
        """Numbers to keep of each slot that leaves, ``(S,)`` floats under each name."""
        return {}

    def spread_size(self, threat: Threat) -> int:
        """Most candidates per example on a threat; 0 if it has none."""
        return 0

    @property
    def passes(self) -> int:
        """Most passes per example that one attempt spends, forwards and backwards together."""
        return 2 * self.steps + 1

    def attempts(self, classes: int) -> int:
        """Attempts per example when there are so many classes."""
        return self.restarts * (min(self.targets, classes - 1) if self.targets else 1)

    def aiming(self, classes: int) -> int:
        """Most passes per example that putting the targets in order takes, once."""
        return 1 + looked_at(classes) if self.targets and self.rank == "linear" else 0

    @property
    def objective(self) -> Objective:
        """What is maximised."""
        targeted = self.targets > 0
        if isinstance(self.loss, Objective):
            soften = self.soften or self.loss.soften
            return replace(self.loss, targeted=targeted, soften=soften)
        return Objective(self.loss, targeted=targeted, soften=self.soften)

    def try_init(self, threat: Threat, x: Tensor, y: Tensor, box: Box) -> None:
        """Make the first query for examples, so that a refusal comes before any work.

        Raises:
            InputError: for a threat that the stepper cannot search.
        """
        zeros = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        target = zeros if self.targets else None
        draws = Draws.of(0, zeros, 0, zeros)
        self.init(Problem(region=threat.at(x, box), y=y, target=target, draws=draws))


def record(stepper: Stepper[S], problem: Problem, state: S, response: Response) -> None:
    """Complete a response: measure ``u`` if wanted, and take it into the best so far."""
    u, best, fooled = state.u, response.best, response.fooled
    if stepper.measures:
        response.measured = DistanceRegion.require(problem.region, stepper).measure(u)
    value = stepper.value(problem, state, response)
    feasible = state.feasible
    if isinstance(feasible, np.ndarray):  # known on the host: mostly all or none
        if not feasible.any():
            value = None
        feasible = None if feasible.all() else torch.from_numpy(feasible).to(u.device)
    if value is None:
        response.better = best.loss.new_zeros(()).expand_as(best.loss)
        return
    if feasible is not None:
        value, fooled = torch.where(feasible, value, -torch.inf), fooled & feasible
    response.better = best.update_(u, value, fooled, response.any_fooled)


def record_candidates(state: State, response: Response) -> None:
    """Take the feasible candidate of largest loss into the best so far."""
    if state.candidates is None:
        return
    loss = response.loss.nan_to_num(nan=torch.inf)
    if state.candidates_feasible is not None:
        loss = torch.where(state.candidates_feasible, loss, -torch.inf)
    index = loss.argmax(1)
    row = index.unsqueeze(1)
    response.best.update_(
        pick(state.candidates, index), loss.gather(1, row).squeeze(1),
        response.fooled.gather(1, row).squeeze(1), response.any_fooled,
    )  # fmt: skip


def respond(answer: Answer, clock: Clock, best: BestSoFar) -> Response:
    """An answer with what the engine knows of the slots."""
    return Response(
        loss=answer.loss, fooled=answer.fooled, gradient=answer.gradient,
        any_fooled=answer.any_fooled, clock=clock, best=best,
    )  # fmt: skip
