"""Training on clean examples."""

from dataclasses import dataclass

from hauberk.train.inner import nothing
from hauberk.train.strategy import Batch, Loss, Memory, Strategy, cross_entropy


@dataclass(frozen=True, kw_only=True)
class Standard(Strategy):
    """Clean cross-entropy: one pass each way per example and step."""

    def loss(self, batch: Batch, memory: Memory) -> Loss:
        return cross_entropy(batch, batch.x) if len(batch.x) else nothing(batch)
