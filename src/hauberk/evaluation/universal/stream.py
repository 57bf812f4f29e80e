"""An attack on one perturbation whose images change from step to step."""

from typing import Any

import torch
from torch import Tensor

from hauberk.attacks.pgd import PGD
from hauberk.engine.state import BestSoFar, Clock, Response
from hauberk.maths.losses import margin
from hauberk.maths.rng import Draws
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Box
from hauberk.threats.region import Region
from hauberk.threats.shared import Shared
from hauberk.victims.victim import Victim


class Stream:
    """An attack on one slot whose group changes from step to step."""

    def __init__(self, attack: PGD, victim: Victim, threat: Shared, box: Box, seed: int) -> None:
        self.attack, self.victim, self.threat, self.box = attack, victim, threat, box
        self.draws = Draws.of(seed, torch.zeros(1, dtype=torch.int64, device=victim.device))
        self.state: Any = None
        self.clock = Clock.zero(1)
        self.region: Region | None = None

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One step on a minibatch ``x`` (M, ...); the loss before it, ``(1,)``."""
        # A minibatch whose pixels are all at one end of the box must not pin the perturbation.
        self.region = region = self.threat.at(x.unsqueeze(0), self.box).widened()
        problem = Problem(region=region, y=y.unsqueeze(0), target=None, draws=self.draws)
        if self.state is None:
            self.state = self.attack.init(problem)
        objective = self.attack.objective
        u = self.state.u.detach().requires_grad_(True)
        with torch.enable_grad():
            found = objective(
                self.victim, region.decode(u), problem.y, None, objective.start(problem)
            )
        grad = self.victim.gradient(found.head, found.slope, u)
        with torch.no_grad():
            response = Response(
                loss=found.loss, fooled=found.fooled, gradient=grad, clock=self.clock,
                best=BestSoFar.none(u.detach()),
            )  # fmt: skip
            self.state.u = u.detach()
            self.state = self.attack.step(problem, self.state, response)
            self.clock.tick()
        return found.loss

    def delta(self) -> Tensor:
        """The perturbation where the attack stands, strictly in the ball."""
        assert self.region is not None
        return self.region.finalise(self.state.u)[0].detach()


def capped_margin(logits: Tensor, y: Tensor) -> Tensor:
    """The margin up to 10: images that are fooled for good pull no more."""
    return margin(logits, y).clamp(max=10.0)


def shuffled(n: int, seed: int, epoch: int) -> Tensor:
    """The order of ``n`` images in an epoch, ``(n,)`` int64."""
    key = Draws.of(seed, torch.arange(n), epoch).key
    return key.argsort()
