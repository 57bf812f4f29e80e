"""Attacks of which a suite's stages are made where it matters who is attacked from where."""

from dataclasses import dataclass

import torch

from hauberk.attacks import PGD, Attack
from hauberk.engine.state import State

LAZY = PGD(steps=1, step_size=1e-12, random_start=False)
"""Looks at where it begins, and stays there."""


@dataclass(frozen=True, kw_only=True)
class Jump(Attack):
    """Looks at one point: the clean input moved by ``way``."""

    steps: int = 1
    way: tuple[float, ...] = ()

    def init(self, problem):
        u = problem.region.start()
        u = problem.region.project_(u + torch.tensor(self.way).to(u).view(1, *u.shape[1:]))
        return State(u=u)

    def step(self, problem, state, response):
        return state
