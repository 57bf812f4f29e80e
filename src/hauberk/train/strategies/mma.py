"""MMA: push every example's own margin up to a threshold (Ding et al. 2020); OMMA without clean."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hauberk.engine.outcome import Outcome
from hauberk.errors import InputError
from hauberk.solvers.anpgd import ANPGD
from hauberk.solvers.base import Solver
from hauberk.threats.ball import Ball
from hauberk.threats.base import Box, Threat
from hauberk.threats.metric import Metric
from hauberk.threats.notation import metric as metric_of
from hauberk.train.strategies.base import Batch, Loss, Strategy, Tables
from hauberk.victims.victim import Boundary

SMALL = 0.05
"""Margins below it are counted in the logs (Ding et al. 2020, Figure 4)."""


@dataclass(frozen=True, kw_only=True)
class MMA(Strategy):
    """Max-margin adversarial training (Ding et al. 2020, Algorithm 2).

    Examples that the model gets wrong train on their clean cross-entropy. For each of the others
    AN-PGD finds the nearest adversarial point x + delta, from PGD in a ball of the example's last
    margin; they train on ``clean`` times their clean cross-entropy and, where |delta| < d_max, on
    ``1 - clean`` times that at x + delta: lowering it raises the margin (Proposition 2.1). The sum
    is divided by the size of the batch. An example costs one forward, ``2 steps + 1 + bisections``
    passes where the model is right, and up to two forward and two backward passes of the training
    loss (a batch two at least, for batch normalisation). Table: ``eps`` (N,), the last margins.

    Args:
        threat: A ball of radius d_max in lp, p >= 1, or the metric, with ``d_max``.
        d_max: Hinge threshold: margins beyond it are not raised further.
        clean: Weight of the clean cross-entropy of examples that the model gets right.
        solver: The search for margins, such as ``hauberk.solvers.DDN(steps=10, eps=0.5)``; AN-PGD
            with the numbers below if left out. AN-PGD alone starts from the last margins.
        objective: ``sum`` over the examples; ``minimum``: only the least margin of the batch (of
            each process's share of it) is raised, its term not divided by the size of the batch, in
            place of the others'.
        steps: Of PGD: 10 as published for CIFAR-10; for MNIST 40.
        bisections: Of AN-PGD.
        boundary: What AN-PGD bisects: the soft margin as printed (Algorithm 1, appendix C), whose
            zero comes before the decision's; the margins are then SLM-margins (Remark 2.2), and the
            points need not fool the model yet. ``decision`` for the margins themselves.
        eps_init: Margins assumed in the first epoch; None: d_max / 4, about as published.
        eps_min: Least margin that is written into the table, since PGD in a ball of radius 0 cannot
            move (the paper names it and gives no value); None: d_max / 100.
        eps_max: How far AN-PGD looks, in units of d_max. Where it finds nothing, the margin counts
            as this.
        random_start: Start AN-PGD at a random point of the ball, else at the clean input.
        share: In l1, the share of features that a step moves.

    Raises:
        InputError: for a threat that is no lp ball with p >= 1, and for numbers out of range.

    Example:
        >>> import hauberk as hb
        >>> strategy = hb.train.MMA(hb.L2(2.0), steps=40)
        >>> strategy.hinge, strategy.begin(3, torch.device("cpu"))["eps"].tolist()
        (2.0, [0.5, 0.5, 0.5])
    """

    threat: Threat = field(kw_only=False)
    d_max: float | None = None
    clean: float = 1 / 3
    solver: Solver | None = None
    objective: Literal["sum", "minimum"] = "sum"
    steps: int = 10
    bisections: int = 10
    boundary: Boundary = "soft_margin"
    eps_init: float | None = None
    eps_min: float | None = None
    eps_max: float = 1.05
    random_start: bool = True
    share: float = 0.01

    def __post_init__(self) -> None:
        given = self.threat
        if isinstance(given, str):
            read = Threat.of if ":" in given else metric_of
            object.__setattr__(self, "threat", read(given))
        if not isinstance(self.threat, Ball | Metric) or self.threat.p < 1:
            raise InputError(
                f"{type(self).__name__} raises margins in an lp norm with p >= 1, not in "
                f"{self.threat}: give a ball such as Linf(0.45) or L2(2), or a Metric and d_max"
            )
        if isinstance(self.threat, Metric) == (self.d_max is None):
            raise InputError(
                "give d_max with a Metric, and only then: a ball's radius is its d_max"
            )
        lengths = {"d_max": self.hinge, "eps_init": self.eps_init, "eps_min": self.eps_min}
        for name, length in lengths.items():
            if length is not None and not 0 < length < inf:
                raise InputError(f"{name} is {length}: give a number above 0")
        if not 0 <= self.clean <= 1:
            raise InputError(f"clean is {self.clean}: give a weight from 0 to 1")
        if not 1 <= self.eps_max < inf:
            raise InputError(f"eps_max is {self.eps_max}: give 1 or more, in units of d_max")
        if self.objective not in ("sum", "minimum"):
            raise InputError("unknown objective: choose sum or minimum")
        self.search.serve(self.metric)

    @property
    def hinge(self) -> float:
        """d_max."""
        return self.threat.eps if isinstance(self.threat, Ball) else self.d_max or 0.0

    @property
    def metric(self) -> Metric:
        """What margins are measured in."""
        assert isinstance(self.threat, Ball | Metric)
        return self.threat if isinstance(self.threat, Metric) else Metric.of(self.threat)

    @property
    def threats(self) -> Sequence[Threat]:
        return (self.metric.ball(self.hinge),)

    def check(self, x: Tensor, y: Tensor, box: Box) -> None:
        super().check(x, y, box)
        self.metric.at(x[:1], box)

    def begin(self, examples: int, device: torch.device) -> Tables:
        first = self.hinge / 4 if self.eps_init is None else self.eps_init
        return {"eps": torch.full((examples,), first, device=device)}

    def loss(self, batch: Batch, tables: Tables) -> Loss:
        x, y, table = batch.x, batch.y, tables["eps"]
        with batch.victim.held():
            wrong = batch.victim.wrong(batch.victim.predict(x), y) if len(x) else y != y
        right = (~wrong).nonzero().squeeze(1)
        ids = batch.ids.to(table.device)
        # Wrong examples have margin 0, and keep their row of the table.
        margin = x.new_zeros(len(x), dtype=torch.float64)
        points = x[:0]
        if len(right):
            found = self.find(batch, right, table[ids[right.to(ids.device)]])
            far = torch.full_like(found.distance, self.farthest)
            margin[right] = torch.where(found.fooled, found.distance.minimum(far), far)
            least = self.hinge / 100 if self.eps_min is None else self.eps_min
            table[ids[right.to(ids.device)]] = margin[right].clamp_min(least).to(table)
            points = found.points.to(x.dtype)
        kept = (margin[right] < self.hinge).nonzero().squeeze(1)
        many = max(1, len(x))
        logs = {
            "margin": margin.sum() / many,
            "small": (margin < SMALL).sum() / many,
            "hinge": (~wrong & (margin < self.hinge)).sum() / many,
            "wrong": wrong.sum() / many,
        }
        each = 1 / many
        if self.objective == "minimum" and len(kept):
            kept, each = kept[margin[right][kept].argmin().unsqueeze(0)], 1.0
        first = wrong.double().mul_(1 - self.clean).add_(self.clean).div_(many)
        shown = first.nonzero().squeeze(1)
        weights = torch.cat([first[shown], first.new_full((len(kept),), (1 - self.clean) * each)])
        if not len(weights):
            return Loss(0 * batch.model(x).sum(), logs, forwards=len(x), backwards=len(x))
        rows = torch.cat([shown, right[kept]])
        x, y = torch.cat([x[shown], points[kept]]), y[rows]
        if len(x) == 1 < many:
            # Batch normalisation has no statistics of one example: another one is shown with it.
            x = torch.cat([x, batch.x[(rows + 1) % many]])
        losses = F.cross_entropy(batch.model(x)[: len(y)], y, reduction="none")
        value = (weights.to(losses) * losses).sum()
        return Loss(value, logs, forwards=len(x), backwards=len(x))

    @property
    def farthest(self) -> float:
        """How far a margin is looked for."""
        return self.eps_max * self.hinge

    def find(self, batch: Batch, rows: Tensor, eps: Tensor) -> Outcome:
        """The nearest adversarial points of some rows of the batch, from margins ``eps`` (R,)."""
        solver = self.search
        if isinstance(solver, ANPGD):
            solver = replace(solver, eps=eps.double())
        own = batch.ids[rows.to(batch.ids.device)]
        return batch.attack(solver, self.metric, x=batch.x[rows], y=batch.y[rows], ids=own)

    @property
    def search(self) -> Solver:
        """The search for margins, before it is given where to begin."""
        if self.solver is not None:
            return self.solver
        return ANPGD(
            steps=self.steps, bisections=self.bisections, eps=self.hinge, eps_max=self.farthest,
            random_start=self.random_start, share=self.share, boundary=self.boundary, nearer=False,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OMMA(MMA):
    """MMA without the clean loss of examples that the model gets right (Ding et al. 2020, 3.2).

    Example:
        >>> import hauberk as hb
        >>> hb.train.OMMA(hb.Linf(0.45), steps=40).clean
        0.0
    """

    clean: float = 0.0
