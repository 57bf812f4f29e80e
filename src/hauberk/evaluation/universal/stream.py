"""An attack on one perturbation whose images change from step to step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
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
    """An attack on one slot whose group changes from step to step.

    Example:
        >>> from hauberk import Linf
        >>> from hauberk.objectives.minmax import Average
        >>> ball, net = Shared(Linf(0.1), clip=True), Victim(torch.nn.Linear(3, 2))
        >>> attack = PGD(steps=2, random_start=False, loss=Average(loss="ce"))
        >>> stream = Stream(attack, net, ball, Box(), seed=0)
        >>> x, y = torch.full((4, 3), 0.5), torch.zeros(4, dtype=torch.int64)
        >>> loss = stream.step(x, y)
        >>> later = Stream(attack, net, ball, Box(), seed=0)
        >>> later.resume(stream.tensors(), steps=1)
        >>> torch.equal(later.step(x, y), stream.step(x, y))
        True
    """

    def __init__(self, attack: PGD, victim: Victim, threat: Shared, box: Box, seed: int) -> None:
        self.attack, self.victim, self.threat, self.box = attack, victim, threat, box
        self.draws = Draws.of(seed, torch.zeros(1, dtype=torch.int64, device=victim.device))
        self.state: Any = None
        self.clock = Clock.zero(1)
        self.region: Region | None = None
        self.saved: Mapping[str, Tensor] = {}

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One step on a minibatch ``x`` (M, ...); the loss before it, ``(1,)``."""
        # A minibatch whose pixels are all at one end of the box must not pin the perturbation.
        self.region = region = self.threat.at(x.unsqueeze(0), self.box).widened()
        problem = Problem(region=region, y=y.unsqueeze(0), target=None, draws=self.draws)
        if self.state is None:
            self.state = self.attack.init(problem)
            for name, value in self.saved.items():
                setattr(self.state, name, value.to(self.victim.device))
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

    def tensors(self) -> dict[str, Tensor]:
        """What :meth:`resume` goes on from: every tensor of the attack's state, and ``delta``, the
        perturbation where the attack stands, strictly in the ball.
        """
        assert self.region is not None
        state = {name: v for name, v in vars(self.state).items() if isinstance(v, Tensor)}
        return {"delta": self.region.finalise(self.state.u)[0].detach(), **state}

    def resume(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Stand where another stream did that gave these tensors after so many steps."""
        self.saved = {name: value for name, value in tensors.items() if name != "delta"}
        self.clock = Clock(np.array([steps]))


def capped_margin(logits: Tensor, y: Tensor) -> Tensor:
    """The margin up to 10: images that are fooled for good pull no more."""
    return margin(logits, y).clamp(max=10.0)


def shuffled(n: int, seed: int, epoch: int) -> Tensor:
    """The order of ``n`` images in an epoch, ``(n,)`` int64.

    Example:
        >>> shuffled(5, seed=0, epoch=1).sort().values.tolist()
        [0, 1, 2, 3, 4]
    """
    key = Draws.of(seed, torch.arange(n), epoch).key
    return key.argsort()
