"""Training on clean examples."""

from dataclasses import dataclass

from hauberk.train.strategies.adversarial import nothing
from hauberk.train.strategies.base import Batch, Loss, Memory, Strategy, cross_entropy


@dataclass(frozen=True, kw_only=True)
class Standard(Strategy):
    """Clean cross-entropy: one pass each way per example and step."""

    def loss(self, batch: Batch, memory: Memory) -> Loss:
        return cross_entropy(batch, batch.x) if len(batch.x) else nothing(batch)
