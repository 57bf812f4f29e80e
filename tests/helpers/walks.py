"""What walks over decisions are tested on: a plane, and a walk under way."""

import torch
from torch import nn

from hauberk.maths.rng import Draws
from hauberk.objectives.problem import Problem
from hauberk.threats import Box


class Plane(nn.Module):
    """Two classes: wrong for label 0 where ``<w, x>`` reaches the threshold."""

    def __init__(self, w, threshold):
        super().__init__()
        self.w, self.threshold = nn.Parameter(w), threshold

    def forward(self, x):
        value = (x.flatten(1) @ self.w - self.threshold).unsqueeze(1)
        return torch.cat([-value, value], 1)


def plane(features=20, share=0.55, dtype=torch.float32):
    """A plane of positive weights; its threshold is a share of their sum."""
    w = torch.rand(features, generator=torch.Generator().manual_seed(0)).to(dtype) + 0.1
    return Plane(w, share * w.sum())


def mid_walk(attack, threat, x, box):
    """A problem, and the attack's state as if ``x + 1`` had been found to fool."""
    problem = Problem(
        region=threat.at(x, Box.of(box)), y=torch.zeros(len(x), dtype=torch.int64), target=None,
        draws=Draws.of(0, torch.arange(len(x))),
    )  # fmt: skip
    state = attack.init(problem)
    state.x, state.found = x + 1, torch.ones(len(x), dtype=torch.bool)
    return problem, state
