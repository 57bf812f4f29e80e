"""What Tramèr & Boneh 2019 prove of mixtures, and where they reach further than their parts."""

from functools import partial
from math import inf

import pytest
import torch
from helpers import oracles
from helpers.models import above, network
from torch import nn

from hauberk.attacks import APGD, PGD
from hauberk.threats import L1, Box, Linf
from hauberk.threats.affine import Affine
from hauberk.threats.finite import Swaps

judged = partial(oracles.judged, most=1 + 1e-12)

FREE = Box(-inf, inf)


@pytest.mark.parametrize("classes", [2, 4])
def test_claim_3_linear_models_have_equal_risks(classes):
    """No box: the optima are ``eps ||w||_q``, and a mixture's lies between those of its parts."""
    model, mixture = network(20, classes, seed=3), Affine(Linf(0.05), L1(0.7), betas=11)
    x = torch.randn(60, 20, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    y[:5] = 1 - y[:5].clamp(max=1)
    logits, weight = model(x).detach(), model[1].weight.detach()
    slope = weight.unsqueeze(0) - weight[y].unsqueeze(1)  # (B, C, d)
    gap = logits - logits.gather(1, y.unsqueeze(1))
    reach = torch.maximum(0.05 * slope.abs().sum(2), 0.7 * slope.abs().amax(2))
    best = (gap + reach).scatter(1, y.unsqueeze(1), -inf).amax(1)
    attack = APGD(steps=30, targets=classes - 1)
    out = attack(model, x, y, mixture, box=FREE, stop=False)
    judged(model, mixture, x, y, out, FREE)
    assert (out.loss <= best + 1e-4).all()
    clear = best.abs() > 0.01
    assert torch.equal(out.fooled[clear], best[clear] >= 0)
    assert 0.1 < out.fooled.float().mean() < 0.9


@pytest.mark.parametrize("n", [3, 4, 10, 49])
@pytest.mark.parametrize("attack", [PGD(steps=3, loss="margin"), APGD(steps=5)])
def test_theorem_4_a_mixture_breaks_what_no_single_threat_does(n, attack):
    eps, d = 0.2, 60
    rng = torch.Generator().manual_seed(n)
    w = torch.rand(d, generator=rng, dtype=torch.float64) + 0.5
    w[0], w[1] = 3.0, 0.4  # the largest and the least
    total = eps * w.sum()
    x = torch.randn(d, generator=rng, dtype=torch.float64)
    x[1] = x.min() - 0.1
    x[0] = total / (w[0] - w[1]) + x[1]
    model = nn.Linear(d, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.stack([-w, w]) / 2)
        bias = 1.1 * total - w @ x
        model.bias.copy_(torch.stack([-bias, bias]) / 2)
    x, y = x.unsqueeze(0), torch.tensor([1])
    for single in (Linf(eps), Swaps(n)):
        out = attack(model, x, y, single, box=FREE, stop=False)
        torch.testing.assert_close(out.loss, -0.1 * total.unsqueeze(0))  # its optimum
        assert not out.fooled.any()
    mixture = Affine(Swaps(n), Linf(eps))
    assert mixture.betas[1] == pytest.approx(2 / n)
    out = attack(model, x, y, mixture, box=FREE, stop=False)
    assert judged(model, mixture, x, y, out, FREE).broken.all()
    torch.testing.assert_close(out.loss, (0.9 - 2 / n) * total.unsqueeze(0))
    assert mixture.betas[int(out.witness[0, 0])] == pytest.approx(2 / n)


def weaker_sign(x):
    """The weaker of two signs: many small changes, and one large one."""
    many, one = x[:, 1:].sum(1) / (0.1 * (x.shape[1] - 1)), x[:, 0] / 10
    return torch.minimum(many, one) - 1


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("attack", [APGD(steps=60), PGD(steps=60, loss="margin")])
def test_half_of_each_reaches_what_neither_does(attack, swapped):
    """The weaker sign: a half at beta 1/2; a third in l1 alone, a hundredth in linf alone."""
    weakest = above(0.0, weaker_sign)
    x, y = torch.zeros(3, 201), torch.zeros(3, dtype=torch.int64)
    a, b = (L1(10), Linf(0.1)) if swapped else (Linf(0.1), L1(10))
    mixture = Affine(a, b)
    out = attack(weakest, x, y, mixture, box=FREE, stop=False)
    judged(weakest, mixture, x, y, out, FREE)
    assert (out.loss + 1 > 0.45).all()
    assert (out.witness[:, 0] == 2).all()
    for one in (a, b):
        alone = attack(weakest, x, y, one, box=FREE, stop=False)
        assert (alone.loss + 1 < (0.34 if one.p == 1 else 0.011)).all()
