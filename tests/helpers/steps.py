"""Solvers step by step: what they ask a curved model for, and the model in numpy."""

import numpy as np
import torch

from hauberk.maths.losses import cross_entropy, margin
from hauberk.threats import Metric
from helpers.models import network
from helpers.oracles import queries

WIDE = (-50.0, 50.0)
"""A box that no step leaves."""


class Walk:
    """A run of a solver on a curved model of two classes, example by example.

    Attributes:
        asked: the points that it asked for, ``(T, B, features)`` float64.
        x0: the clean inputs, ``(B, features)``.
        y: the labels, ``(B,)``.
    """

    def __init__(self, solver, p, *, box=WIDE, n=4, classes=2, **options):
        self.model = network(8, 16, classes, dtype=torch.float64)
        rng = torch.Generator().manual_seed(5)
        low, high = max(box[0], 0.0), min(box[1], 1.0)
        x = low + (high - low) * torch.rand(n, 8, generator=rng, dtype=torch.float64)
        self.labels = self.model(x).argmax(1)
        found = queries(solver, Metric(p), self.model, x, self.labels, box=box, **options)
        self.asked = torch.stack(found).numpy()
        self.x0, self.y = x.numpy(), self.labels.numpy()

    def look(self, at, i, loss="margin"):
        """Margin, gradient of a loss, and whether the model is fooled, at a point of example i."""
        u = torch.tensor(np.asarray(at))[None].requires_grad_()
        label = self.labels[i : i + 1]
        logits = self.model(u)
        value = (margin if loss == "margin" else cross_entropy)(logits, label)
        (grad,) = torch.autograd.grad(value.sum(), u)
        return (
            float(margin(logits, label).detach()),
            grad[0].numpy(),
            bool(margin(logits, label) >= 0),
        )


def cosine(k, steps, first, last):
    """From first to last along half a cosine."""
    return last + (first - last) * (1 + np.cos(np.pi * k / steps)) / 2


def size(v, p):
    """The lp norm of a vector."""
    return np.linalg.norm(v, p)
