"""E-AT: random norm training on the extreme norms alone, the harder one more often."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hauberk.threats.base import Threat
from hauberk.train.strategies.base import Batch, Loss, Tables, cross_entropy
from hauberk.train.strategies.few_steps import FewSteps, extremes, threat_draws


@dataclass(frozen=True, kw_only=True)
class EAT(FewSteps):
    """Extreme-norm adversarial training (Croce & Hein 2022): batches in linf or in l1, by turns.

    Of the threats only the linf and the l1 ball are attacked (``inner``): their convex hull holds
    much of the balls between. Each batch is attacked in one of them, drawn with a probability in
    proportion to its robust error: the share of training examples whose last attack in it
    succeeded (table ``wrong``: (N, 2), linf first, NaN for never). The authors count all attacks
    since the start alike. Until both errors are there, both balls are equally likely.

    An example costs, in each step, the passes of one attack and one forward and one backward pass:
    23 with 10 steps.

    Args:
        threat: A union with one linf and one l1 ball.

    Raises:
        InputError: unless there is one linf and one l1 ball among the threats.

    Example:
        >>> import hauberk as hb
        >>> strategy = hb.train.EAT(hb.Linf(0.3) | hb.L2(2) | hb.L1(10))
        >>> [str(threat) for threat in strategy.inner]
        ['linf:0.3', 'l1:10']
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.inner

    @property
    def inner(self) -> Sequence[Threat]:
        return extremes(self.threat, "EAT")

    def begin(self, examples: int, device: torch.device) -> Tables:
        return {"wrong": torch.full((examples, 2), torch.nan, device=device)}

    def attacked(self, batch: Batch, tables: Tables, threats: Sequence[Threat]) -> Loss:
        wrong = tables["wrong"]
        odds = chances(wrong.nanmean(0).tolist())
        draw = threat_draws(batch, torch.zeros(1, dtype=torch.int64)).uniform(0, (), torch.float64)
        k = int(draw.item() >= odds[0])
        found = batch.attack(self.attack_on(self.inner[k]), threats[k], stream=k)
        wrong[batch.ids.to(wrong.device), k] = found.fooled.to(wrong)
        logs = {
            f"chance {threat}": torch.tensor(chance, device=batch.x.device)
            for threat, chance in zip(self.inner, odds, strict=True)
        }
        return cross_entropy(batch, found.points, **logs)


def chances(errors: Sequence[float]) -> list[float]:
    """Probabilities in proportion to the errors; equal ones while some are NaN, or all are 0.

    Example:
        >>> chances([0.5, 0.5])
        [0.5, 0.5]
    """
    total = sum(errors)
    if not total > 0:
        return [1 / len(errors)] * len(errors)
    return [error / total for error in errors]
