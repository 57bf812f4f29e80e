"""Random noise with a line search over its size, and what all attacks by decision share."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.base import Attack, pick
from hauberk.engine.method import Kind
from hauberk.engine.state import BestSoFar, Clock, Response, State
from hauberk.errors import InputError
from hauberk.maths.norms import norm
from hauberk.maths.rng import Draws
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Region

KINDS = ("gaussian", "uniform", "salt_and_pepper")
BEYOND = 2.0
"""Largest size of dense noise in units of the threat's: box and projection take the excess."""


@dataclass(frozen=True, kw_only=True)
class Blind(Attack):
    """An attack that asks for ``rows`` points and one more at each of its steps, forwards only.

    Args:
        steps: asks of one attempt, each of ``rows + 1`` forwards.

    Raises:
        InputError: for targets (the decision alone is used); when it runs, for a threat that is no
            ball, and mostly for a box without ends.
    """

    kind = Kind.FREE

    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targets:
            raise InputError(f"{type(self).__name__} knows no targets: leave targets at 0")

    @property
    def passes(self) -> int:
        return self.steps * (self.rows + 1)

    def over(self, state: State) -> np.ndarray | None:
        return state.t.count >= self.steps if state.t.most >= self.steps else None

    def wants_gradient(self, state: State) -> bool:
        return False

    def _least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise InputError(f"{name} is {getattr(self, name)}: give {least} or more")


@dataclass(frozen=True, kw_only=True)
class Noise(Blind):
    """Random noise of growing size in any ball (Rauber et al. 2017).

    Each step draws one noise and asks for ``sizes`` multiples of it, projected into the threat, and
    one point more: the clean input or the warm start at first, later the opposite of the largest
    multiple. Dense noise reaches the threat's full size; salt and pepper sets more and more random
    features to random ends of the box, until the budget is used.

    Args:
        noise: ``gaussian``, ``uniform`` or ``salt_and_pepper``.
        steps: noises drawn.
        sizes: sizes of each.
    """

    noise: Literal["gaussian", "uniform", "salt_and_pepper"] = "gaussian"
    sizes: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise not in KINDS:
            raise InputError(f"unknown noise '{self.noise}': choose one of {', '.join(KINDS)}")
        self._least("sizes", 1)

    @property
    def rows(self) -> int:
        return self.sizes

    def start(self, problem: Problem) -> State:
        ends(problem.region)  # refuses what is no ball
        u = problem.begin(random=False)
        if self.noise == "salt_and_pepper" or getattr(problem.region, "p", None) == 0:
            refuse_endless(problem.region)
        state = State(u=u, t=Clock.zero(len(u)), best=BestSoFar.none(u))
        state.spread = self.ask(problem, 0)
        return state

    def choose(self, problem: Problem, state: State, response: Response) -> State:
        note(state, response)
        return state

    def step(self, problem: Problem, state: State, response: Response) -> State:
        state.best.update_(state.u, response)
        state.t.tick()
        count = torch.from_numpy(state.t.count).to(state.u.device)
        state.spread = self.ask(problem, count)
        # The opposite of the largest: one direction more for the price of one point.
        opposite = problem.region.x0 * 2 - state.spread[:, -1]
        state.u = problem.region.project_(opposite)
        return state

    def ask(self, problem: Problem, draw: int | Tensor) -> Tensor:
        """The sizes of one noise, ``(S, sizes, ...)``, inside the threat."""
        region, draws = problem.region, problem.draws
        x0 = region.x0
        p = float(getattr(region, "p", torch.inf))
        size = shares(x0, self.sizes)
        if self.noise == "salt_and_pepper":
            whole = salt_and_pepper(region, draws.split(20), draw)
            key = draws.split(21).uniform(draw, x0.shape[1:], torch.float64)
            spent = spending(whole - x0, key, region, p)
            points = [
                torch.where(spent <= per_example(share, spent), whole, x0) for share in size.T
            ]
        else:
            noise = self.dense(problem, draw, p)
            points = [torch.addcmul(x0, noise, per_example(share * BEYOND, x0)) for share in size.T]
        return torch.stack([region.project_(point) for point in points], 1)

    def dense(self, problem: Problem, draw: int | Tensor, p: float) -> Tensor:
        """Noise of the threat's full size, ``(S, ...)``."""
        region, shape = problem.region, problem.region.x0.shape[1:]
        dtype = region.x0.dtype
        if self.noise == "gaussian":
            noise = problem.draws.split(20).normal(draw, shape, dtype)
        else:
            noise = problem.draws.split(20).uniform(draw, shape, dtype) * 2 - 1
        if p == 0:
            # Its size counts features: any amount that the box allows.
            lo, hi = ends(region)
            return noise * (hi - lo)
        if p == torch.inf:
            return noise * per_example(region.eps, noise)
        length = norm(noise.double(), p).clamp_min(1e-30)
        return noise * per_example((region.radius / length).to(dtype), noise)


def spending(delta: Tensor, key: Tensor, region: Region, p: float) -> Tensor:
    """Share of the threat's budget used once features are changed in the order of their keys.

    For each feature, the share used up to and with it, ``(S, ...)`` float64; above 1 it no longer
    fits. In linf all features fit: it is the share of features.
    """
    cost = delta.double().flatten(1).abs()
    if p == torch.inf:
        cost, budget = torch.ones_like(cost), torch.full_like(region.radius, cost.shape[1])
    elif p == 0:
        cost, budget = (cost > 0).double(), region.radius
    else:
        cost, budget = cost.pow(p), region.radius.pow(p)
    order = key.flatten(1).argsort(dim=1)
    spent = cost.gather(1, order).cumsum(1) / budget.clamp_min(1e-30).unsqueeze(1)
    return torch.zeros_like(spent).scatter(1, order, spent).view_as(delta)


def ends(region: Region) -> tuple[Tensor, Tensor]:
    """The ends of the box, ``(S, ...)`` each.

    Raises:
        InputError: for a threat that is no ball.
    """
    edges = getattr(region, "edges", None)
    if edges is None or not getattr(region, "direct", True):
        raise InputError("this attack walks in the input: give it a ball (linf, l2, l1, l0)")
    return edges[0].expand_as(region.x0), edges[1].expand_as(region.x0)


def refuse_endless(region: Region) -> None:
    """One look at the box when new slots are taken; raises InputError if it has no ends."""
    lo, hi = ends(region)
    if not bool((lo.isfinite() & hi.isfinite()).all()):
        raise InputError("the box is infinite: this attack needs its ends, pass a finite box=")


def salt_and_pepper(region: Region, draws: Draws, draw: int | Tensor) -> Tensor:
    """Every feature at a random end of the box, ``(S, ...)``."""
    lo, hi = ends(region)
    return torch.where(draws.bits(draw, lo.shape[1:]) & 1 == 1, hi, lo)


def shares(like: Tensor, k: int) -> Tensor:
    """``(S, k)``: 1/k, 2/k, ... 1 for every row of ``like``."""
    steps = torch.arange(1, k + 1, dtype=like.dtype, device=like.device) / k
    return steps.expand(len(like), k)


def note(state: State, response: Response) -> None:
    """Take over the spread's point of largest loss in the threat, if it is the best so far."""
    assert state.spread is not None
    loss = response.loss.nan_to_num(nan=torch.inf)
    if state.inside_spread is not None:
        loss = torch.where(state.inside_spread, loss, -torch.inf)
    index = loss.argmax(1)
    row = index.unsqueeze(1)
    fooled = response.fooled.gather(1, row).squeeze(1)
    found = Response(
        loss=loss.gather(1, row).squeeze(1),
        fooled=fooled,
        grad=None,
        any_fooled=response.any_fooled,
    )
    state.best.update_(pick(state.spread, index), found)
