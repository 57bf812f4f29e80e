"""SPSA: ascent on gradients estimated from losses alone."""

from dataclasses import dataclass, field, replace
from math import inf, isnan

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.base import Attack, which_lie_in
from hauberk.engine.method import Job, Kind
from hauberk.engine.outcome import Outcome
from hauberk.engine.state import Clock, Response, State
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Threat
from hauberk.victims.victim import Victim

DECAY, DECAY_SQUARED, ADAM_EPS = 0.9, 0.999, 1e-8


@dataclass(kw_only=True)
class SPSAState(State):
    """The iterate, the estimate of its gradient so far, and Adam's moments."""

    x: Tensor = field(repr=False)
    """The iterate that is being sampled around."""
    total: Tensor = field(repr=False)
    """Sum of the estimates so far at this iterate."""
    first: Tensor = field(repr=False)
    second: Tensor = field(repr=False)
    """Adam's running means of the gradient and of its square."""
    scale: Tensor
    """Largest entry of the first estimate that is not zero, ``(S,)``."""


@dataclass(frozen=True, kw_only=True)
class SPSA(Attack[SPSAState]):
    """Simultaneous perturbation stochastic approximation (Uesato et al. 2018), in any threat.

    The gradient at the iterate is the mean of ``(f(u + delta v) - f(u - delta v)) / (2 delta) v``
    over random sign vectors v; Adam (Kingma & Ba 2015) follows it, and the iterate is projected. No
    backwards. The settings are those of Ding et al. 2020, where it is a check for masked gradients.
    They cost much: about 206,000 forwards per attempt.

    Sample points may lie outside of the threat and of the box, by ``delta`` at most in every
    feature; those outside count for the estimate alone.

    Args:
        steps: iterations; one takes ``samples`` forwards and one more for every chunk.
        samples: points per estimate, half of them mirror images of the others; rounded up to whole
            chunks.
        chunk: most points per example that are evaluated at once; there are two chunks at least.
        delta: size of the perturbation, in units of the input.
        lr: Adam's rate: about the length of a step in every feature, in units of the input.
        threshold: an attempt goes on, whether or not the model is fooled, until the loss at its
            iterate is so large; if left out, until the first point that fools. The stopping
            threshold of -5.0 of Ding et al. 2020, appendix D, whose loss is minimised, is 5.0.

    Example:
        >>> import torch
        >>> from hauberk import Linf
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = SPSA(steps=2, samples=8, chunk=4)(model, images, labels, Linf(0.1))
        >>> outcome.backwards
        tensor([0, 0])
    """

    kind = Kind.FREE

    steps: int = 100
    samples: int = 2048
    chunk: int = 128
    delta: float = 0.01
    lr: float = 0.01
    threshold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("samples", "chunk"):
            if getattr(self, name) < 2:
                raise InputError(f"{name} is {getattr(self, name)}: samples come in pairs, give 2+")
        for name in ("delta", "lr"):
            if not 0 < getattr(self, name) < inf:
                raise InputError(f"{name} is {getattr(self, name)}: give a number above 0")
        if self.threshold is not None and isnan(self.threshold):
            raise InputError("threshold is nan: give a loss to stop at, or leave it out")

    def run(self, victim: Victim, job: Job) -> Outcome:
        return super().run(victim, job if self.threshold is None else replace(job, stop=False))

    @property
    def chunks(self) -> int:
        """Queries per iteration."""
        # With two or more, the first query of all is at the start, which may be a warm one.
        return max(2, -(-self.samples // (self.chunk - self.chunk % 2)))

    def spread_size(self, threat: Threat) -> int:
        return self.rows

    @property
    def rows(self) -> int:
        """Points of one query."""
        return 2 * -(-self.samples // (2 * self.chunks))

    @property
    def passes(self) -> int:
        return self.steps * self.chunks * (self.rows + 1)

    def wants_gradient(self, clock: Clock) -> bool:
        return False

    def finished(self, state: SPSAState, response: Response) -> np.ndarray | None:
        clock, last = response.clock, self.steps * self.chunks - 1
        over: np.ndarray | None = clock.count >= last if clock.most >= last else None
        if self.threshold is None:
            return over
        reached: np.ndarray = (response.loss >= self.threshold).cpu().numpy()
        return reached if over is None else reached | over

    def init(self, problem: Problem) -> SPSAState:
        u = problem.start()
        n, zero = len(u), torch.zeros_like(u)
        state = SPSAState(
            u=u, x=u, total=zero, first=zero.clone(),
            second=zero.clone(), scale=u.new_zeros(n),
        )  # fmt: skip
        return self._sample(problem, state, torch.zeros(n, dtype=torch.int64, device=u.device))

    def _signs(self, problem: Problem, state: State, draw: Tensor) -> Tensor:
        """The sign vectors of the present query, ``(S, rows / 2, ...)``."""
        bits = problem.draws.split(1).bits(draw, (self.rows // 2, *state.u.shape[1:]))
        return (bits & 1).to(state.u.dtype).mul_(2).sub_(1)

    def _sample(self, problem: Problem, state: SPSAState, draw: Tensor) -> SPSAState:
        moves = self._signs(problem, state, draw).mul_(self.delta)
        x = state.x.unsqueeze(1)
        state.candidates = torch.cat((x + moves, x - moves), 1)
        state.candidates_feasible = which_lie_in(problem.region, state.candidates)
        return state

    def select(self, problem: Problem, state: SPSAState, response: Response) -> SPSAState:
        up, down = response.loss.chunk(2, 1)
        most = torch.finfo(state.u.dtype).max * 1e-6  # so that sums stay finite
        rise = (up - down).nan_to_num(nan=0.0).clamp(-most, most).to(state.u.dtype)
        signs = self._signs(problem, state, response.clock.on(state.u))
        state.total = state.total + (rise.view(*rise.shape, *[1] * (signs.dim() - 2)) * signs).mean(
            1
        )
        last = (response.clock.count + 1) % self.chunks == 0
        count = response.clock.count
        state.u = self._follow(problem, state, last, count) if last.any() else state.x
        return state

    def _follow(
        self, problem: Problem, state: SPSAState, last: np.ndarray, count: np.ndarray
    ) -> Tensor:
        """Adam's step for the slots whose estimate is complete; the iterate of the others."""
        u = state.x
        now = per_example(torch.from_numpy(last).to(u.device), u)
        # Adam forgets the unit of its gradients but for ADAM_EPS: measured in that of the first
        # estimate, losses of any size are climbed alike, and their squares stay within the floats.
        top = state.total.abs().flatten(1).amax(1)
        scale = torch.where(state.scale > 0, state.scale, top)
        unit = per_example(scale.masked_fill(scale == 0, 1), u)
        grad = (state.total / unit).clamp(-1e15, 1e15)
        number = torch.from_numpy(count // self.chunks + 1).to(u.device, torch.float64)
        fresh = per_example((1 - DECAY**number).to(u.dtype), u)
        fresh_squared = per_example((1 - DECAY_SQUARED**number).to(u.dtype), u)
        first = state.first.lerp(grad, 1 - DECAY)
        second = state.second.lerp(grad.square(), 1 - DECAY_SQUARED)
        direction = (first / fresh) / ((second / fresh_squared).sqrt() + ADAM_EPS)
        moved = problem.region.project_(u + self.lr * direction)
        state.first = torch.where(now, first, state.first)
        state.second = torch.where(now, second, state.second)
        state.scale = torch.where(now.view(-1), scale, state.scale)
        state.total = torch.where(now, 0.0, state.total)
        state.x = torch.where(now, moved, u)
        return state.x

    def step(self, problem: Problem, state: SPSAState, response: Response) -> SPSAState:
        return self._sample(problem, state, response.clock.on(state.u, later=1))
