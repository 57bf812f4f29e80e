"""MAX: train on the worst of several threats, per example."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.attacks import PGD
from hauberk.attacks.base import Attack
from hauberk.engine.outcome import Outcome
from hauberk.engine.victim import Victim
from hauberk.threats.base import Threat


def train_max(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    threats: Threat | None,
    *,
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    attack: Attack | None = None,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Train a model in place with Adam on the worst point over the threats; in eval mode after.

    Source: Tramèr & Boneh 2019, section 4 (Adv_max); Maini et al. 2020, section 4.1 (MAX).

    Args:
        images, labels: ``(N, ...)`` in [0, 1] and ``(N,)``.
        threats: a union of threats, or one; None trains on clean examples.
        attack: PGD with ten steps on cross-entropy by default; the radii grow linearly from 0
            over the first half of the epochs.
        progress: called after each epoch with its number and mean loss.
    """
    attack = attack or PGD(steps=10)
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
    steps = epochs * -(-len(images) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    order = torch.Generator().manual_seed(seed)
    victim = Victim(model, batch_size)
    for epoch in range(epochs):
        model.train()
        growth = min(1.0, 2 * (epoch + 1) / epochs)
        total = 0.0
        for rows in torch.randperm(len(images), generator=order).split(batch_size):
            x, y = images[rows], labels[rows]
            if threats is not None:
                found = [
                    attack(
                        victim, x, y, part.scaled(growth), stop=False, seed=seed + epoch, ids=rows
                    )
                    for part in threats.parts
                ]
                x = worst(found)
            loss = F.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows)
        if progress is not None:
            progress(epoch + 1, total / len(images))
    model.eval()


def worst(outcomes: list[Outcome]) -> Tensor:
    """Per example, the point of largest loss among several outcomes, ``(B, ...)``."""
    which = torch.stack([outcome.loss for outcome in outcomes]).argmax(0)
    points = torch.stack([outcome.points for outcome in outcomes])
    return points[which, torch.arange(len(which), device=which.device)]
