"""Training on clean examples."""

from dataclasses import dataclass

from hauberk.train.strategies.base import Batch, Loss, Strategy, Tables, cross_entropy, empty_loss


@dataclass(frozen=True, kw_only=True)
class Standard(Strategy):
    """Clean cross-entropy: one forward and one backward pass per example and step.

    Example:
        >>> import hauberk as hb
        >>> hb.train.Standard().threats
        ()
    """

    def loss(self, batch: Batch, tables: Tables) -> Loss:
        return cross_entropy(batch, batch.x) if len(batch.x) else empty_loss(batch)
