"""AMPGD: train on a weighted mixture of several threats, the weights learnt for each example."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor
from torch.nn import functional as F

from hauberk.attacks.base import Attack
from hauberk.attacks.pgd import PGD, PGDState
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
    perturbations start afresh, the weights where the example's last visit left them; R alternating
    steps move both, the weights towards the threats whose losses are largest where the last move
    led, and then the perturbations::

        maximise over w, delta_1 .. delta_K   sum_i w_i CE(x + delta_i) - gamma / 2 |w - 1/K|^2

    Then the model trains on ``sum_i w_i CE(x + delta_i)`` at the last weights and the perturbations
    of largest mean loss. An example costs R K forward and R K backward passes, K forwards
    more, and K forwards and K backwards of the training loss. Table: ``w`` (N, K).

    The paper gives neither R, beta and gamma nor the steps. Here: R and the step shares are near
    those of Maini et al. on MNIST, beta is that of the paper's attacks, and at ``gamma=1`` a threat
    whose loss is one nat above the others' has all the weight. Perturbations move along the
    steepest step of their own threat, so that a weight of 0 freezes none.

    Args:
        threat: A union of the threats (or one).
        steps: R.
        beta: Step of the weights; ``1 / gamma`` or more forgets the weights of the last visit.
        gamma: Pull towards equal weights: 0 is the worst threat alone, inf the average of all.
        step_shares: Steps of the perturbations, each in units of its threat's size, in the order
            of the threats; None: 1/30 for linf, 1/20 for l2 and other threats, 0.08 for l1, but
            ``1.25 / steps`` at least.
        share_moved: Shares of features that a step in l1 or l0 moves, drawn between the two.
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
    step_shares: Sequence[float] | None = None
    share_moved: float | tuple[float, float] = (5 / 784, 20 / 784)
    random_start: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = len(Each(self.threat).parts)
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

    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        table = tables["w"]
        ids = batch.ids.to(table.device)
        found = batch.attack(self.attack(table[ids].to(batch.x.device)), Each(*threats))
        assert found.weights is not None
        w = found.weights.detach()
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
        objective = Resumed(gamma=self.gamma, beta=self.beta, toward="strong", loss="ce", begin=w)
        return SideBySide(
            loss=objective, steps=self.steps, step_share=1.0, shares=tuple(self.shares),
            share=self.share_moved, random_start=self.random_start, soften=self.soften,
        )  # fmt: skip

    def attack_on(self, threat: Threat) -> Attack:
        """What the perturbation of one threat goes through, whatever its weight."""
        return PGD(
            steps=self.steps, step_share=self.shares[list(self.threats).index(threat)],
            share=self.share_moved, random_start=self.random_start, soften=self.soften,
        )  # fmt: skip

    @property
    def shares(self) -> list[float]:
        """Steps of the threats' perturbations, in units of their sizes."""
        if self.step_shares is not None:
            return list(self.step_shares)
        usual = [STEP_SHARES.get(threat.kind, STEP_SHARES["l2"]) for threat in self.threats]
        return [max(share, min(1.0, 1.25 / max(1, self.steps))) for share in usual]


@dataclass(frozen=True, eq=False)
class Resumed(MinMax):
    """Weights that begin at given ones; every member ascends its own loss, whatever its weight.

    Args:
        begin: ``(B, K)``, rows of the batch that is attacked; None for equal weights.
    """

    begin: Tensor | None = None

    def start(self, problem: Problem) -> Weighing:
        state = super().start(problem)
        if self.begin is not None and problem.index is not None:
            state.w = self.begin[problem.index].to(state.w)
        return state

    def weigh(self, state: Weighing, losses: Tensor) -> tuple[Tensor, Tensor]:
        # The mean is what ranks the points: the worst mixture may put all weight on one threat,
        # and the others' perturbations would stay where they were when that one had its best.
        finite = losses.nan_to_num(nan=1e30, posinf=1e30, neginf=-1e30).clamp(-1e30, 1e30)
        return finite.mean(1), super().weigh(state, losses)[1]

    def terms(self, logits: Tensor, *labels: Tensor) -> Terms:
        terms = super().terms(logits, *labels)
        return Apart(terms.loss, terms.head, terms.slope)


@dataclass
class Apart(Terms):
    """Losses that share no variable: each is gone back from by itself."""

    def back(self, weights: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return super().back()


@dataclass(frozen=True, kw_only=True)
class SideBySide(PGD):
    """PGD in several threats at once, each with steps of its own length.

    Args:
        shares: step in units of the size, for each threat.
    """

    shares: tuple[float, ...] = ()

    def init(self, problem: Problem) -> PGDState:
        region = CompoundRegion.require(problem.region, self)
        problem.region = region.with_step_shares(self.shares)
        return super().init(problem)
