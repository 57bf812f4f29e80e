"""TRADES: clean loss and divergence."""

import torch
from helpers.strategies import LINF, Watched, batch, digits, loss_of, net
from torch.nn import functional as F

from hauberk.attacks import PGD
from hauberk.train import (
    TRADES,
)  # fmt: skip
from hauberk.train.strategies.base import divergence
from hauberk.train.strategies.trades import Divergence
from hauberk.victims.victim import Victim


def test_trades_is_clean_loss_and_divergence():
    x, y = digits()
    model = Watched(net())
    with torch.no_grad():  # outputs that are far apart: KL(p || q) is not KL(q || p)
        for weight in model.parameters():
            weight.mul_(4)
    found = loss_of(TRADES(LINF, beta=3.0, attack=PGD(steps=5)), batch(model, x, y))
    clean, attacked = (model.model(points) for points in model.seen)
    p, q = clean.softmax(1), attacked.softmax(1)
    expected = F.cross_entropy(clean, y) + 3 * (p * (p / q).log()).sum(1).mean()
    assert torch.isclose(found.value, expected)
    other = F.cross_entropy(clean, y) + 3 * (q * (q / p).log()).sum(1).mean()
    assert not torch.isclose(found.value, other, rtol=0.02)
    # Its gradient goes through both outputs.
    parameters = list(model.parameters())
    grads = [torch.autograd.grad(value, parameters) for value in (found.value, expected)]
    for one, mine in zip(*grads, strict=True):
        torch.testing.assert_close(one, mine, rtol=1e-4, atol=1e-6)
    assert torch.equal(model.seen[0], x)
    assert LINF.contains(x, model.seen[1]).all()


def test_the_attack_of_trades_maximises_the_divergence():
    # In chunks of 5 and in any order: every row is compared with its own clean output.
    x, y = digits(17)
    model = net()
    victim = Victim(model, 5)
    attack = PGD(steps=5, loss=Divergence(victim=victim), restarts=2)
    found = attack(victim, x, y, LINF, stop=False)
    assert torch.allclose(found.loss, divergence(model(x), model(found.points)), atol=1e-6)
    random = LINF.project(x, x + 0.1 * torch.randn(x.shape, generator=torch.Generator()).sign())
    assert (found.loss > divergence(model(x), model(random))).all()
    order = torch.arange(16, -1, -1)
    other = attack(victim, x[order], y[order], LINF, stop=False, ids=order)
    assert torch.allclose(other.loss[order], found.loss, atol=1e-6)
