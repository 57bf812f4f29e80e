"""AMPGD: train on a weighted mixture of several threats, the weights learnt for each example."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hauberk.attacks.base import Attack
from hauberk.attacks.pgd import PGD, PGDState
from hauberk.engine.state import Response
from hauberk.errors import InputError
from hauberk.objectives.base import Terms
from hauberk.objectives.combined import Weighing
from hauberk.objectives.minmax import MinMax
from hauberk.objectives.problem import Problem
from hauberk.threats.base import Box, Threat
from hauberk.threats.each import Each
from hauberk.threats.region import CompoundRegion
from hauberk.train.strategies.adversarial import Adversarial
from hauberk.train.strategies.base import Batch, Loss, Tables

STEP_SHARES = {"linf": 0.01 / 0.3, "l2": 0.1 / 2, "l1": 0.8 / 10}
"""Steps in units of the radius, by kind of threat (Maini et al. 2020, MNIST)."""


@dataclass(frozen=True, kw_only=True)
class AMPGD(Adversarial):
    """Generalised adversarial training by alternating multi-step PGD (Wang et al. 2021, 4.4).

    Each example has weights on the K threats and one perturbation in each. In every minibatch the
    perturbations start afresh, the weights where the example's last visit left them; R steps of
    projected gradient ascent move both::

        maximise over w, delta_1 .. delta_K   sum_i w_i CE(x + delta_i) - gamma / 2 |w - 1/K|^2

    Step r takes both from the same ``(w, delta)`` of step r - 1, as printed (supplement C): the
    weights go towards the threats whose losses are largest where the perturbations are, not where
    they are about to go. Then the model trains on ``sum_i w_i CE(x + delta_i)`` at the last
    iterate, weights and perturbations of step R. An example costs R K forward and R K backward
    passes, K forwards more, and K forwards and K backwards of the training loss. Table: ``w``
    (N, K); the history has the weights' mean and spread over the examples of every epoch.

    The paper gives neither R, beta and gamma nor the steps, and says nothing of weights that
    outlive a minibatch. Here: R and the step shares are near those of Maini et al. on MNIST, beta
    is that of the paper's attacks, and at ``gamma=1`` a threat whose loss is one nat above the
    others' has all the weight. Perturbations move along the steepest step of their own threat, so
    that a weight of 0 freezes none; ``rule="gradient"`` is the printed step.

    Args:
        threat: A union of the threats (or one).
        steps: R.
        beta: Step of the weights; ``1 / gamma`` or more forgets the weights of the last visit.
        gamma: Pull towards equal weights: 0 is the worst threat alone, inf the average of all.
        order: ``together``, as printed, or ``alternate``: the perturbations first, then the weights
            by the losses where they went (so that step R ends with weights that know all of it).
        rule: ``steepest``, or ``gradient``, as printed: each perturbation moves by ``beta`` times
            its threat's weight times the gradient of its loss.
        step_shares: Steepest steps of the perturbations, each in units of its threat's size, in the
            order of the threats; None: 1/30 for linf, 1/20 for l2 and other threats, 0.08 for l1,
            but ``1.25 / steps`` at least.
        share_moved: Shares of features that a steepest step in l1 or l0 moves, drawn between the
            two.
        random_start: Start from random points of the threats, else from the clean inputs.

    Raises:
        InputError: for threats that cannot be moved side by side, and for numbers out of range.

    Example:
        >>> import hauberk as hb
        >>> strategy = hb.train.AMPGD(hb.Linf(0.3) | hb.L2(2), steps=40)
        >>> strategy.begin(2, torch.device("cpu"))["w"].tolist()
        [[0.5, 0.5], [0.5, 0.5]]
    """

    steps: int = 40
    beta: float = 1 / 50
    gamma: float = 1.0
    order: Literal["together", "alternate"] = "together"
    rule: Literal["steepest", "gradient"] = "steepest"
    step_shares: Sequence[float] | None = None
    share_moved: float | tuple[float, float] = (5 / 784, 20 / 784)
    random_start: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = len(Each(self.threat).parts)
        if self.order not in ("together", "alternate"):
            raise InputError(f"unknown order '{self.order}': choose together or alternate")
        if self.rule == "gradient" and (self.step_shares is not None or not 0 < self.beta < inf):
            raise InputError(
                "rule='gradient' moves perturbations by beta: give a finite beta above 0, and no "
                "step_shares"
            )
        if self.step_shares is not None and len(self.step_shares) != parts:
            raise InputError(f"{len(self.step_shares)} step_shares for {parts} threats: one each")
        if self.step_shares is not None and not all(0 < s < inf for s in self.step_shares):
            raise InputError(f"step_shares are {tuple(self.step_shares)}: give more than 0")
        self.attack(torch.full((0, parts), 1 / parts))

    def check(self, x: Tensor, y: Tensor, box: Box) -> None:
        super().check(x, y, box)
        Each(self.threat).at(x[:1], box)

    def begin(self, examples: int, device: torch.device) -> Tables:
        parts = len(self.threats)
        return {"w": torch.full((examples, parts), 1 / parts, device=device)}

    def noted(self, tables: Tables) -> dict[str, Tensor]:
        return {f"weight {threat}": tables["w"][:, k] for k, threat in enumerate(self.threats)}

    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        table = tables["w"]
        ids = batch.ids.to(table.device)
        found = batch.attack(self.attack(table[ids].to(batch.x.device)), Each(*threats))
        assert found.weights is not None
        w = found.weights.detach()  # of the iterate that the points are of
        table[ids] = w.to(table)
        points = found.points.to(batch.x.dtype).unbind(1)
        losses = [F.cross_entropy(batch.model(x), batch.y, reduction="none") for x in points]
        # A weight of 0 times an infinite loss would be NaN.
        value = torch.where(w > 0, w * torch.stack(losses, 1), 0).sum(1).mean()
        logs = {f"weight {threat}": w[:, k].mean() for k, threat in enumerate(self.threats)}
        passes = w.numel()
        return Loss(value, logs, forwards=passes, backwards=passes)

    def attack(self, w: Tensor) -> "SideBySide":
        """The attack on ``Each(*threats)`` that begins at the weights ``w`` (B, K)."""
        objective = Resumed(
            gamma=self.gamma, beta=self.beta, toward="strong", loss="ce", begin=w,
            order=self.order, steps=self.steps, apart=self.rule == "steepest",
        )  # fmt: skip
        return SideBySide(loss=objective, shares=tuple(self.shares), **self._moves(1.0))

    def attack_on(self, threat: Threat) -> Attack:
        """What the perturbation of one threat goes through, whatever its weight."""
        return PGD(**self._moves(self.shares[list(self.threats).index(threat)]))

    def _moves(self, share: float) -> dict[str, Any]:
        """How a perturbation moves, its steepest steps being that share of its threat's size."""
        raw = self.rule == "gradient"
        return {
            "steps": self.steps, "random_start": self.random_start, "soften": self.soften,
            "rule": self.rule, "share": self.share_moved,
            **({"step_size": self.beta} if raw else {"step_share": share}),
        }  # fmt: skip

    @property
    def shares(self) -> list[float]:
        """Steps of the threats' perturbations, in units of their sizes."""
        if self.step_shares is not None:
            return list(self.step_shares)
        usual = [STEP_SHARES.get(threat.kind, STEP_SHARES["l2"]) for threat in self.threats]
        return [max(share, min(1.0, 1.25 / max(1, self.steps))) for share in usual]


@dataclass(frozen=True, eq=False)
class Resumed(MinMax):
    """Weights that begin at given ones and move as often as the perturbations.

    At its ``steps + 1`` evaluations an attack moves the perturbations after every one but the last.
    ``together``, so do the weights, and the gradient is that at the weights before the move;
    ``alternate``, they move at every one but the first, before the gradient is taken.

    Args:
        begin: ``(B, K)``, rows of the batch that is attacked; None for equal weights.
        order: See above.
        steps: Moves of the weights: the steps of the attack.
        apart: Every member ascends its own loss, whatever its weight; else the weighted sum.
    """

    begin: Tensor | None = None
    order: Literal["together", "alternate"] = "together"
    steps: int = 40
    apart: bool = True

    def start(self, problem: Problem) -> Weighing:
        state = super().start(problem)
        if self.begin is not None and problem.index is not None:
            state.w = self.begin[problem.index].to(state.w)
        return state

    def weigh(self, state: Weighing, losses: Tensor) -> tuple[Tensor, Tensor]:
        moving = Weighing(w=state.w, seen=torch.ones_like(state.seen), draws=state.draws)
        value, moved = super().weigh(moving, losses)
        rest = state.seen == (self.steps if self.order == "together" else 0)
        return value, torch.where(rest.unsqueeze(1), state.w, moved)

    def pull(self, state: Weighing, w: Tensor) -> Tensor:
        return state.w if self.order == "together" else w

    def terms(self, logits: Tensor, *labels: Tensor) -> Terms:
        terms = super().terms(logits, *labels)
        return Apart(terms.loss, terms.head, terms.slope) if self.apart else terms


@dataclass
class Apart(Terms):
    """Losses that share no variable: each is gone back from by itself."""

    def back(self, weights: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return super().back()


@dataclass(frozen=True, kw_only=True)
class SideBySide(PGD):
    """PGD in several threats at once, each with steps of its own length; its last iterate counts.

    The weights that an outcome holds are the last, so its points are the last too: the losses at
    moving weights are not comparable from step to step.

    Args:
        shares: step in units of the size, for each threat.
    """

    shares: tuple[float, ...] = ()

    def init(self, problem: Problem) -> PGDState:
        region = CompoundRegion.require(problem.region, self)
        problem.region = region.with_step_shares(self.shares)
        return super().init(problem)

    def value(self, problem: Problem, state: PGDState, response: Response) -> Tensor | None:
        clock = response.clock
        if clock.most < self.steps:
            return None
        return torch.where(clock.on(response.loss) >= self.steps, response.loss, -torch.inf)
