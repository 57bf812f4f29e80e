"""AVG: the mean or the sum over the threats, and what that makes of the gradient."""

import pytest
import torch
from helpers.oracles import weights
from helpers.strategies import BALLS, FEW, LINF, batch, digits, loss_of, net
from torch.nn import functional as F

import hauberk as hb
from hauberk.cli.strategy import strategy_of
from hauberk.train import AVG, Single, fit


def test_the_loss_is_the_mean_of_the_threats_own():
    given = batch(net(), *digits())
    found = loss_of(AVG(BALLS, attacks=FEW), given)
    alone = [loss_of(Single(threat, attack=FEW), given).value for threat in BALLS.parts]
    assert torch.isclose(found.value, torch.stack(alone).mean())
    for threat, value in zip(BALLS.parts, alone, strict=True):
        assert torch.isclose(found.logs[f"loss {threat}"], value)


def test_the_sum_is_that_of_maini_2020():
    """Equation 13: losses of all threats added, so three times the mean and its gradient."""
    model = net()
    given = batch(model, *digits())
    alone = [loss_of(Single(threat, attack=FEW), given).value for threat in BALLS.parts]
    gradients = []
    for reduce, expected in (("mean", sum(alone) / 3), ("sum", sum(alone))):
        model.zero_grad()
        found = loss_of(AVG(BALLS, attacks=FEW, reduce=reduce), given)
        torch.testing.assert_close(found.value, expected)
        assert (found.forwards, found.backwards) == (72, 72)
        found.value.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(gradients[1], 3 * gradients[0])


@pytest.mark.parametrize(("reduce", "times"), [("mean", 1), ("sum", 2)])
def test_a_step_of_sgd_with_weight_decay(reduce, times):
    """The gradient of the loss is multiplied, weight decay is not: one step by hand."""
    x, y = digits(8)
    model = net()
    two = hb.Linf(0.1) | hb.L2(0.5)
    before = weights(model)
    losses = []
    for part in two.parts:  # of a step: what it attacks, and where
        model.eval()
        u = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(F.cross_entropy(model(u), y, reduction="sum"), u)
        region = part.at(x)
        worst = region.project_(region.ascent(x, grad, region.eps))
        model.train()
        losses.append(F.cross_entropy(model(worst), y))
    gradient = torch.autograd.grad(times * torch.stack(losses).mean(), list(model.parameters()))
    flat = torch.cat([g.flatten() for g in gradient])
    attack = hb.attacks.FGSM()
    options = {"optimiser": "sgd", "learning_rate": 0.5, "momentum": 0.0, "weight_decay": 0.02}
    fit(model, (x, y), AVG(two, attacks=attack, reduce=reduce), epochs=1, minibatch=8, **options)
    expected = before - 0.5 * (flat + 0.02 * before)
    torch.testing.assert_close(weights(model), expected, rtol=1e-4, atol=1e-6)


def test_the_mean_unless_said_otherwise():
    assert AVG(BALLS).reduce == "mean"
    assert strategy_of("avg", ["linf:0.1", "l2:1"], ["reduce=sum"]).reduce == "sum"
    with pytest.raises(hb.InputError, match="reduce is 'max': choose mean or sum"):
        AVG(BALLS, reduce="max")


def test_of_one_threat_it_is_single():
    given = batch(net(), *digits())
    one, other = (loss_of(kind(LINF, steps=3), given).value for kind in (AVG, Single))
    assert torch.equal(one, other)
