"""What every attack is: a search for the point of largest loss that the engine drives."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.engine.loop import drive
from hauberk.engine.method import Job, Method
from hauberk.engine.outcome import Outcome
from hauberk.engine.stepper import S, Stepper
from hauberk.threats.region import Region
from hauberk.victims.victim import Victim


@dataclass(frozen=True, kw_only=True)
class Attack(Stepper[S], Method):
    """Search for the point of largest loss inside a threat (problem 1).

    A new attack says where to begin (``init``) and where to look next (``step``); see
    :class:`~hauberk.engine.stepper.Stepper` for what else it may say, and for its settings.

    Example:
        >>> from hauberk.engine.state import State
        >>> from hauberk.threats import Linf
        >>> @dataclass(frozen=True, kw_only=True)
        ... class SignAscent(Attack[State]):
        ...     steps: int = 10
        ...
        ...     def init(self, problem):
        ...         return State(u=problem.start())
        ...
        ...     def step(self, problem, state, response):
        ...         region = problem.region
        ...         length = region.eps * 2 / self.steps
        ...         moved = region.ascent(state.u, response.grad, length)
        ...         return State(u=region.project_(moved))
        >>> x, y = torch.full((2, 3), 0.5), torch.tensor([0, 1])
        >>> SignAscent()(torch.nn.Linear(3, 2), x, y, Linf(0.1), stop=False).forwards
        tensor([11, 11])
    """

    def run(self, victim: Victim, job: Job) -> Outcome:
        return drive(self, victim, job)

    def check(self, job: Job) -> None:
        self.try_init(job.threat, job.x.detach(), job.y, job.box)


def which_lie_in(region: Region, candidates: Tensor) -> Tensor:
    """Which of several points for each slot ``(S, K, ...)`` lie in the threat, ``(S, K)`` bool."""
    n, k = candidates.shape[:2]
    each = torch.arange(n, device=candidates.device).repeat_interleave(k)
    rows, around = candidates.flatten(0, 1), region.take(each)
    return around.contains(around.decode(rows), around.witness(rows)).view(n, k)
