"""Auto-PGD: the checkpoints of the paper, and its iterates step by step in numpy."""

from itertools import pairwise
from math import ceil

import numpy as np
import pytest
import torch
from helpers.oracles import queries
from torch import nn

from hauberk.attacks import APGD
from hauberk.attacks.apgd import checkpoints
from hauberk.threats import L2, Linf


def test_apgd_checkpoints_are_those_of_the_paper():
    """Croce & Hein 2020, section 3.2: p_1 = 0.22, then shorter by 0.03 down to 0.06."""
    at = checkpoints(100).nonzero()[0].tolist()
    assert at == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(100)[at].tolist() == [22, 19, 16, 13, 10, 7, 6, 6]
    for steps in range(1, 30):
        window = checkpoints(steps)
        assert window.sum() == window.nonzero()[0].max()


class Waves(nn.Module):
    """Two logits whose margin waves along every feature; label 0 is never lost."""

    def __init__(self, seed, scale):
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        slope = torch.randn(6, 5, generator=rng, dtype=torch.float64) * scale
        self.slope = nn.Parameter(slope)  # what tells float64 inputs from others
        self.shift = torch.rand(6, generator=rng, dtype=torch.float64) * 6

    def forward(self, x):
        height = (x @ self.slope.T + self.shift).sin().sum(1)
        return torch.stack([torch.full_like(height, 20.0), height], 1)


def windows(steps):
    """Croce & Hein 2020, section 3.2: where a window ends, and how long it is."""
    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    ends = [ceil(round(share * steps, 9)) for share in p]
    return {b: b - a for a, b in pairwise(ends) if b <= steps}


def iterates(model, x0, start, eps, norm, steps, rho):
    """Algorithm 1 of the paper; steps that rose on at most rho of a window are halved."""

    def ask(u):
        t = torch.from_numpy(u)[None].requires_grad_()
        margin = model(t)[0, 1] - model(t)[0, 0]
        (grad,) = torch.autograd.grad(margin, t)
        return float(margin.detach()), grad[0].numpy()

    def project(u):
        if norm == np.inf:
            return np.clip(u, x0 - eps, x0 + eps)
        gap = u - x0
        return x0 + gap * min(1.0, eps / np.linalg.norm(gap))

    def way(g):
        return np.sign(g) if norm == np.inf else g / np.linalg.norm(g)

    ends = windows(steps)
    u = before = start
    eta, best, last, rises, mark, halved = 2 * eps, -np.inf, np.inf, 0, -np.inf, True
    seen, halvings, stuck, ties = [u], 0, 0, 0
    for k in range(steps):
        value, grad = ask(u)
        if value > best:
            best, best_u, best_grad = value, u, grad
        rises, last = rises + (value > last), value
        if k in ends:
            few = rises <= rho * ends[k]
            same = not halved and mark >= best
            halved = few or same
            if halved:
                eta, u, grad = eta / 2, best_u, best_grad
                halvings, stuck = halvings + few, stuck + (same and not few)
            ties += rises == rho * ends[k]
            mark, rises = best, 0
        z = project(u + eta * way(grad))
        if k:
            z = project(u + 0.75 * (z - u) + 0.25 * (u - before))
        before, u = u, z
        seen.append(u)
    return np.array(seen), halvings, stuck, ties


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.2)], ids=str)
def test_the_iterates_are_those_of_the_algorithm(threat):
    """On losses that wave, so that steps fail: both reasons to halve them occur, and ties do."""
    steps, seen = 100, np.zeros(3)
    assert windows(100) == {int(k): int(checkpoints(100)[k]) for k in checkpoints(100).nonzero()[0]}
    for seed, rho in [(s, r) for s in range(3) for r in (0.75, 0.5, 0.3)]:
        model, x = Waves(seed, 6.0), torch.full((1, 5), 0.5, dtype=torch.float64)
        rng = torch.Generator().manual_seed(seed)
        start = x + 0.02 * torch.randn(1, 5, generator=rng, dtype=torch.float64)
        asked = queries(
            APGD(steps=steps, loss="margin", rho=rho), threat, model, x, torch.tensor([0]),
            warm=threat.project(x, start).unsqueeze(1),
        )  # fmt: skip
        mine, *counts = iterates(
            model, x[0].numpy(), asked[0][0].numpy(), threat.eps, threat.p, steps, rho
        )  # fmt: skip
        assert len(asked) == len(mine)
        assert np.allclose(torch.cat(asked).numpy(), mine, atol=1e-6)
        seen += counts
    assert (seen > 0).all()
