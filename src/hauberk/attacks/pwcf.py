"""PWCF inside a threat: the largest loss by a non-smooth constrained quasi-Newton method."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.attacks.base import Attack
from hauberk.attacks.sqp import SQP, SQPState, Values, length
from hauberk.engine.state import Response
from hauberk.errors import InputError
from hauberk.maths.steps import TINY, per_example
from hauberk.objectives.problem import Problem
from hauberk.threats.distances import DistanceRegion


@dataclass(frozen=True, kw_only=True)
class PWCF(SQP, Attack[SQPState]):
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

    Example:
        >>> import torch
        >>> from hauberk import L2
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = PWCF(steps=5)(model, images, labels, L2(0.1))
        >>> bool((outcome.distance <= 0.1).all())
        True
    """

    steps: int = 200
    cap: float | None = None
    inner: float = 0.999
    closing: int = 2

    def close(self, region: DistanceRegion, last: Tensor, turn: Tensor) -> Tensor:
        share = (1 - 0.02 * (turn - 1)).clamp(0, 1).to(last.dtype)
        near = region.project_(last.clone())
        return region.project_(region.x0 + (near - region.x0) * per_example(share, near))

    def constraints(self, region: DistanceRegion) -> int:
        if region.discrete:
            raise InputError("PWCF needs a distance with a gradient, which l0 has not: use PGD")
        return 2

    def within_threat(self, region: DistanceRegion, u: Tensor) -> Tensor:
        with torch.no_grad():
            return region.measure(u) <= region.radius.to(u.dtype)

    def ended_at(self, problem: Problem, state: SQPState) -> Tensor | None:
        # What a solve that was over found, where the last one could not end.
        over = state.off.isfinite().unsqueeze(1)
        return torch.where(over, state.end, state.solve.v).reshape(state.u.shape)

    def value(self, problem: Problem, state: SQPState, response: Response) -> Tensor:
        # Of several points that fool, the first one is as good as any.
        return response.loss.to(state.u).nan_to_num(nan=1e30, posinf=1e30, neginf=-1e30)

    def rate(self, state: SQPState, response: Response) -> Tensor:
        inside = torch.as_tensor(state.feasible, device=state.u.device)
        loss = response.loss.to(state.u).nan_to_num(nan=1e30, posinf=1e30, neginf=-1e30)
        return torch.where(inside, loss, loss.clamp(max=1e29) - 1e30)

    def values(self, region: DistanceRegion, state: SQPState, response: Response) -> Values:
        u = state.u
        x = self.trial(state)
        over = x - u.flatten(1)
        free = (over == 0).to(x.dtype)
        overshoot = over.norm(dim=1)
        box = over / overshoot.clamp_min(TINY).unsqueeze(1)
        excess, slope = region.excess(u, self.inner)
        loss = response.loss.to(x.dtype)
        gain = response.grad.flatten(1)
        self._scale(state, length(gain), length(slope))
        unit, size, _ = state.unit.clamp_min(TINY).unbind(1)
        capped = loss >= self._cap
        gain = gain * free * (~capped).to(x.dtype).unsqueeze(1) / unit.unsqueeze(1)
        slopes = torch.stack((-gain, slope * free / size.unsqueeze(1), box), 1)
        worth = torch.where(capped, self._cap, loss) / unit
        return Values(-worth, torch.stack((excess / size, overshoot), 1), slopes)

    @property
    def _cap(self) -> float:
        if self.cap is not None:
            return self.cap
        return 10.0 if self.objective.loss == "ce" else 0.01

    def _scale(self, state: SQPState, gain: Tensor, size: Tensor) -> None:
        new = torch.stack((gain, torch.where(size > 0, size, 1.0), gain), 1)
        ready = ((state.unit[:, 0] == 0) & (gain > 0)).unsqueeze(1)
        state.unit = torch.where(ready, new, state.unit)
