"""DeepFool: walk from one linearised boundary to the next until the model is fooled."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hauberk.engine.state import BestSoFar, Clock, Response, State
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.solvers.base import MinNormSolver, gauge, meet


@dataclass(kw_only=True)
class DeepFoolState(State):
    base: Tensor = field(repr=False)
    """Clean input plus all steps so far, before the overshoot, ``(S, ...)``."""


@dataclass(frozen=True, kw_only=True)
class DeepFool(MinNormSolver):
    """DeepFool (Moosavi-Dezfooli et al. 2016, Algorithm 2), for any lp, within the box.

    The paper steps to the nearest of all linearised boundaries, which needs one gradient per class
    and step. Here every class aimed at has an attempt of its own, one gradient per step, and the
    nearest find counts: as dear, and the choice of the class is made at the end, where it is
    certain, not at every step. An attempt ends as soon as the model is fooled. Warm starts are not
    used.

    Args:
        overshoot: the perturbation is asked for with this share of its length added.
        targets: classes aimed at; 0 takes the runner-up at every step.
    """

    general = True

    steps: int = 50
    targets: int = 9
    overshoot: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.overshoot >= 0:
            raise InputError(f"overshoot is {self.overshoot}: give 0 or more")

    def start(self, problem: Problem) -> State:
        u = problem.region.start()
        # No warm starts: they fool already, and nothing leads on from there.
        return DeepFoolState(u=u, t=Clock.zero(len(u)), best=BestSoFar.none(u), base=u)

    def over(self, state: State) -> np.ndarray | None:
        done = super().over(state)
        # Off the CPU a look waits for the device, so it is taken at every eighth step only.
        if not state.best.any_fooled or not (state.u.is_cpu or state.t.most % 8 == 0):
            return done
        ended = state.best.fooled.cpu().numpy()
        done = ended if done is None else done | ended
        return done if done.any() else None

    def step(self, problem: Problem, state: State, response: Response) -> State:
        assert isinstance(state, DeepFoolState)
        region, grad, u = gauge(problem), response.grad, state.u
        meet(problem, state, response)
        if grad is None:
            state.t.tick()
            return state
        gap = (-response.loss).to(u.dtype).nan_to_num(nan=0.0)
        base = state.base + (region.project_to_hyperplane(u, grad, gap) - u)
        far = region.x0 + (base - region.x0) * (1 + self.overshoot)
        # Who is fooled stays, until the loop looks.
        going = per_example(~response.fooled, u)
        state.base = torch.where(going, base, state.base)
        state.u = torch.where(going, region.project_(far), u)
        state.t.tick()
        return state
