"""PWCF inside a threat: the largest loss by a non-smooth constrained quasi-Newton method."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from hauberk.attacks.sqp import SQP, SQPState
from hauberk.attacks.sqp_records import Values, length
from hauberk.engine.state import Response
from hauberk.errors import InputError
from hauberk.maths.steps import per_example
from hauberk.objectives.problem import Problem
from hauberk.threats.ball import LinfRegion
from hauberk.threats.base import Region

TINY = 1e-30


@dataclass(frozen=True, kw_only=True)
class PWCF(SQP):
    """Largest loss within any distance that is differentiable almost everywhere.

    Maximises the loss, clipped at ``cap`` since any success suffices, subject to the box and the
    distance, each folded into one constraint: the l2 length of all overshoots of the box, that of
    all overshoots of eps in linf, and max(d - eps, 0) for other distances. No projection is needed.
    Only points inside the threat count.

    Args:
        cap: for the margin a small positive number, for the cross-entropy at least log C.
        closing: forwards at the end, at the last point moved into the threat and a little further.
        inner: share of the radius that is aimed at, since solutions are approached from outside.

    Source: Liang et al. 2023, problem 1; Liang et al. 2022 (folding, clipping, two stages).
    """

    steps: int = 200
    cap: float | None = None
    inner: float = 0.999
    closing: int = 2

    def close(self, problem: Problem, last: Tensor, turn: Tensor) -> Tensor:
        share = (1 - 0.02 * (turn - 1)).clamp(0, 1).to(last.dtype)
        x0 = problem.region.x0
        near = problem.region.project_(last.clone())
        return problem.region.project_(x0 + (near - x0) * per_example(share, x0))

    def constraints(self, problem: Problem) -> int:
        region = problem.region
        if not region.direct or not hasattr(region, "edges"):
            raise InputError(f"PWCF needs a threat with a distance, not {type(region).__name__}")
        if getattr(region, "p", None) == 0:
            raise InputError("PWCF needs a distance with a gradient, which l0 has not: use PGD")
        return 2

    def within_threat(self, problem: Problem, u: Tensor) -> Tensor:
        with torch.no_grad():
            return problem.region.measure(u) <= problem.region.radius.to(u.dtype)

    def rate(self, problem: Problem, state: SQPState, response: Response) -> Tensor:
        assert isinstance(state.inside, Tensor)
        loss = response.loss.to(state.u).nan_to_num(nan=1e30, posinf=1e30, neginf=-1e30)
        worth = torch.where(state.inside, loss, -inf)
        # Of several points that fool, the first one is as good as any.
        found = Response(loss=worth, fooled=response.fooled & state.inside, grad=None)
        state.best.update_(state.u, found)
        return torch.where(state.inside, loss, loss.clamp(max=1e29) - 1e30)

    def values(self, problem: Problem, state: SQPState, response: Response) -> Values:
        assert response.grad is not None
        region, u = problem.region, state.u
        x = self.trial(state)
        over = x - u.flatten(1)
        free = (over == 0).to(x.dtype)
        far = over.norm(dim=1)
        box = over / far.clamp_min(TINY).unsqueeze(1)
        excess, way = _excess(region, u, self.inner)
        loss = response.loss.to(x.dtype)
        gain = response.grad.flatten(1)
        self._scale(state, length(gain), length(way))
        unit, size, _ = state.unit.clamp_min(TINY).unbind(1)
        capped = loss >= self._cap
        gain = gain * free * (~capped).to(x.dtype).unsqueeze(1) / unit.unsqueeze(1)
        slopes = torch.stack((-gain, way * free / size.unsqueeze(1), box), 1)
        worth = torch.where(capped, self._cap, loss) / unit
        return Values(-worth, torch.stack((excess / size, far), 1), slopes)

    @property
    def _cap(self) -> float:
        if self.cap is not None:
            return self.cap
        return 10.0 if self.loss == "ce" else 0.01

    def _scale(self, state: SQPState, gain: Tensor, size: Tensor) -> None:
        new = torch.stack((gain, torch.where(size > 0, size, 1.0), gain), 1)
        ready = ((state.unit[:, 0] == 0) & (gain > 0)).unsqueeze(1)
        state.unit = torch.where(ready, new, state.unit)


def _excess(region: Region, u: Tensor, inner: float) -> tuple[Tensor, Tensor]:
    """What exceeds the radius, ``(S,)``, and its gradient ``(S, N)``."""
    radius = region.radius.to(u.dtype) * inner
    if isinstance(region, LinfRegion):
        delta = (u - region.x0).flatten(1)
        rest = (delta.abs() - radius.unsqueeze(1)).clamp_min_(0)
        size = rest.norm(dim=1)
        return size, rest * delta.sign() / size.clamp_min(TINY).unsqueeze(1)
    distance, way = region.slope(u)
    return distance - radius, way.flatten(1)
