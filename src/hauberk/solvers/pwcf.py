"""PWCFRadius for radii: the least distance by a non-smooth constrained quasi-Newton method."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from hauberk.attacks.sqp import SQP, SQPState, Values, length
from hauberk.engine.state import Response
from hauberk.maths.steps import TINY, per_example
from hauberk.solvers.base import MinNormSolver
from hauberk.threats.distances import DistanceRegion


@dataclass(frozen=True, kw_only=True)
class PWCFRadius(SQP, MinNormSolver[SQPState]):
    """Least distance at which the margin is gone, any almost everywhere differentiable distance.

    Minimises d(x, x0) subject to a logit margin of at most 0 and to the box, which is folded into
    one constraint, the l2 length of all overshoots; in linf a slack t sqrt(n) is minimised, and all
    |x_i - x0_i| <= t fold into one constraint, too. Objective and margin are scaled by the lengths
    of their first gradients, so that both count in l2.

    Points are asked for after clipping to the box: any that fools counts.

    Args:
        closing: forwards at the end, at points beyond the last one as seen from the clean input.
        inside: how far beyond the boundary to aim, in units of the first linearised distance.

    Source: Liang et al. 2023, problem 2; Liang et al. 2022 (folding, two stages, rescaling).

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 3)
        >>> images, labels = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> outcome = PWCFRadius(steps=10)(model, images, labels, "l2")
        >>> bool((model(outcome.points).argmax(1) != labels)[outcome.fooled].all())
        True
    """

    norms = (1, 2, inf)
    general = True
    measured = True

    steps: int = 500
    inside: float = 1e-4
    closing: int = 8

    def close(self, region: DistanceRegion, last: Tensor, turn: Tensor) -> Tensor:
        x0 = region.x0
        beyond = (1 + 0.02 * 1.7 ** turn.to(x0.dtype)).clamp(max=1e3)
        return region.project_(x0 + (last - x0) * per_example(beyond, x0))

    def constraints(self, region: DistanceRegion) -> int:
        return 3 if region.ball_is_box else 2

    def extra(self, region: DistanceRegion, x: Tensor) -> Tensor | None:
        if not region.ball_is_box:
            return None
        root: float = x[:1].numel() ** 0.5
        return region.measure(x).unsqueeze(1) * root

    def rate(self, state: SQPState, response: Response) -> Tensor:
        # Those that fool come first, the nearest of them; then those nearest to fooling.
        return torch.where(
            response.fooled, 1e30 / (1e-30 + response.distance), response.loss.clamp(-1e30, 0)
        )

    def values(self, region: DistanceRegion, state: SQPState, response: Response) -> Values:
        u, n = state.u, state.u[0].numel()
        trial = self.trial(state)
        x, gain = trial[:, :n], response.grad.flatten(1)
        over = x - u.flatten(1)
        free = (over == 0).to(x.dtype)
        overshoot = over.norm(dim=1)
        box = over / overshoot.clamp_min(TINY).unsqueeze(1)
        if region.ball_is_box:
            # The slack counts in l2, too: as large a variable as the inputs together.
            distance, slope = trial[:, n], torch.zeros_like(x)
            size = torch.ones_like(distance)
        else:
            distance, slope = region.slope(u)
            slope = slope.flatten(1) * free
            size = length(slope)
        self.scale(state, response, length(gain), size)
        unit, size, first = state.unit.clamp_min(TINY).unbind(1)
        margin = -response.loss.to(x.dtype) / unit + self.inside * first
        towards = -gain * free / unit.unsqueeze(1)
        slopes = torch.stack((slope / size.unsqueeze(1), towards, box), 1)
        if not region.ball_is_box:
            return Values(distance / size, torch.stack((margin, overshoot), 1), slopes)
        delta = x - region.x0.flatten(1)
        rest = (delta.abs() - distance.unsqueeze(1) / n**0.5).clamp_min_(0)
        slack_overshoot = rest.norm(dim=1)
        lean = rest / slack_overshoot.clamp_min(TINY).unsqueeze(1)
        last = torch.stack((size, 0 * size, 0 * size, -lean.sum(1) / n**0.5), 1)
        slopes = torch.cat((slopes, (lean * delta.sign()).unsqueeze(1)), 1)
        slopes = torch.cat((slopes, last.unsqueeze(2)), 2)
        return Values(distance / size, torch.stack((margin, overshoot, slack_overshoot), 1), slopes)

    def scale(self, state: SQPState, response: Response, gain: Tensor, size: Tensor) -> None:
        """Fix the units where gradients are known for the first time."""
        new = torch.stack((gain, size, response.loss.abs().to(gain) / gain.clamp_min(TINY)), 1)
        ready = ((state.unit[:, :2] == 0).any(1) & (gain > 0) & (size > 0)).unsqueeze(1)
        state.unit = torch.where(ready, new, state.unit)
