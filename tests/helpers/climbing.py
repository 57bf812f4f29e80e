"""A gradient attack driven by hand on a given loss, without a model."""

import torch

from hauberk.engine.state import Answer, BestSoFar, Clock
from hauberk.engine.stepper import record, respond
from hauberk.objectives.problem import Problem


def climb(attack, region, evaluate, draws):
    """The last points that the attack asks for, and the best ones it finds.

    ``evaluate`` gives the loss (S,) of points, and its gradient.
    """
    y = torch.zeros(len(region.x0), dtype=torch.long)
    problem = Problem(region=region, y=y, target=None, draws=draws)
    state = attack.init(problem)
    clock, best = Clock.zero(len(y)), BestSoFar.none(state.u)
    while True:
        loss, gradient = evaluate(state.u)
        fooled = torch.zeros_like(y, dtype=torch.bool)
        answer = Answer(loss=loss, fooled=fooled, gradient=gradient.clone(), any_fooled=False)
        response = respond(answer, clock, best)
        record(attack, problem, state, response)
        if attack.finished(state, response) is not None:
            return state.u, best
        state = attack.step(problem, state, response)
        clock.tick()
